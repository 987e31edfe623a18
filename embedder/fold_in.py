"""A new model from a handful of its answers; nothing that was learnt before changes.

Two logistic regressions, each convex, each with the Gaussian prior that the pool's models set:

1. Of its answers on the pool's own answers to the same questions (their leading factors) beside their first
   text coordinates: who else knew it says more of how hard a question is than its text does. It tells what to expect
   of the new model on every question the pool was asked, and so its accuracy on known benchmarks.
2. Of these expectations of the train questions on all of their text coordinates: the coefficients are the model's
   *embedding*, and foretell answers to questions nobody was asked yet. Fitted to the bare answers, they would be biased
   by how the questions were chosen; fitted to test questions too, by what the pool's models answered to these.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from scipy.special import expit

from .baselines import model_rates
from .basis import fill_missing, leading_directions
from .matrix import CorrectnessMatrix
from .predictor import Forecast
from .questions import Questions
from .spectral import SpectralEmbedder

__all__ = ["BenchmarkAccuracy", "Evidence", "FoldedModel", "Gaussian", "Pool", "posterior"]

_FACTORS = 10  # leading factors of the pool's answers
_COORDINATES = 8  # of a question's text coordinates, those that count beside the factors
_PRIOR_MODELS = 200  # enough to estimate a prior from, however large the pool
_UNCORRELATED_MODELS = 2
_WEAK_VARIANCE = 4.0  # of coefficients, where no prior is known yet
# How many answers' worth one answer is once the pool's answers have explained it; 4 to 16 do equally well.
_LEVERAGE = 8.0


@dataclass(frozen=True)
class Gaussian:
    """Mean (p,) and covariance (p, p) of a model's coefficients."""

    mean: np.ndarray
    covariance: np.ndarray

    @classmethod
    def of(cls, coefficients: np.ndarray) -> Self:
        """The distribution that the rows of `coefficients` (M, p) come from. Models are few: correlations are shrunk as
        if two more had none, and variances are 1 where there are not even three."""
        mean = coefficients.mean(0)
        if len(coefficients) < 3:
            return cls(mean, np.eye(len(mean)))
        covariance = (
            np.atleast_2d(np.cov(coefficients.T)) * len(coefficients) / (len(coefficients) + _UNCORRELATED_MODELS)
        )
        variances = np.maximum(coefficients.var(0, ddof=1), 1e-3)
        np.fill_diagonal(covariance, variances)
        return cls(mean, covariance)


def posterior(design: np.ndarray, labels: np.ndarray, prior: Gaussian, weight: float = 1.0) -> Gaussian:
    """Of the coefficients, given answers `labels` (n,) from 0 to 1 to questions `design` (n, p), each counted `weight`
    times: their most probable value, and Laplace's covariance.

    By Newton's method, steps halved until they descend: there is one optimum, and any prior leads there.
    """
    precision = np.linalg.inv(prior.covariance)
    theta = prior.mean.astype(np.float64)
    while True:
        probability = expit(design @ theta)
        gradient = weight * (design.T @ (probability - labels)) + precision @ (theta - prior.mean)
        hessian = weight * (design.T * (probability * (1 - probability))) @ design + precision
        step = np.linalg.solve(hessian, gradient)
        descent, now = float(gradient @ step), _loss(theta, design, labels, prior.mean, precision, weight)
        if descent < 1e-9 * (1 + now):
            return Gaussian(theta, np.linalg.inv(hessian))
        size = 1.0
        while _loss(theta - size * step, design, labels, prior.mean, precision, weight) > now - 1e-4 * size * descent:
            size /= 2
        theta = theta - size * step


def _loss(
    theta: np.ndarray, design: np.ndarray, labels: np.ndarray, mean: np.ndarray, precision: np.ndarray, weight: float
) -> float:
    logits = design @ theta
    off = theta - mean
    return float(weight * (np.logaddexp(0, logits).sum() - labels @ logits) + 0.5 * off @ precision @ off)


@dataclass(frozen=True)
class Evidence:
    """What answers are explained by: a `design` (Q, p) of the pool's questions, and the `prior` of the coefficients."""

    design: np.ndarray
    prior: Gaussian

    def given(self, answers: np.ndarray) -> Gaussian:
        """The posterior, given `answers` (Q,): 1, 0, or NaN where not asked."""
        asked = ~np.isnan(answers)
        return posterior(self.design[asked], answers[asked], self.prior)

    def expected(self, coefficients: Gaussian) -> np.ndarray:
        """(Q,) probability of a right answer."""
        return expit(self.design @ coefficients.mean)


@dataclass(frozen=True)
class BenchmarkAccuracy:
    """The share of a benchmark's `n` questions a model is expected to answer right, with its 95% interval."""

    benchmark: str
    n: int
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class Pool:
    """What is known before a new model comes: the questions, and how models differ on them.

    `misfit` (B + 1,) is by how much the true accuracy of a pool's model on a benchmark, and on all questions, differs
    from what its coefficients say, as a standard deviation.
    """

    embedder: SpectralEmbedder
    matrix: CorrectnessMatrix
    text: Evidence
    responses: Evidence
    benchmarks: tuple[str, ...]
    misfit: np.ndarray

    @classmethod
    def of(cls, embedder: SpectralEmbedder, matrix: CorrectnessMatrix, questions: Questions) -> Self:
        """The pool of the models `embedder` was fitted on; `matrix` holds their answers to `questions`.

        Raises ValueError where the matrix is of other models.
        """
        if matrix.models != embedder.models:
            raise ValueError("the matrix must have the models the embedder was fitted on, in their order")
        coordinates = embedder.coordinates(questions).astype(np.float64)
        embeddings = embedder.model_embeddings[embedder.has_answers]
        labels = matrix.labels[:, embedder.has_answers]
        rates = model_rates(matrix)[embedder.has_answers]
        designs, design = _response_designs(labels, rates, _strongest(coordinates, embeddings))
        fitted = [
            posterior(
                own[asked], answers[asked], Gaussian(np.zeros(own.shape[1]), _WEAK_VARIANCE * np.eye(own.shape[1]))
            )
            for own, answers, asked in designs
        ]
        responses = Evidence(design, Gaussian.of(np.stack([found.mean for found in fitted])))
        text = Evidence(coordinates, Gaussian.of(embeddings.astype(np.float64)))
        names, number = np.unique(matrix.benchmarks, return_inverse=True)
        misfit = _misfit(designs, fitted, number, len(names))
        return cls(embedder, matrix, text, responses, tuple(names.tolist()), misfit)

    def fold_in(self, answers: np.ndarray) -> FoldedModel:
        """A new model, from its `answers` (Q,) to the pool's questions: 1, 0, or NaN where not asked.

        Without any answer it is the pool's average model. Raises ValueError where answers are not of these questions.
        """
        if answers.shape != (len(self.matrix.labels),):
            raise ValueError(f"answers are {answers.shape}, but the pool has {len(self.matrix.labels)} questions")
        responses = self.responses.given(answers)
        asked = ~np.isnan(answers)
        expected = np.where(asked, answers, self.responses.expected(responses))
        rows = asked | (self.matrix.splits == "train")
        weight = min(1.0, _LEVERAGE * asked.sum() / max(rows.sum(), 1))
        text = posterior(self.text.design[rows], expected[rows], self.text.prior, weight)
        # How sure the embedding is follows from the answers alone: expectations are no evidence of their own.
        covariance = self.text.given(answers).covariance
        return FoldedModel(self, answers, Gaussian(text.mean, covariance), responses)

    def most_informative(self, answers: np.ndarray, candidates: np.ndarray, n: int) -> np.ndarray:
        """Rows of the `n` questions among `candidates` (Q,) bool to ask next, given `answers` (Q,) so far.

        Greedy I-optimal design: each question, given those before it, takes most from the variance of what is expected
        on all the pool's questions. Ask in batches, so that later ones build on the answers to the earlier.
        """
        known = self.responses.given(answers)
        rows = np.flatnonzero(candidates & np.isnan(answers))
        everywhere, design = self.responses.expected(known), self.responses.design
        slopes = (everywhere * (1 - everywhere))[:, None] * design
        target = slopes.T @ slopes  # the summed variance is trace(target · covariance)
        weight, design, covariance = (everywhere * (1 - everywhere))[rows], design[rows], known.covariance
        free, chosen = np.ones(len(rows), bool), []
        for _ in range(min(n, len(rows))):
            projected = design @ covariance
            informs = weight * (projected * design).sum(1)
            gain = weight * ((projected @ target) * projected).sum(1) / (1 + informs)
            best = int(np.where(free, gain, -np.inf).argmax())
            chosen.append(rows[best])
            free[best] = False
            # Sherman and Morrison: the covariance once that question is answered.
            taken = np.outer(projected[best], projected[best]) * weight[best] / (1 + informs[best])
            covariance = covariance - taken
        return np.array(chosen, np.int64)


@dataclass(frozen=True)
class FoldedModel:
    """A model that joined a pool: distributions of its coefficients on text coordinates and on responses."""

    pool: Pool
    answers: np.ndarray
    text: Gaussian
    responses: Gaussian

    @property
    def embedding(self) -> np.ndarray:
        """(d + 1,) float32, in the space of the pool's `model_embeddings`."""
        return self.text.mean.astype(np.float32)

    @property
    def embedding_variance(self) -> np.ndarray:
        """(d + 1,) float32: what is not known of the embedding, a coordinate at a time as for the pool's models."""
        return np.diag(self.text.covariance).astype(np.float32)

    @cached_property
    def expected(self) -> np.ndarray:
        """(Q,) the known answers to the pool's questions, and the probability of a right one to the others."""
        return np.where(np.isnan(self.answers), self._probability, self.answers)

    @cached_property
    def _probability(self) -> np.ndarray:
        return self.pool.responses.expected(self.responses)

    def forecast(self, questions: Questions) -> Forecast:
        """Of this one model, (n, 1), for any questions."""
        coordinates = self.pool.embedder.coordinates(questions).astype(np.float64)
        probabilities = expit(coordinates @ self.text.mean).astype(np.float32)[:, None]
        variance = np.square(coordinates) @ self.embedding_variance + self.pool.embedder.question_variance(questions)
        return Forecast(probabilities, np.sqrt(variance).astype(np.float32)[:, None], probabilities)

    def accuracies(self) -> list[BenchmarkAccuracy]:
        """On every benchmark of the pool: known answers as they are, the others as expected.

        The interval adds up what is not known of the coefficients, how well such coefficients describe a benchmark, and
        the chance in the answers that are still to come.
        """
        benchmarks = self.pool.matrix.benchmarks
        return [
            self._accuracy(name, benchmarks == name, misfit)
            for name, misfit in zip(self.pool.benchmarks, self.pool.misfit[:-1], strict=True)
        ]

    def overall_accuracy(self) -> BenchmarkAccuracy:
        """The same on the questions of all benchmarks together, under the name `all`."""
        return self._accuracy("all", np.ones(len(self.answers), bool), self.pool.misfit[-1])

    def _accuracy(self, name: str, rows: np.ndarray, misfit: float) -> BenchmarkAccuracy:
        unknown = rows & np.isnan(self.answers)
        count, probability = rows.sum(), self._probability[unknown]
        spread = probability * (1 - probability)
        gradient = spread @ self.pool.responses.design[unknown] / count
        variance = gradient @ self.responses.covariance @ gradient
        variance += (unknown.sum() / count * misfit) ** 2 + spread.sum() / count**2
        accuracy, reach = float(self.expected[rows].mean()), 1.96 * np.sqrt(variance)
        low, high = np.clip([accuracy - reach, accuracy + reach], 0, 1).tolist()
        return BenchmarkAccuracy(name, int(count), accuracy, low, high)

    def nearest(self, count: int = 5) -> list[tuple[str, float]]:
        """The pool's models most alike: names, and root mean squared differences of the log-odds, the least first."""
        distances = np.linalg.norm(self.pool.embedder.model_embeddings - self.embedding, axis=1)
        order = np.argsort(distances, kind="stable")[:count]  # a model without an embedding is NaN, and comes last
        return [(self.pool.embedder.models[i], float(distances[i])) for i in order if np.isfinite(distances[i])]


_Own = tuple[np.ndarray, np.ndarray, np.ndarray]  # a model's design (Q, p), answers (Q,) and which were asked (Q,)


def _strongest(coordinates: np.ndarray, embeddings: np.ndarray) -> np.ndarray:
    """(Q, _COORDINATES or fewer) the coordinates along the axes on which the models of `embeddings` differ most: an
    embedder that was aligned to an earlier one has its own in another order."""
    axes = np.linalg.svd(embeddings[:, :-1].astype(np.float64), full_matrices=False)[2][:_COORDINATES]
    return coordinates[:, :-1] @ axes.T


def _response_designs(labels: np.ndarray, rates: np.ndarray, coordinates: np.ndarray) -> tuple[list[_Own], np.ndarray]:
    """For some of the pool's models the design its prior is estimated on, and the design of a new one.

    A new model's own answers are not among the factors. So that the pool's models are treated alike, each one's are
    taken out of the factors of its own design.
    """
    residuals = fill_missing(labels - rates.astype(np.float32))
    directions = leading_directions(residuals, _FACTORS)
    factors = residuals @ directions
    scale = np.maximum(factors.std(0), 1e-6)
    rest = np.concatenate([coordinates, np.ones((len(labels), 1))], 1)
    count = labels.shape[1]
    own = []
    for model in range(0, count, -(-count // _PRIOR_MODELS)):
        others = factors - residuals[:, [model]] * directions[model]
        others *= scale / np.maximum(others.std(0), 1e-6)
        own.append((np.concatenate([others / scale, rest], 1), labels[:, model], ~np.isnan(labels[:, model])))
    return own, np.concatenate([factors / scale, rest], 1)


def _misfit(designs: list[_Own], fitted: list[Gaussian], number: np.ndarray, benchmarks: int) -> np.ndarray:
    """(B + 1,) root mean square over models of predicted less true accuracy, on the questions of each benchmark (their
    `number` is (Q,)) and on all."""
    errors = np.full((len(designs), benchmarks + 1), np.nan)
    for model, ((design, answers, asked), found) in enumerate(zip(designs, fitted, strict=True)):
        off = expit(design[asked] @ found.mean) - answers[asked]
        count = np.bincount(number[asked], minlength=benchmarks)
        total = np.bincount(number[asked], off, benchmarks)
        count, total = np.append(count, count.sum()), np.append(total, total.sum())
        errors[model] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    known = ~np.isnan(errors)
    return np.sqrt(np.nansum(errors**2, axis=0) / np.maximum(known.sum(0), 1))
