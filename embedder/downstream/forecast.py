"""Experiment: how well can it be predicted whether a model answers an unseen question correctly?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from embedder import metrics
from embedder.matrix import CorrectnessMatrix
from embedder.predictor import Forecast

from .columns import NAME, counts, figures, texts

__all__ = [
    "BINS",
    "FORECASTS",
    "NO_TEST_ANSWERS",
    "PREDICTIONS",
    "RELIABILITY",
    "check_rows",
    "compare_forecasts",
    "group_questions",
    "measure_forecast",
]

BINS = 15  # of probability, equally wide, as in metrics.ece
NO_TEST_ANSWERS = "no test question has an answer"

FORECASTS = pa.schema(
    [
        *texts("embedder", "method", "benchmark"),
        *counts("n"),
        *figures("accuracy", "ci_low", "ci_high", "auc", "log_loss", "brier", "ece"),
        *texts("reason"),
    ]
)
RELIABILITY = pa.schema(
    [
        *texts("embedder", "method"),
        pa.field("bin", pa.int32()),
        *counts("n"),
        *figures("probability", "accuracy", "ci_low", "ci_high"),
    ]
)
PREDICTIONS = pa.schema(
    [
        *(pa.field(name, NAME) for name in ("embedder", "method", "question_id", "model")),
        *(pa.field(name, pa.float32()) for name in ("probability", "low", "high", "support")),
    ]
)


def compare_forecasts(
    matrix: CorrectnessMatrix, forecasts: Mapping[str, Forecast], version: str, *, seed: int = 0
) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Tables `forecasts`, `predictions` and `reliability`, from each method's forecast of the test questions of
    `matrix`.

    A row of `forecasts` compares a method with the answers to one benchmark, or to "all"; n counts them. The interval
    of the accuracy is a bootstrap over questions (null below two), AUC is null where all labels are the same.
    Benchmarks without test answers have no row; where no test question has an answer, one row of the embedder has the
    reason. A row of `predictions` is a method's probability for one answer, with its 95% interval and support where the
    method has them: all that `forecasts` is made of. A row of `reliability` is a method's forecasts whose probability
    lies in one of `BINS` bins, and the share of them that turned out right, with an interval as above. Raises
    ValueError where a forecast is not of the test questions, or an answer to one has no probability."""
    test = matrix.of_split("test")
    for of_method in forecasts.values():
        check_rows(test, of_method)
    rows = []
    for method, of_method in forecasts.items():
        for name, which in group_questions(test.benchmarks, np.asarray(test.observed.any(axis=1))):
            cells = test.labels[which], of_method.probabilities[which]
            figures = {"auc": metrics.auc(*cells), "brier": metrics.brier(*cells), "ece": metrics.ece(*cells)}
            rows.append({"method": method, "benchmark": name} | measure_forecast(*cells, seed) | figures)
    if not rows:
        rows = [{"method": "embedder", "benchmark": "all", "n": 0, "reason": NO_TEST_ANSWERS}]
    predictions = [_list_predictions(test, of_method, version, method) for method, of_method in forecasts.items()]
    reliability = _reliability(test, forecasts, seed)
    return (
        pa.Table.from_pylist([{"embedder": version} | row for row in rows], schema=FORECASTS),
        pa.concat_tables(predictions),
        pa.Table.from_pylist([{"embedder": version} | row for row in reliability], schema=RELIABILITY),
    )


def check_rows(questions: CorrectnessMatrix, forecast: Forecast, split: str = "test") -> None:
    """Raise ValueError where `forecast` is of other questions, or models, than the `questions` of a split."""
    if forecast.probabilities.shape != questions.labels.shape:
        raise ValueError(
            f"the forecast of the {split} split is of {forecast.probabilities.shape} questions and models, but the "
            f"split is of {questions.labels.shape}; forecast its questions, and no others"
        )


def group_questions(benchmarks: np.ndarray, kept: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield row numbers of the questions `kept` (Q,): of all, then of each benchmark; no group is empty."""
    if kept.any():
        yield "all", np.flatnonzero(kept)
    for name in np.unique(benchmarks[kept]):
        yield str(name), np.flatnonzero(kept & (benchmarks == name))


def measure_forecast(labels: np.ndarray, probabilities: np.ndarray, seed: int) -> dict[str, Any]:
    """Return n, accuracy, ci_low, ci_high and log_loss of forecasts (n, M) of answers; each question has some."""
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


def _reliability(test: CorrectnessMatrix, forecasts: Mapping[str, Forecast], seed: int) -> Iterator[dict[str, Any]]:
    """Yield a row for each bin that holds a forecast, method by method."""
    asked_of = np.flatnonzero(test.observed.any(axis=1))
    if not forecasts or not len(asked_of):
        return
    labels = test.labels[asked_of]
    count = len(labels)
    binned = [_bin(labels, of_method.probabilities[asked_of]) for of_method in forecasts.values()]
    asked, right, told = (np.concatenate(values, axis=1) for values in zip(*binned, strict=True))  # (n, methods · bins)

    def share(rows: np.ndarray) -> np.ndarray:
        """All bins are resampled together: their shares are then a product of matrices."""
        times = np.stack([np.bincount(drawn, minlength=count) for drawn in rows]).astype(np.float64)
        with np.errstate(invalid="ignore"):  # there is no share where no forecast of a bin was drawn
            return (times @ right) / (times @ asked)

    shares = metrics.resample(share, count, seed=seed)
    for column in np.flatnonzero(asked.any(axis=0)):
        n = asked[:, column].sum()
        low = high = None
        if np.count_nonzero(asked[:, column]) > 1:
            low, high = np.nanpercentile(shares[:, column], [2.5, 97.5])
        yield {
            "method": list(forecasts)[column // BINS],
            "bin": column % BINS,
            "n": int(n),
            "probability": told[:, column].sum() / n,
            "accuracy": right[:, column].sum() / n,
            "ci_low": low,
            "ci_high": high,
        }


def _bin(labels: np.ndarray, probabilities: np.ndarray) -> list[np.ndarray]:
    """Return by question and bin (n, BINS): how many forecasts, how many right answers, the sum of probabilities."""
    question, model = np.nonzero(~np.isnan(labels))
    probability = probabilities[question, model].astype(np.float64)
    cell = question * BINS + np.minimum((probability * BINS).astype(int), BINS - 1)
    summed = (np.ones(len(cell)), labels[question, model], probability)
    return [np.bincount(cell, values, len(labels) * BINS).reshape(-1, BINS) for values in summed]


def _list_predictions(test: CorrectnessMatrix, forecast: Forecast, version: str, method: str) -> pa.Table:
    row, column = np.nonzero(test.observed)
    nowhere = np.full(test.labels.shape, np.nan, np.float32)
    low, high = forecast.interval() or (nowhere, nowhere)
    support = nowhere if forecast.support is None else np.broadcast_to(forecast.support[:, None], nowhere.shape)
    numbers = (values[row, column].astype(np.float32) for values in (forecast.probabilities, low, high, support))
    same = np.zeros(len(row), np.int32)
    names = (([version], same), ([method], same), (test.question_ids, row), (test.models, column))
    return pa.table(
        [
            *(pa.DictionaryArray.from_arrays(pa.array(at, pa.int32()), pa.array(of, pa.string())) for of, at in names),
            *(pa.array(values, pa.float32(), from_pandas=True) for values in numbers),  # NaN becomes null
        ],
        schema=PREDICTIONS,
    )
