"""Models whose accuracy on a benchmark is predicted from what is known of them, held out by turns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from embedder.matrix import CorrectnessMatrix

__all__ = ["LEAST_MODELS", "SPLITS", "Splits", "Target", "accuracies", "answered_enough", "known_models", "ridge"]

SPLITS = 100  # as in the paper
LEAST_MODELS = 8  # held out are 3 of them, and a line through the other 5 is hardly more than a guess
_HELD_OUT_SHARE = 0.3
_LEAST_HELD_OUT = 3  # of two models, a rank correlation is a coin
_ENOUGH_ANSWERS = 20  # an accuracy over fewer is mostly chance
# Ridge strengths, as multiples of the features' largest squared singular value: from hardly any to nothing but a mean.
_STRENGTHS = 10.0 ** np.arange(-6, 2.5, 0.5)


@dataclass(frozen=True)
class Splits:
    """Which of n models are regressed on and which are held out, in each of S splits."""

    trained: np.ndarray  # (S, n - k) int
    held_out: np.ndarray  # (S, k) int

    @classmethod
    def draw(cls, models: int, *, seed: int) -> Splits:
        """The same number of models and the same seed give the same splits."""
        order = np.random.default_rng(seed).permuted(np.tile(np.arange(models), (SPLITS, 1)), axis=1)
        held_out = max(_LEAST_HELD_OUT, round(_HELD_OUT_SHARE * models))
        return cls(order[:, held_out:], order[:, :held_out])


@dataclass(frozen=True)
class Target:
    """The n models whose accuracies on a benchmark are predicted, in the order of their names."""

    columns: np.ndarray  # (n,) int, of the matrix
    accuracy: np.ndarray  # (n,)
    splits: Splits

    @classmethod
    def of(cls, models: tuple[str, ...], accuracy: np.ndarray, usable: np.ndarray, *, seed: int) -> Target:
        """From the `accuracy` (M,) of all models and which of them are `usable` (M,)."""
        columns = np.array([column for column in np.argsort(np.array(models, object)) if usable[column]], int)
        return cls(columns, accuracy[columns], Splits.draw(len(columns), seed=seed))

    @property
    def observed(self) -> np.ndarray:
        """(S, k) accuracies of the models held out."""
        return self.accuracy[self.splits.held_out]


def accuracies(matrix: CorrectnessMatrix) -> np.ndarray:
    """(M,) share of right answers to the questions each model was asked; NaN for none."""
    asked = np.asarray(matrix.observed.sum(axis=0))
    return np.where(asked, np.nansum(matrix.labels, axis=0, dtype=np.float64) / np.maximum(asked, 1), np.nan)


def answered_enough(matrix: CorrectnessMatrix) -> np.ndarray:
    """(M,) whether a model answered 20 questions of `matrix`, or all where there are fewer."""
    return np.asarray(matrix.observed.sum(axis=0) >= min(_ENOUGH_ANSWERS, len(matrix.labels)))


def known_models(embeddings: np.ndarray) -> np.ndarray:
    """(M,) whether a model has an embedding; `embeddings` are (M, d), NaN for one that has none."""
    return np.asarray(np.isfinite(embeddings).all(axis=1))


def ridge(features: np.ndarray, targets: np.ndarray, splits: Splits) -> np.ndarray:
    """(S, k, t) targets of the models held out, by ridge regression on the `features` (n, d) of the others, each split
    and each of the t columns of `targets` (n, t) on its own.

    With an intercept; of the strength whose squared error is least with each model left out in turn, which has a closed
    form (Golub, Heath and Wahba 1979). scikit-learn's RidgeCV finds the same, a split at a time.
    """
    x, y = features[splits.trained].astype(np.float64), targets[splits.trained].astype(np.float64)
    x_mean, y_mean = x.mean(axis=1, keepdims=True), y.mean(axis=1, keepdims=True)
    left, singular, right = np.linalg.svd(x - x_mean, full_matrices=False)  # (S, n, r), (S, r), (S, r, d)
    aligned = left.transpose(0, 2, 1) @ (y - y_mean)  # (S, r, t)
    strength = _STRENGTHS[:, None, None] * np.maximum(singular[:, :1] ** 2, 1e-12)  # (A, S, 1)
    kept = singular**2 / (singular**2 + strength)  # (A, S, r)
    leverage = (left**2 @ kept[..., None]) + 1 / x.shape[1]  # (A, S, n, 1)
    left_out = (y - y_mean - left @ (kept[..., None] * aligned)) / np.maximum(1 - leverage, 1e-9)
    best = (left_out**2).mean(axis=2).argmin(axis=0)  # (S, t)
    chosen = np.take_along_axis(kept, best.T[..., None], axis=0).transpose(1, 2, 0)  # (S, r, t)
    inverse = np.divide(1, singular, out=np.zeros_like(singular), where=singular > 1e-9 * singular[:, :1])
    weights = right.transpose(0, 2, 1) @ (chosen * inverse[..., None] * aligned)  # (S, d, t)
    return (features[splits.held_out] - x_mean) @ weights + y_mean
