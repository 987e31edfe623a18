"""What is gained by asking, for each question, the model that the router ranks first."""

from __future__ import annotations

from embedder.downstream.routing import route

from .costs import model_costs, question_costs
from .figures.bars import interval_bars
from .provenance import Made
from .recording import experiment, record
from .sections import Picture, Section, of_serving, refused, rows
from .serving import load_serving
from .workspace import Workspace

TITLE = "Which model should a question go to?"


@experiment(kinds={"python"}, code_version="3")
def routing(workspace: Workspace) -> Made:
    """A row is one way to choose a model for each test question of a benchmark; `routes` has every choice."""
    served = load_serving(workspace)
    costs = model_costs(workspace, served.question_costs)
    each = question_costs(workspace, costs, served.matrix, served.questions)
    summary, routes = route(
        served.matrix,
        served.test_forecast,
        served.version,
        costs=costs.by_model,
        cost_unit=costs.unit,
        spent=each and each.spent,
        seed=workspace.seed,
    )
    overall = [r for r in summary.to_pylist() if r["benchmark"] == "all" and r["accuracy"] is not None]
    accuracies = {f"accuracy_{r['method']}": round(r["accuracy"], 4) for r in overall}
    return record(workspace, served.version, {"routing": summary, "routes": routes}, accuracies, section)


def section(workspace: Workspace) -> Section:
    """Of the report."""
    overall = of_serving(
        workspace,
        "routing",
        "method, n, candidates, accuracy, ci_low, ci_high, gain_over_best, gap_to_oracle, reason",
        "WHERE benchmark = 'all' ORDER BY accuracy DESC, method",
    )
    if reason := refused(TITLE, overall):
        return reason
    accuracy = {row["method"]: row["accuracy"] for row in overall}
    by_benchmark = of_serving(
        workspace,
        "routing",
        "benchmark, any_value(n) AS n, "
        + ", ".join(
            f"max(accuracy) FILTER (method = '{method}') AS {method}"
            for method in ("router", "best_single", "best_per_benchmark", "oracle")
        ),
        "WHERE benchmark <> 'all' GROUP BY benchmark ORDER BY benchmark",
    )
    label = "right answers on test questions (%), 95% interval"
    return Section(
        TITLE,
        f"Sending each of {overall[0]['n']:,} test questions to the model that the router ranks first gives "
        f"{accuracy['router']:.1%} right answers; always asking the single best model (chosen on training questions) "
        f"gives {accuracy['best_single']:.1%}.{_choice(workspace, overall[0]['candidates'])}",
        [Picture(interval_bars(overall, ours="router", label=label), label)],
        [overall, by_benchmark],
        "SELECT model, count(*) AS questions, avg(correct::INT) AS accuracy\n"
        "FROM routes SEMI JOIN serving USING (embedder)\n"
        "WHERE method = 'router' GROUP BY model ORDER BY questions DESC, model;",
        "router",
    )


def _choice(workspace: Workspace, candidates: float) -> str:
    """Among how many models, where not all answered every question."""
    ((models,),) = (row.values() for row in rows(workspace, "SELECT count(DISTINCT model) FROM responses"))
    if candidates == models:
        return ""
    return f" A question can only go to a model that answered it, on average {candidates:.1f} of the {models}."
