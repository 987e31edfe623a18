"""How good probabilities of correctness are, over the cells that were asked; and how sure we are of it.

Every measure takes `labels` (Q, M), NaN where not asked, and `probabilities` (Q, M).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = [
    "accuracy",
    "auc",
    "bootstrap_interval",
    "brier",
    "ece",
    "interval",
    "log_loss",
    "losses",
    "observed_cells",
    "resample",
    "resample_counts",
    "wilson",
]


def observed_cells(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n,) bool and probabilities (n,) float64 of the cells asked.

    Raises ValueError where there are none, or where a cell that was asked has no probability.
    """
    if labels.shape != probabilities.shape:
        raise ValueError(f"labels are {labels.shape}, but probabilities are {probabilities.shape}")
    asked = ~np.isnan(labels)
    if not asked.any():
        raise ValueError("no cell was asked: there is nothing to measure")
    probability = probabilities[asked].astype(np.float64)
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError("a cell that was asked has a probability that is not between 0 and 1")
    return labels[asked] == 1, probability


def accuracy(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Share of cells whose label is the likelier one; one half counts as right."""
    right, probability = observed_cells(labels, probabilities)
    return float(((probability >= 0.5) == right).mean())


def auc(labels: np.ndarray, probabilities: np.ndarray) -> float | None:
    """Area under the ROC curve; None where all labels are the same."""
    from sklearn.metrics import roc_auc_score

    right, probability = observed_cells(labels, probabilities)
    return None if right.all() or not right.any() else float(roc_auc_score(right, probability))


def log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean negative log-likelihood in nats, probabilities clipped to [1e-6, 1 - 1e-6]."""
    from sklearn.metrics import log_loss as sklearn_log_loss

    right, probability = observed_cells(labels, probabilities)
    return float(sklearn_log_loss(right, np.clip(probability, 1e-6, 1 - 1e-6), labels=[False, True]))


def losses(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """(Q, M) the terms that `log_loss` is the mean of; of a cell that was not asked, it is that of a wrong answer."""
    probability = np.clip(probabilities.astype(np.float64), 1e-6, 1 - 1e-6)
    return -np.log(np.where(labels == 1, probability, 1 - probability))


def brier(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean squared distance between probability and label."""
    from sklearn.metrics import brier_score_loss

    return float(brier_score_loss(*observed_cells(labels, probabilities), labels=[False, True]))


def ece(labels: np.ndarray, probabilities: np.ndarray, *, bins: int = 15) -> float:
    """Expected calibration error: |mean probability - accuracy| over equally wide bins, weighted by their
    size."""
    right, probability = observed_cells(labels, probabilities)
    bin_of = np.minimum((probability * bins).astype(int), bins - 1)
    excess = np.bincount(bin_of, weights=probability - right, minlength=bins)
    return float(np.abs(excess).sum() / len(right))


def wilson(successes: int, n: int, *, level: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a proportion."""
    from scipy.stats import binomtest

    interval = binomtest(successes, n).proportion_ci(confidence_level=level, method="wilson")
    return float(interval.low), float(interval.high)


def resample(
    statistic: Callable[[np.ndarray], np.ndarray], n: int, *, seed: int | np.random.Generator, resamples: int = 2000
) -> np.ndarray:
    """(resamples, …) values of a `statistic` of n rows that are drawn with replacement.

    It is given the numbers of the rows drawn, (r, n) of r resamples at a time, and returns (r, …).
    """
    rng, block = np.random.default_rng(seed), max(1, 5_000_000 // n)
    sizes = [min(block, resamples - start) for start in range(0, resamples, block)]
    return np.concatenate([statistic(rng.integers(n, size=(size, n))) for size in sizes])


def resample_counts(n: int, *, seed: int, resamples: int = 2000) -> np.ndarray:
    """(resamples, n) how often each of n rows is drawn: resampled sums of many columns are then one matrix product."""
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples)


def interval(resampled: np.ndarray) -> tuple[float, float]:
    """The ends of the 95% percentile interval of a statistic from its resamples (R,); NaN where one of them is."""
    from scipy.stats import quantile

    low, high = quantile(resampled, np.array([(1 - 0.95) / 2, (1 + 0.95) / 2])).tolist()
    return low, high


def bootstrap_interval(sums: np.ndarray, counts: np.ndarray, *, seed: int) -> tuple[float, float] | None:
    """Return the 95% interval of sum(sums) / sum(counts) over resampled questions; None below two questions.

    `sums` and `counts` are per question (Q,): how many of its cells are right, and how many there are. For a
    paired comparison of two predictors pass the difference of their sums. Questions, not cells, are drawn,
    because the answers of a hundred models to one question are not a hundred independent observations.
    """
    if len(sums) < 2:
        return None
    return interval(resample(lambda rows: sums[rows].sum(axis=1) / counts[rows].sum(axis=1), len(sums), seed=seed))
