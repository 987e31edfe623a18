"""How well the embedder foretells who answers what, beside its baselines."""

from __future__ import annotations

import dagster as dg

from embedder.downstream.forecast import forecast
from warehouse.publish import publish

from .embedder import load_serving
from .figures import interval_bars, markdown
from .workspace import Workspace


@dg.asset(
    deps=["embedder"],
    group_name="evaluation",
    kinds={"scikitlearn"},
    owners=["team:embedllm"],
    code_version="1",
    pool="warehouse",
)
def forecasts(workspace: dg.ResourceParam[Workspace]) -> dg.MaterializeResult:
    """A row is how well one method forecasts the answers to one benchmark's test questions."""
    from embedder.baselines import KNN, Majority, ModelBenchmarkMean, ModelMean

    served = load_serving(workspace)
    version, matrix = served.version, served.matrix
    predictions = {"embedder": served.embedder.predict_proba(served.questions)}
    for baseline in (KNN(), ModelBenchmarkMean(), ModelMean(), Majority()):
        baseline.fit(matrix, served.questions, seed=workspace.seed)
        predictions[baseline.method] = baseline.predict_proba(served.questions)
    table = forecast(matrix, predictions, version, seed=workspace.seed)
    workspace.lake.write_table("forecasts", table, version)
    publish(workspace.lake, workspace.database, ["forecasts"])
    overall = [row for row in table.to_pylist() if row["benchmark"] == "all"]
    bars = interval_bars(overall, ours="embedder", label="forecast accuracy on test questions (%), 95% interval")
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(table),
            **{f"accuracy_{r['method']}": round(r["accuracy"], 4) for r in overall},
            "accuracies": dg.MetadataValue.md(markdown(bars)),
        }
    )
