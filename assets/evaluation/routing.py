"""What is gained by asking, for each question, the model that the router ranks first."""

from __future__ import annotations

import pyarrow as pa

from assets.embedding.serving import Serving
from assets.figures.bars import interval_bars
from assets.figures.sections import Picture, Section, pivot, refused, rows
from assets.matrix.costs import Costs
from embedder.downstream.cost import QuestionCosts
from embedder.downstream.routing import route

from .experiment import Result, experiment, overall_figures

TITLE = "Which model should a question go to?"


def compare_routers(serving: Serving, costs: Costs, question_costs: QuestionCosts | None, seed: int) -> Result:
    """A row is one way to choose a model for each test question of a benchmark; `routes` has every choice."""
    summary, routes = route(
        serving.matrix,
        serving.test_forecast,
        serving.version,
        costs=costs.by_model,
        cost_unit=costs.unit,
        spent=question_costs and question_costs.spent,
        seed=seed,
    )
    section = describe(summary, models=serving.answering_models)
    return Result({"routing": summary, "routes": routes}, section, overall_figures(summary, "accuracy"))


routing = experiment(compare_routers, name="routing", kinds={"python"}, code_version="5")


def describe(table: pa.Table, *, models: int) -> Section:
    """Return the report's section on the table `routing`, of so many `models` that have answered something."""
    overall = rows(
        {"routing": table},
        "SELECT method, n, candidates, accuracy, ci_low, ci_high, gain_over_best, gap_to_oracle, reason FROM routing "
        "WHERE benchmark = 'all' ORDER BY accuracy DESC, method",
    )
    if reason := refused(TITLE, overall):
        return reason
    accuracy = {row["method"]: row["accuracy"] for row in overall}
    by_benchmark = rows(
        {"routing": table},
        "SELECT benchmark, any_value(n) AS n, "
        f"{pivot('accuracy', 'router', 'best_single', 'best_per_benchmark', 'oracle')} "
        "FROM routing WHERE benchmark <> 'all' GROUP BY benchmark ORDER BY benchmark",
    )
    says = (
        f"Sending each of {overall[0]['n']:,} test questions to the model that the router ranks first gives "
        f"{accuracy['router']:.1%} right answers; asking the best model of each benchmark, which takes knowing the "
        f"question's benchmark, gives {accuracy['best_per_benchmark']:.1%}, and always asking the single best model "
        f"(both chosen on training questions) {accuracy['best_single']:.1%}."
    )
    if overall[0]["candidates"] != models:
        says += (
            " A question can only go to a model that answered it, on average "
            f"{overall[0]['candidates']:.1f} of the {models}."
        )
    label = "right answers on test questions (%), 95% interval"
    return Section(
        TITLE,
        says,
        [Picture.of(interval_bars(overall, ours="router", label=label), label)],
        [overall, by_benchmark],
        "SELECT model, count(*) AS questions, avg(correct::INT) AS accuracy\n"
        "FROM routes\n"
        "WHERE method = 'router' GROUP BY model ORDER BY questions DESC, model;",
        "router",
    )
