"""How well the accuracies of models on a benchmark are told by an embedder that never saw it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from assets.embedding.serving import Serving
from assets.figures.scatter import Panel, predicted_against_observed
from assets.figures.sections import Picture, Section, refused, rows
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
    code_version="2",
    deps=("correctness_matrix", "embedder", "left_out_embeddings"),
    expensive=True,
    latest_only=["predicted_accuracies"],
)


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
    by_benchmark = rows(tables, _BY_BENCHMARK)
    panels = _panels(rows(tables, _BY_MODEL))
    picture = predicted_against_observed(
        panels,
        ours="ridge on embeddings",
        baseline="fitted mean elsewhere",
        x_label="observed accuracy (%)",
        y_label="predicted accuracy (%)",
    )
    return Section(
        TITLE,
        _says(overall, by_benchmark),
        [
            Picture(
                picture,
                f"observed accuracy of models on {len(panels)} benchmarks, and what was predicted when they were held "
                "out, in the mean of the splits",
            )
        ],
        [overall, by_benchmark],
        _SQL,
        "embedder",
    )


# Accuracies by the paper's way, by the texts alone, and by the two plain ones.
_BY_BENCHMARK = (
    "SELECT benchmark, any_value(models) AS models, "
    + ", ".join(
        f"max({measure}) FILTER (method = '{method}') AS {measure}_{method}"
        for measure, method in (
            ("significant", "embedder"),
            ("tau", "embedder"),
            ("tau", "text"),
            ("tau", "rates_elsewhere"),
            ("mae", "embedder"),
            ("mae", "embedder_and_text"),
            ("mae", "mean_elsewhere_fitted"),
            ("mae", "rates_elsewhere"),
        )
    )
    + ", any_value(reason) AS reason FROM benchmark_predictions "
    "WHERE benchmark <> 'all' GROUP BY benchmark ORDER BY benchmark"
)
_BY_MODEL = """\
SELECT benchmark, model, any_value(observed) AS observed, avg(predicted) FILTER (method = 'embedder') AS predicted,
    avg(predicted) FILTER (method = 'mean_elsewhere_fitted') AS baseline
FROM predicted_accuracies GROUP BY benchmark, model ORDER BY benchmark, model"""
_SQL = """\
SELECT benchmark, method, tau, p_value, significant, mae, reason FROM latest('benchmark_predictions')
ORDER BY benchmark, mae;

SELECT benchmark, model, avg(predicted) AS predicted, any_value(observed) AS observed FROM predicted_accuracies
WHERE method = 'embedder' GROUP BY ALL ORDER BY abs(avg(predicted) - any_value(observed)) DESC LIMIT 10;"""


def _says(overall: list[dict[str, Any]], by_benchmark: list[dict[str, Any]]) -> str:
    found = {row["method"]: row for row in overall}
    ours = found["embedder"]
    tested = [row for row in by_benchmark if row["reason"] is None]
    splits = ours["splits"] // len(tested)
    clear = sum(row["significant_embedder"] > splits / 2 for row in tested)
    ranks = "" if ours["tau"] is None else f"ranks them with Kendall's tau {ours['tau']:.2f} and "
    return (
        f"Of models held out, ridge regression on embeddings trained without a benchmark {ranks}misses their accuracy "
        f"on it by {100 * ours['mae']:.1f} points (means over {len(tested)} benchmarks; p < 0.05 in most of "
        f"{splits} splits on {clear} of them). Regression on the accuracies on the other benchmarks gives "
        f"{_figures(found['rates_elsewhere'])}, on their mean {_figures(found['mean_elsewhere_fitted'])}; the forecast "
        f"from the questions' texts alone, with no answers at all, {_figures(found['text'])}."
    )


def _figures(row: dict[str, Any]) -> str:
    points = f"{100 * row['mae']:.1f} points"
    return points if row["tau"] is None else f"{row['tau']:.2f} and {points}"


def _panels(by_model: Sequence[dict[str, Any]]) -> list[Panel]:
    """Of the first benchmarks: the mean prediction of each model over the splits in which it was held out."""
    panels = []
    for name in sorted({row["benchmark"] for row in by_model})[:MOST_PANELS]:
        of_name = [row for row in by_model if row["benchmark"] == name]
        panels.append(Panel(name, *([row[key] for row in of_name] for key in ("observed", "predicted", "baseline"))))
    return panels
