"""Experiment: can the accuracies of models on a benchmark be told by an embedder trained without it?"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from embedder import metrics
from embedder.matrix import CorrectnessMatrix

from .held_out_models import LEAST_MODELS, SPLITS, Target, accuracies, answered_enough, known_models, ridge
from .left_out import LeftOut

__all__ = ["BENCHMARK_PREDICTIONS", "PREDICTED_ACCURACIES", "predict_benchmarks"]

SIGNIFICANT = 0.05
BENCHMARK_PREDICTIONS = pa.schema(
    {
        "embedder": pa.string(),
        "benchmark": pa.string(),
        "method": pa.string(),
        "models": pa.int64(),
        "held_out": pa.int64(),
        "splits": pa.int64(),
        "tau": pa.float64(),
        "tau_low": pa.float64(),
        "tau_high": pa.float64(),
        "p_value": pa.float64(),
        "significant": pa.int64(),
        "mse": pa.float64(),
        "mse_low": pa.float64(),
        "mse_high": pa.float64(),
        "mae": pa.float64(),
        "mae_low": pa.float64(),
        "mae_high": pa.float64(),
        "reason": pa.string(),
    }
)
_NAME = pa.dictionary(pa.int32(), pa.string())
PREDICTED_ACCURACIES = pa.schema(
    {
        "embedder": _NAME,
        "benchmark": _NAME,
        "method": _NAME,
        "split": pa.int32(),
        "model": _NAME,
        "predicted": pa.float64(),
        "observed": pa.float64(),
    }
)

Row = dict[str, Any]
Scores = dict[str, np.ndarray]  # tau, p_value, mse, mae: (S,) each


def predict_benchmarks(
    matrix: CorrectnessMatrix, left_out: Mapping[frozenset[str], LeftOut], embedder: str, *, seed: int = 0
) -> tuple[pa.Table, pa.Table]:
    """Tables `benchmark_predictions` and `predicted_accuracies`, from the trainings without each single benchmark.

    Of the models that answered a benchmark and have an embedding without it, 30% are held out at random, 100 times;
    what tells their accuracies is fitted to the other models'. All methods have the same splits, and know of the other
    benchmarks the training answers only. Benchmark "all" is the mean over the benchmarks, its intervals are over the
    splits by number. Where a benchmark, or all, cannot be predicted there is a row of method "all" with the reason.
    """
    names = [str(name) for name in np.unique(matrix.benchmarks)]
    if len(names) < 2:
        return _table([_refused("all", f"needs at least 2 benchmarks, found {len(names)}")], embedder), _nothing()
    scores: dict[str, dict[str, Scores]] = {}
    targets: dict[str, Target] = {}
    rows, details = [], []
    for name in names:
        trained = left_out[frozenset([name])]
        target = _target(matrix, name, trained.embeddings, seed)
        targets[name] = target
        if len(target.columns) < LEAST_MODELS:
            rows.append(_refused(name, _too_few(len(target.columns)), models=len(target.columns)))
            continue
        predicted = {  # a regression may leave the range of shares
            method: np.clip(values, 0, 1) for method, values in _predictions(matrix, name, target, trained).items()
        }
        scores[name] = {method: _scores(values, target.observed) for method, values in predicted.items()}
        rows += [_row(name, method, [target], [of], seed) for method, of in scores[name].items()]
        details += [_details(matrix, name, method, target, values) for method, values in predicted.items()]
    rows += _overall(targets, scores, seed)
    return _table(rows, embedder), _labelled(details, embedder) if details else _nothing()


def _target(matrix: CorrectnessMatrix, benchmark: str, embeddings: np.ndarray, seed: int) -> Target:
    asked = matrix.rows(matrix.benchmarks == benchmark)
    usable = answered_enough(asked) & known_models(embeddings)
    return Target.of(matrix.models, accuracies(asked), usable, seed=seed)


def _too_few(found: int | str, answered: str = "it") -> str:
    return f"needs at least {LEAST_MODELS} models that answered {answered} and others, found {found}"


def _predictions(matrix: CorrectnessMatrix, benchmark: str, target: Target, trained: LeftOut) -> dict[str, np.ndarray]:
    """By method, (S, k) predicted accuracies of the models held out."""
    elsewhere = matrix.rows((matrix.splits == "train") & (matrix.benchmarks != benchmark))
    embeddings = trained.embeddings[target.columns]
    text = trained.text[benchmark][target.columns]
    mean = accuracies(elsewhere)[target.columns]
    rates = _rates(elsewhere)[target.columns]
    held_out = target.splits.held_out
    both = ridge(embeddings, np.column_stack([target.accuracy, target.accuracy - text]), target.splits)
    return {
        "embedder": both[..., 0],
        "embedder_and_text": text[held_out] + both[..., 1],
        "text": text[held_out],
        "mean_elsewhere": mean[held_out],
        "mean_elsewhere_fitted": ridge(mean[:, None], target.accuracy[:, None], target.splits)[..., 0],
        "rates_elsewhere": ridge(rates, target.accuracy[:, None], target.splits)[..., 0],
    }


def _rates(matrix: CorrectnessMatrix) -> np.ndarray:
    """(M, B) accuracies by benchmark; one that was not asked is as much above the benchmark's mean as the model is
    elsewhere."""
    by_benchmark = [accuracies(matrix.rows(matrix.benchmarks == name)) for name in np.unique(matrix.benchmarks)]
    rates = np.stack([rate for rate in by_benchmark if not np.isnan(rate).all()], axis=1)
    means = np.nanmean(rates, axis=0)
    above = np.nansum(rates - means, axis=1) / np.maximum((~np.isnan(rates)).sum(axis=1), 1)
    return np.where(np.isnan(rates), means + above[:, None], rates)


def _scores(predicted: np.ndarray, observed: np.ndarray) -> Scores:
    """Of (S, k) predicted and observed accuracies, split by split; tau is NaN where one of them does not vary."""
    from scipy.stats import kendalltau

    with warnings.catch_warnings(action="ignore"):
        tau, p_value = kendalltau(predicted, observed, axis=1)  # type: ignore[call-arg]  # its stubs lack it
    return {
        "tau": np.asarray(tau),
        "p_value": np.asarray(p_value),
        "mse": ((predicted - observed) ** 2).mean(axis=1),
        "mae": np.abs(predicted - observed).mean(axis=1),
    }


def _overall(targets: Mapping[str, Target], scores: Mapping[str, Mapping[str, Scores]], seed: int) -> list[Row]:
    """The rows of benchmark "all"."""
    if not scores:
        found = max(len(target.columns) for target in targets.values())
        return [_refused("all", _too_few(f"at most {found}", "a benchmark"))]
    used = [targets[name] for name in scores]
    methods = next(iter(scores.values()))
    return [_row("all", method, used, [of[method] for of in scores.values()], seed) for method in methods]


def _row(benchmark: str, method: str, targets: list[Target], scores: list[Scores], seed: int) -> Row:
    """The mean over benchmarks and splits, with its interval over splits; counts are sums."""
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
        row |= _summary(measure, values, seed)
    return row


def _summary(measure: str, values: np.ndarray, seed: int) -> Row:
    """Mean over the benchmarks of the mean over the splits, whatever is undefined left out."""
    weights = ~np.isnan(values)
    weights = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1)  # each benchmark counts as much
    defined = weights.any(axis=1).sum()
    if not defined:
        return dict.fromkeys((measure, f"{measure}_low", f"{measure}_high"))
    by_split = (np.nan_to_num(values) * weights).sum(axis=0)
    with np.errstate(invalid="ignore"):
        interval = metrics.bootstrap_interval(by_split, weights.sum(axis=0), seed=seed)
    # Defined in so few splits that some draws have none of them: then no interval is.
    low, high = interval if interval and np.isfinite(interval).all() else (None, None)
    return {measure: float(by_split.sum() / defined), f"{measure}_low": low, f"{measure}_high": high}


def _refused(benchmark: str, reason: str, models: int | None = None) -> Row:
    return {"benchmark": benchmark, "method": "all", "models": models, "reason": reason}


def _table(rows: list[Row], embedder: str) -> pa.Table:
    return pa.Table.from_pylist([row | {"embedder": embedder} for row in rows], schema=BENCHMARK_PREDICTIONS)


def _nothing() -> pa.Table:
    return PREDICTED_ACCURACIES.empty_table()


def _details(
    matrix: CorrectnessMatrix, benchmark: str, method: str, target: Target, predicted: np.ndarray
) -> dict[str, Any]:
    splits, held_out = predicted.shape
    return {
        "benchmark": benchmark,
        "method": method,
        "split": np.repeat(np.arange(splits, dtype=np.int32), held_out),
        "model": np.array(matrix.models, object)[target.columns[target.splits.held_out.ravel()]],
        "predicted": predicted.ravel(),
        "observed": target.observed.ravel(),
    }


def _labelled(details: list[dict[str, Any]], embedder: str) -> pa.Table:
    parts = []
    for part in details:
        count = len(part["split"])
        same = {name: pa.repeat(part[name], count) for name in ("benchmark", "method")}
        columns = part | same | {"embedder": pa.repeat(embedder, count)}
        parts.append(pa.table({name: columns[name] for name in PREDICTED_ACCURACIES.names}).cast(PREDICTED_ACCURACIES))
    return pa.concat_tables(parts).unify_dictionaries()
