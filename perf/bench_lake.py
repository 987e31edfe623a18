"""The lake's own speed: `python perf/bench_lake.py [--evaluations] [--commits 10000] [--writers 6 --each 40]`.

`--evaluations` are those of the demo: 112 models answer 10 benchmarks of 210 questions, a commit a model. So many
`--writers` are processes that write at once, and all of it must be there. Without options it does everything.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parents[1]))  # before this folder, whose lake.py is not the package

from warehouse.database.publish import publish
from warehouse.lake import Lake

MODELS, BENCHMARKS, QUESTIONS = 112, 10, 210


def write_answers(lake: Lake, benchmark: str, model: str, seed: int) -> None:
    asked = {"task": [benchmark] * QUESTIONS, "doc_id": np.arange(QUESTIONS)}
    correct = np.random.default_rng(seed).random(QUESTIONS) < 0.5
    texts = [f"What is the answer to question {number} of {benchmark}?" for number in range(QUESTIONS)]
    answers = pa.table({**asked, "correct": correct, "score": correct.astype(float)})
    questions = pa.table({**asked, "text": texts, "category": [benchmark] * QUESTIONS})
    lake.write_evaluation(benchmark, model, answers, questions, {"fingerprint": model})


def write_many(address: str, writer: int, each: int) -> None:
    lake = Lake(address)
    for number in range(each):
        write_answers(lake, "benchmark", f"writer{writer}/model{number}", writer * each + number)


def measure(name: str, step: Callable[[], object]) -> None:
    started = time.perf_counter()
    said = step()
    print(f"{name:44}{time.perf_counter() - started:9.2f}  {'' if said is None else said}", flush=True)


def measure_evaluations(address: str, database: Path) -> None:
    lake = Lake(address)

    def write() -> None:
        for model in range(MODELS):
            with lake.together():
                for benchmark in range(BENCHMARKS):
                    write_answers(lake, f"benchmark{benchmark}", f"model{model}", model * BENCHMARKS + benchmark)

    measure(f"{MODELS * BENCHMARKS:,} evaluations of {QUESTIONS}", write)
    measure("read whole", lambda: f"{Lake(address).responses().num_rows:,} answers")
    measure("published", lambda: f"{publish(Lake(address), database)['responses']:,} answers")
    measure("published again", lambda: f"{publish(Lake(address), database)['responses']:,} answers")
    measure("compacted", lambda: Lake(address).compact(kept=timedelta(0)))
    measure("read whole after that", lambda: f"{Lake(address).responses().num_rows:,} answers")


def measure_commits(address: str, commits: int) -> None:
    lake = Lake(address)

    def write() -> None:
        for number in range(commits):
            lake.record_failure("benchmark", f"model{number % MODELS}", "failed", "for a reason", str(number))

    measure(f"{commits:,} commits", write)
    measure("opened after that", lambda: f"{Lake(address).failures().num_rows} failures")
    measure("compacted", lambda: Lake(address).compact(kept=timedelta(0)))
    measure("opened after that", lambda: f"{Lake(address).failures().num_rows} failures")


def measure_writers(address: str, writers: int, each: int) -> None:
    def write() -> str:
        with ProcessPoolExecutor(writers, mp_context=get_context("spawn")) as pool:
            for written in [pool.submit(write_many, address, writer, each) for writer in range(writers)]:
                written.result()
        lake = Lake(address)
        complete = lake.responses().num_rows == writers * each * QUESTIONS
        return f"{len(lake.pairs())} of {writers * each} there, {'' if complete else 'not '}all answers"

    measure(f"{writers} processes write {each} evaluations each", write)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluations", action="store_true")
    parser.add_argument("--commits", type=int)
    parser.add_argument("--writers", type=int)
    parser.add_argument("--each", type=int, default=40)
    parser.add_argument("--at", help="address of an empty folder, or s3://…; a temporary folder if not given")
    options = parser.parse_args()
    everything = not (options.evaluations or options.commits or options.writers)
    print(f"{'step':44}{'seconds':>9}  result")
    with tempfile.TemporaryDirectory() as folder:
        at = options.at or folder
        if everything or options.evaluations:
            measure_evaluations(f"{at}/evaluations", Path(folder) / "warehouse.duckdb")
        if everything or options.commits:
            measure_commits(f"{at}/commits", options.commits or 10_000)
        if everything or options.writers:
            measure_writers(f"{at}/writers", options.writers or 6, options.each)


if __name__ == "__main__":
    main()
