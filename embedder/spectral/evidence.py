"""What answers say of a model's coefficients: logistic regression with a Gaussian prior, by Newton's method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.special import expit

__all__ = ["Answers", "Evidence", "Gaussian", "Problem", "Shared", "fit_posterior", "fit_posteriors", "maximise"]

_UNCORRELATED_MODELS = 2
_CONVERGED = 1e-7  # what the last of Newton's steps gains, as a share of the loss: its square is what is left then


@dataclass(frozen=True)
class Gaussian:
    """Mean (p,) and covariance (p, p) of a model's coefficients; of b models, (b, p) and (b, p, p)."""

    mean: np.ndarray
    covariance: np.ndarray

    @classmethod
    def of(cls, coefficients: np.ndarray) -> Self:
        """Estimate the distribution that the rows of `coefficients` (M, p) come from. Models are few: correlations are
        shrunk as if two more models had none, and variances are 1 where there are not even three."""
        mean = coefficients.mean(0)
        if len(coefficients) < 3:
            return cls(mean, np.eye(len(mean)))
        count = len(coefficients)
        covariance = np.atleast_2d(np.cov(coefficients.T)) * count / (count + _UNCORRELATED_MODELS)
        np.fill_diagonal(covariance, np.maximum(coefficients.var(0, ddof=1), 1e-3))
        return cls(mean, covariance)

    def turned(self, axes: np.ndarray) -> Self:
        """Return the distribution of the coefficients' products with `axes` (p, q)."""
        return type(self)(self.mean @ axes, axes.T @ self.covariance @ axes)


@dataclass(frozen=True)
class Answers:
    """Answers of `count` models, numbered from 0, to a pool's questions: each row is an answer, in any order.

    `models` (n,) int are the models' numbers, `questions` (n,) int rows of the pool, `labels` (n,) 1 for right and 0
    for wrong. Raises ValueError where these are not of the same length, a number is not below `count`, a label is
    neither 1 nor 0, or a model answered a question twice.
    """

    count: int
    models: np.ndarray
    questions: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        if not len(self.models) == len(self.questions) == len(self.labels):
            raise ValueError(
                f"{len(self.models)} numbers of models, {len(self.questions)} of questions, {len(self.labels)} labels: "
                "there must be as many of each"
            )
        if strange := self.models[(self.models < 0) | (self.models >= self.count)].tolist():
            raise ValueError(f"models are numbered from 0 to {self.count - 1}, found {strange[0]}")
        if not np.isin(self.labels, (0, 1)).all():
            raise ValueError("a label must be 1 for right or 0 for wrong; leave out what was not asked")
        order = np.lexsort((self.questions, self.models))
        model, question = self.models[order], self.questions[order]
        if (twice := (np.diff(model) == 0) & (np.diff(question) == 0)).any():
            at = int(twice.argmax())
            raise ValueError(f"model {model[at]} answered question {question[at]} twice; keep one answer each")


@dataclass(frozen=True)
class Shared:
    """Questions that all models have in common: their `design` (s, p), and the outer products of its rows with
    themselves, (s, p²) float32, which make all models' curvatures one product of matrices."""

    design: np.ndarray
    outer: np.ndarray

    @classmethod
    def of(cls, design: np.ndarray) -> Self:
        count, size = design.shape
        return cls(design, (design[:, :, None] * design[:, None, :]).reshape(count, size**2).astype(np.float32))

    def curvature(self, weights: np.ndarray) -> np.ndarray:
        """(b, p, p) the sum of the outer products, weighted (b, s)."""
        size = self.design.shape[1]
        return (weights.astype(np.float32) @ self.outer).reshape(-1, size, size)

    def variance(self, covariance: np.ndarray) -> np.ndarray:
        """(b, s) of the log-odds, given the coefficients' covariance (b, p, p)."""
        return covariance.reshape(len(covariance), self.outer.shape[1]).astype(np.float32) @ self.outer.T


@dataclass(frozen=True)
class Problem:
    """Answers of b models, to n questions each, and expectations of s questions that they have in common. What is to be
    maximised over their coefficients (b, p) is the sum of the weighted log-likelihoods and of the log prior."""

    design: np.ndarray  # (b, n, p) of the questions asked
    labels: np.ndarray  # (b, n) from 0 to 1
    weights: np.ndarray  # (b, n); 0 where a model was asked less than n
    shared: Shared
    expected: np.ndarray  # (b, s)
    worth: np.ndarray  # (b, s): their weights

    def logits(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return (self.design @ theta[:, :, None])[:, :, 0], theta @ self.shared.design.T

    def loss(self, theta: np.ndarray) -> np.ndarray:
        """(b,) the negative log-likelihood."""
        answered, shared = self.logits(theta)
        lost = (self.weights * (np.logaddexp(0, answered) - self.labels * answered)).sum(1)
        return lost + (self.worth * (np.logaddexp(0, shared) - self.expected * shared)).sum(1)

    def gradient_and_hessian(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        answered, shared = (expit(logits) for logits in self.logits(theta))
        gradient = ((self.weights * (answered - self.labels))[:, None, :] @ self.design)[:, 0]
        gradient += (self.worth * (shared - self.expected)) @ self.shared.design
        hessian = self.information(self.weights * answered * (1 - answered))
        return gradient, hessian + self.shared.curvature(self.worth * shared * (1 - shared))

    def information(self, weights: np.ndarray) -> np.ndarray:
        """(b, p, p): of the answers alone, weighted (b, n)."""
        return (self.design * weights[:, :, None]).swapaxes(1, 2) @ self.design


def maximise(problem: Problem, prior: Gaussian) -> tuple[np.ndarray, np.ndarray]:
    """Find the most probable coefficients (b, p), and the curvature (b, p, p) there.

    By Newton's method, steps halved until they descend: there is one optimum, and any prior leads there.
    """
    precision = np.linalg.inv(prior.covariance)

    def loss(theta: np.ndarray) -> np.ndarray:
        off = theta - prior.mean
        return problem.loss(theta) + 0.5 * ((off @ precision) * off).sum(1)

    theta = np.repeat(prior.mean[None].astype(np.float64), len(problem.labels), axis=0)
    curvature = np.empty((*theta.shape, theta.shape[1]))
    going, now = np.ones(len(theta), bool), loss(theta)
    while going.any():
        gradient, hessian = problem.gradient_and_hessian(theta)
        gradient, hessian = gradient + (theta - prior.mean) @ precision, hessian + precision
        curvature[going] = hessian[going]
        step = np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
        descent = (gradient * step).sum(1)
        last = descent < _CONVERGED * (1 + now)
        size = going.astype(np.float64)
        while True:
            after = loss(theta - size[:, None] * step)
            too_far = going & ~last & (after > now - 1e-4 * size * descent)
            if not too_far.any():
                break
            size[too_far] /= 2
        theta, now, going = theta - size[:, None] * step, after, going & ~last
    return theta, curvature


def fit_posteriors(design: np.ndarray, labels: np.ndarray, weights: np.ndarray, prior: Gaussian) -> Gaussian:
    """Return the posterior of b models' coefficients, given answers `labels` (b, n) from 0 to 1 to questions `design`
    (b, n, p), each counted `weights` (b, n) times: their most probable values, and Laplace's covariances."""
    none = np.empty((len(labels), 0))
    nothing_shared = Shared.of(np.empty((0, design.shape[2])))
    mean, curvature = maximise(Problem(design, labels, weights, nothing_shared, none, none), prior)
    return Gaussian(mean, np.linalg.inv(curvature))


def fit_posterior(design: np.ndarray, labels: np.ndarray, prior: Gaussian) -> Gaussian:
    """Return the posterior of one model, whose n answers count once each."""
    found = fit_posteriors(design[None], labels[None], np.ones((1, len(labels))), prior)
    return Gaussian(found.mean[0], found.covariance[0])


@dataclass(frozen=True)
class Evidence:
    """What answers are explained by: a `design` (Q, p) of the pool's questions, and the `prior` of the coefficients."""

    design: np.ndarray
    prior: Gaussian

    def given(self, answers: np.ndarray) -> Gaussian:
        """The posterior, given `answers` (Q,): 1, 0, or NaN where not asked."""
        asked = ~np.isnan(answers)
        return fit_posterior(self.design[asked], answers[asked], self.prior)

    def expected(self, coefficients: Gaussian) -> np.ndarray:
        """(Q,) probability of a right answer."""
        return expit(self.design @ coefficients.mean)
