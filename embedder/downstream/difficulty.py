"""Experiment: how well can the share of models that answer an unseen question correctly be predicted?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from embedder import metrics
from embedder.matrix import CorrectnessMatrix
from embedder.predictor import Forecast

from .columns import counts, figures, texts
from .forecast import check_rows, group_questions
from .routing import NO_ANSWERS

__all__ = ["DIFFICULTY", "QUESTION_DIFFICULTY", "bin_predictions", "predict_difficulty"]

DIFFICULTY = pa.schema(
    [
        *texts("embedder", "method", "benchmark"),
        *counts("n"),
        *figures("pearson", "pearson_low", "pearson_high", "spearman", "mae"),
        *texts("reason"),
    ]
)
QUESTION_DIFFICULTY = pa.schema(
    [*texts("embedder", "question_id", "benchmark"), *counts("n"), *figures("observed", "predicted")]
)
_STILL = 1e-9  # what varies less does not vary


def predict_difficulty(
    matrix: CorrectnessMatrix, forecasts: Mapping[str, Forecast], version: str, *, seed: int = 0
) -> tuple[pa.Table, pa.Table]:
    """Tables `difficulty` (a row is a method on a benchmark or "all") and `question_difficulty` (a row is a test
    question, as method `embedder` predicts it), from each method's forecast of the test questions of `matrix`.

    The difficulty of a question is the share of the models that answered it which are right; it is predicted by their
    mean probability, and by `benchmark_mean`, the share of right answers to its benchmark in training. Questions that
    nobody answered do not count. Raises ValueError where a forecast is not of the test questions, or an answer to one
    has no probability, and KeyError where there is none of `embedder`.
    """
    test = matrix.of_split("test")
    for forecast in forecasts.values():
        check_rows(test, forecast)
    answered = np.asarray(test.observed.any(axis=1))
    observed = _mean_of_answered(test, np.nan_to_num(test.labels))[answered]
    predicted = {name: _mean_of_answered(test, of.probabilities)[answered] for name, of in forecasts.items()}
    test = test.rows(answered)
    predicted["benchmark_mean"] = _benchmark_means(matrix.of_split("train"), test)
    rows = [
        _score(predicted[method][which], observed[which], seed) | {"method": method, "benchmark": benchmark}
        for benchmark, which in group_questions(test.benchmarks, np.ones(len(observed), bool))
        for method in predicted
    ] or [{"method": name, "benchmark": "all", "reason": NO_ANSWERS} for name in predicted]
    questions = {
        "embedder": [version] * len(observed),
        "question_id": test.question_ids,
        "benchmark": test.benchmarks,
        "n": test.observed.sum(axis=1),
        "observed": observed,
        "predicted": predicted["embedder"],
    }
    table = pa.Table.from_pylist([row | {"embedder": version} for row in rows], schema=DIFFICULTY)
    return table, pa.table(questions, schema=QUESTION_DIFFICULTY)


def bin_predictions(
    predicted: np.ndarray, observed: np.ndarray, *, bins: int = 10, seed: int = 0
) -> list[tuple[float, float, tuple[float, float] | None]]:
    """Return by bin the mean of `predicted` (n,), the mean of `observed` (n,), and its 95% interval (None for a single
    question). Bins have equally many questions, those predicted to be hardest first; there are fewer where there are
    fewer questions."""
    return [
        (
            float(predicted[which].mean()),
            float(observed[which].mean()),
            metrics.bootstrap_interval(observed[which], np.ones(len(which)), seed=seed),
        )
        for which in np.array_split(np.argsort(predicted, kind="stable"), min(bins, len(predicted)))
    ]


def _mean_of_answered(test: CorrectnessMatrix, values: np.ndarray) -> np.ndarray:
    """(Q,) float64 mean of `values` (Q, M) over the models that answered; NaN where none did.

    Raises ValueError where one that answered has none.
    """
    if np.isnan(values[test.observed]).any():
        raise ValueError("a model that answered a test question has no probability for it")
    asked = test.observed.sum(axis=1)
    total = np.where(test.observed, values, 0).sum(axis=1, dtype=np.float64)
    return np.divide(total, asked, out=np.full(len(asked), np.nan), where=asked > 0)


def _benchmark_means(train: CorrectnessMatrix, test: CorrectnessMatrix) -> np.ndarray:
    """(Q,) share of right training answers to each test question's benchmark; to all, where there are none to it."""
    overall = float(np.nanmean(train.labels, dtype=np.float64))
    rate = dict.fromkeys(test.benchmarks.tolist(), overall)
    for benchmark in rate:
        labels = train.labels[train.benchmarks == benchmark]
        if not np.isnan(labels).all():
            rate[benchmark] = float(np.nanmean(labels, dtype=np.float64))
    return np.array([rate[benchmark] for benchmark in test.benchmarks])


def _score(predicted: np.ndarray, observed: np.ndarray, seed: int) -> dict[str, str | int | float | None]:
    from scipy.stats import rankdata

    varies = np.ptp(predicted) > _STILL and np.ptp(observed) > _STILL
    low = high = None
    if varies:
        with np.errstate(invalid="ignore", divide="ignore"):
            n = len(observed)
            drawn = metrics.resample(lambda rows: _pearson(predicted[rows], observed[rows], 1), n, seed=seed)
        if np.isfinite(drawn).all():  # no interval where some draw of the questions does not vary
            low, high = metrics.interval(drawn)
    return {
        "n": len(observed),
        "pearson": float(_pearson(predicted, observed, 0)) if varies else None,
        "pearson_low": low,
        "pearson_high": high,
        "spearman": float(_pearson(rankdata(predicted), rankdata(observed), 0)) if varies else None,
        "mae": float(np.abs(predicted - observed).mean()),
    }


def _pearson(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
    x, y = x - x.mean(axis, keepdims=True), y - y.mean(axis, keepdims=True)
    return (x * y).sum(axis) / np.sqrt((x * x).sum(axis) * (y * y).sum(axis))
