"""Experiment: can an embedder that was trained without a benchmark predict the accuracies of models on it?"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from embedder import metrics
from embedder.matrix import CorrectnessMatrix

from .columns import NAME, counts, figures, texts
from .held_out_models import LEAST_MODELS, SPLITS, Target, accuracies, answered_enough, known_models, predict_held_out
from .left_out import LeftOut

__all__ = ["BENCHMARK_PREDICTIONS", "PREDICTED_ACCURACIES", "predict_benchmarks"]

SIGNIFICANT = 0.05
BENCHMARK_PREDICTIONS = pa.schema(
    [
        *texts("embedder", "benchmark", "method"),
        *counts("models", "held_out", "splits"),
        *figures("tau", "tau_low", "tau_high", "p_value"),
        *counts("significant"),
        *figures("mse", "mse_low", "mse_high", "mae", "mae_low", "mae_high"),
        *texts("reason"),
    ]
)
PREDICTED_ACCURACIES = pa.schema(
    [
        *(pa.field(name, NAME) for name in ("embedder", "benchmark", "method")),
        pa.field("split", pa.int32()),
        pa.field("model", NAME),
        *figures("predicted", "observed"),
    ]
)

Row = dict[str, Any]
Scores = dict[str, np.ndarray]  # tau, p_value, mse, mae: (S,) each


def predict_benchmarks(
    matrix: CorrectnessMatrix, left_out: Mapping[frozenset[str], LeftOut], version: str, *, seed: int = 0
) -> tuple[pa.Table, pa.Table]:
    """Tables `benchmark_predictions` and `predicted_accuracies`, from the trainings without each single benchmark.

    Of the models that answered a benchmark and have an embedding without it, 30% are held out at random, 100 times;
    what predicts their accuracies is fitted to those of the other models. All methods have the same splits, and know of
    the other benchmarks the training answers only. Benchmark "all" is the mean over the benchmarks, its intervals are
    over the splits by number. Where a benchmark, or all, cannot be predicted there is a row of method "all" with the
    reason.
    """
    names = [str(name) for name in np.unique(matrix.benchmarks)]
    scores: dict[str, dict[str, Scores]] = {}
    targets: dict[str, Target] = {}
    rows, details, most = [], [PREDICTED_ACCURACIES.empty_table()], 0
    for name in names if len(names) > 1 else []:
        trained, asked = left_out[frozenset([name])], matrix.rows(matrix.benchmarks == name)
        usable = answered_enough(asked) & known_models(trained.embeddings)
        target = Target.of(matrix.models, accuracies(asked), usable, seed=seed)
        count = len(target.columns)
        most = max(most, count)
        if count < LEAST_MODELS:
            reason = f"needs at least {LEAST_MODELS} models that answered it and others, found {count}"
            rows.append({"benchmark": name, "method": "all", "models": count, "reason": reason})
            continue
        targets[name] = target
        predicted = {  # a regression may leave the range of shares
            method: np.clip(values, 0, 1) for method, values in _predict(matrix, name, target, trained).items()
        }
        scores[name] = {method: _score(values, target.observed) for method, values in predicted.items()}
        rows += [_summarise(name, method, [target], [of], seed) for method, of in scores[name].items()]
        details += [_list_predictions(matrix, version, name, method, target, of) for method, of in predicted.items()]
    if scores:
        for method in next(iter(scores.values())):
            of_method = [of[method] for of in scores.values()]
            rows.append(_summarise("all", method, list(targets.values()), of_method, seed))
    else:
        needed = f"{LEAST_MODELS} models that answered a benchmark and others, found at most {most}"
        reason = needed if len(names) > 1 else f"2 benchmarks, found {len(names)}"
        rows.append({"benchmark": "all", "method": "all", "reason": f"needs at least {reason}"})
    table = pa.Table.from_pylist([row | {"embedder": version} for row in rows], schema=BENCHMARK_PREDICTIONS)
    return table, pa.concat_tables(details).unify_dictionaries()


def _predict(matrix: CorrectnessMatrix, benchmark: str, target: Target, trained: LeftOut) -> dict[str, np.ndarray]:
    """Return by method the predicted accuracies (S, k) of the models held out."""
    elsewhere = matrix.rows((matrix.splits == "train") & (matrix.benchmarks != benchmark))
    embeddings = trained.embeddings[target.columns]
    text = trained.text[target.columns]
    mean = accuracies(elsewhere)[target.columns]
    rates = _rates(elsewhere)[target.columns]
    held_out = target.splits.held_out
    both = predict_held_out(embeddings, np.column_stack([target.accuracy, target.accuracy - text]), target.splits)
    return {
        "embedder": both[..., 0],
        "embedder_and_text": text[held_out] + both[..., 1],
        "text": text[held_out],
        "mean_elsewhere": mean[held_out],
        "mean_elsewhere_fitted": predict_held_out(mean[:, None], target.accuracy[:, None], target.splits)[..., 0],
        "rates_elsewhere": predict_held_out(rates, target.accuracy[:, None], target.splits)[..., 0],
    }


def _rates(matrix: CorrectnessMatrix) -> np.ndarray:
    """Return the accuracies by benchmark (M, B); one that a model was not asked is as much above the benchmark's mean
    as the model is elsewhere."""
    by_benchmark = [accuracies(matrix.rows(matrix.benchmarks == name)) for name in np.unique(matrix.benchmarks)]
    rates = np.stack([rate for rate in by_benchmark if not np.isnan(rate).all()], axis=1)
    means = np.nanmean(rates, axis=0)
    above = np.nansum(rates - means, axis=1) / np.maximum((~np.isnan(rates)).sum(axis=1), 1)
    return np.where(np.isnan(rates), means + above[:, None], rates)


def _score(predicted: np.ndarray, observed: np.ndarray) -> Scores:
    """Score predicted against observed accuracies (S, k), split by split; tau is NaN where one of them does not
    vary."""
    from scipy.stats import kendalltau

    with warnings.catch_warnings(action="ignore"):
        tau, p_value = kendalltau(predicted, observed, axis=1)  # type: ignore[call-arg]  # its stubs lack it
    return {
        "tau": np.asarray(tau),
        "p_value": np.asarray(p_value),
        "mse": ((predicted - observed) ** 2).mean(axis=1),
        "mae": np.abs(predicted - observed).mean(axis=1),
    }


def _summarise(benchmark: str, method: str, targets: list[Target], scores: list[Scores], seed: int) -> Row:
    """Return the row of a method: means over benchmarks and splits with intervals over splits, and sums of counts.

    Whatever is undefined is left out, and each benchmark counts as much."""
    held_out = {target.splits.held_out.shape[1] for target in targets}
    p_values = np.stack([of["p_value"] for of in scores])
    known = p_values[~np.isnan(p_values)]
    row: Row = {
        "benchmark": benchmark,
        "method": method,
        "models": len({column for target in targets for column in target.columns.tolist()}),
        "held_out": held_out.pop() if len(held_out) == 1 else None,
        "splits": SPLITS * len(targets),
        "p_value": float(np.median(known)) if len(targets) == 1 and len(known) else None,
        "significant": int((known < SIGNIFICANT).sum()),
    }
    for measure in ("tau", "mse", "mae"):
        values = np.stack([of[measure] for of in scores])  # (benchmarks, S)
        weights = ~np.isnan(values)
        weights = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1)
        if defined := weights.any(axis=1).sum():
            by_split = (np.nan_to_num(values) * weights).sum(axis=0)
            with np.errstate(invalid="ignore"):
                interval = metrics.bootstrap_interval(by_split, weights.sum(axis=0), seed=seed)
            # Where it is defined in few splits, some draws have none of them: then there is no interval.
            low, high = interval if interval and np.isfinite(interval).all() else (None, None)
            row |= {measure: float(by_split.sum() / defined), f"{measure}_low": low, f"{measure}_high": high}
    return row


def _list_predictions(
    matrix: CorrectnessMatrix, version: str, benchmark: str, method: str, target: Target, predicted: np.ndarray
) -> pa.Table:
    splits, held_out = predicted.shape
    columns = {
        "embedder": pa.repeat(version, predicted.size),
        "benchmark": pa.repeat(benchmark, predicted.size),
        "method": pa.repeat(method, predicted.size),
        "split": np.repeat(np.arange(splits, dtype=np.int32), held_out),
        "model": np.array(matrix.models, object)[target.columns[target.splits.held_out.ravel()]],
        "predicted": predicted.ravel(),
        "observed": target.observed.ravel(),
    }
    return pa.table(columns).cast(PREDICTED_ACCURACIES)
