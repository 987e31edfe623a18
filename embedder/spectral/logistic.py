"""The masked logistic fit: all models and questions at once, from a warm start to the optimum in a few steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import softplus

__all__ = ["LogisticProblem"]

_BLOCK_CELLS = 1_000_000  # answers at a time: what fits the cache is twice as fast, whatever the number of models


@dataclass(frozen=True)
class LogisticProblem:
    """Maximum a posteriori of log-odds = (X B) Vᵀ + b, given answers.

    `features` X (n, r) are uncorrelated with sums of squares `variances` (r,); `directions` V (M, k); `labels` (n, M)
    are 1, 0 or NaN where not asked. Column j of B has the Gaussian prior of precision `strengths` (k,). The bias of a
    model has the prior of `prior_answers` more answers, a share `overall_rate` of them right, which keeps it finite.
    """

    features: torch.Tensor
    variances: torch.Tensor
    directions: torch.Tensor
    labels: torch.Tensor
    strengths: torch.Tensor
    overall_rate: float
    prior_answers: float

    def solve(
        self, coefficients: torch.Tensor, bias: torch.Tensor, *, max_steps: int = 50, tolerance: float = 1e-6
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """B (r, k) and b (M,), by L-BFGS from these starting values, until a step gains less than `tolerance` of the
        objective. The objective is convex: the start decides how long it takes, not where it ends."""
        from scipy.optimize import minimize

        scales = self._scales(bias)
        sizes = coefficients.numel()

        def split(x: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
            scaled = torch.from_numpy(x).float().to(bias.device)
            return scaled[:sizes].view_as(coefficients) * scales[0], scaled[sizes:] * scales[1]

        def objective(x: np.ndarray) -> tuple[float, np.ndarray]:
            value, *gradients = self.objective(*split(x))
            flat = torch.cat([(g * s).flatten() for g, s in zip(gradients, scales, strict=True)])
            return value, flat.double().cpu().numpy()

        start = torch.cat([(coefficients / scales[0]).flatten(), bias / scales[1]]).double().cpu().numpy()
        options = {"maxiter": max_steps, "ftol": tolerance, "gtol": 0, "maxcor": 8}
        return split(minimize(objective, start, jac=True, method="L-BFGS-B", options=options).x)

    def objective(self, coefficients: torch.Tensor, bias: torch.Tensor) -> tuple[float, torch.Tensor, torch.Tensor]:
        """The negative log posterior and its gradients by B and b."""
        value = 0.5 * (self.strengths * coefficients.square()).sum(dtype=torch.float64).item()
        value += self.prior_answers * (softplus(bias) - self.overall_rate * bias).sum(dtype=torch.float64).item()
        by_coefficients = self.strengths * coefficients
        by_bias = self.prior_answers * (torch.sigmoid(bias) - self.overall_rate)
        rows = max(1, _BLOCK_CELLS // self.labels.shape[1])
        for features, labels in zip(self.features.split(rows), self.labels.split(rows), strict=True):
            logits = (features @ coefficients) @ self.directions.T + bias
            value += (softplus(logits) - labels * logits).nansum(dtype=torch.float64).item()
            error = (logits.sigmoid_() - labels).nan_to_num_(0.0)  # 0 where not asked
            by_coefficients = by_coefficients + features.T @ (error @ self.directions)
            by_bias = by_bias + error.sum(0)
        return value, by_coefficients, by_bias

    def _scales(self, bias: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The diagonal preconditioner: by how much to stretch B and b for curvatures near 1."""
        information = self.information(bias)  # (M,)
        by_direction = (self.directions.square() * (information / len(self.labels))[:, None]).sum(0)
        curvature = self.variances[:, None] * by_direction + self.strengths
        return curvature.rsqrt(), (information + self.prior_answers * 0.25).rsqrt()

    def information(self, bias: torch.Tensor) -> torch.Tensor:
        """(M,) Fisher information of a model's answers on its log-odds: their number times p (1 - p)."""
        rate = torch.sigmoid(bias)
        return (len(self.labels) - self.labels.isnan().sum(0, dtype=torch.int32)) * (rate * (1 - rate))
