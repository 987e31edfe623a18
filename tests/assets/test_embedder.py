"""From answers to embeddings, forecasts and routes, with an encoder that needs no weights."""

from collections.abc import Callable
from typing import Any

import pytest

from assets.correctness_matrix import build_correctness_matrix
from assets.embedder import NoEmbedder, embedder, open_router, serving
from assets.forecasts import forecasts
from assets.question_embeddings import question_embeddings
from assets.routing import routing
from assets.workspace import Workspace
from warehouse.read import query

Materialize = Callable[..., dict[str, Any]]


@pytest.fixture
def answered(workspace: Workspace, answer: Callable[..., None], encoder: Any, materialize: Materialize) -> Workspace:
    """Elm is right about sums, oak about trees."""
    answer("sums", "elm", "1" * 30)
    answer("sums", "org/oak", "0" * 30)
    answer("trees", "elm", "01" * 20)
    answer("trees", "org/oak", "1" * 40)
    materialize(build_correctness_matrix(workspace.registry))
    materialize(question_embeddings)
    return workspace


def test_before_the_first_there_is_none(workspace: Workspace) -> None:
    with pytest.raises(NoEmbedder, match="run `embedllm run`"):
        serving(workspace)


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
    assert serving(answered) == second
    rows = query(answered.database, "SELECT embedder, models, serving FROM embedders ORDER BY serving").to_pylist()
    assert rows == [
        {"embedder": first, "models": 2, "serving": False},
        {"embedder": second, "models": 3, "serving": True},
    ]


def test_forecasts_and_routes_are_of_the_serving_version(answered: Workspace, materialize: Materialize) -> None:
    version = materialize(embedder)["version"]
    materialize(forecasts)
    materialize(routing)
    methods = "SELECT DISTINCT embedder, method FROM {} WHERE benchmark = 'all' ORDER BY method"
    assert query(answered.database, methods.format("forecasts")).to_pylist() == [
        {"embedder": version, "method": method}
        for method in ("embedder", "knn", "majority", "model_benchmark_mean", "model_mean")
    ]
    routers = query(answered.database, methods.format("routing")).to_pylist()
    assert {"embedder": version, "method": "router"} in routers
    test_questions = query(answered.database, "SELECT count(*) AS n FROM questions WHERE split = 'test'").to_pylist()
    routed = query(answered.database, "SELECT count(*) AS n FROM routes WHERE method = 'router'").to_pylist()
    assert routed == test_questions


def test_a_new_question_can_be_routed(answered: Workspace, materialize: Materialize) -> None:
    materialize(embedder)
    (choices,) = open_router(answered).rank(["sums: what is number 99?"], top=5)
    assert {choice.model for choice in choices} == {"elm", "org/oak"}
    assert all(0 < choice.probability < 1 for choice in choices)
