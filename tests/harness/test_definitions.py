"""Digests of task definitions, without lm-eval where nothing has changed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.definitions import LocalTasks
from harness.errors import TaskUnknown
from harness.registry import BenchmarkEntry
from harness.tasks import TaskIndex
from tests.harness.conftest import CAPITALS, CHOICE

BENCHMARK = BenchmarkEntry(name="capitals", tasks=("capitals",), metric="acc")
WORLD = BenchmarkEntry(name="world", tasks=("world",), metric="acc")


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that lm-eval has read."""
    read: list[Path] = []
    index = TaskIndex._index

    def watched(self: TaskIndex) -> Any:
        if self._manager is None:
            read.append(self._tasks_dir or Path())
        return index(self)

    monkeypatch.setattr(TaskIndex, "_index", watched)
    return read


def test_what_is_known_of_unchanged_files_is_what_lm_eval_would_say(
    tasks_dir: Path, tmp_path: Path, loads: list[Path]
) -> None:
    expected = [TaskIndex(tasks_dir).configs(benchmark) for benchmark in (BENCHMARK, WORLD)]
    loads.clear()
    first = LocalTasks(tasks_dir, tmp_path / "memory")
    assert [first.configs(benchmark) for benchmark in (BENCHMARK, WORLD, BENCHMARK)] == [*expected, expected[0]]
    assert len(loads) == 1

    second = LocalTasks(tasks_dir, tmp_path / "memory")  # as another process
    assert [second.configs(benchmark) for benchmark in (BENCHMARK, WORLD)] == expected
    assert len(loads) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "capitals.yaml").write_text(
            (folder / "capitals.yaml").read_text() + "description: x\n"
        ),
        lambda folder: (folder / "capitals.jsonl").write_text((folder / "capitals.jsonl").read_text() * 2),
    ],
)
def test_a_change_is_seen_and_only_where_it_is(tasks_dir: Path, tmp_path: Path, change: Callable[[Path], Any]) -> None:
    before = [LocalTasks(tasks_dir, tmp_path / "memory").configs(benchmark) for benchmark in (BENCHMARK, WORLD)]
    change(tasks_dir)
    after = [LocalTasks(tasks_dir, tmp_path / "memory").configs(benchmark) for benchmark in (BENCHMARK, WORLD)]

    assert after[0] != before[0]
    assert after[1] == before[1]


def test_data_outside_the_folder_are_looked_at_too(
    write_task: Callable[..., None], tmp_path: Path, loads: list[Path]
) -> None:
    (tmp_path / "tasks").mkdir()
    data = tmp_path / "elsewhere" / "part-1.jsonl"
    data.parent.mkdir()
    data.write_text(json.dumps(CAPITALS[0]) + "\n")
    files = {"data_files": {"train": str(data), "test": str(data.parent / "*.jsonl")}}
    write_task(tmp_path / "tasks", "capitals", CAPITALS, CHOICE | {"dataset_kwargs": files})

    def digest() -> str:
        return LocalTasks(tmp_path / "tasks", tmp_path / "memory").configs(BENCHMARK)["capitals"]

    first = digest()
    assert digest() == first
    data.write_text(json.dumps(CAPITALS[1]) + "\n")
    second = digest()
    (data.parent / "part-2.jsonl").write_text(json.dumps(CAPITALS[2]) + "\n")
    assert len({first, second, digest()}) == 3
    assert len(loads) == 3


def test_data_that_were_gone_and_are_back_are_what_they_were(write_task: Callable[..., None], tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    data = tmp_path / "data.jsonl"
    data.write_text(json.dumps(CAPITALS[0]) + "\n")
    files = {"data_files": {"train": str(data), "test": str(data)}}
    write_task(tmp_path / "tasks", "capitals", CAPITALS, CHOICE | {"dataset_kwargs": files})

    def digest() -> str:
        return LocalTasks(tmp_path / "tasks", tmp_path / "memory").configs(BENCHMARK)["capitals"]

    before = digest()
    data.rename(tmp_path / "away")
    assert digest() != before
    (tmp_path / "away").rename(data)
    assert digest() == before


def test_what_a_definition_includes_from_elsewhere_counts(tasks_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("include: further.yaml\n")
    (tmp_path / "further.yaml").write_text("description: one\n")
    path = tasks_dir / "capitals.yaml"
    path.write_text(path.read_text() + "include: ../base.yaml  # common to all\n")
    before = LocalTasks(tasks_dir, tmp_path / "memory").configs(BENCHMARK)
    (tmp_path / "further.yaml").write_text("description: two\n")
    assert LocalTasks(tasks_dir, tmp_path / "memory").configs(BENCHMARK) != before


def test_an_unknown_task_is_said_and_a_spoilt_memory_forgotten(tasks_dir: Path, tmp_path: Path) -> None:
    known = LocalTasks(tasks_dir, tmp_path / "memory").configs(BENCHMARK)
    (memory,) = (tmp_path / "memory").iterdir()
    memory.write_text("{torn")
    assert LocalTasks(tasks_dir, tmp_path / "memory").configs(BENCHMARK) == known
    with pytest.raises(TaskUnknown):
        LocalTasks(tasks_dir, tmp_path / "memory").configs(BENCHMARK.model_copy(update={"tasks": ("nowhere",)}))
