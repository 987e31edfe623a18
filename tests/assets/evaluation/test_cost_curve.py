"""`cost_curve` and `cost_summary` follow from the answers, the sizes and the routing scores."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from assets.embedding.embedder import embedder
from assets.embedding.question_embeddings import question_embeddings
from assets.embedding.serving import load_serving
from assets.evaluation.cost_curve import cost_curve
from assets.evaluation.routing import routing
from assets.figures.costs import cost_quality_curves
from assets.figures.sections import read_sections
from assets.inputs.workspace import Workspace
from assets.matrix.correctness_matrix import build_correctness_matrix
from assets.report.report import render
from harness.registry import BenchmarkEntry, ModelEntry, Price, Registry
from warehouse.database.read import query
from warehouse.imports.ingest import import_results

Materialize = Callable[..., dict[str, Any]]
SIZES = {"elm": 1.0, "oak": 7.0, "ash": 7.0, "yew": 70.0, "fig": None}
SHARES = {"elm": (0.9, 0.2), "oak": (0.3, 0.8), "ash": (0.5, 0.5), "yew": (0.95, 0.9), "fig": (1, 1)}


@pytest.fixture
def registry(tmp_path: Any) -> Registry:
    """The size of fig is not known."""
    models = [ModelEntry(name=name, args={"pretrained": name}, size_b=size) for name, size in SIZES.items()]
    benchmarks = [BenchmarkEntry(name=name, tasks=(name,), metric="acc") for name in ("sums", "trees")]
    return Registry(folder=tmp_path, models=tuple(models), benchmarks=tuple(benchmarks))


@pytest.fixture
def evaluated(workspace: Workspace, answer: Callable[..., None], fill: Callable[..., Workspace]) -> Workspace:
    """Elm knows sums, oak trees, yew both; ash was asked the first half only."""

    def answer_all() -> None:
        rng = np.random.default_rng(0)
        for model, shares in SHARES.items():
            for benchmark, share in zip(("sums", "trees"), shares, strict=True):
                grades = "".join("01"[int(right)] for right in rng.random(150) < share)
                answer(benchmark, model, grades[:75] + "-" * 75 if model == "ash" else grades)

    return fill("costs", answer_all, embedder, cost_curve)


def rows(workspace: Workspace, sql: str) -> list[dict[str, Any]]:
    return query(workspace.database, sql).to_pylist()


def routed(workspace: Workspace, split: str, weight: float) -> tuple[float, float]:
    """Accuracy and mean cost of the router at a cost weight, question by question."""
    served = load_serving(workspace)
    which = served.matrix.splits == split
    scores = served.embedder.routing_scores(served.questions.rows(which)).astype(float)
    found = []
    for score, labels in zip(scores, served.matrix.labels[which], strict=True):
        worth = {
            name: score[column] - weight * SIZES[name]
            for column, name in enumerate(served.matrix.models)
            if SIZES[name] is not None and not np.isnan(labels[column])
        }
        best = max(worth, key=lambda name: worth[name])
        found.append((labels[served.matrix.models.index(best)], SIZES[best]))
    return tuple(np.mean(found, axis=0))


def test_points_of_the_router_recomputed_question_by_question(evaluated: Workspace) -> None:
    found = rows(evaluated, "SELECT * FROM cost_curve WHERE method = 'router' ORDER BY cost_weight")
    assert len(found) > 3
    for row in found:
        expected = routed(evaluated, "test", row["cost_weight"])
        assert (row["accuracy"], row["mean_cost"]) == pytest.approx(expected, abs=1e-9)
        assert row["ci_low"] <= row["accuracy"] <= row["ci_high"]
    assert found[-1]["mean_cost"] == pytest.approx(1)


def test_models_recomputed_in_sql(evaluated: Workspace) -> None:
    found = rows(
        evaluated,
        "SELECT c.accuracy, c.n, c.mean_cost, avg(r.correct::INT) AS share, count(*) AS asked, "
        "any_value(size_b) AS size FROM cost_curve c JOIN responses r USING (model) JOIN models USING (model) "
        "JOIN questions USING (question_id) WHERE split = 'test' GROUP BY ALL",
    )
    assert len(found) == 4  # not fig
    for row in found:
        assert (row["n"], row["mean_cost"]) == (row["asked"], row["size"])
        assert row["accuracy"] == pytest.approx(row["share"], abs=1e-12)
    beaten = (
        "EXISTS (FROM cost_curve o WHERE o.method = 'model' AND o.accuracy >= c.accuracy "
        "AND o.mean_cost <= c.mean_cost AND (o.accuracy > c.accuracy OR o.mean_cost < c.mean_cost))"
    )
    assert rows(evaluated, f"FROM cost_curve c WHERE method = 'model' AND pareto = {beaten}") == []


def test_the_saving_is_that_of_the_greatest_weight_that_keeps_the_quality_on_val(evaluated: Workspace) -> None:
    (router,) = rows(evaluated, "SELECT * FROM cost_summary WHERE method = 'router'")
    (best,) = rows(evaluated, "SELECT * FROM cost_curve WHERE method = 'best_single' AND cost_weight = 0")
    served = load_serving(evaluated)
    val = served.matrix.of_split("val").labels
    target = val[:, served.matrix.models.index("yew")].mean()  # the best of those whose size is known
    assert routed(evaluated, "val", router["cost_weight"])[0] >= target - 1e-6
    weights = [
        row["cost_weight"]
        for row in rows(evaluated, "FROM cost_curve WHERE method = 'router'")
        if row["cost_weight"] > 1.01 * router["cost_weight"]
    ]
    assert all(routed(evaluated, "val", weight)[0] < target - 1e-6 for weight in weights)
    accuracy, cost = routed(evaluated, "test", router["cost_weight"])
    assert (router["accuracy"], router["mean_cost"]) == pytest.approx((accuracy, cost), abs=1e-9)
    assert router["cost_share"] == pytest.approx(cost / best["mean_cost"], abs=1e-9)
    assert router["cost_share_low"] <= router["cost_share"] <= router["cost_share_high"]


def test_areas_are_those_under_the_published_points(evaluated: Workspace) -> None:
    """The hull at a cost is the best that two points can be mixed to."""
    curve = rows(evaluated, "SELECT * FROM cost_curve WHERE method <> 'model'")
    costs = [row["mean_cost"] for row in curve]
    grid = np.linspace(min(costs), max(costs), 1001)
    for row in rows(evaluated, "SELECT * FROM cost_summary"):
        points = [(p["mean_cost"], p["accuracy"]) for p in curve if p["method"] == row["method"]]
        hull = np.max([np.where(grid >= cost, accuracy, -np.inf) for cost, accuracy in points], axis=0)
        for x, a in points:
            for y, b in points:
                if x < y:
                    inside = (grid >= x) & (grid <= y)
                    hull[inside] = np.maximum(hull[inside], a + (b - a) * (grid[inside] - x) / (y - x))
        assert row["aiq"] == pytest.approx(np.trapezoid(hull, grid) / np.ptp(grid), abs=1e-4)
        assert row["aiq_low"] < row["aiq"] < row["aiq_high"]


def test_the_section_says_what_is_saved_and_shows_it(evaluated: Workspace) -> None:
    told = read_sections(evaluated.lake)["cost_curve"]
    (router,) = rows(evaluated, "SELECT * FROM cost_summary WHERE method = 'router'")
    assert "Among the 4 models whose size is known" in told.says
    assert f"{router['accuracy']:.1%} of {router['n']} test questions right at {router['cost_share']:.0%}" in told.says
    assert "Single models are shown over the questions that each answered, which are not the same." in told.says
    (picture,) = told.pictures
    assert picture.uri.startswith("data:image/png;base64,")
    assert picture.alt in render("", [told])
    for statement in told.sql.split(";")[:-1]:
        assert rows(evaluated, statement)


def test_prices_are_told_in_dollars(evaluated: Workspace, materialize: Materialize) -> None:
    priced = tuple(
        model.model_copy(update={"price": Price(input=5.0 * number, output=5.0 * number)})
        for number, model in enumerate(evaluated.registry.models)
    )
    object.__setattr__(evaluated.registry, "models", priced)
    materialize(build_correctness_matrix(evaluated.registry))
    found = materialize(cost_curve)
    assert found["says"].startswith("Among the 5 models whose price is known")
    assert rows(evaluated, "SELECT DISTINCT cost_unit FROM cost_curve") == [{"cost_unit": "US$"}]


def test_where_only_one_cost_is_known_there_is_a_reason(answered: Workspace, materialize: Materialize) -> None:
    materialize(embedder)
    reason = "needs at least 2 models whose cost is known, found 1"
    assert materialize(cost_curve)["says"] == f"Not possible here: {reason}."
    (row,) = rows(answered, "SELECT method, models, aiq, reason FROM cost_summary")
    assert row == {"method": "router", "models": 1, "aiq": None, "reason": reason}
    assert rows(answered, "FROM cost_curve") == []
    assert read_sections(answered.lake)["cost_curve"].pictures == []


@pytest.mark.parametrize("cheapest", [0.0, 1.0])
@pytest.mark.parametrize("unit", ["US$", "billions of parameters"])
def test_many_pareto_models_some_free_and_no_intervals_are_drawn(cheapest: float, unit: str) -> None:
    shared = {"cost_weight": None, "ci_low": None, "ci_high": None, "cost_unit": unit, "pareto": None, "model": None}
    models = [
        shared
        | {"method": "model", "model": f"costs ${at}$ {'x' * 40}", "pareto": at > 1}
        | {"accuracy": at / 40, "mean_cost": cheapest + at * at}
        for at in range(30)
    ]
    curves = [
        shared | {"method": method, "cost_weight": weight, "accuracy": 0.5, "mean_cost": 9.0 - weight}
        for method in ("router", "best_single", "best_per_benchmark")
        for weight in (0.0, 1.0)
    ]
    drawing = cost_quality_curves([*models, *curves])
    assert drawing.uri.startswith("data:image/png;base64,iVBOR")
    assert drawing == cost_quality_curves([*models, *curves])


def test_what_answers_took_is_what_is_spent(
    workspace: Workspace, tmp_path: Any, encoder: Any, materialize: Materialize
) -> None:
    """Elm is dear for trees, oak for sums; ash's costs are known for every other question."""
    dollars = {"elm": {"sums": 1, "trees": 9}, "oak": {"sums": 9, "trees": 1}, "ash": {"sums": 4, "trees": 4}}
    lines = ["prompt_id,model_name,category,label,prompt,cost"]
    for number in range(300):
        topic = ("sums", "trees")[number % 2]
        for model, by_topic in dollars.items():
            cost = "" if model == "ash" and number % 4 < 2 else by_topic[topic]
            lines.append(f"{number},{model},{topic},{int(number % 5 > 0)},{topic}: what is number {number}?,{cost}")
    (tmp_path / "results.csv").write_text("\n".join(lines))
    import_results(workspace.lake, str(tmp_path / "results.csv"), benchmark_of=str)
    for asset in (build_correctness_matrix(workspace.registry), question_embeddings, embedder, cost_curve, routing):
        materialize(asset)
    (router,) = rows(workspace, "FROM cost_summary WHERE method = 'router'")
    assert (router["cost_unit"], router["predicted_by"]) == ("US$", "category")
    (known,) = rows(
        workspace, "SELECT avg((cost IS NOT NULL)::INT) AS share FROM responses JOIN questions USING (question_id) "
        "WHERE split = 'test'"
    )  # fmt: skip
    assert router["measured"] == pytest.approx(known["share"])
    assert router["mean_cost"] == pytest.approx(1)  # of every question, where models are equally good
    singles = rows(
        workspace,
        "SELECT c.mean_cost, avg(r.cost) AS spent FROM cost_curve c JOIN responses r USING (model) "
        "JOIN questions USING (question_id) WHERE split = 'test' GROUP BY ALL",
    )
    assert [row["mean_cost"] for row in singles] == pytest.approx([row["spent"] for row in singles])
    (best,) = rows(workspace, "FROM routing WHERE method = 'best_single' AND benchmark = 'sums'")
    assert (best["cost_unit"], best["mean_cost"]) in (("US$", 1), ("US$", 4), ("US$", 9))
    told = read_sections(workspace.lake)["cost_curve"].says
    assert "Among the 3 models whose cost is known" in told
    assert "is predicted by its mean in the question's category; what is counted as spent was measured for" in told
