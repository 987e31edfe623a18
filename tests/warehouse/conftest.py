"""Tiny lakes and tiny published results, and a way to kill a process at a chosen moment."""

import csv
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from warehouse.ingest import import_results
from warehouse.lake import Lake

REPOSITORY = Path(__file__).parents[2]
HEADER = ("prompt_id", "model_id", "category_id", "label", "model_name", "category", "prompt")

Row = tuple[object, str, object, str, str]
"""prompt_id, model_name, label, category, prompt"""


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "home" / "lake")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "home" / "warehouse.duckdb"


@pytest.fixture
def published(tmp_path: Path) -> Callable[..., Path]:
    """Writes rows in the published layout as CSV; further columns by keyword."""

    def write(rows: Sequence[Row], name: str = "results.csv", **more: Sequence[object]) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow([*HEADER, *more])
            for number, (prompt_id, model, label, category, prompt) in enumerate(rows):
                further = [values[number] for values in more.values()]
                writer.writerow([prompt_id, 0, 0, label, model, category, prompt, *further])
        return path

    return write


@pytest.fixture
def answer_import(published: Callable[..., Path]) -> Callable[..., None]:
    """Imports a model's published grades (0 or 1, by the question's text) of a benchmark, a file of their own."""

    def write(lake: Lake, benchmark: str, model: str, grades: Mapping[str, int]) -> None:
        rows = [(number, model, grade, benchmark, text) for number, (text, grade) in enumerate(grades.items())]
        import_results(lake, str(published(rows, f"{benchmark} of {model}.csv")), benchmark_of=str)

    return write


@pytest.fixture
def evaluated() -> Callable[..., None]:
    """Writes a model's grades (1, 0, or - for not asked) to the questions a, b, c, … of a benchmark."""

    def write(lake: Lake, benchmark: str, model: str, grades: str, **metadata: str) -> None:
        asked = [number for number, grade in enumerate(grades) if grade != "-"]
        correct = [grades[number] == "1" for number in asked]
        lake.write_evaluation(
            benchmark,
            model,
            pa.table(
                {"task": ["t"] * len(asked), "doc_id": asked, "correct": correct, "score": [float(c) for c in correct]}
            ),
            pa.table(
                {
                    "task": ["t"] * len(grades),
                    "doc_id": range(len(grades)),
                    "text": [chr(ord("a") + number) for number in range(len(grades))],
                    "category": ["t"] * len(grades),
                }
            ),
            {"fingerprint": "f", **metadata},
        )

    return write


@pytest.fixture
def files_of() -> Callable[[Lake], dict[str, bytes]]:
    """Every file of a lake but its lock: what must stay the same where nothing was to change."""

    def read(lake: Lake) -> dict[str, bytes]:
        found = (path for path in lake.root.rglob("*") if path.is_file() and path.name != ".lock")
        return {str(path.relative_to(lake.root)): path.read_bytes() for path in found}

    return read


@pytest.fixture
def answers_of() -> Callable[[Lake], set[tuple[str, str, str, bool]]]:
    """(benchmark, text, model, correct) of all responses in a lake."""

    def read(lake: Lake) -> set[tuple[str, str, str, bool]]:
        texts = {row["question_id"]: (row["benchmark"], row["text"]) for row in lake.questions().to_pylist()}
        return {(*texts[r["question_id"]], r["model"], r["correct"]) for r in lake.responses().to_pylist()}

    return read


@pytest.fixture
def python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a program in another process, which sees the repository."""

    def run(program: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", program, *map(str, arguments)],
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)} | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


KILLED_AT = """
import os, pathlib, signal, sys
renames = 0
rename = pathlib.Path.replace

def killing(self, target):
    global renames
    renames += 1
    if renames == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, target)

pathlib.Path.replace = killing
"""


@pytest.fixture
def killed_before_rename(python: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., bool]:
    """Runs a program that is killed before its n-th rename; True if it came that far."""

    def run(n: int, program: str, *arguments: object) -> bool:
        result = python(KILLED_AT + program, n, *arguments)
        assert result.returncode in (0, -9), result.stderr
        return result.returncode == -9

    return run
