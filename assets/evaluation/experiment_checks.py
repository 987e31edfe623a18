"""What must be true of the tables of every experiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

CHECK = "results_are_sound"
ROUNDING = 1e-6  # of a mean of 32-bit probabilities

ACCURACY = ("accuracy", "ci_low", "ci_high")


@dataclass(frozen=True)
class Promise:
    """What the tables of an experiment hold."""

    shares: Mapping[str, Sequence[str]]  # by table, the columns that are probabilities or shares
    methods: Set[str] = frozenset()  # have rows in the experiment's own table
    filled: Sequence[str] = ()  # columns that have a value in each of its rows with a result
    reasons: str | None = None  # the table that says why there is no result, if it is not the experiment's own


FORECASTERS = {"embedder", "mf", "knn", "model_benchmark_mean", "model_mean"}
PROMISES = {
    "forecasts": Promise(
        {
            "forecasts": (*ACCURACY, "auc", "brier", "ece"),
            "predictions": ("probability", "low", "high", "support"),
            "reliability": ("probability", *ACCURACY),
        },
        methods=FORECASTERS | {"majority"},
    ),
    "forecast_curve": Promise({"forecast_curve": ACCURACY}, methods=FORECASTERS),
    "routing": Promise(
        {"routing": ACCURACY, "routes": ("probability",)},
        methods={"router", "best_single", "best_per_benchmark", "weighted_random", "random", "oracle"},
    ),
    "robustness": Promise(
        {
            "robustness": (
                *("changed", "routing_accuracy", "ci_low", "ci_high", "routing_forecast", "routing_rate"),
                *("mean_forecast", "mean_rate", "accuracy", "ece", "asked_routing_accuracy"),
                *("asked_routing_forecast", "asked_accuracy", "asked_ece"),
            )
        },
        methods=FORECASTERS,
    ),
    "cost_curve": Promise(
        {"cost_curve": ACCURACY, "cost_summary": (*ACCURACY, "aiq", "aiq_low", "aiq_high", "measured")},
        methods={"router", "best_single", "best_per_benchmark", "model"},
        reasons="cost_summary",
    ),
    "benchmark_predictions": Promise(
        {"benchmark_predictions": ("p_value", "mae"), "predicted_accuracies": ("predicted", "observed")},
        methods={"embedder", "embedder_and_text", "text", "rates_elsewhere", "mean_elsewhere", "mean_elsewhere_fitted"},
    ),
    "communities": Promise({"communities": ("p_value",)}, filled=("outside", "chance_low", "chance_high")),
    "probes": Promise({"probes": ("p_value",)}, filled=("chance",)),
    "contributions": Promise({}, filled=("mse_without",)),  # errors of a regression have no bound
    "fallbacks": Promise(
        {"fallbacks": (*ACCURACY, "accuracy_before")}, methods={"reroute", "nearest", "best_single", "random"}
    ),
    "portfolios": Promise({"portfolios": ACCURACY}, methods={"greedy", "best_mean", "random"}),
    "difficulty": Promise(
        {"difficulty": ("mae",), "question_difficulty": ("predicted", "observed")},
        methods={"embedder", "knn", "benchmark_mean"},
    ),
}
"""By experiment."""


def check_spec(experiment: str) -> dg.AssetCheckSpec:
    """Return the check of an experiment, which the experiment itself reports."""
    return dg.AssetCheckSpec(
        CHECK,
        asset=experiment,
        description="There are results or the reason why not, every probability and share lies between 0 and 1, and "
        "the baselines are there.",
    )


def find_faults(experiment: str, tables: Mapping[str, pa.Table]) -> list[str]:
    """Return what is wrong with the `tables` of an experiment, in sentences."""
    promise, results = PROMISES[experiment], tables[experiment]
    reasons = promise.reasons or experiment
    if "reason" in results.column_names:
        results = results.filter(pc.field("reason").is_null())
    if not results.num_rows and tables[reasons]["reason"].null_count == tables[reasons].num_rows:
        return [f"{reasons} has no result and no reason why not"]
    faults = []
    for table, columns in promise.shares.items():
        for column in columns:
            values = tables[table][column].drop_null().to_numpy()
            outside = values[~((values >= -ROUNDING) & (values <= 1 + ROUNDING))]  # so is NaN
            if len(outside):
                faults.append(
                    f"{table}.{column} is not between 0 and 1 in {len(outside)} rows, but {outside[0]:g} in the first"
                )
    if not results.num_rows:
        return faults
    if missing := promise.methods - set(results["method"].to_pylist() if promise.methods else ()):
        faults.append(f"{experiment} has no rows of {', '.join(sorted(missing))}")
    gaps = {column: results[column].null_count for column in promise.filled}
    return faults + [f"{experiment}.{column} is missing in {count} rows" for column, count in gaps.items() if count]
