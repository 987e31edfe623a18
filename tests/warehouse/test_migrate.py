"""A lake of files, as they were written before the lake was one of Delta tables."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from warehouse.errors import CorruptFileError
from warehouse.lake import Lake
from warehouse.lake.migrate import is_of_files, kept_at, migrate
from warehouse.lake.questions import question_ids

TEXTS = ["a", "b", "c"]
IDS = question_ids("sums", TEXTS)
NOON = "2026-03-01T12:00:00+00:00"


def write(path: Path, columns: dict[str, Any], **metadata: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path, write_page_checksum=True)


def write_answers(path: Path, grades: str, model: str, *, sources: str = '["evaluation"]', **metadata: str) -> None:
    correct = [grade == "1" for grade in grades]
    columns = {
        "question_id": IDS[: len(grades)],
        "correct": correct,
        "score": [float(right) for right in correct],
        "doc_id": list(range(len(grades))),
        "task": ["t"] * len(grades),
    }
    known = {
        "benchmark": "sums",
        "model": model,
        "rows": str(len(grades)),
        "accuracy": repr(sum(correct) / len(grades)),
    }
    write(path, columns, **known, sources=sources, **metadata)


@pytest.fixture
def of_files(tmp_path: Path) -> Path:
    folder = tmp_path / "lake"
    questions = {
        "question_id": IDS,
        "category": ["c"] * 3,
        "task": ["t"] * 3,
        "doc_id": [0, 1, 2],
        "text": TEXTS,
        "split": ["train", "val", "test"],
        "source": ["evaluation"] * 3,
        "split_source": pa.array([None] * 3, pa.string()),
    }
    write(folder / "questions" / "benchmark=sums" / "part.parquet", questions)
    pairs = folder / "responses" / "benchmark=sums"
    write_answers(pairs / "model=org%2Foak" / "part.parquet", "101", "org/oak", fingerprint="f2", registry_entry="e2")
    write_answers(pairs / "model=ash" / "part.parquet", "01", "ash", sources='["ash.csv"]')
    failure = {"kind": "out_of_memory", "reason": "it is large", "attempts": 3, "entry": "e3", "failed_at": NOON}
    (pairs / "model=elm").mkdir()
    (pairs / "model=elm" / "failure.json").write_text(json.dumps(failure))
    aside = folder / "superseded" / "benchmark=sums" / "model=org%2Foak" / "0123456789ab.parquet"
    write_answers(aside, "000", "org/oak", fingerprint="f1", superseded_at=NOON, superseded_why="Other weights.")
    write_answers(folder / "onboarding" / "benchmark=sums" / "model=fir" / "part.parquet", "1", "fir", fingerprint="f4")
    record = {
        "source": ["ash.csv"],
        "split": [None],
        "labels": ["labels.csv"],
        "digest": ["d"],
        "rows": [2],
        "duplicates": [0],
        "models": [1],
        "questions": [2],
        "benchmarks": [["sums"]],
        "imported_at": pa.array([1_770_000_000_000_000], pa.timestamp("us")),
    }
    write(folder / "imports" / "0f.parquet", record)
    write(folder / "imported_models" / "0f.parquet", {"model": ["ash"], "size_b": [7.0]})
    write(folder / "forecasts" / "spectral-1.parquet", {"embedder": ["spectral-1"], "accuracy": [0.5]})
    return folder


def test_all_that_it_held_is_there(of_files: Path) -> None:
    assert is_of_files(of_files)
    assert migrate(of_files) == kept_at(of_files) == of_files.with_name("lake.of-files")
    assert not is_of_files(of_files)
    lake = Lake(of_files)
    assert lake.pairs() == [("sums", "ash"), ("sums", "org/oak")]
    assert lake.responses().select(["question_id", "model", "correct"]).to_pylist() == [
        {"question_id": IDS[0], "model": "ash", "correct": False},
        {"question_id": IDS[1], "model": "ash", "correct": True},
        {"question_id": IDS[0], "model": "org/oak", "correct": True},
        {"question_id": IDS[1], "model": "org/oak", "correct": False},
        {"question_id": IDS[2], "model": "org/oak", "correct": True},
    ]
    assert lake.questions().select(["text", "split", "target"]).to_pylist() == [
        {"text": "a", "split": "train", "target": None},
        {"text": "b", "split": "val", "target": None},
        {"text": "c", "split": "test", "target": None},
    ]
    metadata = lake.response_metadata("sums", "org/oak") or {}
    assert (metadata["fingerprint"], metadata["registry_entry"], metadata["rows"]) == ("f2", "e2", "3")
    failure = lake.failure("sums", "elm")
    assert failure is not None
    assert (failure.kind, failure.reason, failure.attempts, failure.entry) == ("out_of_memory", "it is large", 3, "e3")
    assert failure.failed_at == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert lake.onboarded_models() == ["fir"]
    [imported] = lake.imports()
    assert (imported["source"], imported["digest"], imported["benchmarks"]) == ("ash.csv", "d", ["sums"])
    labels = lake.labels()
    assert labels is not None
    assert labels.to_pylist() == [{"model": "ash", "size_b": 7.0}]
    forecasts = lake.read_table("forecasts", "spectral-1")
    assert forecasts is not None
    assert forecasts.to_pylist() == [{"embedder": "spectral-1", "accuracy": 0.5}]
    assert lake.check() == []


def test_superseded_answers_come_back(of_files: Path) -> None:
    migrate(of_files)
    lake = Lake(of_files)
    [aside] = lake.superseded().to_pylist()
    assert (aside["why"], aside["n"], aside["accuracy"]) == ("Other weights.", 3, 0.0)
    assert aside["superseded_at"].isoformat() == "2026-03-01T12:00:00"
    assert lake.restore("sums", "org/oak", "f1")
    assert lake.responses()["correct"].to_pylist() == [False, True, False, False, False]


def test_it_is_brought_over_once(of_files: Path) -> None:
    migrate(of_files)
    state = Lake(of_files).state()
    assert migrate(of_files) is None
    assert Lake(of_files).state() == state
    assert (kept_at(of_files) / "responses" / "benchmark=sums" / "model=ash" / "part.parquet").exists()


def test_a_damaged_file_is_named_and_nothing_changes(of_files: Path) -> None:
    damaged = of_files / "responses" / "benchmark=sums" / "model=ash" / "part.parquet"
    damaged.write_bytes(b"no Parquet")
    with pytest.raises(CorruptFileError, match=r"model=ash/part\.parquet"):
        migrate(of_files)
    assert is_of_files(of_files)
    damaged.unlink()
    assert migrate(of_files) is not None
    assert Lake(of_files).pairs() == [("sums", "org/oak")]


def test_a_killed_migration_begins_again(of_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename, calls = Path.rename, []

    def killed(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == 2:  # the old lake is away, the new one not yet in its place
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        migrate(of_files)
    assert not of_files.exists()
    assert is_of_files(of_files)
    assert migrate(of_files) == kept_at(of_files)
    assert Lake(of_files).pairs() == [("sums", "ash"), ("sums", "org/oak")]
