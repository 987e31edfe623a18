"""Experiment: how well can one foretell whether a model answers an unseen question correctly?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from embedder import metrics
from embedder.matrix import CorrectnessMatrix

__all__ = ["FORECASTS", "forecast", "groups"]

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


def forecast(
    matrix: CorrectnessMatrix, predictions: Mapping[str, np.ndarray], embedder: str, *, seed: int = 0
) -> pa.Table:
    """Table `forecasts`: each method's `predictions` (Q, M), held against the answers to the test questions.

    A row is a method on one benchmark, or on "all"; n counts the answers. The interval of the accuracy is a
    bootstrap over questions (null below two), AUC is null where all labels are the same. Benchmarks without
    test answers have no row. Raises ValueError where an answer of the test split has no prediction.
    """
    rows = [
        _row(matrix.labels[which], probabilities[which], seed)
        | {"embedder": embedder, "method": method, "benchmark": name}
        for method, probabilities in predictions.items()
        for name, which in groups(matrix.benchmarks, (matrix.splits == "test") & matrix.observed.any(axis=1))
    ]
    return pa.Table.from_pylist(rows, schema=FORECASTS)


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
