"""Asking a model a chosen few questions: a real tiny model through lm-eval, in a home of made-up others."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest

from assets.embedding.embedder import embedder
from assets.embedding.onboarded import answers_that_hold
from assets.embedding.question_embeddings import question_embeddings
from assets.embedding.select_questions import CannotOnboard, ask
from assets.embedding.serving import NoEmbedder
from assets.inputs.entries import ENTRY
from assets.inputs.workspace import Workspace
from assets.matrix.correctness_matrix import build_correctness_matrix
from harness.errors import ModelNotFound
from harness.evaluate import LoadedModel, TaskIndex
from harness.registry import BenchmarkEntry, ModelEntry, Registry

BENCHMARKS = ("fruit", "sums", "towns")
POOL = ("ash", "elm", "oak", "yew")


class Home:
    """Four models that have answered everything, by chance; `new` has not."""

    def __init__(self, workspace: Workspace, tasks: TaskIndex) -> None:
        self.workspace, self.tasks = workspace, tasks

    @property
    def lake(self) -> Any:
        return self.workspace.lake

    def ask(self, budget: int, workspace: Workspace | None = None, name: str = "new") -> Any:
        workspace = workspace or self.workspace
        entry = workspace.registry.model(name)
        with LoadedModel(entry, device="cpu", cache_dir=workspace.cache) as model:
            return ask(workspace, model, budget, self.tasks)

    def with_entry(self, **changes: Any) -> Workspace:
        """The workspace with another entry of `new`."""
        registry = self.workspace.registry
        models = tuple(m.model_copy(update=changes) if m.name == "new" else m for m in registry.models)
        return replace(self.workspace, registry=replace(registry, models=models))

    def with_benchmark(self, entry: BenchmarkEntry) -> Workspace:
        """The workspace with another entry of a benchmark."""
        registry = self.workspace.registry
        benchmarks = tuple(entry if b.name == entry.name else b for b in registry.benchmarks)
        return replace(self.workspace, registry=replace(registry, benchmarks=benchmarks))

    def answered(self) -> list[str]:
        """Ids of the questions `new` was asked."""
        return self.lake.onboarding_responses()["question_id"].to_pylist()

    def questions(self) -> dict[str, dict[str, Any]]:
        return {row["question_id"]: row for row in self.lake.questions().to_pylist()}


@pytest.fixture
def home(
    tmp_path: Path,
    micro: Path,
    made_once: Callable[..., Path],
    instance: dg.DagsterInstance,
    encoder: Any,
    datasets_cache: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Home:
    """From the answers to the embedder."""
    monkeypatch.setenv("HF_DATASETS_CACHE", datasets_cache)
    benchmarks = tuple(BenchmarkEntry(name=name, tasks=(f"micro_{name}",), metric="acc") for name in BENCHMARKS)
    models = tuple(ModelEntry(name=name, args={"pretrained": f"pool/{name}"}) for name in POOL)
    new = ModelEntry(name="new", args={"pretrained": str(micro / "models" / "a")})
    registry = Registry(folder=tmp_path, models=(*models, new), benchmarks=benchmarks, tasks_dir=micro / "tasks")
    tasks = TaskIndex(micro / "tasks")

    def make(folder: Path) -> None:
        workspace, rng = Workspace(home=folder / "home", registry=registry), np.random.default_rng(0)
        for benchmark in benchmarks:
            questions = tasks.questions(benchmark)
            for number, model in enumerate(POOL):
                right = rng.random(len(questions)) < 0.2 + 0.2 * number
                grades = {"correct": pa.array(right), "score": pa.array(right.astype(float))}
                answers = pa.table({"task": questions["task"], "doc_id": questions["doc_id"], **grades})
                workspace.lake.write_evaluation(benchmark.name, model, answers, questions, {})
        assets = [build_correctness_matrix(registry), question_embeddings, embedder]
        assert dg.materialize(assets, resources={"workspace": workspace}, instance=instance).success

    made = made_once("home of a pool", make)
    return Home(Workspace(home=shutil.copytree(made / "home", tmp_path / "home"), registry=registry), tasks)


def test_train_questions_across_benchmarks_each_once_and_apart_from_the_responses(home: Home) -> None:
    state, pairs = home.lake.state(), home.lake.pairs()
    asked = home.ask(24)
    ids, questions = home.answered(), home.questions()
    assert len(ids) == len(set(ids)) == 24 == sum(asked.answers.values())
    assert {questions[i]["split"] for i in ids} == {"train"}
    assert set(asked.answers) == {questions[i]["benchmark"] for i in ids}
    assert len(asked.answers) >= 2
    assert asked.failed == {}
    assert (home.lake.state(), home.lake.pairs()) == (state, pairs)
    for benchmark, count in asked.answers.items():
        metadata = home.lake.onboarding_metadata(benchmark, "new")
        assert (metadata["rows"], metadata["model"]) == (str(count), "new")
        assert metadata["fingerprint"]
        assert metadata[ENTRY]
    assert not any(home.workspace.cache.rglob("*.jsonl"))  # nothing of it is needed any more


def test_the_answers_are_those_of_a_full_evaluation(home: Home) -> None:
    from harness.evaluate import evaluate

    home.ask(24)
    given = answers_that_hold(home.workspace)["new"]
    questions = {(q["benchmark"], q["task"], q["doc_id"]): i for i, q in home.questions().items()}
    with LoadedModel(home.workspace.registry.model("new"), device="cpu", cache_dir=home.workspace.cache) as model:
        for benchmark in home.workspace.registry.benchmarks:
            for row in evaluate(model, benchmark, home.tasks).answers.to_pylist():
                question = questions[benchmark.name, row["task"], row["doc_id"]]
                assert given.get(question, row["correct"]) == row["correct"]


def test_what_was_said_is_kept_unless_told_otherwise(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness import evaluate as harness

    evaluate, columns = harness.evaluate, set()

    def seen(*arguments: Any, **options: Any) -> Any:
        done = evaluate(*arguments, **options)
        columns.update(done.answers.column_names)
        return done

    monkeypatch.setattr(harness, "evaluate", seen)
    home.ask(8, replace(home.workspace, keep_answers=False))
    assert columns >= {"correct", "tokens_in"}
    assert "answer" not in columns
    home.ask(12)
    assert "answer" in columns


def test_questions_without_an_answer_do_not_count_and_give_a_benchmark_up(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness import evaluate as harness

    evaluate, tried = harness.evaluate, []

    def half_silent(model: Any, benchmark: BenchmarkEntry, *arguments: Any, **options: Any) -> Any:
        done = evaluate(model, benchmark, *arguments, **options)
        if benchmark.name != "towns":
            return done
        tried.append(done.answers.num_rows)
        return replace(done, answers=done.answers.slice(0, done.answers.num_rows // 2))

    monkeypatch.setattr(harness, "evaluate", half_silent)
    asked = home.ask(60)
    assert asked.failed["towns"].kind == "too_few_answered"
    assert 10 <= sum(tried) < 26  # a batch more than are needed to see it, at most
    benchmarks = [home.questions()[question]["benchmark"] for question in home.answered()]
    assert len(benchmarks) == 60 == sum(asked.answers.values())
    assert benchmarks.count("towns") == asked.answers["towns"] < sum(tried)
    assert home.lake.failure("towns", "new").kind == "too_few_answered"


def test_what_its_entry_leaves_out_is_not_asked(home: Home) -> None:
    assert set(home.ask(24, home.with_entry(except_=("towns",))).answers) == {"fruit", "sums"}


def test_what_was_killed_goes_on_where_it_was(home: Home) -> None:
    class Killed(BaseException):
        pass

    def kill(done: int, total: int, label: str) -> None:
        if done:
            raise Killed

    with pytest.raises(Killed):
        home.ask(40, replace(home.workspace, progress=kill))
    before = home.answered()
    assert len(before) == 16
    asked = home.ask(40)
    assert sum(asked.answers.values()) == 24
    assert set(before) < set(home.answered())
    assert len(home.answered()) == 40


def test_a_greater_budget_asks_the_rest_only_and_a_lesser_one_nothing(home: Home) -> None:
    home.ask(16)
    assert sum(home.ask(24).answers.values()) == 8
    assert home.ask(8).answers == {}
    assert len(home.answered()) == 24


def test_says_how_far_it_is(home: Home) -> None:
    seen: list[tuple[int, int, str]] = []
    home.ask(24, replace(home.workspace, progress=lambda *step: seen.append(step)))
    assert seen == [(0, 24, "new: answers"), (16, 24, "new: answers"), (24, 24, "new: answers")]


def test_a_benchmark_that_fails_is_left_out_and_recorded(home: Home) -> None:
    unknown = BenchmarkEntry(name="sums", tasks=("no_such_task",), metric="acc")
    asked = home.ask(24, home.with_benchmark(unknown))
    assert set(asked.answers) <= {"fruit", "towns"}
    assert sum(asked.answers.values()) == 24
    assert list(asked.failed) == ["sums"]
    assert [(f["benchmark"], f["model"], f["kind"]) for f in home.lake.failures().to_pylist()] == [
        ("sums", "new", "task_unknown")
    ]


def test_a_model_that_is_not_there(home: Home, tmp_path: Path) -> None:
    missing = home.with_entry(args={"pretrained": str(tmp_path / "nowhere")})
    with pytest.raises(ModelNotFound, match="nowhere, which does not exist"):
        home.ask(24, missing)
    assert {(f["benchmark"], f["kind"]) for f in home.lake.failures().to_pylist()} == {
        (name, "model_not_found") for name in BENCHMARKS
    }
    assert home.answered() == []


def test_other_weights_are_asked_anew(home: Home, micro: Path) -> None:
    home.ask(24)
    before = {name: (home.lake.onboarding_metadata(name, "new") or {}).get("fingerprint") for name in BENCHMARKS}
    other = home.with_entry(args={"pretrained": str(micro / "models" / "b")})
    assert answers_that_hold(other) == {}
    assert sum(home.ask(24, other).answers.values()) == 24
    assert len(home.answered()) == 24
    for name in BENCHMARKS:
        metadata = home.lake.onboarding_metadata(name, "new")
        assert metadata is None or metadata["fingerprint"] != before[name]


def test_a_budget_beyond_the_questions(home: Home) -> None:
    train = sum(question["split"] == "train" for question in home.questions().values())
    with pytest.raises(CannotOnboard, match=f"A budget of 500 is more than the {train} training questions"):
        home.ask(500)
    assert sum(home.ask(train).answers.values()) == train


def test_a_model_that_was_evaluated(home: Home) -> None:
    with pytest.raises(CannotOnboard, match="elm has been evaluated in full"):
        home.ask(24, name="elm")
    home.lake.supersede("sums", "elm", "for the test")
    with pytest.raises(CannotOnboard, match="elm has answered fruit, towns in full, and a model is either"):
        home.ask(24, name="elm")


def test_without_an_embedder(home: Home, tmp_path: Path) -> None:
    with pytest.raises(NoEmbedder, match="There is no embedder yet"):
        home.ask(24, replace(home.workspace, home=tmp_path / "empty"))


def test_an_answer_that_told_much_changes_what_is_asked_next(home: Home, micro: Path) -> None:
    """Another model, other questions after the first batch."""
    home.ask(40)
    first = set(home.answered())
    home.lake.drop_onboarding("new")
    home.ask(40, home.with_entry(args={"pretrained": str(micro / "models" / "c")}))
    second = set(home.answered())
    assert first != second
    assert len(first & second) >= 16  # the first batch is the same for all: nothing is known yet


@pytest.mark.parametrize("imported", ["fruit", "sums"])
def test_questions_the_harness_does_not_have_are_not_chosen(
    home: Home, imported: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Published results may ask a benchmark's questions in other words."""
    own: Callable[..., pa.Table] = home.tasks.questions

    def reworded(benchmark: BenchmarkEntry) -> pa.Table:
        table = own(benchmark)
        if benchmark.name != imported:
            return table
        texts = pa.array([f"In other words: {text}" for text in table["text"].to_pylist()])
        return table.set_column(table.column_names.index("text"), "text", texts)

    monkeypatch.setattr(home.tasks, "questions", reworded)
    assert imported not in home.ask(24).answers
