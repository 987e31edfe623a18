"""Experiment: how well can one foretell whether a model answers an unseen question correctly?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from embedder import metrics
from embedder.matrix import CorrectnessMatrix
from embedder.predictor import Forecast

__all__ = ["FORECASTS", "PREDICTIONS", "check_rows", "forecast", "groups"]

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
    }
)


def forecast(
    matrix: CorrectnessMatrix, forecasts: Mapping[str, Forecast], embedder: str, *, seed: int = 0
) -> tuple[pa.Table, pa.Table]:
    """Tables `forecasts` and `predictions`, from each method's forecast of the test questions of `matrix`.

    A row of `forecasts` is a method on one benchmark, or on "all", held against the answers; n counts them.
    The interval of the accuracy is a bootstrap over questions (null below two), AUC is null where all labels
    are the same. Benchmarks without test answers have no row. A row of `predictions` is a method's
    probability for one answer, with its 95% interval where the method has one: all that `forecasts` is made
    of. Raises ValueError where a forecast is not of the test questions, or an answer to one has no probability.
    """
    test = matrix.of_split("test")
    for of_method in forecasts.values():
        check_rows(test, of_method)
    rows = [
        _row(test.labels[which], of_method.probabilities[which], seed)
        | {"embedder": embedder, "method": method, "benchmark": name}
        for method, of_method in forecasts.items()
        for name, which in groups(test.benchmarks, np.asarray(test.observed.any(axis=1)))
    ]
    predictions = [_predictions(test, of_method, embedder, method) for method, of_method in forecasts.items()]
    return pa.Table.from_pylist(rows, schema=FORECASTS), pa.concat_tables(predictions)


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


def _row(labels: np.ndarray, probabilities: np.ndarray, seed: int) -> dict[str, Any]:
    asked = ~np.isnan(labels)
    hits = ((probabilities >= 0.5) == (labels == 1)) & asked
    low, high = metrics.bootstrap_interval(hits.sum(axis=1), asked.sum(axis=1), seed=seed) or (None, None)
    return {
        "n": int(asked.sum()),
        "accuracy": metrics.accuracy(labels, probabilities),
        "ci_low": low,
        "ci_high": high,
        "auc": metrics.auc(labels, probabilities),
        "log_loss": metrics.log_loss(labels, probabilities),
        "brier": metrics.brier(labels, probabilities),
        "ece": metrics.ece(labels, probabilities),
    }


def _predictions(test: CorrectnessMatrix, forecast: Forecast, embedder: str, method: str) -> pa.Table:
    row, column = np.nonzero(test.observed)
    nowhere = np.full(test.labels.shape, np.nan, np.float32)
    low, high = forecast.interval() or (nowhere, nowhere)
    numbers = (values[row, column].astype(np.float32) for values in (forecast.probabilities, low, high))
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
