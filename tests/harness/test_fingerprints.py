"""What has changed on this machine since answers were given."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.evaluate import LoadedModel, TaskIndex, evaluate, fingerprint
from harness.fingerprints import find_change
from harness.identity import determining_args, input_versions, local_versions, weights_of
from harness.registry import BenchmarkEntry, ModelEntry

CAPITALS = BenchmarkEntry(name="capitals", tasks=("capitals",), metric="acc")
TASK = "its task definition, its code or its data"


def change(known: Mapping[str, str], entry: ModelEntry, configs: Mapping[str, Any] | None) -> str | None:
    return find_change(known, entry, CAPITALS, versions=local_versions(entry), configs=configs, seed=0)


@pytest.fixture
def folder(model_dir: Path, tmp_path: Path) -> Path:
    return shutil.copytree(model_dir, tmp_path / "model")


@pytest.fixture
def entry(folder: Path) -> ModelEntry:
    return ModelEntry(name="tiny", args={"pretrained": str(folder)})


@pytest.fixture
def known(entry: ModelEntry, tasks_dir: Path, tmp_path: Path) -> dict[str, str]:
    return evaluate(LoadedModel(entry, device="cpu", cache_dir=tmp_path), CAPITALS, TaskIndex(tasks_dir)).metadata


@pytest.fixture(params=["now", "before"])
def noted(request: pytest.FixtureRequest, known: dict[str, str]) -> dict[str, str]:
    """The metadata of answers, as they are written now, and as a version before wrote them."""
    if request.param == "now":
        return known
    return {name: value for name, value in known.items() if name not in ("inputs", "tasks", "asked", "unanswered")}


def test_nothing_has_changed(noted: dict[str, str], entry: ModelEntry, tasks_dir: Path) -> None:
    configs = TaskIndex(tasks_dir).configs(CAPITALS)
    assert change(noted, entry, configs) is None
    assert noted["fingerprint"] == fingerprint(entry, CAPITALS, TaskIndex(tasks_dir))


def test_other_weights_in_the_same_folder(
    noted: dict[str, str], entry: ModelEntry, folder: Path, tasks_dir: Path, save_model: Callable[..., None]
) -> None:
    save_model(folder, seed=3)
    configs = TaskIndex(tasks_dir).configs(CAPITALS)
    assert change(noted, entry, configs) == "args.pretrained holds other files"
    assert change(noted, entry, None) == "args.pretrained holds other files"


def test_another_task(noted: dict[str, str], entry: ModelEntry, tasks_dir: Path) -> None:
    (tasks_dir / "capitals.jsonl").write_text((tasks_dir / "capitals.jsonl").read_text() * 2)
    assert change(noted, entry, TaskIndex(tasks_dir).configs(CAPITALS)) == TASK
    assert change(noted, entry, None) is None  # not to be compared


def test_a_tokenizer_of_its_own_counts(folder: Path, model_dir: Path, tasks_dir: Path, tmp_path: Path) -> None:
    entry = ModelEntry(name="tiny", args={"pretrained": str(model_dir), "tokenizer": str(folder)})
    model = LoadedModel(entry, device="cpu", cache_dir=tmp_path)
    known = evaluate(model, CAPITALS, TaskIndex(tasks_dir)).metadata
    tokenizer = folder / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text().replace('"Rome"', '"Roma"'))
    assert change(known, entry, None) == "args.tokenizer holds other files"


def test_the_tokenizer_of_a_served_model_counts(folder: Path) -> None:
    args = {"base_url": "http://localhost:8000/v1/completions", "model": "m", "tokenizer": str(folder)}
    entry = ModelEntry(name="m", backend="local-completions", args=args)
    known = {"inputs": json.dumps(input_versions(entry)), "weights": weights_of(entry), "fingerprint": "f"}
    before = determining_args(entry)
    assert change(known, entry, None) is None
    assert change({"weights": weights_of(entry)}, entry, None) is None  # as a version before wrote it
    tokenizer = folder / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text().replace('"Rome"', '"Roma"'))
    assert change(known, entry, None) == "args.tokenizer holds other files"
    assert determining_args(entry) != before


@pytest.mark.parametrize(
    "fields",
    [
        {"args": {"pretrained": "org/on-the-hub"}},
        {"args": {"base_url": "http://localhost:8000/v1/completions", "model": "m"}, "backend": "local-completions"},
    ],
)
def test_what_lies_elsewhere_is_not_looked_at(fields: dict[str, Any], tasks_dir: Path) -> None:
    entry = ModelEntry(name="m", **fields)
    known = {"fingerprint": "f", "weights": "hub org/on-the-hub@c0ffee", "harness_version": "lm_eval 0.4.13"}
    assert change(known, entry, {"capitals": "another"}) is None
    assert change({**known, "tasks": "what they were"}, entry, {"capitals": "another"}) == TASK


def test_imported_answers_hold(entry: ModelEntry, tasks_dir: Path) -> None:
    assert change({"rows": "2"}, entry, TaskIndex(tasks_dir).configs(CAPITALS)) is None
