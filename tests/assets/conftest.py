"""A home with literal answers in its lake, and an encoder that counts."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import dagster as dg
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from assets.embedding.embedder import embedder
from assets.embedding.question_embeddings import question_embeddings
from assets.inputs.workspace import Workspace
from assets.matrix.correctness_matrix import build_correctness_matrix
from harness.registry import BenchmarkEntry, ModelEntry, Registry
from pipelines.graph import build_resources
from warehouse.database.publish import TABLES, publish
from warehouse.lake.answers import SOURCES

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each of these fits an embedder or runs experiments; together they take a minute."""
    for item in items:
        if item.path.is_relative_to(HERE / "embedding") or item.path.is_relative_to(HERE / "evaluation"):
            item.add_marker(pytest.mark.slow)


class CountingEncoder:
    """Sees the digits and the length of a text, and remembers which texts it was given."""

    dimensions = 4
    window = 100

    def __init__(self, name: str = "counting@1") -> None:
        self.name = name
        self.seen: list[str] = []

    def encode(self, texts: Sequence[str], progress: bool = True) -> npt.NDArray[np.float32]:
        self.seen.extend(texts)
        rows = [
            [1, len(text) % 5, sum(map(int, filter(str.isdigit, text))) % 7, crc32(text.encode()) % 3] for text in texts
        ]
        vectors = np.array(rows, np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def count_long(self, texts: Sequence[str]) -> int:
        return sum(len(text) > self.window for text in texts)


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> CountingEncoder:
    counting = CountingEncoder()
    monkeypatch.setattr("assets.matrix.reading._encoder", lambda *_: counting)
    return counting


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(
        folder=tmp_path,
        models=(
            ModelEntry(name="elm", args={"pretrained": f"{tmp_path}/home/zoo/elm"}, family="leafy"),
            ModelEntry(name="org/oak", args={"pretrained": "org/oak"}),
        ),
        benchmarks=(
            BenchmarkEntry(name="sums", tasks=("sums",), metric="acc"),
            BenchmarkEntry(name="trees", tasks=("trees",), metric="acc"),
        ),
    )


@pytest.fixture
def workspace(tmp_path: Path, registry: Registry) -> Workspace:
    return Workspace(home=tmp_path / "home", registry=registry)


@pytest.fixture
def answer(workspace: Workspace) -> Callable[..., None]:
    def write(benchmark: str, model: str, grades: str, category: str | None = None, **metadata: str) -> None:
        """A model's grades (1, 0, or - for not asked) to questions 0, 1, 2, … of a benchmark, all of one category."""
        asked = [number for number, grade in enumerate(grades) if grade != "-"]
        correct = [grades[number] == "1" for number in asked]
        answers = pa.table(
            {
                "task": [benchmark] * len(asked),
                "doc_id": pa.array(asked, pa.int64()),
                "correct": correct,
                "score": [float(right) for right in correct],
            }
        )
        questions = pa.table(
            {
                "task": [benchmark] * len(grades),
                "doc_id": pa.array(range(len(grades)), pa.int64()),
                "text": [f"{benchmark}: what is number {number}?" for number in range(len(grades))],
                "category": [category or benchmark] * len(grades),
            }
        )
        # As if imported: answers to what the registry does not name would be set aside.
        sources = {SOURCES: '["made up"]'}
        workspace.lake.write_evaluation(benchmark, model, answers, questions, {**sources, **metadata})

    return write


@pytest.fixture(scope="session")
def instance() -> Iterator[dg.DagsterInstance]:
    """To make one takes a tenth of a second."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def materialize(workspace: Workspace, instance: dg.DagsterInstance) -> Callable[..., dict[str, Any]]:
    def run(*assets: dg.AssetsDefinition, workspace: Workspace = workspace) -> dict[str, Any]:
        """Makes the last of `assets` after the others, and publishes them; returns its metadata as plain values."""
        done = dg.materialize(assets, resources=build_resources(workspace), instance=instance)
        (event,) = done.asset_materializations_for_node(assets[-1].op.name)
        publish(workspace.lake, workspace.database, TABLES)
        version = (event.tags or {}).get("dagster/data_version")
        return {name: entry.value for name, entry in event.metadata.items()} | {"data_version": version}

    return run


@pytest.fixture
def fill(
    workspace: Workspace, made_once: Callable[..., Path], materialize: Callable[..., dict[str, Any]], encoder: Any
) -> Callable[..., Workspace]:
    def run(name: str, answer_all: Callable[[], None], *assets: dg.AssetsDefinition) -> Workspace:
        """The home with these answers and what is made of them up to `assets`; made once a registry, then copied."""
        models = crc32(repr([model.name for model in workspace.registry.models]).encode())

        def make(folder: Path) -> None:
            answer_all()
            materialize(build_correctness_matrix(workspace.registry), question_embeddings, *assets)
            shutil.copytree(workspace.home, folder / "home")

        made = made_once(f"home with {name} {models}", make)
        if not workspace.home.exists():
            shutil.copytree(made / "home", workspace.home)
        return workspace

    return run


@pytest.fixture
def answered(fill: Callable[..., Workspace], answer: Callable[..., None]) -> Workspace:
    """Elm is right about sums, oak about trees."""

    def answer_all() -> None:
        answer("sums", "elm", "1" * 30)
        answer("sums", "org/oak", "0" * 30)
        answer("trees", "elm", "01" * 20)
        answer("trees", "org/oak", "1" * 40)

    return fill("answered", answer_all)


@pytest.fixture
def guess(answer: Callable[..., None]) -> Callable[[], None]:
    def answer_all() -> None:
        """Three models are right by chance, one of them was not asked every question."""
        rng = np.random.default_rng(4)
        for benchmark, questions in (("sums", 120), ("trees", 150)):
            for model, share in (("ash", 0.3), ("elm", 0.5), ("org/oak", 0.8)):
                grades = "".join("1" if number < share else "0" for number in rng.random(questions))
                answer(benchmark, model, grades[:-60] + "-" * 60 if model == "ash" else grades)

    return answer_all


@pytest.fixture
def guessed(fill: Callable[..., Workspace], guess: Callable[[], None]) -> Workspace:
    """Up to the embedder."""
    return fill("guessed", guess, embedder)
