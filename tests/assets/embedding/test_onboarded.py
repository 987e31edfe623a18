"""What follows from a few answers: the model is in tables and router, and no other model is any different."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from assets.embedding.embedder import embedder
from assets.embedding.onboarded import onboarded, open_pool
from assets.embedding.question_embeddings import question_embeddings
from assets.embedding.serving import open_router, serving_version
from assets.figures.sections import read_sections
from assets.inputs.entries import ENTRY, entry_digest
from assets.inputs.workspace import Workspace
from harness.registry import ModelEntry
from warehouse.database.read import query

FIG = ModelEntry(name="new/fig", args={"pretrained": "new/fig"}, budget=16)
Answer = Callable[..., None]


@pytest.fixture
def asked(guessed: Workspace) -> Workspace:
    """The home of three models, with a fourth registered that answered 12 questions on sums and 8 on trees."""
    registry = replace(guessed.registry, models=(*guessed.registry.models, FIG))
    workspace = replace(guessed, registry=registry)
    tell(workspace, "sums", {number: number % 4 != 0 for number in range(12)})
    tell(workspace, "trees", dict.fromkeys(range(8), True))
    return workspace


@pytest.fixture
def fold_in(materialize: Callable[..., dict[str, Any]]) -> Callable[[Workspace], dict[str, Any]]:
    return lambda workspace: materialize(onboarded, workspace=workspace)


def tell(
    workspace: Workspace, benchmark: str, right: dict[int, bool], model: ModelEntry = FIG, **metadata: str
) -> None:
    """The lake learns `model`'s answers to questions of `benchmark`, by their numbers."""
    known = workspace.lake.questions().to_pylist()
    texts = sorted((row["doc_id"], row["text"]) for row in known if row["benchmark"] == benchmark)
    questions = pa.table(
        {
            "task": [benchmark] * len(texts),
            "doc_id": pa.array([number for number, _ in texts], pa.int64()),
            "text": [text for _, text in texts],
            "category": [benchmark] * len(texts),
        }
    )
    answers = pa.table(
        {
            "task": [benchmark] * len(right),
            "doc_id": pa.array(list(right), pa.int64()),
            "correct": list(right.values()),
            "score": [float(value) for value in right.values()],
        }
    )
    entry = entry_digest(model, workspace.registry.benchmark(benchmark), workspace)
    metadata = {"fingerprint": "f", ENTRY: entry, **metadata}
    workspace.lake.write_onboarding(benchmark, model.name, answers, questions, metadata)


def rows(workspace: Workspace, sql: str) -> list[dict[str, Any]]:
    return query(workspace.database, sql).to_pylist()


def test_a_row_a_benchmark_and_one_for_all(asked: Workspace, fold_in: Callable[..., Any]) -> None:
    metadata = fold_in(asked)
    found = rows(asked, "FROM onboarded ORDER BY benchmark")
    assert [(row["model"], row["benchmark"], row["n"], row["answered"]) for row in found] == [
        ("new/fig", "all", 270, 20),
        ("new/fig", "sums", 120, 12),
        ("new/fig", "trees", 150, 8),
    ]
    assert {row["embedder"] for row in found} == {serving_version(asked)}
    for row in found:
        assert 0 <= row["ci_low"] < row["accuracy"] < row["ci_high"] <= 1
    assert (metadata["models"], metadata["answers"], metadata["dagster/row_count"]) == (1, 20, 3)
    assert metadata["version"] == serving_version(asked)


def test_the_report_says_what_is_expected_of_it(asked: Workspace, fold_in: Callable[..., Any]) -> None:
    assert "onboarded" not in read_sections(asked.lake)
    metadata = fold_in(asked)
    section = read_sections(asked.lake)["onboarded"]
    (nearest, _), *_ = folded(asked).nearest(1)
    (overall,) = rows(asked, "FROM onboarded WHERE benchmark = 'all'")
    percent = [f"{overall[name]:.1%}" for name in ("accuracy", "ci_low", "ci_high")]
    assert section.says == (
        "1 model has answered a chosen few of all questions. new/fig, for example, answered 20 of 270: it is expected "
        f"to answer {percent[0]} right (95% interval {percent[1]} to {percent[2]}), and is most like {nearest}."
    )
    assert [row["nearest"] for row in section.tables[0]] == [nearest]
    assert [row["benchmark"] for row in section.tables[1]] == ["sums", "trees"]
    assert section.pictures[0].alt == "predicted accuracy with its interval, by benchmark"
    assert len(rows(asked, section.sql)) == 3
    assert metadata["says"] == section.says


def test_no_other_model_moves(asked: Workspace, fold_in: Callable[..., Any]) -> None:
    table = "FROM model_embeddings WHERE model <> 'new/fig' ORDER BY model"
    before, responses = query(asked.database, table), query(asked.database, "FROM responses ORDER BY ALL")
    files = {path: path.read_bytes() for path in (asked.embedders / serving_version(asked)).iterdir()}
    fold_in(asked)
    after = query(asked.database, table)
    assert after.equals(before)
    bits = [np.array(table["embedding"].to_pylist(), np.float32).tobytes() for table in (before, after)]
    assert bits[0] == bits[1]
    assert query(asked.database, "FROM responses ORDER BY ALL").equals(responses)
    assert {path: path.read_bytes() for path in files} == files


def test_its_embedding_stands_among_the_others(asked: Workspace, fold_in: Callable[..., Any]) -> None:
    fold_in(asked)
    near = rows(asked, "SELECT other, distance FROM model_similarity WHERE model = 'new/fig' ORDER BY distance")
    assert [row["other"] for row in near] == [name for name, _ in folded(asked).nearest()]
    assert {row["other"] for row in near} == set(fitted(asked))


def test_the_router_knows_it_as_the_fold_in_does(asked: Workspace, fold_in: Callable[..., Any]) -> None:
    fold_in(asked)
    questions = open_pool(asked).questions
    forecast = folded(asked).forecast(questions)
    router = open_router(asked)
    assert router.predictor.models == (*fitted(asked), "new/fig")
    routed = router.predictor.forecast(questions)
    np.testing.assert_allclose(routed.probabilities[:, -1], forecast.probabilities[:, 0], atol=1e-5)
    np.testing.assert_allclose(routed.deviations[:, -1], forecast.deviations[:, 0], rtol=1e-4)
    (choices,) = router.rank(["sums: what is number 3?"], models=["new/fig"])
    assert choices[0].model == "new/fig"


def fitted(workspace: Workspace) -> tuple[str, ...]:
    """The models that the embedder which serves was fitted on."""
    return open_pool(workspace).pool.predictor.models


def folded(workspace: Workspace) -> Any:
    """The model, folded in by hand."""
    pool, _ = open_pool(workspace)
    given = {row["question_id"]: row["correct"] for row in workspace.lake.onboarding_responses().to_pylist()}
    return pool.fold_in(np.array([given.get(question, np.nan) for question in pool.matrix.question_ids], float))


def test_without_such_models_the_tables_are_empty(guessed: Workspace, fold_in: Callable[..., Any]) -> None:
    metadata = fold_in(guessed)
    assert rows(guessed, "FROM onboarded") == []
    assert embedded(guessed) == sorted(fitted(guessed))
    assert (metadata["models"], metadata["dagster/row_count"]) == (0, 0)
    assert open_router(guessed).predictor.models == fitted(guessed)


def embedded(workspace: Workspace) -> list[str]:
    """The models in `model_embeddings`, of the embedder that serves."""
    found = rows(workspace, "SELECT model FROM model_embeddings SEMI JOIN serving USING (embedder) ORDER BY model")
    return [row["model"] for row in found]


def test_more_answers_refine_it(asked: Workspace, fold_in: Callable[..., Any]) -> None:
    first = fold_in(asked)
    before = rows(asked, "FROM onboarded WHERE benchmark = 'sums'")[0]
    tell(asked, "sums", {number: number % 4 != 0 for number in range(12, 100)})
    second = fold_in(asked)
    after = rows(asked, "FROM onboarded WHERE benchmark = 'sums'")[0]
    assert after["answered"] == 100
    assert after["ci_high"] - after["ci_low"] < (before["ci_high"] - before["ci_low"]) / 3
    assert after["accuracy"] == pytest.approx(0.75, abs=0.03)
    assert first["data_version"] != second["data_version"]


def test_the_same_answers_have_the_same_data_version(asked: Workspace, fold_in: Callable[..., Any]) -> None:
    assert fold_in(asked)["data_version"] == fold_in(asked)["data_version"]


def test_a_full_evaluation_takes_its_place(
    asked: Workspace, answer: Answer, fold_in: Callable[..., Any], materialize: Callable[..., dict[str, Any]]
) -> None:
    fold_in(asked)
    answer("sums", "new/fig", "1101" * 30)
    fold_in(asked)
    assert asked.lake.onboarded_models() == ["new/fig"]  # half of it is still a prediction
    answer("trees", "new/fig", "1" * 150)
    materialize(question_embeddings, embedder)
    fold_in(asked)
    assert asked.lake.onboarded_models() == []
    assert rows(asked, "FROM onboarded SEMI JOIN serving USING (embedder)") == []
    assert rows(asked, "FROM onboarding_responses") == []
    assert "new/fig" in fitted(asked)
    assert embedded(asked) == sorted(open_router(asked).predictor.models) == sorted(fitted(asked))


def test_a_model_the_embedder_was_fitted_on_is_not_there_twice(
    asked: Workspace, answer: Answer, fold_in: Callable[..., Any], materialize: Callable[..., dict[str, Any]]
) -> None:
    """Evaluated on one benchmark, onboarded before: what was learnt from all answers counts."""
    answer("sums", "new/fig", "1101" * 30)
    materialize(question_embeddings, embedder)
    fold_in(asked)
    assert "new/fig" in fitted(asked)
    assert embedded(asked) == sorted(fitted(asked))
    assert rows(asked, "FROM onboarded") == []


def test_answers_under_another_entry_do_not_count(asked: Workspace, fold_in: Callable[..., Any]) -> None:
    other = FIG.model_copy(update={"args": {"pretrained": "new/fig", "revision": "2"}})
    changed = replace(asked, registry=replace(asked.registry, models=(*asked.registry.models[:-1], other)))
    fold_in(changed)
    assert rows(asked, "FROM onboarded") == []


def test_what_does_not_determine_answers_changes_nothing(asked: Workspace, fold_in: Callable[..., Any]) -> None:
    before = fold_in(asked)
    other = FIG.model_copy(update={"budget": 64, "description": "A tree."})
    changed = replace(asked, registry=replace(asked.registry, models=(*asked.registry.models[:-1], other)))
    assert fold_in(changed)["data_version"] == before["data_version"]


def test_a_model_that_left_the_registry_leaves_and_comes_back(asked: Workspace, fold_in: Callable[..., Any]) -> None:
    before = fold_in(asked)
    without = replace(asked, registry=replace(asked.registry, models=asked.registry.models[:-1]))
    fold_in(without)
    assert rows(asked, "FROM onboarded") == []
    assert "new/fig" not in open_router(without).predictor.models
    assert fold_in(asked)["data_version"] == before["data_version"]
    assert "new/fig" in open_router(asked).predictor.models


def test_two_models_have_rows_of_their_own(asked: Workspace, fold_in: Callable[..., Any]) -> None:
    yew = ModelEntry(name="yew", args={"pretrained": "new/yew"})
    workspace = replace(asked, registry=replace(asked.registry, models=(*asked.registry.models, yew)))
    alone = fold_in(asked) and rows(asked, "FROM onboarded WHERE model = 'new/fig' ORDER BY benchmark")
    tell(workspace, "sums", dict.fromkeys(range(12), False), yew)
    fold_in(workspace)
    assert rows(asked, "FROM onboarded WHERE model = 'new/fig' ORDER BY benchmark") == alone
    accuracy = {row["model"]: row["accuracy"] for row in rows(asked, "FROM onboarded WHERE benchmark = 'sums'")}
    assert accuracy["yew"] < accuracy["new/fig"]
    assert open_router(workspace).predictor.models == (*fitted(workspace), "new/fig", "yew")


def test_new_questions_without_embedding_do_not_count_yet(
    asked: Workspace, answer: Answer, fold_in: Callable[..., Any]
) -> None:
    """A benchmark that grew while the refresh ran: its new questions come with the next one."""
    answer("sums", "elm", "1" * 130)
    fold_in(asked)
    assert [row["n"] for row in rows(asked, "FROM onboarded WHERE benchmark = 'sums'")] == [120]
