"""Tiny lakes and tiny published results, and a way to kill a process at a chosen moment."""

import csv
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from warehouse.imports.ingest import import_results
from warehouse.lake import Lake, upkeep

REPOSITORY = Path(__file__).parents[2]
HEADER = ("prompt_id", "model_id", "category_id", "label", "model_name", "category", "prompt")

# One request at a time: moto looks whether a file is there and writes it in two steps, S3 does in one.
SERVER = """
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app))
print(server.port, flush=True)
server.serve_forever()
"""

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

    def write(lake: Lake, benchmark: str, model: str, grades: Mapping[str, int], source: str = "") -> None:
        rows = [(number, model, grade, benchmark, text) for number, (text, grade) in enumerate(grades.items())]
        path = published(rows, f"{source or f'{benchmark} of {model}'}.csv")
        import_results(lake, str(path), benchmark_of=str)

    return write


def _graded(grades: str, questions: int, **known: object) -> tuple[pa.Table, pa.Table]:
    """Answers (1, 0, or - for not asked; in `known` what else is known of all) and the questions a, b, c, …"""
    asked = [number for number, grade in enumerate(grades) if grade != "-"]
    correct = [grades[number] == "1" for number in asked]
    more = {name: [value] * len(asked) for name, value in known.items()}
    answers = {"task": ["t"] * len(asked), "doc_id": asked, "correct": correct, "score": [float(c) for c in correct]}
    texts = [chr(ord("a") + number) for number in range(questions)]
    asking = {"task": ["t"] * questions, "doc_id": range(questions), "text": texts, "category": ["t"] * questions}
    return pa.table(answers | more), pa.table(asking)


@pytest.fixture(scope="session")
def evaluated() -> Callable[..., None]:
    """Writes a model's grades (1, 0, or - for not asked) to the questions a, b, c, … of a benchmark."""

    def write(
        lake: Lake, benchmark: str, model: str, grades: str, known: Mapping[str, object] | None = None, **metadata: str
    ) -> None:
        answers, questions = _graded(grades, len(grades), **(known or {}))
        lake.write_evaluation(benchmark, model, answers, questions, {"fingerprint": "f", **metadata})

    return write


@pytest.fixture(scope="session")
def asked_few() -> Callable[..., None]:
    """Writes a model's onboarding answers to some of the three questions of a benchmark."""

    def write(lake: Lake, benchmark: str, model: str, grades: str, **metadata: str) -> None:
        lake.write_onboarding(benchmark, model, *_graded(grades, 3), {"fingerprint": "f", **metadata})

    return write


@pytest.fixture
def versions_of() -> Callable[[Lake], dict[str, int]]:
    """The version of every table of a lake: what must stay the same where nothing was to change."""

    def read(lake: Lake) -> dict[str, int]:
        return {name: DeltaTable(lake.tables.at(name)).version() for name in lake.tables.names()}

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


class Killed(BaseException):
    pass


@pytest.fixture
def cut_off_before() -> Callable[..., bool]:
    """Runs a step that reaches the disk no more from its n-th commit to a table, or rename, on: as if the process were
    killed there, without the second that another process takes. True if it came that far."""

    def run(n: int, step: Callable[[], object]) -> bool:
        steps = 0

        def counted(write: Callable[..., object]) -> Callable[..., object]:
            def count(*arguments: object, **options: object) -> object:
                nonlocal steps
                steps += 1
                if steps >= n:
                    raise Killed
                return write(*arguments, **options)

            return count

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("deltalake.write_deltalake", counted(write_deltalake))
            patch.setattr(Path, "replace", counted(Path.replace))
            patch.setattr(upkeep, "_move_aside", counted(upkeep._move_aside))
            try:
                step()
            except Killed:
                return True
        return False

    return run


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """Address of an S3 of our own; in another process, as delta-rs keeps this one's threads waiting while it asks."""
    pytest.importorskip("moto.server", reason="the extra `dev` is not installed: there is no S3 to write to")
    command = [sys.executable, "-c", SERVER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.kill()  # SIGTERM may be ignored: a child inherits that


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """Address of a bucket of this test's own, which this process and its children can write to."""
    settings = {
        "AWS_ENDPOINT_URL": server,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    name = f"bucket-{abs(hash(request.node.name))}"
    urllib.request.urlopen(urllib.request.Request(f"{server}/{name}", method="PUT"), timeout=30).close()
    return f"s3://{name}"
