"""From answers to embeddings and routes, with an encoder that needs no weights."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from assets.embedder import embedder
from assets.routing import routing
from assets.serving import NoEmbedder, load_serving, open_router, serving_version
from assets.workspace import Workspace
from warehouse.read import query

Materialize = Callable[..., dict[str, Any]]


def test_before_the_first_there_is_none(workspace: Workspace) -> None:
    with pytest.raises(NoEmbedder, match="run `embedllm run`"):
        serving_version(workspace)


def test_same_data_same_version_fitted_once(answered: Workspace, materialize: Materialize) -> None:
    first = materialize(embedder)
    folder = answered.embedders / first["version"]
    written = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    again = materialize(embedder)
    assert (again["version"], again["data_version"]) == (first["version"], first["version"])
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == written
    assert first["dagster/row_count"] == 2
    rows = query(answered.database, "SELECT embedder, models, serving FROM embedders").to_pylist()
    assert rows == [{"embedder": first["version"], "models": 2, "serving": True}]


def test_other_answers_another_version_which_then_serves(
    answered: Workspace, answer: Callable[..., None], materialize: Materialize
) -> None:
    first = materialize(embedder)["version"]
    answer("sums", "ash", "1" * 30)
    second = materialize(embedder)["version"]
    assert second != first
    assert serving_version(answered) == second
    rows = query(answered.database, "SELECT embedder, models, serving FROM embedders ORDER BY serving").to_pylist()
    assert rows == [
        {"embedder": first, "models": 2, "serving": False},
        {"embedder": second, "models": 3, "serving": True},
    ]


def test_other_categories_another_version(
    answered: Workspace, answer: Callable[..., None], materialize: Materialize
) -> None:
    """The embedder learns what kind of question a text is."""
    first = materialize(embedder)["version"]
    answer("sums", "elm", "1" * 30, category="additions")
    assert materialize(embedder)["version"] != first


def test_near_are_those_whose_log_odds_differ_little(answered: Workspace, materialize: Materialize) -> None:
    """Distance is the root mean square difference of the log-odds over the training questions."""
    materialize(embedder)
    served = load_serving(answered)
    train = served.embedder.predict_proba(served.questions.rows(served.matrix.splits == "train")).astype(float)
    elm, oak = np.log(train / (1 - train)).T
    rows = query(answered.database, "SELECT model, other, distance FROM model_similarity ORDER BY model").to_pylist()
    assert [(row["model"], row["other"]) for row in rows] == [("elm", "org/oak"), ("org/oak", "elm")]
    for row in rows:
        assert row["distance"] == pytest.approx(np.sqrt(((elm - oak) ** 2).mean()), rel=1e-3)


def test_routes_are_of_the_serving_version(answered: Workspace, materialize: Materialize) -> None:
    version = materialize(embedder)["version"]
    materialize(routing)
    methods = "SELECT DISTINCT embedder, method FROM routing WHERE benchmark = 'all'"
    assert {"embedder": version, "method": "router"} in query(answered.database, methods).to_pylist()
    test_questions = query(answered.database, "SELECT count(*) AS n FROM questions WHERE split = 'test'").to_pylist()
    routed = query(answered.database, "SELECT count(*) AS n FROM routes WHERE method = 'router'").to_pylist()
    assert routed == test_questions


def test_a_new_question_can_be_routed(answered: Workspace, materialize: Materialize) -> None:
    materialize(embedder)
    (choices,) = open_router(answered).rank(["sums: what is number 99?"], top=5)
    assert {choice.model for choice in choices} == {"elm", "org/oak"}
    assert all(0 < choice.probability < 1 for choice in choices)
