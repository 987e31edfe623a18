"""Probabilities that allow for what is not known: a log-odds with a variance is nearer to even odds than one without.

With log-odds normal around z with variance v, the probability is about sigmoid(z / sqrt(1 + pi v / 8)) (MacKay 1992).
A fit's most probable log-odds, so moderated, would be too near to one half on average: its biases are those at which
unmoderated probabilities have the right mean. `recentre_bias` finds those at which the moderated ones have.
"""

from __future__ import annotations

import math

import torch

__all__ = ["moderate", "recentre_bias", "scale_unknown"]

_NEWTON_STEPS = 6
_SCALES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)


def moderate(logits: torch.Tensor, variances: torch.Tensor) -> torch.Tensor:
    """Log-odds of the expected probability, where log-odds have these means and variances (any shape)."""
    return logits * (1 + math.pi / 8 * variances).rsqrt()


def recentre_bias(signal: torch.Tensor, bias: torch.Tensor, variances: torch.Tensor) -> torch.Tensor:
    """(M,) biases at which moderated probabilities of the log-odds `signal` (n, M) plus bias have the mean that those
    of `signal` plus `bias` (M,) have unmoderated, model by model; by Newton's method."""
    shrinkage = (1 + math.pi / 8 * variances).rsqrt()
    target = (signal + bias).sigmoid_().mean(0)
    for _ in range(_NEWTON_STEPS):
        probability = ((signal + bias) * shrinkage).sigmoid_()
        slope = (probability * (1 - probability) * shrinkage).mean(0)
        bias = bias - (probability.mean(0) - target) / slope.clamp_min(1e-4)
    return bias


def scale_unknown(
    signal: torch.Tensor, bias: torch.Tensor, seen: torch.Tensor, unseen: torch.Tensor, prior: torch.Tensor
) -> tuple[float, torch.Tensor]:
    """The factor to `prior` (M,), the variance of log-odds where nothing is known, at which the moderated probability
    there is nearest to the model's mean; and the biases (M,) that belong to it.

    `signal` (n, M) and the variances `seen` and, unscaled, `unseen` (n, M) are those of training questions. The
    strengths a fit chooses say how much to shrink, not how far log-odds spread; that the models' means are known does.
    """
    means = (signal + bias).sigmoid().mean(0)
    found = []
    for scale in _SCALES:
        centre = recentre_bias(signal, bias, seen + scale * unseen)
        off = (moderate(centre, scale * prior).sigmoid() - means).abs().mean().item()
        found.append((off, scale, centre))
    _, scale, centre = min(found, key=lambda candidate: candidate[0])
    return scale, centre
