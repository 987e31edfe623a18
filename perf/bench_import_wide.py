"""The reader of wide tables against DuckDB reading the same bytes: `python perf/bench_import_wide.py`.

Prints processor seconds (of all threads), as a multiple of DuckDB's too, and the highest memory of each process.
The table is made up: a row a question, a column for each of 100 models.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import duckdb

sys.path.insert(0, str(Path(__file__).parents[1]))

from warehouse.imports.readers.reader import Choices, LogFile, Notes
from warehouse.imports.readers.wide_tables import WideTableReader

MODELS = [f"org/model-{number}" for number in range(100)]


def make_table(path: Path, questions: int) -> None:
    grades = [",".join(str(int((row * 7 + model) % 3 == 0)) for model in range(len(MODELS))) for row in range(3)]
    with path.open("w") as file:
        file.write(f"question,{','.join(MODELS)}\n")
        for row in range(questions):
            text = f"A train leaves station {row} at {row % 24} o'clock, 7 hours late; when does it arrive, and why? "
            file.write(f'"{text * 2}",{grades[row % 3]}\n')


def read_with_reader(path: Path) -> int:
    notes = Notes()
    choices = Choices(question_column="question", model_columns=MODELS, benchmark="trains")
    answers = WideTableReader().read([LogFile(path, path.name)], choices, notes)
    rows = sum(table.num_rows for _, table in answers)
    assert not notes.problems, notes.problems
    return rows


def read_with_duckdb(path: Path) -> int:
    rows = duckdb.sql(f"FROM read_csv('{path}')")
    assert rows is not None  # it is a query
    return rows.to_arrow_table().num_rows


def measure(read: Callable[[Path], int], path: Path) -> tuple[int, float, float]:
    """Return rows, processor seconds, and the most memory in MB of the process, which must be a new one."""
    started = time.process_time()
    rows = read(path)
    return rows, time.process_time() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--questions", type=int, default=40_000)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "wide.csv"
        make_table(path, given.questions)
        print(f"{given.questions:,} questions, {len(MODELS)} models, {path.stat().st_size / 1e6:,.0f} MB")
        base = float("nan")
        for name, read in (("duckdb.read_csv", read_with_duckdb), ("the reader", read_with_reader)):
            with get_context("spawn").Pool(1) as pool:
                rows, seconds, memory = pool.apply(measure, (read, path))
            base = seconds if read is read_with_duckdb else base
            print(f"{name:16} {rows:>10,} rows {seconds:6.2f} CPU s ({seconds / base:.2f}) {memory:6,.0f} MB")


if __name__ == "__main__":
    main()
