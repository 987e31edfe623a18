"""What quality costs, and what is saved by weighing one against the other."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from assets.embedding.serving import Serving
from assets.figures.costs import cost_quality_curves
from assets.figures.sections import Picture, Section, columns, refused, rows, tell_interval
from assets.figures.style import PARAMETERS, parameters
from assets.matrix.costs import Costs
from embedder.downstream.cost import QuestionCosts, weigh_costs

from .experiment import Result, experiment, overall_figures

TITLE = "What does quality cost?"
SQL = """SELECT method, cost_weight, mean_cost, accuracy
FROM cost_curve
WHERE method <> 'model' ORDER BY method, cost_weight;

SELECT model, mean_cost, accuracy, n
FROM cost_curve
WHERE pareto ORDER BY mean_cost, model;"""
MEASURED = ("accuracy", "ci_low", "ci_high", "n")
PREDICTED_BY = {
    "mean": "its mean",
    "category": "its mean in the question's category",
    "form": "the form of the question's text",
}


def tabulate_cost_curve(serving: Serving, costs: Costs, question_costs: QuestionCosts | None, seed: int) -> Result:
    """A row is a method at a cost weight, or a single model; `cost_summary` has what each method saves."""
    curve, summary = weigh_costs(
        serving.matrix,
        serving.val_forecast.routing_scores,
        serving.test_forecast.routing_scores,
        serving.version,
        costs=costs.by_model,
        cost_unit=costs.unit,
        question_costs=question_costs,
        seed=seed,
    )
    tables = {"cost_curve": curve, "cost_summary": summary}
    return Result(tables, describe(curve, summary), overall_figures(summary, "aiq"))


cost_curve = experiment(tabulate_cost_curve, name="cost_curve", kinds={"python"}, code_version="3")


def describe(cost_curve: pa.Table, cost_summary: pa.Table) -> Section:
    """Return the report's section on these tables."""
    tables = {"cost_curve": cost_curve, "cost_summary": cost_summary}
    curve = rows(
        tables,
        "SELECT * EXCLUDE (embedder) FROM cost_curve ORDER BY method, cost_weight, mean_cost, accuracy, model",
    )
    summary = rows(tables, "SELECT * EXCLUDE (embedder) FROM cost_summary ORDER BY aiq DESC NULLS LAST, method")
    if not curve:  # a method without a saving still has its curve
        return refused(TITLE, summary) or Section(TITLE, "Not possible here: not evaluated yet.")
    pareto = [row for row in curve if row["pareto"]]
    return Section(
        TITLE,
        " ".join([_tell_saving(curve, summary), *_tell_rest(curve, summary)]),
        [
            Picture.of(
                cost_quality_curves(curve), "accuracy by mean cost of a question: router, baselines, single models"
            )
        ],
        [
            columns(
                summary,
                *("method", "aiq", "aiq_low", "aiq_high", "accuracy", "ci_low", "ci_high"),
                *("cost_share", "cost_share_low", "cost_share_high", "cost_weight", "reason"),
            ),
            [{"model": row["model"]} | _tell_cost(row) | {name: row[name] for name in MEASURED} for row in pareto],
        ],
        SQL,
        "router",
    )


def _tell_cost(row: dict[str, Any]) -> dict[str, str | float]:
    if row["cost_unit"] == PARAMETERS:
        return {"parameters": parameters(row["mean_cost"])}
    return {"mean cost of 1,000 questions (US$)": 1000 * row["mean_cost"]}


def _tell_saving(curve: list[dict[str, Any]], summary: list[dict[str, Any]]) -> str:
    """Return a sentence on what the router costs where it is to be as good as the single best model."""
    ours = next(row for row in summary if row["method"] == "router")
    best = next(row for row in curve if row["method"] == "best_single" and row["cost_weight"] == 0)
    known = "size" if ours["cost_unit"] == PARAMETERS else "price" if ours["predicted_by"] is None else "cost"
    router = f"Among the {ours['models']} models whose {known} is known, the router"
    single = f"the single best model answers {best['accuracy']:.1%}"
    if ours["reason"] is not None:
        return f"{router} saves nothing that can be shown ({ours['reason']}); {single} right."
    router += (
        f", its cost weight chosen on val questions, answers {ours['accuracy']:.1%} of {ours['n']:,} test questions "
        "right"
    )
    if ours["cost_share"] is None:
        return f"{router}; {single} and is free."
    router += f" at {ours['cost_share']:.0%} of the cost of the single best model"
    router += tell_interval(ours["cost_share_low"], ours["cost_share_high"], ".0%")
    table = next(row for row in summary if row["method"] == "best_per_benchmark")
    if table["cost_share"] is not None:
        router += (
            f"; the best model of each benchmark at each cost, which takes knowing the question's benchmark, answers "
            f"{table['accuracy']:.1%} at {table['cost_share']:.0%}"
        )
    return f"{router}; {single}."


def _tell_rest(curve: list[dict[str, Any]], summary: list[dict[str, Any]]) -> list[str]:
    """Return sentences on how the curves compare, what the dots of the models are, and whose costs these are."""
    area = {row["method"]: row["aiq"] for row in summary}
    sentences = ["All curves are a single point."]
    if area["router"] is not None:
        sentences = [
            f"Averaged over the range of costs (AIQ), the router answers {area['router']:.1%} right, the best model of "
            f"each benchmark {area['best_per_benchmark']:.1%}, the best model at each cost {area['best_single']:.1%}."
        ]
    if len({row["n"] for row in curve if row["method"] == "model"} | {summary[0]["n"]}) > 1:
        sentences.append("Single models are shown over the questions that each answered, which are not the same.")
    if way := summary[0]["predicted_by"]:  # answers say what they took
        sentences.append(
            f"What a model will cost for a question is predicted by {PREDICTED_BY.get(way, way)}; what is counted as "
            f"spent was measured for {summary[0]['measured']:.0%} of the answers."
        )
    return sentences
