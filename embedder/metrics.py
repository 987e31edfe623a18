"""How good probabilities of correctness are, over the cells that were asked; and how sure we are of it.

Every measure takes `labels` (Q, M), NaN where not asked, and `probabilities` (Q, M).
"""

from __future__ import annotations

import numpy as np

__all__ = ["accuracy", "auc", "bootstrap_interval", "brier", "ece", "log_loss", "observed_cells", "wilson"]


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


def brier(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean squared distance between probability and label."""
    right, probability = observed_cells(labels, probabilities)
    return float(((probability - right) ** 2).mean())


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


def bootstrap_interval(
    sums: np.ndarray, counts: np.ndarray, *, seed: int, resamples: int = 2000, level: float = 0.95
) -> tuple[float, float] | None:
    """Percentile interval of sum(sums) / sum(counts), questions drawn with replacement; None below two
    questions.

    `sums` and `counts` are per question (Q,): how many of its cells are right, and how many there are. For a
    paired comparison of two predictors pass the difference of their sums. Questions, not cells, are drawn,
    because the answers of a hundred models to one question are not a hundred independent observations.
    """
    from scipy.stats import bootstrap

    if len(sums) < 2:
        return None
    result = bootstrap(
        (sums, counts),
        lambda s, c, axis: s.sum(axis) / c.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=resamples,
        batch=max(1, 5_000_000 // len(sums)),
        method="percentile",
        confidence_level=level,
        rng=np.random.default_rng(seed),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)
