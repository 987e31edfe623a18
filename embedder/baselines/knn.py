"""The nearest neighbours of a question: what an embedder has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from embedder.metrics import log_loss
from embedder.predictor import Predictor, Sample
from embedder.questions import Questions

from .rates import model_rates

__all__ = ["KNN"]


@dataclass(eq=False)
class KNN(Predictor):
    """The share of right answers of a model to the k training questions most alike (cosine).

    k is the candidate with the least validation log-loss; without validation answers it is `k_unvalidated`,
    the paper's. A neighbour the model was not asked does not count; where it was asked none, its overall
    share is used.
    """

    method: ClassVar[str] = "knn"

    candidates: tuple[int, ...] = (1, 3, 5, 10, 20, 35, 50, 75, 100, 131, 200, 300)
    k_unvalidated: int = 131

    def _fit(self, train: Sample, val: Sample, seed: int) -> None:
        self._directions = _unit(train.questions.vectors)  # (Q, D)
        self._labels = train.matrix.labels  # (Q, M)
        self._rates = model_rates(train.matrix).astype(np.float32)
        self.k = min(self.k_unvalidated, len(self._labels))
        if val.matrix.observed.any():
            candidates = sorted({min(k, len(self._labels)) for k in self.candidates})
            nearest = self._nearest(val.questions.vectors, candidates[-1])
            losses = [log_loss(val.matrix.labels, self._vote(nearest[:, :k])) for k in candidates]
            self.k = candidates[int(np.argmin(losses))]

    def _probabilities(self, questions: Questions) -> np.ndarray:
        return self._vote(self._nearest(questions.vectors, self.k))

    def _nearest(self, features: np.ndarray, k: int) -> np.ndarray:
        """Return the rows (n, k) of the most similar training questions, the most similar first."""
        block = 1024  # keeps the similarities of 30,000 training questions within 120 MB
        rows = [_top(_unit(features[i : i + block]) @ self._directions.T, k) for i in range(0, len(features), block)]
        return np.concatenate(rows) if rows else np.empty((0, k), np.int64)

    def _vote(self, nearest: np.ndarray) -> np.ndarray:
        """(n, M): the neighbours times the labels of all models, one sparse product for right, one for
        asked."""
        from scipy.sparse import csr_array

        n, k = nearest.shape
        chosen = csr_array(
            (np.ones(n * k, np.float32), nearest.ravel(), np.arange(0, n * k + 1, k)), (n, len(self._labels))
        )
        right = chosen @ np.nan_to_num(self._labels)
        asked = chosen @ (~np.isnan(self._labels)).astype(np.float32)
        return np.where(asked > 0, right / np.maximum(asked, 1), self._rates)

    def _learnt(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        arrays = {"directions": self._directions, "labels": self._labels, "rates": self._rates}
        return arrays, {"k": self.k}

    def _restore(self, arrays: dict[str, np.ndarray], rest: dict[str, Any]) -> None:
        self._directions, self._labels, self._rates = arrays["directions"], arrays["labels"], arrays["rates"]
        self.k = rest["k"]


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _top(similarity: np.ndarray, k: int) -> np.ndarray:
    """(n, k) columns of the k greatest of every row, the greatest first, ties by column."""
    if k < similarity.shape[1]:
        columns = np.sort(np.argpartition(-similarity, k - 1, axis=1)[:, :k], axis=1)
    else:
        columns = np.tile(np.arange(k), (len(similarity), 1))
    order = np.argsort(-np.take_along_axis(similarity, columns, axis=1), axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1)
