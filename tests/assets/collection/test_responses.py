"""How a model is asked: what is taken as it is, what is kept aside, and what is remembered of failures."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
import pytest

from assets.collection.responses import AGAIN, build_responses
from assets.embedding.select_questions import Asked, CannotOnboard
from assets.inputs.entries import ENTRY, entry_digest
from assets.inputs.partitions import MODELS_PARTITION, responses_key
from assets.inputs.workspace import Workspace
from harness.errors import ModelNotFound
from harness.registry import Registry
from tests.pipelines.fake_home import FakeHarness

BOTH = ("sums", "trees")


class Done(NamedTuple):
    """One run: whether it succeeded, what it says of each benchmark, and why it failed."""

    success: bool
    made: dict[str, dict[str, Any]]
    why: str


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> FakeHarness:
    fake = FakeHarness()
    fake.install(monkeypatch)
    return fake


@pytest.fixture
def workspace(workspace: Workspace) -> Workspace:
    own_tasks = replace(workspace.registry, tasks_dir=workspace.home / "tasks")
    return replace(workspace, registry=own_tasks, device="cpu")


@pytest.fixture
def run(workspace: Workspace, harness: FakeHarness) -> Callable[..., Done]:
    def run(
        model: str = "elm",
        benchmarks: tuple[str, ...] = BOTH,
        registry: Registry | None = None,
        *,
        again: bool = False,
        keep_answers: bool = True,
    ) -> Done:
        at = replace(workspace, registry=registry or workspace.registry, keep_answers=keep_answers)
        with dg.DagsterInstance.ephemeral() as instance:
            instance.add_dynamic_partitions(MODELS_PARTITION, [model])
            done = dg.materialize(
                [build_responses(at.registry)],
                instance=instance,
                partition_key=model,
                resources={"workspace": at},
                selection=[responses_key(benchmark) for benchmark in benchmarks],
                tags={AGAIN: "true"} if again else None,
                raise_on_error=False,
            )
            made = {event.asset_key.path[-1]: event for event in _materializations(done)}
            errors = [event.step_failure_data.error for event in done.all_events if event.is_step_failure]
        return Done(
            done.success,
            {
                name: {key: value.value for key, value in event.metadata.items()}
                | {"data_version": (event.tags or {})["dagster/data_version"]}
                for name, event in made.items()
            },
            " ".join(error.message for error in errors if error),
        )

    return run


def _materializations(done: dg.ExecuteInProcessResult) -> list[dg.AssetMaterialization]:
    return list(done.asset_materializations_for_node("evaluate_model"))


def changed(registry: Registry, **fields: Any) -> Registry:
    """With other fields in elm's entry."""
    elm, oak = registry.models
    return replace(registry, models=(elm.model_copy(update=fields), oak))


def failures(workspace: Workspace) -> dict[str, tuple[str, str, int]]:
    """By "model benchmark": kind, reason, attempts."""
    rows = workspace.lake.failures().to_pylist()
    return {f"{r['model']} {r['benchmark']}": (r["kind"], r["reason"], r["attempts"]) for r in rows}


def test_what_a_model_answers_reaches_the_lake(run: Callable[..., Done], workspace: Workspace) -> None:
    done = run()
    assert done.success
    assert set(done.made) == {"sums", "trees"}
    elm, sums = workspace.registry.models[0], workspace.registry.benchmarks[0]
    stored = workspace.lake.response_metadata("sums", "elm")
    assert stored
    assert stored[ENTRY] == entry_digest(elm, sums, workspace)
    said = done.made["sums"]
    assert said["data_version"] == stored["fingerprint"]
    assert (said["reused"], said["dagster/partition_row_count"]) == (False, 4)
    assert said["accuracy"] == float(stored["accuracy"])
    assert failures(workspace) == {}


def test_what_was_said_is_kept_unless_told_otherwise_and_nothing_is_asked_again_for_it(
    run: Callable[..., Done], harness: FakeHarness
) -> None:
    first = run("elm", ("sums",), keep_answers=False)
    second = run("elm")
    assert dict(zip(harness.asked, harness.kept_answers, strict=True)) == {"elm sums": False, "elm trees": True}
    assert second.made["sums"]["reused"]
    assert second.made["sums"]["data_version"] == first.made["sums"]["data_version"]


def test_only_what_was_selected_is_asked(run: Callable[..., Done], harness: FakeHarness) -> None:
    assert set(run("org/oak", ("trees",)).made) == {"trees"}
    assert harness.asked == ["org/oak trees"]


def test_answers_that_hold_are_not_asked_for_again(run: Callable[..., Done], harness: FakeHarness) -> None:
    first, second = run(), run()
    assert harness.asked == ["elm sums", "elm trees"]
    assert [second.made[name]["reused"] for name in BOTH] == [True, True]
    assert first.made["sums"]["data_version"] == second.made["sums"]["data_version"]


def test_answers_to_a_changed_entry_take_the_place_of_the_others(
    run: Callable[..., Done], workspace: Workspace, harness: FakeHarness
) -> None:
    run()
    second = changed(workspace.registry, args={"pretrained": "org/elm", "revision": "v2"})
    assert run(registry=second).success
    assert harness.asked == ["elm sums", "elm trees"] * 2
    aside = workspace.lake.superseded().to_pylist()
    assert [(row["benchmark"], row["model"], row["n"]) for row in aside] == [("sums", "elm", 4), ("trees", "elm", 4)]
    assert {row["why"] for row in aside} == {"its registry entry, its weights or its task have changed"}
    assert run().made["sums"]["reused"]  # those of before hold again
    assert harness.asked == ["elm sums", "elm trees"] * 2
    assert {row["fingerprint"].split("'revision': ")[1][:4] for row in workspace.lake.superseded().to_pylist()} == {
        "'v2'"
    }


def test_other_weights_under_the_same_entry(
    run: Callable[..., Done], workspace: Workspace, harness: FakeHarness
) -> None:
    run(benchmarks=("sums",))
    harness.weights["elm"] = "trained once more"
    assert not run(benchmarks=("sums",)).made["sums"]["reused"]
    assert len(workspace.lake.superseded()) == 1


def test_an_entry_that_only_reads_differently(
    run: Callable[..., Done], workspace: Workspace, harness: FakeHarness
) -> None:
    """Its answers hold, and are known to from then on."""
    run()
    trusted = changed(workspace.registry, trust_remote_code=True)
    assert run(registry=trusted).made["sums"]["reused"]
    assert harness.asked == ["elm sums", "elm trees"]
    assert len(workspace.lake.superseded()) == 0
    stored = workspace.lake.response_metadata("sums", "elm")
    assert stored
    assert stored[ENTRY] == entry_digest(trusted.models[0], trusted.benchmarks[0], workspace)


def test_imported_answers_that_are_asked_for_make_place(
    run: Callable[..., Done], workspace: Workspace, answer: Callable[..., None], harness: FakeHarness
) -> None:
    answer("sums", "elm", "1111111")
    assert run(benchmarks=("sums",)).made["sums"]["dagster/partition_row_count"] == 4
    assert harness.asked == ["elm sums"]
    assert [row["n"] for row in workspace.lake.superseded().to_pylist()] == [7]


def test_asked_again_whatever_holds(run: Callable[..., Done], workspace: Workspace, harness: FakeHarness) -> None:
    run()
    done = run(benchmarks=("sums",), again=True)
    assert done.success
    assert not done.made["sums"]["reused"]
    assert harness.asked == ["elm sums", "elm trees", "elm sums"]
    assert len(workspace.lake.superseded()) == 0  # they were the same answers


def test_answers_stay_in_force_where_asking_again_fails(
    run: Callable[..., Done], workspace: Workspace, harness: FakeHarness
) -> None:
    run()
    harness.broken = {"elm"}
    assert not run(again=True).success
    assert len(workspace.lake.pairs()) == 2


def test_answers_stay_in_force_where_the_questions_cannot_be_read(
    run: Callable[..., Done], workspace: Workspace, harness: FakeHarness
) -> None:
    run()
    harness.weights["elm"] = "other"
    harness.unreadable = {"sums"}
    assert set(run().made) == {"trees"}
    assert failures(workspace)["elm sums"][0] == "data_unreachable"
    assert ("sums", "elm") in workspace.lake.pairs()


def test_answers_stay_in_force_where_the_model_cannot_be_loaded(
    run: Callable[..., Done], workspace: Workspace, harness: FakeHarness
) -> None:
    run()
    harness.weights["elm"] = "other"
    harness.gone = {"elm"}
    assert run().made == {}
    assert {pair: kind for pair, (kind, *_) in failures(workspace).items()} == {
        "elm sums": "model_not_found",
        "elm trees": "model_not_found",
    }
    assert len(workspace.lake.pairs()) == 2


def test_what_an_entry_leaves_out_is_not_asked(
    run: Callable[..., Done], workspace: Workspace, harness: FakeHarness
) -> None:
    done = run(registry=changed(workspace.registry, except_=("sums",)))
    assert (done.success, set(done.made)) == (True, {"trees"})
    assert harness.asked == ["elm trees"]


def test_what_cannot_be_asked_is_no_failure(
    run: Callable[..., Done], workspace: Workspace, harness: FakeHarness
) -> None:
    harness.cannot = {"elm sums"}
    done = run()
    assert (done.success, set(done.made)) == (True, {"trees"})
    assert failures(workspace) == {}
    assert workspace.lake.not_applicable().to_pylist() == [
        {"benchmark": "sums", "model": "elm", "reason": "a chat server cannot"}
    ]
    harness.cannot = set()
    assert run().success  # asked for by hand
    assert workspace.lake.not_applicable().num_rows == 0


# --- failures


def test_a_benchmark_that_fails_stops_no_other(
    run: Callable[..., Done], workspace: Workspace, harness: FakeHarness
) -> None:
    harness.broken = {"elm sums"}
    done = run()
    assert not done.success
    assert set(done.made) == {"trees"}
    assert "elm: 1 of 2 benchmarks failed. model 'elm' on benchmark 'sums': it is broken" in done.why
    assert failures(workspace) == {"elm sums": ("failed", "model 'elm' on benchmark 'sums': it is broken", 1)}
    known = workspace.lake.failure("sums", "elm")
    assert known
    assert known.entry == entry_digest(workspace.registry.models[0], workspace.registry.benchmarks[0], workspace)


def test_each_failure_under_an_entry_is_an_attempt_more(
    run: Callable[..., Done], workspace: Workspace, harness: FakeHarness
) -> None:
    harness.broken = {"elm"}
    for attempts in (1, 2, 3):
        run(benchmarks=("sums",))
        assert failures(workspace)["elm sums"][2] == attempts
    run(benchmarks=("sums",), registry=changed(workspace.registry, args={"pretrained": "org/elm"}))
    assert failures(workspace)["elm sums"][2] == 1
    harness.broken = set()
    run(benchmarks=("sums",))
    assert failures(workspace) == {}


def test_while_it_is_asked_it_counts_as_interrupted(
    run: Callable[..., Done], workspace: Workspace, harness: FakeHarness
) -> None:
    harness.killing = {"elm sums"}
    done = run()
    assert not done.made
    began = "Its evaluation began and did not end: the process was killed, most often because memory ran out."
    assert failures(workspace) == {"elm sums": ("interrupted", began, 1), "elm trees": ("interrupted", began, 1)}
    assert not run().made
    assert failures(workspace) == {"elm sums": ("interrupted", began, 2), "elm trees": ("interrupted", began, 1)}


def test_answers_that_hold_though_their_evaluation_was_interrupted(
    run: Callable[..., Done], workspace: Workspace, harness: FakeHarness
) -> None:
    """It was killed between the landing of its answers and the end of its run."""
    run(benchmarks=("sums",))
    workspace.lake.record_failure("sums", "elm", "interrupted", "it was killed")
    assert run(benchmarks=("sums",)).made["sums"]["reused"]
    assert failures(workspace) == {}


def test_a_fault_nobody_expected_is_the_failure_of_all_that_is_left(
    run: Callable[..., Done], workspace: Workspace, harness: FakeHarness
) -> None:
    harness.faulty = {"elm trees"}
    done = run()
    assert set(done.made) == {"sums"}
    assert failures(workspace) == {"elm trees": ("failed", "TypeError: a fault in the program", 1)}
    harness.faulty = {"org/oak"}
    run("org/oak")
    assert {pair: kind for pair, (kind, *_) in failures(workspace).items()} == {
        "elm trees": "failed",
        "org/oak sums": "failed",
        "org/oak trees": "failed",
    }


def test_a_damaged_file_is_set_aside_and_asked_for_anew(
    run: Callable[..., Done], workspace: Workspace, harness: FakeHarness
) -> None:
    run()
    (part,) = Path(workspace.lake.tables.at("responses")).glob("*.parquet")
    part_size = part.stat().st_size
    part.write_bytes(part.read_bytes()[:-20])
    (damage,) = [damage for damage in workspace.lake.mend() if damage.where == str(part)]
    assert damage.reason == f"it has {part_size - 20} of {part_size} bytes"
    assert not part.exists()
    assert workspace.lake.pairs() == []
    assert failures(workspace) == {}
    assert run().success
    assert harness.asked == ["elm sums", "elm trees", "elm sums", "elm trees"]


# --- few answers of models with a budget


@pytest.fixture
def with_budget(workspace: Workspace) -> Registry:
    return changed(workspace.registry, budget=8)


def test_few_answers(
    run: Callable[..., Done], workspace: Workspace, with_budget: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(at: Workspace, model: Any, budget: int, tasks: object) -> Asked:
        kinds = {row["kind"] for row in at.lake.failures().to_pylist()}
        assert (model.entry.name, budget, kinds) == ("elm", 8, {"interrupted"})  # should it be killed
        return Asked({"sums": 8}, {})

    monkeypatch.setattr("assets.embedding.select_questions.ask", ask)
    done = run(registry=with_budget)
    assert done.success
    assert {name: said["chosen_questions"] for name, said in done.made.items()} == {"sums": 8}  # none of trees
    assert failures(workspace) == {}


def test_few_answers_of_which_one_benchmark_failed(
    run: Callable[..., Done], workspace: Workspace, with_budget: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(at: Workspace, *_: object) -> Asked:
        at.lake.record_failure("trees", "elm", "data_unreachable", "no network")
        return Asked({"sums": 8}, {"trees": ModelNotFound("no network", benchmark="trees")})

    monkeypatch.setattr("assets.embedding.select_questions.ask", ask)
    done = run(registry=with_budget)
    assert (done.success, set(done.made)) == (False, {"sums"})
    assert failures(workspace)["elm trees"][:2] == ("data_unreachable", "no network")


def test_a_budget_that_cannot_be_met(
    run: Callable[..., Done], workspace: Workspace, with_budget: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(*_: object) -> Asked:
        raise CannotOnboard("There are seven questions.")

    monkeypatch.setattr("assets.embedding.select_questions.ask", ask)
    assert not run(registry=with_budget).success
    assert failures(workspace) == {
        "elm sums": ("failed", "There are seven questions.", 1),
        "elm trees": ("failed", "There are seven questions.", 1),
    }
