"""Import, publish and read at the paper's size.

    python perf/bench_warehouse.py [--models 112] [--questions 36000] [--formats csv parquet]

Every step runs in a process of its own, so that its peak memory is its own. Loading the libraries is not counted; the
seconds of the processor tell more than those of the clock where other things run.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import duckdb

sys.path.insert(0, str(Path(__file__).parents[1]))  # before this folder, whose warehouse.py is not the package

BENCHMARKS, CATEGORIES = 10, 80
PROMPT = 300  # characters


def make_results(path: Path, models: int, questions: int) -> None:
    """A file in the published layout, question by question as the published one is."""
    words = f"repeat(md5(q::VARCHAR) || ' ', {PROMPT // 33})"
    with duckdb.connect() as connection:
        connection.execute("SET enable_progress_bar = false")
        connection.execute(f"""
            COPY (
                SELECT q AS prompt_id, m AS model_id, q % {CATEGORIES} AS category_id,
                    (hash(q, m) % 5 < 3)::INTEGER AS label, format('org{{}}__model-{{}}', m % 9, m) AS model_name,
                    format('bench{{}}_{{}}', q % {BENCHMARKS}, q % {CATEGORIES}) AS category,
                    format('Question {{}}, "quoted",\n{{}}', q, {words}) AS prompt
                FROM range({questions}) t(q), range({models}) u(m)
            ) TO '{path}'
        """)


def bring_in(home: Path, source: Path) -> str:
    from warehouse.imports.ingest import import_results
    from warehouse.lake import Lake

    summary = import_results(Lake(home / "lake"), str(source), benchmark_of=lambda category: category.partition("_")[0])
    return f"{summary.rows:,} answers, {'changed' if summary.changed else 'nothing changed'}"


def put_out(home: Path, tables: tuple[str, ...] | None = None) -> str:
    from warehouse.database.publish import publish
    from warehouse.lake import Lake

    counts = publish(Lake(home / "lake"), home / "warehouse.duckdb", tables)
    size = (home / "warehouse.duckdb").stat().st_size / 1e6
    return f"{sum(counts.values()):,} rows published, file of {size:.0f} MB"


def put_out_one(home: Path) -> str:
    return put_out(home, ("forecasts",))


def put_out_answers(home: Path) -> str:
    return put_out(home, ("models", "benchmarks", "questions", "responses"))


def write_one_more(home: Path) -> str:
    """One model answers everything as another did."""
    from warehouse.lake import Lake
    from warehouse.lake.writing import done

    lake = Lake(home / "lake")
    _, model = lake.pairs()[0]
    benchmarks = sorted({benchmark for benchmark, _ in lake.pairs()})
    with lake.together() as writing:
        for benchmark in benchmarks:
            rows = lake.rows_of(lake.now().answers[benchmark, model])
            writing.add_answers(done(benchmark, "one more", rows, {"sources": '["a copy"]'}, "a copy"), rows)
    return f"{len(benchmarks)} evaluations"


def digest_lake(home: Path) -> str:
    from warehouse.lake import Lake

    return f"state {Lake(home / 'lake').state()}"


def check_lake(home: Path) -> str:
    from warehouse.lake import Lake

    return f"{len(Lake(home / 'lake').check())} files damaged"


def check_warehouse(home: Path) -> str:
    from warehouse.database.read import find_fault

    return find_fault(home / "warehouse.duckdb") or "whole"


def read_lake(home: Path) -> str:
    from warehouse.lake import Lake

    return f"{Lake(home / 'lake').responses().num_rows:,} responses as Arrow"


def read_warehouse(home: Path) -> str:
    from warehouse.database.read import query

    return f"{query(home / 'warehouse.duckdb', 'FROM leaderboard').num_rows:,} rows of leaderboard"


def load() -> None:
    import deltalake  # noqa: F401
    import pyarrow.dataset  # noqa: F401


def measured(step: Callable[..., str], *arguments: Path) -> tuple[str, float, float, float]:
    """What the step says, its seconds by the clock and of the processor, and the peak memory of the process in MB."""
    started, used = time.perf_counter(), time.process_time()
    said = step(*arguments)
    seconds, processor = time.perf_counter() - started, time.process_time() - used
    return said, seconds, processor, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=112)
    parser.add_argument("--questions", type=int, default=36_000)
    parser.add_argument("--formats", nargs="+", choices=["csv", "parquet"], default=["csv", "parquet"])
    options = parser.parse_args()
    print(f"{'step':28}{'seconds':>9}{'processor':>11}{'peak MB':>9}  result")
    with tempfile.TemporaryDirectory() as folder:
        for suffix in options.formats:
            source, home = Path(folder) / f"results.{suffix}", Path(folder) / suffix
            make_results(source, options.models, options.questions)
            steps: dict[str, tuple[Callable[..., str], list[Path]]] = {
                f"import {source.stat().st_size / 1e6:,.0f} MB of {suffix}": (bring_in, [home, source]),
                "import it again": (bring_in, [home, source]),
            }
            if suffix == "parquet":
                steps |= {
                    "publish all": (put_out, [home]),
                    "publish one small table": (put_out_one, [home]),
                    "publish, nothing new": (put_out_answers, [home]),
                    "one more model": (write_one_more, [home]),
                    "publish it": (put_out_answers, [home]),
                    "digest of the lake": (digest_lake, [home]),
                    "read every file of the lake": (check_lake, [home]),
                    "read the whole warehouse": (check_warehouse, [home]),
                    "read the lake": (read_lake, [home]),
                    "query leaderboard": (read_warehouse, [home]),
                }
            for name, (step, arguments) in steps.items():
                with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=load) as pool:
                    said, seconds, processor, memory = pool.submit(measured, step, *arguments).result()
                print(f"{name:28}{seconds:9.2f}{processor:11.2f}{memory:9.0f}  {said}", flush=True)
            source.unlink()


if __name__ == "__main__":
    main()
