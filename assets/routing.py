"""What is gained by asking, for each question, the model that the router ranks first."""

from __future__ import annotations

import dagster as dg

from embedder.downstream.routing import route
from warehouse.publish import publish

from .costs import question_costs
from .embedder import load_serving
from .figures import interval_bars, markdown
from .workspace import Workspace


@dg.asset(
    deps=["embedder"],
    group_name="evaluation",
    kinds={"python"},
    owners=["team:embedllm"],
    code_version="2",
    pool="warehouse",
)
def routing(workspace: dg.ResourceParam[Workspace]) -> dg.MaterializeResult:
    """A row is one way to choose a model for each test question of a benchmark; `routes` has every choice."""
    served = load_serving(workspace)
    version, forecast = served.version, served.embedder.forecast(served.test_questions)
    costs = question_costs(workspace.registry)
    summary, routes = route(served.matrix, forecast, version, prices=costs, seed=workspace.seed)
    workspace.lake.write_table("routing", summary, version)
    workspace.lake.write_table("routes", routes, version)
    publish(workspace.lake, workspace.database, ["routing", "routes"])
    overall = [row for row in summary.to_pylist() if row["benchmark"] == "all"]
    bars = interval_bars(overall, ours="router", label="right answers on test questions (%), 95% interval")
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(summary),
            "routes": len(routes),
            **{f"accuracy_{r['method']}": round(r["accuracy"], 4) for r in overall},
            "accuracies": dg.MetadataValue.md(markdown(bars)),
        }
    )
