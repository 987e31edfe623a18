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
    code_version="2",
    pool="warehouse",
)
def forecasts(workspace: dg.ResourceParam[Workspace]) -> dg.MaterializeResult:
    """A row is how well one method forecasts the answers to one benchmark's test questions; `predictions` has every
    single forecast."""
    from embedder.baselines import KNN, Majority, ModelBenchmarkMean, ModelMean
    from embedder.mf import MatrixFactorization

    served = load_serving(workspace)
    test_questions = served.test_questions
    by_method = {"embedder": served.embedder.forecast(test_questions)}
    for baseline in (MatrixFactorization(), KNN(), ModelBenchmarkMean(), ModelMean(), Majority()):
        baseline.fit(served.matrix, served.questions, seed=workspace.seed)
        by_method[baseline.method] = baseline.forecast(test_questions)
    table, predictions = forecast(served.matrix, by_method, served.version, seed=workspace.seed)
    workspace.lake.write_table("forecasts", table, served.version)
    # Of the serving embedder only: they are many, and every version has as many again.
    workspace.lake.write_table("predictions", predictions)
    publish(workspace.lake, workspace.database, ["forecasts", "predictions"])
    overall = [row for row in table.to_pylist() if row["benchmark"] == "all"]
    bars = interval_bars(overall, ours="embedder", label="forecast accuracy on test questions (%), 95% interval")
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(table),
            "predictions": len(predictions),
            **{f"accuracy_{r['method']}": round(r["accuracy"], 4) for r in overall},
            "accuracies": dg.MetadataValue.md(markdown(bars)),
        }
    )
