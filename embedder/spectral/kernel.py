"""A kernel machine's view of questions: uncorrelated features in which linear methods do kernel work.

The Gaussian kernel k(x, z) = exp(-gamma |x - z|²) is approximated from its values at m landmarks (Nyström; Williams and
Seeger 2000): with K the landmarks' own kernel matrix, k(x, landmarks) K^(-1/2) are features whose inner products are
the approximated kernel. Their mean direction over the training questions is projected out, so that features have mean 0
there, and are 0 also where the kernel is: a question that resembles none is nothing but unknown. A rotation makes them
uncorrelated, so that a ridge regression on them, and its leave-one-out error, is a few products of arrays.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import torch

__all__ = ["NystromFeatures", "squared_distances"]

_JITTER = 1e-4  # float32 cannot factorise the kernel matrix of landmarks that lie closer together
_FLOOR = 1e-5  # directions that vary less than this share of the strongest are rounding noise


@dataclass(frozen=True)
class NystromFeatures:
    """r features, kernel values times `rotation` (m, r): of mean 0 and uncorrelated over the training questions, where
    their sums of squares are `variances` (r,). Kernel values times `level` (m,) are the part that was projected out:
    how near a question is to all the others."""

    gamma: torch.Tensor  # (): inverse squared width
    rotation: torch.Tensor
    level: torch.Tensor
    variances: torch.Tensor

    @classmethod
    def fit(cls, squared: torch.Tensor, between: torch.Tensor, width: float) -> tuple[Self, torch.Tensor]:
        """From the squared distances (n, m) of training questions to landmarks and (m, m) `between` the landmarks.

        At the mean squared distance between landmarks the kernel is exp(-width). Returns the training questions'
        features (n, r) as well.
        """
        m = len(between)
        gamma = width / (between.sum() / max(m * (m - 1), 1)).clamp_min(1e-12)
        factor = torch.linalg.cholesky(torch.exp(-gamma * between) + _JITTER * torch.eye(m))
        values = torch.exp(-gamma * squared)
        mean = values.mean(0)
        whitened = torch.linalg.solve_triangular(factor, mean[:, None], upper=False)
        length = whitened.norm().clamp_min(1e-12)
        level = torch.linalg.solve_triangular(factor.T, whitened / length, upper=True)[:, 0]
        values = torch.addr(values, values @ (level / length), mean, alpha=-1)
        half = torch.linalg.solve_triangular(factor, values.T @ values, upper=False)
        covariance = torch.linalg.solve_triangular(factor, half.T.contiguous(), upper=False)
        variances, directions = torch.linalg.eigh(covariance)
        kept = variances > max(_FLOOR * variances[-1].item(), 1e-6)
        variances, directions = variances[kept].flip(0), directions[:, kept].flip(1)
        # The directions kept have no part of the mean's: without the projection they give the same features.
        rotation = torch.linalg.solve_triangular(factor.T, directions, upper=True).contiguous()
        return cls(gamma, rotation, level, variances), values @ rotation

    def kernel(self, squared: torch.Tensor) -> torch.Tensor:
        """(n, m) squared distances from the landmarks → (n, m) kernel values, between 0 and 1."""
        return torch.mul(squared, -self.gamma).exp_()

    def strongest(self, count: int) -> Self:
        """Only the `count` features that vary most, which say nearly all of how near a question is to the others."""
        return replace(self, rotation=self.rotation[:, :count].contiguous(), variances=self.variances[:count])

    def nearness(self, kernel: torch.Tensor) -> torch.Tensor:
        """(n,) the projected-out part of kernel values (n, m): its square is the share of a question's kernel that the
        mean of the training questions sees."""
        return kernel @ self.level


def squared_distances(a: torch.Tensor, b: torch.Tensor, b_squared: torch.Tensor | None = None) -> torch.Tensor:
    """(n, m) squared Euclidean distances of `a` (n, D) from `b` (m, D), whose squared norms may be known."""
    norms = b.square().sum(1) if b_squared is None else b_squared
    return torch.addmm(norms, a, b.T, alpha=-2).add_(a.square().sum(1)[:, None]).clamp_min_(0)
