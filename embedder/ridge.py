"""Ridge regression whose strength is chosen by leave-one-out errors, in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

__all__ = ["Ridge", "fit_ridge"]

_LEAST_LEFT = {torch.float32: 1e-3, torch.float64: 1e-9}  # smaller differences from 1 are rounding noise


@dataclass(frozen=True)
class Ridge:
    """A ridge regression of t targets on r features: `coefficients` (r, t), `strengths` (t,), and what it predicts for
    each of its n observations when that one is left out, `held_out` (n, t)."""

    coefficients: torch.Tensor
    strengths: torch.Tensor
    held_out: torch.Tensor


def fit_ridge(
    features: torch.Tensor,
    variances: torch.Tensor,
    targets: torch.Tensor,
    strengths: Sequence[float],
    *,
    mean_leverage: torch.Tensor | None = None,
    same_strength: bool = False,
) -> Ridge:
    """Regress centred `targets` (n, t) on `features` (n, r), uncorrelated with sums of squares `variances` (r,).

    Each target gets the strength with the least leave-one-out error, in closed form: a prediction without observation i
    is off by (y_i - ŷ_i) / (1 - h_i), h the diagonal of the hat matrix (Golub, Heath and Wahba 1979). With
    `same_strength` all targets get the one that is best on average. Several regressions of equal shapes may be stacked
    along leading axes. Weighted observations come multiplied by the roots of their weights, and with `mean_leverage`
    (n,), their shares in the weighted mean, which is 1 / n each by default.
    """
    products, squares = features.mT @ targets, features.square()
    # The mean is estimated too.
    leverage = 1 / targets.shape[-2] if mean_leverage is None else mean_leverage[..., None]
    least = torch.full_like(targets[..., :1, :], torch.inf)  # (…, 1, t)
    best = Ridge(torch.zeros_like(products), torch.full_like(least, strengths[-1]), torch.zeros_like(targets))
    for strength in strengths:
        shrinkage = 1 / (variances + strength)[..., None]
        coefficients = shrinkage * products
        left = 1 - squares @ shrinkage - leverage
        off = (targets - features @ coefficients) / left.clamp_min(_LEAST_LEFT[targets.dtype])
        error = off.square().mean(-2, keepdim=True)
        if same_strength:
            error = error.mean(-1, keepdim=True).expand_as(error)
        better = error < least
        least = torch.where(better, error, least)
        best = Ridge(
            torch.where(better, coefficients, best.coefficients),
            torch.where(better, strength, best.strengths),
            torch.where(better, targets - off, best.held_out),
        )
    return replace(best, strengths=best.strengths[..., 0, :])
