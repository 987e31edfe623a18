"""The readers of logs against DuckDB and pyarrow reading the same bytes: `python perf/bench_import.py [--files 1000]`.

Prints processor seconds (of all threads), as a multiple of DuckDB's too, and the highest memory of each process.
The files are made up: samples of lm-eval, 400 rows a file, five examples in each prompt, ten models; and a table with a
row a question and a column for each of 100 models. "The import" is all of it, from the files to the commit in the lake.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import duckdb
import pyarrow.json

sys.path.insert(0, str(Path(__file__).parents[1]))

from warehouse.imports.ingest import import_results
from warehouse.imports.readers.lm_eval import LmEval
from warehouse.imports.readers.reader import Choices, LogFile, Notes, Reader
from warehouse.imports.readers.wide_tables import WideTableReader
from warehouse.lake import Lake

ROWS, MODELS = 400, 10
WIDE = [f"org/model-{number}" for number in range(100)]
BY_ACC = Choices(metric={"": "acc"})
BY_COLUMN = Choices(question_column="question", model_columns=WIDE, benchmark="trains")


@dataclass(frozen=True)
class Case:
    """A format: `make` writes about so many files into a folder; the others read them, and return how many rows."""

    name: str
    make: Callable[[Path, int], None]
    readers: dict[str, Callable[[Path], int]]  # the first is ours, the second what the others are compared with


def read_with(reader: Reader, folder: Path, choices: Choices) -> int:
    files = [LogFile(path, path.as_posix()) for path in sorted(folder.rglob("*")) if path.is_file()]
    notes = Notes()
    rows = sum(answers.num_rows for _, answers in reader.read(files, choices, notes))
    assert not notes.problems, notes.problems[:3]
    return rows


def import_with(file_format: str, folder: Path, choices: Choices) -> int:
    with tempfile.TemporaryDirectory() as lake:
        summary = import_results(
            Lake(lake), str(folder), file_format=file_format, choices=choices, benchmark_of=lambda category: category
        )
    return summary.rows


def make_lm_eval(folder: Path, files: int) -> None:
    for number in range(files):
        task, model = divmod(number, MODELS)
        samples = "".join(json.dumps(make_sample(task, model, row)) + "\n" for row in range(ROWS))
        path = folder / f"org__model{model}" / f"samples_task{task}_2025-01-01T00-00-00.000000.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_text(samples)


def make_sample(task: int, model: int, row: int) -> dict[str, object]:
    question = (
        f"A train leaves station {task} at {row} o'clock, and is {row % 7} hours late; when does it arrive, and why?"
    )
    options = [f"at {(row + n) % 24} o'clock" for n in range(4)]
    shots = "\n\n".join(
        f"Question: When does train {row + n} leave, if it is {n} hours late?\nAnswer: at {n}" for n in range(5)
    )
    scores = [[f"{-n - model - 0.6931471805599453}", "False"] for n in range(4)]
    return {
        "doc_id": row,
        "doc": {"question": question, "choices": options, "gold": row % 4, "subject": "trains"},
        "target": str(row % 4),
        "arguments": {
            f"gen_args_{n}": {"arg_0": f"{shots}\n\nQuestion: {question}\nAnswer:", "arg_1": f" {option}"}
            for n, option in enumerate(options)
        },
        "resps": [[score] for score in scores],
        "filtered_resps": scores,
        "filter": "none",
        "metrics": ["acc", "acc_norm"],
        "doc_hash": f"{task:032x}{row:032x}",
        "prompt_hash": "1" * 64,
        "target_hash": "2" * 64,
        "acc": float((row + model) % 2),
        "acc_norm": 1.0,
    }


def read_lm_eval(folder: Path) -> int:
    return read_with(LmEval(), folder, BY_ACC)


def import_lm_eval(folder: Path) -> int:
    return import_with("lm-eval", folder, BY_ACC)


def make_wide(folder: Path, files: int) -> None:
    """Write one table with four questions for each file that is asked for: as many answers as in the other case."""
    grades = [",".join(str(int((row * 7 + model) % 3 == 0)) for model in range(len(WIDE))) for row in range(3)]
    with (folder / "wide.csv").open("w") as file:
        file.write(f"question,{','.join(WIDE)}\n")
        for row in range(files * ROWS // len(WIDE)):
            text = f"A train leaves station {row} at {row % 24} o'clock, 7 hours late; when does it arrive, and why? "
            file.write(f'"{text * 2}",{grades[row % 3]}\n')


def read_wide(folder: Path) -> int:
    return read_with(WideTableReader(), folder, BY_COLUMN)


def import_wide(folder: Path) -> int:
    return import_with("wide", folder, BY_COLUMN)


def read_csv_with_duckdb(folder: Path) -> int:
    rows = duckdb.sql(f"FROM read_csv('{folder}/wide.csv')")
    assert rows is not None  # it is a query
    return rows.to_arrow_table().num_rows


def read_json_with_duckdb(folder: Path) -> int:
    source = f"read_json('{folder}/*/*.jsonl', format = 'newline_delimited')"
    rows = duckdb.sql(f"FROM {source}")
    assert rows is not None  # it is a query
    return rows.to_arrow_table().num_rows


def read_json_with_pyarrow(folder: Path) -> int:
    return sum(pyarrow.json.read_json(path).num_rows for path in folder.rglob("*.jsonl"))


CASES = (
    Case(
        "lm-eval samples",
        make_lm_eval,
        {
            "the reader": read_lm_eval,
            "duckdb.read_json": read_json_with_duckdb,
            "pyarrow.json": read_json_with_pyarrow,
            "the import": import_lm_eval,
        },
    ),
    Case(
        "a wide table",
        make_wide,
        {"the reader": read_wide, "duckdb.read_csv": read_csv_with_duckdb, "the import": import_wide},
    ),
)


def measure(read: Callable[[Path], int], folder: Path) -> tuple[int, float, float]:
    """Return rows, processor seconds, and the most memory in MB of the process, which must be a new one."""
    started = time.process_time()
    rows = read(folder)
    return rows, time.process_time() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure_case(case: Case, files: int, only: list[str] | None) -> tuple[str, dict[str, tuple[int, float, float]]]:
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        case.make(folder, files)
        paths = [path for path in folder.rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in paths) / 1e6
        figures = {}
        for name, read in case.readers.items():
            if not only or name in only:
                with get_context("spawn").Pool(1) as pool:
                    figures[name] = pool.apply(measure, (read, folder))
    return f"{case.name}: {len(paths):,} files, {size:,.0f} MB", figures


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--files", type=int, default=1000)
    options.add_argument("--only", nargs="*", help="these readers alone, as pyarrow.json")
    given = options.parse_args()
    measured = [(case, *measure_case(case, given.files, given.only)) for case in CASES]

    # Imported now: a new process counts the memory of the one that started it as its own.
    from _common import table
    from rich.console import Console

    for case, title, figures in measured:
        _, reference, *_ = case.readers
        base = figures[reference][1] if reference in figures else float("nan")
        shown = table(title, ("", "rows", "CPU s", "ratio", "MB"))
        for name, (rows, seconds, memory) in figures.items():
            shown.add_row(name, f"{rows:,}", f"{seconds:.2f}", f"{seconds / base:.2f}", f"{memory:,.0f}")
        Console().print(shown)


if __name__ == "__main__":
    main()
