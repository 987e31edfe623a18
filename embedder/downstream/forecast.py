"""Experiment: how well can one foretell whether a model answers an unseen question correctly?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from embedder import metrics
from embedder.matrix import CorrectnessMatrix
from embedder.predictor import Forecast

__all__ = [
    "BINS",
    "FORECASTS",
    "NO_TEST_ANSWERS",
    "PREDICTIONS",
    "RELIABILITY",
    "check_rows",
    "forecast",
    "groups",
    "measured",
]

BINS = 15  # of probability, equally wide, as in metrics.ece
NO_TEST_ANSWERS = "no test question has an answer"
_RESAMPLES = 2000

FORECASTS = pa.schema(
    {
        "embedder": pa.string(),
        "method": pa.string(),
        "benchmark": pa.string(),
        "n": pa.int64(),
        "accuracy": pa.float64(),
        "ci_low": pa.float64(),
        "ci_high": pa.float64(),
        "auc": pa.float64(),
        "log_loss": pa.float64(),
        "brier": pa.float64(),
        "ece": pa.float64(),
        "reason": pa.string(),
    }
)
RELIABILITY = pa.schema(
    {
        "embedder": pa.string(),
        "method": pa.string(),
        "bin": pa.int32(),
        "n": pa.int64(),
        "probability": pa.float64(),
        "accuracy": pa.float64(),
        "ci_low": pa.float64(),
        "ci_high": pa.float64(),
    }
)
_NAME = pa.dictionary(pa.int32(), pa.string())
PREDICTIONS = pa.schema(
    {
        "embedder": _NAME,
        "method": _NAME,
        "question_id": _NAME,
        "model": _NAME,
        "probability": pa.float32(),
        "low": pa.float32(),
        "high": pa.float32(),
        "support": pa.float32(),
    }
)


def forecast(
    matrix: CorrectnessMatrix, forecasts: Mapping[str, Forecast], embedder: str, *, seed: int = 0
) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Tables `forecasts`, `predictions` and `reliability`, from each method's forecast of the test questions of
    `matrix`.

    A row of `forecasts` is a method on one benchmark, or on "all", held against the answers; n counts them. The
    interval of the accuracy is a bootstrap over questions (null below two), AUC is null where all labels are the same.
    Benchmarks without test answers have no row; where no test question has an answer, one row of the embedder has the
    reason. A row of `predictions` is a method's probability for one answer, with its 95% interval and support where the
    method has them: all that `forecasts` is made of. A row of `reliability` is a method's forecasts whose probability
    lies in one of `BINS` bins, and the share of them that turned out right, with an interval as above. Raises
    ValueError where a forecast is not of the test questions, or an answer to one has no probability."""
    test = matrix.of_split("test")
    for of_method in forecasts.values():
        check_rows(test, of_method)
    rows = [
        _row(test.labels[which], of_method.probabilities[which], seed) | {"method": method, "benchmark": name}
        for method, of_method in forecasts.items()
        for name, which in groups(test.benchmarks, np.asarray(test.observed.any(axis=1)))
    ]
    if not rows:
        rows = [{"method": "embedder", "benchmark": "all", "n": 0, "reason": NO_TEST_ANSWERS}]
    predictions = [_predictions(test, of_method, embedder, method) for method, of_method in forecasts.items()]
    reliability = _reliability(test, forecasts, seed)
    return (
        pa.Table.from_pylist([{"embedder": embedder} | row for row in rows], schema=FORECASTS),
        pa.concat_tables(predictions),
        pa.Table.from_pylist([{"embedder": embedder} | row for row in reliability], schema=RELIABILITY),
    )


def check_rows(test: CorrectnessMatrix, forecast: Forecast) -> None:
    """Raises ValueError where `forecast` is of other questions, or models, than `test`."""
    if forecast.probabilities.shape != test.labels.shape:
        raise ValueError(
            f"the forecast is of {forecast.probabilities.shape} questions and models, but tested are "
            f"{test.labels.shape}; forecast the questions of the test split, and no others"
        )


def groups(benchmarks: np.ndarray, kept: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Row numbers of the questions `kept` (Q,): of all, then benchmark by benchmark; no group is empty."""
    if kept.any():
        yield "all", np.flatnonzero(kept)
    for name in np.unique(benchmarks[kept]):
        yield str(name), np.flatnonzero(kept & (benchmarks == name))


def measured(labels: np.ndarray, probabilities: np.ndarray, seed: int) -> dict[str, Any]:
    """n, accuracy, ci_low, ci_high and log_loss of forecasts (n, M) of the answers to questions that have some."""
    asked = ~np.isnan(labels)
    hits = ((probabilities >= 0.5) == (labels == 1)) & asked
    low, high = metrics.bootstrap_interval(hits.sum(axis=1), asked.sum(axis=1), seed=seed) or (None, None)
    return {
        "n": int(asked.sum()),
        "accuracy": metrics.accuracy(labels, probabilities),
        "ci_low": low,
        "ci_high": high,
        "log_loss": metrics.log_loss(labels, probabilities),
    }


def _row(labels: np.ndarray, probabilities: np.ndarray, seed: int) -> dict[str, Any]:
    return measured(labels, probabilities, seed) | {
        "auc": metrics.auc(labels, probabilities),
        "brier": metrics.brier(labels, probabilities),
        "ece": metrics.ece(labels, probabilities),
    }


def _reliability(test: CorrectnessMatrix, forecasts: Mapping[str, Forecast], seed: int) -> Iterator[dict[str, Any]]:
    """Rows of the bins that hold a forecast, method by method."""
    asked_of = np.flatnonzero(test.observed.any(axis=1))
    if not forecasts or not len(asked_of):
        return
    labels = test.labels[asked_of]
    binned = [_binned(labels, of_method.probabilities[asked_of]) for of_method in forecasts.values()]
    asked, right, told = (np.concatenate(values, axis=1) for values in zip(*binned, strict=True))  # (n, methods · bins)
    intervals = _intervals(right, asked, seed)
    for column in np.flatnonzero(asked.any(axis=0)):
        n = asked[:, column].sum()
        low, high = intervals[:, column] if np.count_nonzero(asked[:, column]) > 1 else (None, None)
        yield {
            "method": list(forecasts)[column // BINS],
            "bin": column % BINS,
            "n": int(n),
            "probability": told[:, column].sum() / n,
            "accuracy": right[:, column].sum() / n,
            "ci_low": low,
            "ci_high": high,
        }


def _binned(labels: np.ndarray, probabilities: np.ndarray) -> list[np.ndarray]:
    """By question and bin (n, BINS): how many forecasts, how many right answers, and the sum of the probabilities."""
    question, model = np.nonzero(~np.isnan(labels))
    probability = probabilities[question, model].astype(np.float64)
    cell = question * BINS + np.minimum((probability * BINS).astype(int), BINS - 1)
    summed = (np.ones(len(cell)), labels[question, model], probability)
    return [np.bincount(cell, values, len(labels) * BINS).reshape(-1, BINS) for values in summed]


def _intervals(right: np.ndarray, asked: np.ndarray, seed: int) -> np.ndarray:
    """(2, c) ends of the 95% intervals of the columns' sum(right) / sum(asked), both (n, c), n questions drawn with
    replacement. All columns are of the same draws, so that these are one product of arrays."""

    from sklearn.utils import gen_batches

    rng, n = np.random.default_rng(seed), len(asked)
    shares = []
    for block in gen_batches(_RESAMPLES, max(1, 5_000_000 // n)):
        size = block.stop - block.start
        drawn = rng.integers(n, size=(size, n)) + n * np.arange(size)[:, None]
        times = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)
        with np.errstate(invalid="ignore"):  # none drawn that is in the bin: no share
            shares.append((times @ right) / (times @ asked))
    found = np.concatenate(shares)
    empty = ~asked.any(axis=0)
    found[:, empty] = 0
    return np.nanpercentile(found, [2.5, 97.5], axis=0)


def _predictions(test: CorrectnessMatrix, forecast: Forecast, embedder: str, method: str) -> pa.Table:
    row, column = np.nonzero(test.observed)
    nowhere = np.full(test.labels.shape, np.nan, np.float32)
    low, high = forecast.interval() or (nowhere, nowhere)
    support = nowhere if forecast.support is None else np.broadcast_to(forecast.support[:, None], nowhere.shape)
    numbers = (values[row, column].astype(np.float32) for values in (forecast.probabilities, low, high, support))
    return pa.table(
        [
            _names([embedder], np.zeros(len(row), np.int32)),
            _names([method], np.zeros(len(row), np.int32)),
            _names(test.question_ids, row),
            _names(test.models, column),
            *(pa.array(values, pa.float32(), from_pandas=True) for values in numbers),  # NaN becomes null
        ],
        schema=PREDICTIONS,
    )


def _names(names: Sequence[str] | np.ndarray, which: np.ndarray) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(which, pa.int32()), pa.array(names, pa.string()))
