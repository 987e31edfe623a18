"""What still has to be asked: exactly the pairs whose answers are not there or no longer hold."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from assets.inputs.entries import ENTRY, attempt_digest, entry_digest
from assets.inputs.versions import record
from assets.inputs.workspace import Workspace
from harness.identity import weights_of
from harness.registry import ModelEntry, Registry, model_entry
from pipelines.automation.answers import Unanswered, can_ask, find_unanswered
from warehouse.lake import Failure

NOON = datetime(2026, 3, 5, 12, 0, tzinfo=UTC)
ALL = {"elm": ["sums", "trees"], "org/oak": ["sums", "trees"]}


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


def fail(workspace: Workspace, benchmark: str, model: str, kind: str, attempts: int) -> None:
    """As if the pair's last of so many evaluations, under the entry as it reads, had failed at noon."""
    entry = entry_digest(workspace.registry.model(model), workspace.registry.benchmark(benchmark), workspace)
    workspace.lake.write_failure(benchmark, model, Failure(kind, "so it is", attempts, entry, NOON))


def wanted(workspace: Workspace) -> dict[str, list[Unanswered]]:
    return find_unanswered(workspace) if can_ask(workspace) else {}


def wanted_now(workspace: Workspace) -> dict[str, list[str]]:
    """What is asked by itself: failures wait for the night."""
    found = {model: [one.benchmark for one in ones if one.is_due(None)] for model, ones in wanted(workspace).items()}
    return {model: benchmarks for model, benchmarks in found.items() if benchmarks}


def whys(workspace: Workspace) -> dict[str, list[str]]:
    return {model: [f"{want.benchmark}: {want.why}" for want in wants] for model, wants in wanted(workspace).items()}


def test_it_says_why(workspace: Workspace) -> None:
    fail(workspace, "sums", "elm", "out_of_memory", 1)
    assert [want.tell() for want in wanted(workspace)["elm"]] == [
        "sums: failed (out_of_memory, attempt 2)",
        "trees: new",
    ]


def test_everything_is_wanted_at_first_and_nothing_at_last(workspace: Workspace, answer: Callable[..., None]) -> None:
    assert wanted_now(workspace) == ALL
    elm = workspace.registry.models[0]
    for benchmark in workspace.registry.benchmarks:
        answer(benchmark.name, "elm", "10", **{ENTRY: entry_digest(elm, benchmark, workspace)})
    assert whys(workspace) == {"org/oak": ["sums: new", "trees: new"]}


def test_nothing_is_wanted_where_all_is_answered(complete: Workspace) -> None:
    assert wanted(complete) == {}


@pytest.mark.parametrize(
    "fields", [{"num_fewshot": 5}, {"metric": "acc_norm"}, {"filter": "strict"}, {"tasks": ("more_sums",)}]
)
def test_a_benchmark_asked_otherwise_is_asked_again(complete: Workspace, fields: dict[str, Any]) -> None:
    now = changed(complete, "benchmarks", "sums", **fields)
    assert whys(now) == {"elm": ["sums: changed"], "org/oak": ["sums: changed"]}
    assert wanted_now(now) == {"elm": ["sums"], "org/oak": ["sums"]}


@pytest.mark.parametrize(
    "fields",
    [
        {"args": {"pretrained": "org/oak2"}},
        {"backend": "vllm"},
        {"apply_chat_template": True},
        {"trust_remote_code": True},
    ],
)
def test_a_model_loaded_otherwise_is_asked_again(complete: Workspace, fields: dict[str, Any]) -> None:
    assert whys(changed(complete, "models", "org/oak", **fields)) == {"org/oak": ["sums: changed", "trees: changed"]}


def test_another_seed_asks_everything_again(complete: Workspace) -> None:
    assert wanted_now(replace(complete, seed=1)) == ALL


def test_what_does_not_determine_answers_changes_nothing(complete: Workspace) -> None:
    model = changed(complete, "models", "elm", family="x", communities=("y",), batch_size=3, description="z")
    assert wanted(changed(model, "benchmarks", "sums", covers=("sum_*",), description="w")) == {}


@pytest.mark.parametrize("name", ["moved", "umgezogen nach Köln"])
def test_a_home_may_be_moved(name: str, tmp_path: Path, registry: Registry) -> None:
    benchmark = registry.benchmarks[0]
    digests = set()
    for home in (tmp_path / "home", tmp_path / name):
        model = model_entry({"name": "elm", "args": {"pretrained": "{home}/zoo/elm"}}, home)
        digests.add(entry_digest(model, benchmark, Workspace(home=home, registry=registry)))
    assert len(digests) == 1


def test_imported_answers_hold(workspace: Workspace, answer: Callable[..., None]) -> None:
    answer("sums", "elm", "10")
    assert wanted_now(workspace) == {"elm": ["trees"], "org/oak": ["sums", "trees"]}


def test_a_failure_waits_until_its_entry_changes(workspace: Workspace) -> None:
    fail(workspace, "sums", "elm", "out_of_memory", 1)
    assert whys(workspace)["elm"] == ["sums: failed", "trees: new"]
    assert wanted_now(workspace)["elm"] == ["trees"]
    now = changed(workspace, "models", "elm", args={"pretrained": "org/small-elm"})
    assert whys(now)["elm"] == ["sums: new", "trees: new"]
    assert wanted_now(now) == ALL


def test_a_failure_to_answer_anew_waits_as_well(complete: Workspace) -> None:
    now = changed(complete, "benchmarks", "sums", num_fewshot=5)
    fail(now, "sums", "elm", "failed", 1)
    assert whys(now) == {"elm": ["sums: failed"], "org/oak": ["sums: changed"]}
    assert whys(complete) == {}  # the former entry's answers are still there


def test_what_an_entry_leaves_out_is_not_wanted(workspace: Workspace) -> None:
    assert wanted_now(changed(workspace, "models", "elm", benchmarks=("trees",))) == {
        "elm": ["trees"],
        "org/oak": ["sums", "trees"],
    }
    assert wanted_now(changed(workspace, "models", "org/oak", except_=("sums", "trees"))) == {"elm": ["sums", "trees"]}


def test_what_is_not_applicable_is_not_wanted_until_its_entry_changes(workspace: Workspace) -> None:
    fail(workspace, "sums", "elm", "not_applicable", 1)
    assert wanted_now(workspace)["elm"] == ["trees"]
    assert whys(workspace)["elm"] == ["trees: new"]
    assert whys(changed(workspace, "models", "elm", backend="vllm"))["elm"] == ["sums: new", "trees: new"]


def test_prompts_that_may_not_be_cut_are_asked_about_again(complete: Workspace) -> None:
    assert whys(changed(complete, "models", "elm", truncation="refuse")) == {"elm": ["sums: changed", "trees: changed"]}
    assert whys(changed(complete, "models", "elm", implausible_answers="accept")) == {}


def test_answers_that_are_accepted_now_are_asked_for_at_once(workspace: Workspace) -> None:
    fail(workspace, "sums", "elm", "implausible_answers", 1)
    assert wanted_now(workspace)["elm"] == ["trees"]
    accepting = changed(workspace, "models", "elm", implausible_answers="accept")
    assert wanted_now(accepting)["elm"] == ["sums", "trees"]


def put_weights(workspace: Workspace, content: str) -> None:
    folder = workspace.home / "zoo" / "elm"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(content)


def test_other_files_in_a_models_folder_are_asked_about(workspace: Workspace, answer: Callable[..., None]) -> None:
    put_weights(workspace, "first")
    elm = workspace.registry.model("elm")
    for benchmark in workspace.registry.benchmarks:
        known = {ENTRY: entry_digest(elm, benchmark, workspace), "weights": weights_of(elm), "fingerprint": "f"}
        answer(benchmark.name, "elm", "10", **known)
    assert "elm" not in wanted(workspace)
    put_weights(workspace, "second")
    assert [want.tell() for want in wanted(workspace)["elm"]] == [
        "sums: changed (args.pretrained holds other files)",
        "trees: changed (args.pretrained holds other files)",
    ]
    assert wanted_now(workspace)["elm"] == ["sums", "trees"]
    put_weights(workspace, "first")
    assert "elm" not in wanted(workspace)


def test_a_failure_is_tried_again_at_once_where_files_were_put_right(workspace: Workspace) -> None:
    put_weights(workspace, "spoilt")
    elm, sums = workspace.registry.model("elm"), workspace.registry.benchmark("sums")
    entry = attempt_digest(elm, sums, workspace)
    workspace.lake.write_failure("sums", "elm", Failure("model_incomplete", "so it is", 1, entry, NOON))
    assert wanted_now(workspace)["elm"] == ["trees"]
    put_weights(workspace, "mended")
    assert wanted_now(workspace)["elm"] == ["sums", "trees"]


def test_what_was_interrupted_is_asked_again_three_times(workspace: Workspace) -> None:
    for attempts, now in [(1, ["sums", "trees"]), (2, ["sums", "trees"]), (3, ["sums", "trees"]), (4, ["trees"])]:
        fail(workspace, "sums", "elm", "interrupted", attempts)
        assert wanted_now(workspace)["elm"] == now, attempts


@pytest.mark.parametrize(("attempts", "hours"), [(1, 12), (2, 24), (3, 48), (4, 96), (5, 168), (9, 168)])
def test_a_failure_is_due_when_its_back_off_is_over(workspace: Workspace, attempts: int, hours: int) -> None:
    fail(workspace, "sums", "elm", "failed", attempts)
    failed, new = wanted(workspace)["elm"]
    later = NOON + timedelta(hours=hours)
    assert (failed.is_due(later - timedelta(seconds=1)), failed.is_due(later)) == (False, True)
    assert failed.is_due(NOON - timedelta(days=1))  # the clock was set back
    assert new.is_due(NOON)


# --- the zoo's models, and those with a budget


def test_nothing_is_wanted_of_a_zoo_that_is_not_whole(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its manifest is there from the start of the training on."""
    zoo = replace(workspace, registry=replace(workspace.registry, made_by="zoo"))
    assert wanted(zoo) == {}
    zoo.zoo.mkdir(parents=True)
    (zoo.zoo / "manifest.json").write_text('{"recipe": "this one", "families": []}', encoding="utf-8")
    assert wanted(zoo) == {}
    monkeypatch.setattr("harness.zoo.is_built", lambda folder, seed: (folder, seed) == (zoo.zoo, 0))
    assert wanted_now(zoo) == ALL
    assert wanted(replace(zoo, seed=1)) == {}


def test_a_zoo_trained_otherwise_is_asked_again(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.zoo.is_built", lambda folder, seed: True)
    zoo = replace(workspace, registry=replace(workspace.registry, made_by="zoo"))
    zoo.zoo.mkdir(parents=True)
    elm, sums = zoo.registry.models[0], zoo.registry.benchmarks[0]
    digests = []
    for recipe in ("this one", "another"):
        (zoo.zoo / "manifest.json").write_text(f'{{"recipe": "{recipe}"}}', encoding="utf-8")
        digests.append(entry_digest(elm, sums, zoo))
    assert digests[0] != digests[1]


@pytest.fixture
def with_budget(complete: Workspace) -> Workspace:
    """Of three models, ash is to answer a few questions only."""
    ash = ModelEntry(name="ash", args={"pretrained": "org/ash"}, budget=8)
    return replace(complete, registry=replace(complete.registry, models=(*complete.registry.models, ash)))


def give_some(workspace: Workspace, benchmark: str, count: int, entry: str | None = None) -> None:
    """Ash answers the first questions of a benchmark."""
    ash, asked = workspace.registry.model("ash"), workspace.registry.benchmark(benchmark)
    texts = [f"{benchmark}: what is number {number}?" for number in range(10)]
    place = {"task": [benchmark] * 10, "doc_id": pa.array(range(10), pa.int64())}
    answers = pa.table({**place, "correct": [True] * 10, "score": [1.0] * 10}).slice(0, count)
    questions = pa.table({**place, "text": texts, "category": [benchmark] * 10})
    stamp = {ENTRY: entry or entry_digest(ash, asked, workspace), "fingerprint": str(entry)}
    workspace.lake.write_onboarding(benchmark, "ash", answers, questions, stamp)


def test_without_an_embedder_nothing_tells_which_questions_are_telling(with_budget: Workspace) -> None:
    assert wanted(with_budget) == {}
    record(with_budget.lake, {"embedder": "first", "held_back": False})
    assert wanted_now(with_budget) == {"ash": ["sums", "trees"]}


def test_a_model_is_asked_until_its_budget_is_answered(with_budget: Workspace) -> None:
    record(with_budget.lake, {"embedder": "first", "held_back": False})
    give_some(with_budget, "sums", 5)
    assert wanted_now(with_budget) == {"ash": ["sums", "trees"]}
    give_some(with_budget, "trees", 3)
    assert wanted(with_budget) == {}
    assert wanted_now(changed(with_budget, "models", "ash", budget=9)) == {"ash": ["sums", "trees"]}
    assert wanted(changed(with_budget, "models", "ash", budget=None))["ash"][0].why == "new"


def test_few_answers_under_another_entry_do_not_count(with_budget: Workspace) -> None:
    record(with_budget.lake, {"embedder": "first", "held_back": False})
    give_some(with_budget, "sums", 9, entry="of before")
    assert wanted_now(with_budget) == {"ash": ["sums", "trees"]}


def test_a_model_evaluated_in_full_is_not_asked_a_few(with_budget: Workspace, answer: Callable[..., None]) -> None:
    record(with_budget.lake, {"embedder": "first", "held_back": False})
    answer("sums", "ash", "10", **{ENTRY: "of before"})
    assert wanted(with_budget) == {}
