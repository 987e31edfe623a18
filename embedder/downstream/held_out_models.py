"""Predict the accuracy on a benchmark of models that are held out in turn, from what is known of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from embedder.matrix import CorrectnessMatrix

__all__ = [
    "LEAST_MODELS",
    "SPLITS",
    "Splits",
    "Target",
    "accuracies",
    "answered_enough",
    "known_models",
    "predict_held_out",
]

SPLITS = 100  # as in the paper
LEAST_MODELS = 8  # held out are 3 of them, and a line through the other 5 is hardly more than a guess
_HELD_OUT_SHARE = 0.3
_LEAST_HELD_OUT = 3  # of two models, a rank correlation is a coin
_ENOUGH_ANSWERS = 20  # an accuracy over fewer is mostly chance
# Ridge strengths, as multiples of the features' largest squared singular value: from hardly any to nothing but a mean.
_STRENGTHS = (10.0 ** np.arange(-6, 2.5, 0.5)).tolist()


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


def predict_held_out(features: np.ndarray, targets: np.ndarray, splits: Splits) -> np.ndarray:
    """(S, k, t) targets of the models held out, predicted by ridge regression on the `features` (n, d) of the others,
    for each split and each of the t columns of `targets` (n, t)."""
    import torch

    from embedder.ridge import fit_ridge  # torch takes seconds to load

    x, y = features[splits.trained].astype(np.float64), targets[splits.trained].astype(np.float64)
    x_mean, y_mean = x.mean(axis=1, keepdims=True), y.mean(axis=1, keepdims=True)
    left, singular, right = np.linalg.svd(x - x_mean, full_matrices=False)  # (S, n, r), (S, r), (S, r, d)
    largest = np.maximum(singular[:, :1], 1e-6)
    relative = singular / largest
    axes = right.transpose(0, 2, 1) / largest[..., None]  # (S, d, r): features → uncorrelated ones of about size 1
    parts = (left * relative[:, None], relative**2, y - y_mean)
    inputs, variances, centred = map(torch.from_numpy, parts)
    weights = axes @ fit_ridge(inputs, variances, centred, _STRENGTHS).coefficients.numpy()  # (S, d, t)
    return (features[splits.held_out] - x_mean) @ weights + y_mean
