"""How well an embedder that never saw a benchmark predicts the accuracies of models on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from assets.embedding.serving import Serving
from assets.figures.scatter import Panel, predicted_against_observed
from assets.figures.sections import Picture, Section, pivot, refused, rows
from embedder.downstream.benchmark_predictions import predict_benchmarks
from embedder.downstream.left_out import LeftOut

from .experiment import Result, experiment

TITLE = "How good will models be on a new benchmark?"
MOST_PANELS = 12


def tell_accuracies(serving: Serving, left_out: Mapping[frozenset[str], LeftOut], seed: int) -> Result:
    """A row is how well one method tells models' accuracies on a benchmark from their answers to others;
    `predicted_accuracies` has every single prediction."""
    table, predicted = predict_benchmarks(serving.matrix, left_out, serving.version, seed=seed)
    overall = [row for row in table.to_pylist() if row["benchmark"] == "all" and row["mae"] is not None]
    return Result(
        {"benchmark_predictions": table, "predicted_accuracies": predicted},
        describe(table, predicted),
        {f"mae_{row['method']}": round(row["mae"], 4) for row in overall},
    )


benchmark_predictions = experiment(
    tell_accuracies,
    name="benchmark_predictions",
    kinds={"scipy"},
    code_version="3",
    deps=("correctness_matrix", "embedder", "left_out_embeddings"),
    expensive=True,
    latest_only=["predicted_accuracies"],
)


# A row a benchmark: its models, with the mean of what was predicted of each in the splits that held it out.
PANELS = f"""\
WITH means AS (
    SELECT benchmark, model, any_value(observed) AS observed,
        avg(predicted) FILTER (method = 'embedder') AS predicted,
        avg(predicted) FILTER (method = 'mean_elsewhere_fitted') AS baseline
    FROM predicted_accuracies GROUP BY benchmark, model
)
SELECT benchmark AS title, list(model ORDER BY model) AS models, list(observed ORDER BY model) AS observed,
    list(predicted ORDER BY model) AS predicted, list(baseline ORDER BY model) AS baseline
FROM means GROUP BY benchmark ORDER BY benchmark LIMIT {MOST_PANELS}"""
SQL = """\
SELECT benchmark, method, tau, p_value, significant, mae, reason FROM benchmark_predictions
ORDER BY benchmark, mae;

SELECT benchmark, model, avg(predicted) AS predicted, any_value(observed) AS observed FROM predicted_accuracies
WHERE method = 'embedder' GROUP BY ALL ORDER BY abs(avg(predicted) - any_value(observed)) DESC LIMIT 10;"""


def describe(table: pa.Table, predicted: pa.Table) -> Section:
    """Return the report's section on the tables `benchmark_predictions` and `predicted_accuracies`."""
    tables = {"benchmark_predictions": table, "predicted_accuracies": predicted}
    overall = rows(
        tables,
        "SELECT method, models, splits, significant, tau, tau_low, tau_high, mae, mae_low, mae_high, mse, reason "
        "FROM benchmark_predictions WHERE benchmark = 'all' ORDER BY mae, method",
    )
    if reason := refused(TITLE, overall):
        return reason
    by_benchmark = rows(
        tables,
        "SELECT benchmark, any_value(models) AS models, "
        f"{pivot('significant', 'embedder', prefix='significant_')}, "
        f"{pivot('tau', 'embedder', 'text', 'rates_elsewhere', prefix='tau_')}, "
        f"{pivot('mae', 'embedder', 'embedder_and_text', 'mean_elsewhere_fitted', 'rates_elsewhere', prefix='mae_')}, "
        "any_value(reason) AS reason FROM benchmark_predictions "
        "WHERE benchmark <> 'all' GROUP BY benchmark ORDER BY benchmark",
    )
    panels = [Panel(**row) for row in rows(tables, PANELS)]
    picture = predicted_against_observed(
        panels,
        ours="ridge on embeddings",
        baseline="fitted mean elsewhere",
        x_label="observed accuracy (%)",
        y_label="predicted accuracy (%)",
    )
    alt = (
        f"observed accuracy of models on {len(panels)} benchmarks, and the mean of what was predicted of them in the "
        "splits that held them out"
    )
    return Section(
        TITLE,
        _tell_errors({row["method"]: row for row in overall}, by_benchmark),
        [Picture.of(picture, alt)],
        [overall, by_benchmark],
        SQL,
        "embedder",
    )


def _tell_errors(by_method: Mapping[str, dict[str, Any]], by_benchmark: Sequence[dict[str, Any]]) -> str:
    """Return what the section says: how far the predictions are off, next to those of the baselines."""
    ours = by_method["embedder"]
    tested = [row for row in by_benchmark if row["reason"] is None]
    splits = ours["splits"] // len(tested)
    clear = sum(row["significant_embedder"] > splits / 2 for row in tested)
    error = {method: f"{100 * row['mae']:.1f} points" for method, row in by_method.items()}
    error |= {
        method: f"{error[method]} (Kendall's tau {row['tau']:.2f})"
        for method, row in by_method.items()
        if row["tau"] is not None
    }
    return (
        "Ridge regression on embeddings that were trained without a benchmark predicts the accuracies of held-out "
        f"models on it with a mean error of {error['embedder']}. These are means over {len(tested)} benchmarks; "
        f"p < 0.05 in most of {splits} splits on {clear} of them. The error of a regression on the accuracies on the "
        f"other benchmarks is {error['rates_elsewhere']}, of one on their mean {error['mean_elsewhere_fitted']}, and "
        f"of the forecast from the questions' texts alone, which needs no answers at all, {error['text']}."
    )
