"""The zoo's benchmarks as files that lm-eval reads."""

import json
from collections import Counter
from pathlib import Path

import pytest
import yaml

from harness.zoo.skills import SKILLS
from harness.zoo.tasks import write_tasks


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zoo") / "tasks"
    write_tasks(folder, seed=0)
    return folder


def rows(folder: Path, skill: str) -> list[dict]:
    return [json.loads(line) for line in (folder / f"{skill}.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("skill", SKILLS)
def test_a_row_holds_all_that_lm_eval_asks_for(folder: Path, skill: str) -> None:
    for row in rows(folder, skill):
        assert row["prompt"] == row["question"] + "\nAnswer:"
        assert len(set(row["choices"])) == 4
        assert row["label"] in range(4)


@pytest.mark.parametrize("skill", SKILLS)
def test_the_right_answer_stands_in_each_place_equally_often(folder: Path, skill: str) -> None:
    assert sorted(Counter(row["label"] for row in rows(folder, skill)).values()) == [52, 52, 53, 53]


def test_one_row_in_full(folder: Path) -> None:
    row = next(row for row in rows(folder, "addition") if row["question"].startswith("What is"))
    a, b = (int(word) for word in row["question"].removesuffix("?").split() if word.isdigit())
    assert row["choices"][row["label"]] == str(a + b)


def test_lm_eval_finds_and_loads_the_tasks(folder: Path) -> None:
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(folder), include_defaults=False)
    assert sorted(manager.all_subtasks) == sorted(f"zoo_{skill}" for skill in SKILLS)
    task = manager.load(["zoo_roman"])["tasks"]["zoo_roman"]
    first = rows(folder, "roman")[0]
    document = next(iter(task.test_docs()))
    assert task.doc_to_text(document) == first["prompt"]
    assert task.doc_to_choice(document) == first["choices"]
    assert task.doc_to_target(document) == first["label"]


def test_a_second_call_touches_nothing(folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    write_tasks(folder, seed=0)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_another_seed_writes_other_questions(folder: Path, tmp_path: Path) -> None:
    write_tasks(tmp_path, seed=1)
    assert rows(tmp_path, "code") != rows(folder, "code")


def test_a_moved_folder_is_mended(tmp_path: Path) -> None:
    write_tasks(tmp_path / "before", seed=0)
    moved = (tmp_path / "before").rename(tmp_path / "after")
    write_tasks(moved, seed=0)
    config = yaml.safe_load((moved / "code.yaml").read_text(encoding="utf-8"))
    assert config["dataset_kwargs"] == {"data_files": {"test": str(moved / "code.jsonl")}}


def test_a_relative_folder_is_written_as_an_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_tasks(Path("tasks"), seed=0)
    config = yaml.safe_load(Path("tasks/code.yaml").read_text(encoding="utf-8"))
    assert config["dataset_kwargs"] == {"data_files": {"test": str(tmp_path / "tasks" / "code.jsonl")}}
