"""What still has to be asked: exactly the pairs whose answers are not there or no longer hold."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from assets.responses import ENTRY, entry_digest, pending
from assets.workspace import Workspace
from harness.entries import ModelEntry, Registry


@pytest.fixture
def complete(workspace: Workspace, answer: Callable[..., None]) -> Workspace:
    for model in workspace.registry.models:
        for benchmark in workspace.registry.benchmarks:
            answer(benchmark.name, model.name, "10", **{ENTRY: entry_digest(model, benchmark, workspace)})
    return workspace


def changed(workspace: Workspace, kind: str, name: str, **fields: Any) -> Workspace:
    """The workspace with other fields in one entry of the registry."""
    entries = [
        entry.model_copy(update=fields) if entry.name == name else entry for entry in getattr(workspace.registry, kind)
    ]
    return replace(workspace, registry=replace(workspace.registry, **{kind: tuple(entries)}))


def test_everything_is_pending_at_first_and_nothing_at_last(workspace: Workspace, answer: Callable[..., None]) -> None:
    assert pending(workspace) == {"elm": ["sums", "trees"], "org/oak": ["sums", "trees"]}
    elm = workspace.registry.models[0]
    for benchmark in workspace.registry.benchmarks:
        answer(benchmark.name, "elm", "10", **{ENTRY: entry_digest(elm, benchmark, workspace)})
    assert pending(workspace) == {"org/oak": ["sums", "trees"]}


def test_nothing_is_pending_where_all_is_answered(complete: Workspace) -> None:
    assert pending(complete) == {}


def test_a_benchmark_asked_otherwise_is_asked_again(complete: Workspace) -> None:
    for fields in ({"num_fewshot": 5}, {"metric": "acc_norm"}, {"filter": "strict"}, {"tasks": ("more_sums",)}):
        assert pending(changed(complete, "benchmarks", "sums", **fields)) == {"elm": ["sums"], "org/oak": ["sums"]}


def test_a_model_loaded_otherwise_is_asked_again(complete: Workspace) -> None:
    for fields in ({"args": {"pretrained": "org/oak2"}}, {"backend": "vllm"}, {"apply_chat_template": True}):
        assert pending(changed(complete, "models", "org/oak", **fields)) == {"org/oak": ["sums", "trees"]}


def test_another_seed_asks_everything_again(complete: Workspace) -> None:
    assert len(pending(replace(complete, seed=1))) == 2


def test_what_does_not_determine_answers_changes_nothing(complete: Workspace) -> None:
    model = changed(complete, "models", "elm", family="x", communities=("y",), batch_size=3, description="z")
    assert pending(changed(model, "benchmarks", "sums", covers=("sum_*",), description="w")) == {}


@pytest.mark.parametrize("name", ["moved", "umgezogen nach Köln"])
def test_a_home_may_be_moved(name: str, tmp_path: Path, registry: Registry) -> None:
    benchmark = registry.benchmarks[0]
    digests = set()
    for home in (tmp_path / "home", tmp_path / name):
        model = ModelEntry(name="elm", args={"pretrained": f"{home}/zoo/elm"})
        digests.add(entry_digest(model, benchmark, Workspace(home=home, registry=registry)))
    assert len(digests) == 1


def test_imported_answers_hold(workspace: Workspace, answer: Callable[..., None]) -> None:
    answer("sums", "elm", "10")
    assert pending(workspace) == {"elm": ["trees"], "org/oak": ["sums", "trees"]}


def test_a_failed_pair_is_tried_again(complete: Workspace) -> None:
    complete.lake.responses_path("sums", "elm").unlink()
    complete.lake.record_failure("sums", "elm", "out_of_memory", "too large")
    assert pending(complete) == {"elm": ["sums"]}
