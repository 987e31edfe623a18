"""Rates of right answers, by model and benchmark: what an embedder has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from embedder.matrix import CorrectnessMatrix
from embedder.predictor import Predictor, Sample
from embedder.questions import Questions

__all__ = ["Majority", "ModelBenchmarkMean", "ModelMean", "benchmark_rates", "group_rates", "model_rates"]


def model_rates(matrix: CorrectnessMatrix, *, prior_answers: float = 5.0) -> np.ndarray:
    """Return each model's share of right answers (M,) float64, drawn to the overall share as if by `prior_answers` more
    answers.

    So a model with one right answer does not count as perfect, and one without answers gets the overall share.
    """
    overall = np.nanmean(matrix.labels, dtype=np.float64)
    right = np.nansum(matrix.labels, axis=0, dtype=np.float64)
    return (right + prior_answers * overall) / (matrix.observed.sum(axis=0) + prior_answers)


def benchmark_rates(matrix: CorrectnessMatrix, *, prior_answers: float = 5.0) -> tuple[np.ndarray, np.ndarray]:
    """Return the benchmarks (B,) and the shares of right answers by benchmark and model (B, M), drawn to the model's
    own share."""
    names, of_row = np.unique(matrix.benchmarks, return_inverse=True)
    return names, group_rates(matrix.labels, of_row, model_rates(matrix), prior_answers=prior_answers)


def group_rates(labels: np.ndarray, groups: np.ndarray, rates: np.ndarray, *, prior_answers: float) -> np.ndarray:
    """Return the share of right answers (G, M) float64 in `labels` (Q, M) by the number of the question's group (Q,)
    and by model, drawn to the model's own `rates` (M,)."""
    found = np.empty((groups.max() + 1, labels.shape[1]))
    for group in range(len(found)):  # not all at once: two more copies of ten thousand models' answers
        some = labels[groups == group]
        right, asked = np.nansum(some, axis=0, dtype=np.float64), (~np.isnan(some)).sum(axis=0)
        found[group] = (right + prior_answers * rates) / (asked + prior_answers)
    return found


@dataclass(eq=False)
class Majority(Predictor):
    """The overall share of right answers for every cell: it always predicts the more common label."""

    method: ClassVar[str] = "majority"

    def _fit(self, train: Sample, val: Sample, seed: int) -> None:
        """Nothing beyond the overall rate, which every predictor has."""

    def _probabilities(self, questions: Questions) -> np.ndarray:
        return np.full((len(questions), len(self.models)), self.overall_rate)

    def _learnt(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        return {}, {}

    def _restore(self, arrays: dict[str, np.ndarray], rest: dict[str, Any]) -> None:
        """Nothing was learnt."""


@dataclass(eq=False)
class ModelMean(Predictor):
    """A model's share of right training answers, whatever the question (`model_rates`)."""

    method: ClassVar[str] = "model_mean"

    prior_answers: float = 5.0

    def _fit(self, train: Sample, val: Sample, seed: int) -> None:
        self._rates = model_rates(train.matrix, prior_answers=self.prior_answers)

    def _probabilities(self, questions: Questions) -> np.ndarray:
        return np.tile(self._rates, (len(questions), 1))

    def _learnt(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        return {"rates": self._rates}, {}

    def _restore(self, arrays: dict[str, np.ndarray], rest: dict[str, Any]) -> None:
        self._rates = arrays["rates"]


@dataclass(eq=False)
class ModelBenchmarkMean(Predictor):
    """A model's share of right training answers on the question's benchmark (`benchmark_rates`).

    It must be told the benchmarks, and raises ValueError otherwise. On one it was not fitted on, it gives the
    model's overall share.
    """

    method: ClassVar[str] = "model_benchmark_mean"

    prior_answers: float = 5.0

    def _fit(self, train: Sample, val: Sample, seed: int) -> None:
        names, rates = benchmark_rates(train.matrix, prior_answers=self.prior_answers)
        self._benchmarks: list[str] = names.tolist()
        # (B + 1, M): the last row is for any other benchmark.
        self._rates = np.vstack([rates, model_rates(train.matrix)])

    def _probabilities(self, questions: Questions) -> np.ndarray:
        if questions.benchmarks is None:
            raise ValueError("model_benchmark_mean needs the benchmark of every question: pass benchmarks")
        row = {name: i for i, name in enumerate(self._benchmarks)}
        return self._rates[[row.get(name, len(row)) for name in questions.benchmarks]]

    def _learnt(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        return {"rates": self._rates}, {"benchmarks": self._benchmarks}

    def _restore(self, arrays: dict[str, np.ndarray], rest: dict[str, Any]) -> None:
        self._benchmarks, self._rates = rest["benchmarks"], arrays["rates"]
