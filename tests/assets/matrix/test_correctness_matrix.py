"""The asset publishes what the lake and the registry hold, and describes it."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from assets.inputs.workspace import Workspace
from assets.matrix.correctness_matrix import build_correctness_matrix
from harness.registry import Price, Registry
from warehouse.database.read import query


def test_it_counts_what_was_asked(
    workspace: Workspace, answer: Callable[..., None], materialize: Callable[..., dict[str, Any]]
) -> None:
    answer("sums", "elm", "110-")
    answer("trees", "org/oak", "01")
    found = materialize(build_correctness_matrix(workspace.registry))
    assert {name: found[name] for name in ("dagster/row_count", "models", "questions", "benchmarks")} == {
        "dagster/row_count": 5,
        "models": 2,
        "questions": 6,
        "benchmarks": 2,
    }
    assert found["filled"] == pytest.approx(5 / 12, abs=1e-4)
    assert found["accuracy"] == pytest.approx(3 / 5)
    assert found["accuracies"].startswith("![](data:image/png;base64,")
    assert query(workspace.database, "SELECT count(*) AS n FROM responses").to_pylist() == [{"n": 5}]


def test_the_same_answers_have_the_same_version(
    workspace: Workspace, answer: Callable[..., None], materialize: Callable[..., dict[str, Any]]
) -> None:
    asset = build_correctness_matrix(workspace.registry)
    answer("sums", "elm", "110")
    first = materialize(asset)["data_version"]
    assert materialize(asset)["data_version"] == first
    answer("sums", "org/oak", "111")
    assert materialize(asset)["data_version"] != first


def test_registry_becomes_rows(
    registry: Registry, answer: Callable[..., None], materialize: Callable[..., dict[str, Any]], workspace: Workspace
) -> None:
    elm, oak = registry.models
    priced = elm.model_copy(update={"price": Price(input=0.5, output=1.5), "size_b": 7.0, "communities": ("7b",)})
    object.__setattr__(registry, "models", (priced, oak))
    answer("sums", "elm", "1")
    answer("sums", "imported/ash", "0")
    materialize(build_correctness_matrix(registry))
    rows = query(workspace.database, "FROM models ORDER BY model").to_pylist()
    assert [(r["model"], r["source"], r["size_b"], r["price_output"], r["communities"]) for r in rows] == [
        ("elm", "registry", 7.0, 1.5, ["7b"]),
        ("imported/ash", "import", None, None, rows[1]["communities"]),
        ("org/oak", "registry", None, None, []),
    ]


def test_without_answers_it_fails_and_says_what_to_do(
    workspace: Workspace, materialize: Callable[..., dict[str, Any]]
) -> None:
    with pytest.raises(dg.Failure, match="no answers yet: evaluate models or import results first"):
        materialize(build_correctness_matrix(workspace.registry))
