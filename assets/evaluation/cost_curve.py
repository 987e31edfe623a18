"""What quality costs, and what is saved by weighing the one against the other."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from assets.embedding.serving import Serving
from assets.figures.costs import cost_quality_curves
from assets.figures.sections import Picture, Section, refused, rows
from assets.figures.style import PARAMETERS
from assets.matrix.costs import Costs
from embedder.downstream.cost import QuestionCosts, weigh_costs

from .experiment import Result, experiment

TITLE = "What does quality cost?"
SQL = """SELECT method, cost_weight, mean_cost, accuracy
FROM cost_curve SEMI JOIN serving USING (embedder)
WHERE method <> 'model' ORDER BY method, cost_weight;

SELECT model, mean_cost, accuracy, n
FROM cost_curve SEMI JOIN serving USING (embedder)
WHERE pareto ORDER BY mean_cost, model;"""
_OF_METHODS = (
    *("method", "aiq", "aiq_low", "aiq_high"),
    *("accuracy", "ci_low", "ci_high", "cost_share", "cost_share_low", "cost_share_high", "cost_weight", "reason"),
)
_OF_MODELS = ("model", "mean_cost", "cost_unit", "accuracy", "ci_low", "ci_high", "n")


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
    return Result(
        {"cost_curve": curve, "cost_summary": summary},
        describe(curve, summary),
        {f"aiq_{r['method']}": round(r["aiq"], 4) for r in summary.to_pylist() if r["aiq"] is not None},
    )


cost_curve = experiment(tabulate_cost_curve, name="cost_curve", kinds={"python"}, code_version="2")


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
    alt = "accuracy by mean cost of a question: router, baselines and single models"
    return Section(
        TITLE,
        f"{_saving(curve, summary)} {_areas(curve, summary)}{_measured(summary[0])}",
        [Picture(cost_quality_curves(curve), alt)],
        [
            [{name: row[name] for name in _OF_METHODS} for row in summary],
            [{name: row[name] for name in _OF_MODELS} for row in pareto],
        ],
        SQL,
        "router",
    )


def _saving(curve: list[dict[str, Any]], summary: list[dict[str, Any]]) -> str:
    """What the router costs where it is to be as good as the single best model."""
    ours = next(row for row in summary if row["method"] == "router")
    best = next(row for row in curve if row["method"] == "best_single" and row["cost_weight"] == 0)
    known = "size" if ours["cost_unit"] == PARAMETERS else "price" if ours["predicted_by"] is None else "cost"
    pool = f"Among the {ours['models']} models whose {known} is known, the router"
    single = f"the single best model, which answers {best['accuracy']:.1%}"
    if ours["reason"] is not None:
        return f"{pool} saves nothing that can be shown ({ours['reason']}); beside it stands {single} right."
    found = (
        f"{pool}, its cost weight chosen on val questions, answers {ours['accuracy']:.1%} of {ours['n']:,} test "
        "questions right"
    )
    share, low, high = (ours[name] for name in ("cost_share", "cost_share_low", "cost_share_high"))
    if share is None:
        return f"{found}; beside it stands {single} and is free."
    interval = "" if low is None else f" (95% interval {low:.0%} to {high:.0%})"
    return f"{found} at {share:.0%} of the cost{interval} of {single}."


def _measured(summary: dict[str, Any]) -> str:
    """Whose costs these are, where answers say what they took."""
    if summary["predicted_by"] is None:
        return ""
    way = {"mean": "its mean", "category": "its mean in the question's category", "form": "the form of the text"}
    told = way.get(summary["predicted_by"], summary["predicted_by"])
    return (
        f" What a model will cost for a question is predicted by {told}; what is counted as spent was measured for "
        f"{summary['measured']:.0%} of the answers."
    )


def _areas(curve: list[dict[str, Any]], summary: list[dict[str, Any]]) -> str:
    """How the curves compare, and what the dots of the models are."""
    area = {row["method"]: row["aiq"] for row in summary}
    compared = (
        "All curves are a single point"
        if area["router"] is None
        else f"Averaged over the range of costs (AIQ) it answers {area['router']:.1%} right, the best model at each "
        f"cost {area['best_single']:.1%}"
    )
    asked = {row["n"] for row in curve if row["method"] == "model"} | {summary[0]["n"]}
    uneven = "; single models are shown over the questions that each answered, which are not the same"
    return f"{compared}{uneven if len(asked) > 1 else ''}."
