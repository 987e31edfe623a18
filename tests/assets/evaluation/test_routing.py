"""`routing` follows from `routes` and `responses`, and its section says among how many models could be chosen."""

from collections.abc import Callable
from typing import Any

import pytest

from assets.embedding.embedder import embedder
from assets.embedding.question_embeddings import question_embeddings
from assets.evaluation.routing import routing
from assets.figures.sections import read_sections
from assets.inputs.workspace import Workspace
from assets.matrix.correctness_matrix import build_correctness_matrix
from assets.report.report import render
from harness.registry import Price, Registry
from warehouse.database.read import query

Materialize = Callable[..., dict[str, Any]]


@pytest.fixture
def routed(answered: Workspace, materialize: Materialize) -> Workspace:
    materialize(embedder, routing)
    return answered


def test_accuracies_are_those_of_the_routes(routed: Workspace) -> None:
    found = query(
        routed.database,
        "WITH answers AS ("
        "  SELECT ro.method, ro.benchmark, re.correct::INT AS hit FROM routes ro"
        "  JOIN responses re USING (question_id, model)"
        "), grouped AS ("
        "  SELECT method, benchmark, avg(hit) AS accuracy, count(*) AS n FROM answers GROUP BY ALL"
        "  UNION ALL SELECT method, 'all', avg(hit), count(*) FROM answers GROUP BY method"
        ") SELECT r.accuracy, g.accuracy AS found, r.n, g.n AS count FROM routing r JOIN grouped g "
        "USING (method, benchmark)",
    ).to_pylist()
    assert len(found) == 4 * 3  # four methods choose, two benchmarks and all
    for row in found:
        assert (row["accuracy"], row["n"]) == (pytest.approx(row["found"], abs=1e-12), row["count"])


def test_the_section_tells_what_was_gained(routed: Workspace) -> None:
    told = read_sections(routed.lake)["routing"]
    assert "answered it" not in told.says  # both models answered everything
    assert "100.0% right answers" in told.says
    assert told.title in render("", [told])
    assert query(routed.database, told.sql.rstrip(";")).num_rows > 0


def test_with_missing_answers_the_section_says_among_how_many_is_chosen(
    workspace: Workspace, answer: Callable[..., None], encoder: Any, materialize: Materialize
) -> None:
    answer("sums", "elm", "1" * 60)
    answer("sums", "org/oak", "01" * 10 + "-" * 40)
    materialize(build_correctness_matrix(workspace.registry), question_embeddings, embedder, routing)
    (row,) = query(
        workspace.database,
        "SELECT avg(models) AS candidates FROM (SELECT count(*) AS models FROM responses "
        "JOIN questions USING (question_id) WHERE split = 'test' GROUP BY question_id)",
    ).to_pylist()
    assert 1 < row["candidates"] < 2
    told = f"A question can only go to a model that answered it, on average {row['candidates']:.1f} of the 2."
    assert read_sections(workspace.lake)["routing"].says.endswith(told)


def test_without_test_answers_table_and_section_say_so(
    workspace: Workspace, answer: Callable[..., None], encoder: Any, materialize: Materialize
) -> None:
    answer("sums", "elm", "1" * 30)
    materialize(build_correctness_matrix(workspace.registry))
    splits = query(workspace.database, "SELECT doc_id, split FROM responses JOIN questions USING (question_id)")
    test = {row["doc_id"] for row in splits.to_pylist() if row["split"] == "test"}
    assert test
    answer("sums", "elm", "".join("-" if number in test else "1" for number in range(30)))
    for asset in (build_correctness_matrix(workspace.registry), question_embeddings, embedder):
        materialize(asset)
    assert materialize(routing)["routes"] == 0
    assert read_sections(workspace.lake)["routing"].says == "Not possible here: no test question was answered."


def test_prices_of_the_registry_become_the_cost_of_routes(
    answered: Workspace, registry: Registry, materialize: Materialize
) -> None:
    materialize(embedder)
    cost = "SELECT mean_cost, cost_unit FROM routing WHERE benchmark = 'all' AND method = 'random'"
    materialize(routing)
    assert query(answered.database, cost).to_pylist() == [{"mean_cost": None, "cost_unit": None}]
    priced = tuple(
        model.model_copy(update={"price": Price(input=price, output=3 * price)})
        for model, price in zip(registry.models, (1.0, 2.0), strict=True)
    )
    object.__setattr__(answered.registry, "models", priced)
    materialize(build_correctness_matrix(answered.registry))
    materialize(routing)
    # Each question was put to both: US$ 800 and 1,600 for a million questions of 200 tokens in and 200 out.
    assert query(answered.database, cost).to_pylist() == [{"mean_cost": pytest.approx(0.0012), "cost_unit": "US$"}]
