"""Fold in a new model from a handful of its answers; nothing that was learnt before changes.

Two logistic regressions, each convex, each with the Gaussian prior that the pool's models set:

1. Its answers are regressed on the pool's answers to the same questions (their leading factors) and on the questions'
first text coordinates: who else knew a question says more about how hard it is than its text does. The fit predicts the
new model's answer to every question that the pool was asked, and so its accuracy on known benchmarks. 2. Its answers,
and what the first expects on a fixed sample of the train questions, are regressed on all text coordinates: the
coefficients are the model's *embedding*, and predict answers to questions that nobody was asked yet. Fitted to the
answers alone, they would be biased by how the questions were chosen; fitted to expectations of test questions, by what
the pool's models answered to these.

Every answer counts once. Expectations together count a few times as much as the answers they were made from; each one
counts less where the answers say less about it. One model is folded in as a batch of one.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from scipy.special import expit
from threadpoolctl import threadpool_limits

from embedder.baselines.rates import model_rates
from embedder.matrix import CorrectnessMatrix
from embedder.predictor import Forecast
from embedder.questions import Questions

from .basis import fill_missing, leading_directions
from .evidence import Answers, Evidence, Gaussian, Problem, Shared, fit_posterior, fit_posteriors, maximise
from .spectral import SpectralEmbedder

__all__ = ["BenchmarkAccuracy", "FoldedModel", "FoldedModels", "ModelPool"]

_FACTORS = 10  # leading factors of the pool's answers
_COORDINATES = 8  # of a question's text coordinates, those that count next to the factors
_PRIOR_MODELS = 200  # enough to estimate a prior from, however large the pool
_WEAK_VARIANCE = 4.0  # of coefficients, where no prior is known yet
_EXPECTED = 500  # train questions whose expected answers the embedding is fitted to
_EXPECTATIONS_WORTH = 4.0  # times the answers, at most; 2 to 8 do equally well
_BATCH_MODELS = 256  # fitted at once
_BATCH_CELLS = 500_000  # of the design of their answers


@dataclass(frozen=True)
class BenchmarkAccuracy:
    """The share of a benchmark's `n` questions a model is expected to answer right, with its 95% interval."""

    benchmark: str
    n: int
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class ModelPool:
    """What is known before a new model comes: the questions, and how models differ on them.

    `sample` (s,) are rows of train questions across the benchmarks: what is expected of these goes into an embedding.
    `misfit` (B + 1,) is by how much the true accuracy of a pool's model on a benchmark, and on all questions, differs
    from what its coefficients say, as a standard deviation.
    """

    predictor: SpectralEmbedder
    matrix: CorrectnessMatrix
    text: Evidence
    responses: Evidence
    sample: np.ndarray
    benchmarks: tuple[str, ...]
    misfit: np.ndarray

    @classmethod
    def of(cls, predictor: SpectralEmbedder, matrix: CorrectnessMatrix, questions: Questions) -> Self:
        """The pool of the models `predictor` was fitted on; `matrix` holds their answers to `questions`.

        Raises ValueError where the matrix is of other models.
        """
        if matrix.models != predictor.models:
            raise ValueError("the matrix must have the models the embedder was fitted on, in their order")
        questions = questions.by_text_alone()  # as those that the new model will be asked
        coordinates = predictor.coordinates(questions).astype(np.float64)
        embeddings = predictor.model_embeddings[predictor.has_answers]
        labels = matrix.labels[:, predictor.has_answers]
        rates = model_rates(matrix)[predictor.has_answers]
        # The axes on which models differ most, the greatest first, and the bias as it is: an embedder that was aligned
        # to an earlier one has its coordinates in another order, which must not change anything.
        theta = embeddings[:, :-1].astype(np.float64)
        axes = np.eye(theta.shape[1] + 1)
        axes[:-1, :-1] = np.linalg.eigh(theta.T @ theta)[1][:, ::-1]
        designs, design = _design_responses(labels, rates, (coordinates @ axes)[:, : min(_COORDINATES, len(axes) - 1)])
        size = design.shape[1]
        fitted = [
            fit_posterior(own[asked], answers[asked], Gaussian(np.zeros(size), _WEAK_VARIANCE * np.eye(size)))
            for own, answers, asked in designs
        ]
        responses = Evidence(design, Gaussian.of(np.stack([found.mean for found in fitted])))
        moderated = coordinates * predictor.moderation(questions)[:, None]
        text = Evidence(moderated, Gaussian.of(embeddings @ axes).turned(axes.T))
        names, number = np.unique(matrix.benchmarks, return_inverse=True)
        misfit = _measure_misfit(designs, fitted, number, len(names))
        train = np.flatnonzero(matrix.splits == "train")
        sample = train[np.unique(np.linspace(0, len(train) - 1, _EXPECTED).astype(int))] if len(train) else train
        return cls(predictor, matrix, text, responses, sample, tuple(names.tolist()), misfit)

    def fold_in(self, answers: np.ndarray) -> FoldedModel:
        """Fold in a new model, from its `answers` (Q,) to the pool's questions: 1, 0, or NaN where not asked.

        Without any answer it is the pool's average model. Raises ValueError where answers are not of these questions.
        """
        if answers.shape != (len(self.matrix.labels),):
            raise ValueError(f"answers are {answers.shape}, but the pool has {len(self.matrix.labels)} questions")
        asked = np.flatnonzero(~np.isnan(answers))
        text, responses = self._fold_in(asked[None], answers[None, asked], np.ones((1, len(asked))))
        return FoldedModel(self, answers, *(Gaussian(some.mean[0], some.covariance[0]) for some in (text, responses)))

    def fold_in_many(self, answers: Answers) -> FoldedModels:
        """Fold in many models at once, each as if alone. Models that were asked equally many questions go quickest.

        Raises ValueError where answers are to questions that the pool does not have.
        """
        last = len(self.matrix.labels) - 1
        if strange := answers.questions[(answers.questions < 0) | (answers.questions > last)].tolist():
            raise ValueError(
                f"the pool's questions are numbered from 0 to {last}, but there is an answer to {strange[0]}"
            )
        size = self.text.design.shape[1]
        found = FoldedModels(
            np.empty((answers.count, size), np.float32),
            np.empty((answers.count, size), np.float32),
            np.empty((answers.count, self.responses.design.shape[1])),
        )
        asked = np.bincount(answers.models, minlength=answers.count)
        together = min(_BATCH_MODELS, max(1, _BATCH_CELLS // max(1, int(asked.max(initial=0)) * size)))
        batches = np.array_split(np.argsort(asked, kind="stable"), -(-answers.count // together) or 1)
        of_model = np.argsort(answers.models, kind="stable")
        first = np.cumsum(asked) - asked

        def fold_in(models: np.ndarray) -> None:
            places = np.arange(asked[models].max(initial=0))
            there = places < asked[models, None]
            rows = of_model[np.where(there, first[models, None] + places, 0)]
            text, responses = self._fold_in(
                answers.questions[rows], answers.labels[rows].astype(np.float64), there.astype(np.float64)
            )
            found.embeddings[models] = text.mean
            found.embedding_variance[models] = np.diagonal(text.covariance, axis1=1, axis2=2)
            found.responses[models] = responses.mean

        # Their products are too small to be worth more than a thread each.
        with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count() or 1) as threads:
            list(threads.map(fold_in, batches))
        return found

    def _fold_in(self, questions: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> tuple[Gaussian, Gaussian]:
        """Coefficients of b models on text coordinates and on responses, from the answers `labels` (b, n) to
        `questions` (b, n); `weights` (b, n) are 1, or 0 where a model has fewer than n."""
        responses = fit_posteriors(self.responses.design[questions], labels, weights, self.responses.prior)
        text, sampled = self._sampled
        variance, before = (sampled.variance(c) for c in (responses.covariance, self.responses.prior.covariance[None]))
        # (b, s) the probability of a right answer, given what is not known of the coefficients on responses.
        expected = expit(responses.mean @ sampled.design.T / np.sqrt(1 + np.pi / 8 * variance))
        # The share of the prior's variance that the answers have taken away: the prior's mere guess must not count.
        certainty = (1 - variance / before).clip(0, 1)
        asked = weights.sum(1, keepdims=True)
        # Together they count at most as much as answers to the other train questions would.
        others = np.maximum(self._train_questions - asked, 0)
        worth = np.minimum(_EXPECTATIONS_WORTH * asked, others) / max(len(self.sample), 1) * certainty
        problem = Problem(self.text.design[questions], labels, weights, text, expected, worth)
        mean, _ = maximise(problem, self.text.prior)
        # How sure the embedding is follows from the answers alone: expectations are no evidence of their own.
        probability = expit(problem.logits(mean)[0])
        information = problem.information(weights * probability * (1 - probability))
        return Gaussian(mean, np.linalg.inv(information + np.linalg.inv(self.text.prior.covariance))), responses

    @cached_property
    def _train_questions(self) -> int:
        return int((self.matrix.splits == "train").sum())

    @cached_property
    def _sampled(self) -> tuple[Shared, Shared]:
        """Text coordinates and responses of the questions in the sample."""
        return Shared.of(self.text.design[self.sample]), Shared.of(self.responses.design[self.sample])

    def most_informative(self, answers: np.ndarray, candidates: np.ndarray, n: int) -> np.ndarray:
        """Return the rows of the `n` questions among `candidates` (Q,) bool to ask next, given `answers` (Q,) so far.

        Greedy I-optimal design: each question, given those before it, takes most from the variance of what is expected
        on all the pool's questions. Ask in batches, so that later ones build on the answers to the earlier.
        """
        known = self.responses.given(answers)
        rows = np.flatnonzero(candidates & np.isnan(answers))
        everywhere, design = self.responses.expected(known), self.responses.design
        slopes = (everywhere * (1 - everywhere))[:, None] * design
        target = slopes.T @ slopes  # the summed variance is trace(target · covariance)
        weight, design = (everywhere * (1 - everywhere))[rows], design[rows]
        projected = design @ known.covariance
        spread, reduced = (projected * design).sum(1), ((projected @ target) * projected).sum(1)
        free, chosen = np.ones(len(rows), bool), []
        for _ in range(min(n, len(rows))):
            best = int(np.where(free, weight * reduced / (1 + weight * spread), -np.inf).argmax())
            chosen.append(rows[best])
            free[best] = False
            # Sherman and Morrison: the covariance once that question is answered, and what follows from it.
            taken, size = projected[best].copy(), weight[best] / (1 + weight[best] * spread[best])
            overlap, toward = size * (design @ taken), target @ taken
            reduced += overlap * (overlap * (taken @ toward) - 2 * (projected @ toward))
            spread -= overlap**2 / size if size else 0
            projected -= np.outer(overlap, taken)
        return np.array(chosen, np.int64)


@dataclass(frozen=True)
class FoldedModels:
    """K models that joined a pool at once. `embeddings` and `embedding_variance` (K, d + 1) float32 are those of a
    FoldedModel; `responses` (K, p) are the most probable coefficients on the pool's `responses.design`, so that
    expit(design @ responses) are the answers to expect."""

    embeddings: np.ndarray
    embedding_variance: np.ndarray
    responses: np.ndarray


@dataclass(frozen=True)
class FoldedModel:
    """A model that joined a pool: distributions of its coefficients on text coordinates and on responses."""

    pool: ModelPool
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
        return np.where(np.isnan(self.answers), self.pool.responses.expected(self.responses), self.answers)

    def forecast(self, questions: Questions) -> Forecast:
        """Forecast this model's answers (n, 1) to any questions."""
        coordinates = self.pool.predictor.coordinates(questions).astype(np.float64)
        moderated = self.pool.predictor.moderation(questions) * (coordinates @ self.text.mean)
        probabilities = expit(moderated).astype(np.float32)[:, None]
        variance = np.square(coordinates) @ self.embedding_variance + self.pool.predictor.question_variance(questions)
        deviations = np.sqrt(variance).astype(np.float32)[:, None]
        return Forecast(probabilities, deviations, probabilities, self.pool.predictor.support(questions))

    def accuracies(self) -> list[BenchmarkAccuracy]:
        """Return the accuracy on every benchmark of the pool: known answers as they are, the others as expected.

        The interval adds up what is not known of the coefficients, how well such coefficients describe a benchmark, and
        the chance in the answers that are still to come.
        """
        benchmarks = self.pool.matrix.benchmarks
        return [
            self._accuracy(name, benchmarks == name, misfit)
            for name, misfit in zip(self.pool.benchmarks, self.pool.misfit[:-1], strict=True)
        ]

    def overall_accuracy(self) -> BenchmarkAccuracy:
        """Return the same for the questions of all benchmarks together, under the name `all`."""
        return self._accuracy("all", np.ones(len(self.answers), bool), self.pool.misfit[-1])

    def _accuracy(self, name: str, rows: np.ndarray, misfit: float) -> BenchmarkAccuracy:
        unknown = rows & np.isnan(self.answers)
        count, probability = rows.sum(), self.expected[unknown]
        spread = probability * (1 - probability)
        gradient = spread @ self.pool.responses.design[unknown] / count
        variance = gradient @ self.responses.covariance @ gradient
        variance += (unknown.sum() / count * misfit) ** 2 + spread.sum() / count**2
        accuracy, reach = float(self.expected[rows].mean()), 1.96 * np.sqrt(variance)
        low, high = np.clip([accuracy - reach, accuracy + reach], 0, 1).tolist()
        return BenchmarkAccuracy(name, int(count), accuracy, low, high)

    def nearest(self, count: int = 5) -> list[tuple[str, float]]:
        """Return the pool's most similar models: names, and root mean squared differences of the log-odds, least
        first."""
        distances = np.linalg.norm(self.pool.predictor.model_embeddings - self.embedding, axis=1)
        order = np.argsort(distances, kind="stable")[:count]  # a model without an embedding is NaN, and comes last
        return [(self.pool.predictor.models[i], float(distances[i])) for i in order if np.isfinite(distances[i])]


_Own = tuple[np.ndarray, np.ndarray, np.ndarray]  # a model's design (Q, p), answers (Q,) and which were asked (Q,)


def _design_responses(labels: np.ndarray, rates: np.ndarray, coordinates: np.ndarray) -> tuple[list[_Own], np.ndarray]:
    """Return for some of the pool's models the designs that the prior is estimated on, and the design of a new one.

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


def _measure_misfit(designs: list[_Own], fitted: list[Gaussian], number: np.ndarray, benchmarks: int) -> np.ndarray:
    """Return the root mean square (B + 1,) over models of predicted less true accuracy, on the questions of each
    benchmark (their `number` is (Q,)) and on all."""
    errors = np.full((len(designs), benchmarks + 1), np.nan)
    for model, ((design, answers, asked), found) in enumerate(zip(designs, fitted, strict=True)):
        off = expit(design[asked] @ found.mean) - answers[asked]
        count = np.bincount(number[asked], minlength=benchmarks)
        total = np.bincount(number[asked], off, benchmarks)
        count, total = np.append(count, count.sum()), np.append(total, total.sum())
        errors[model] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    known = ~np.isnan(errors)
    return np.sqrt(np.nansum(errors**2, axis=0) / np.maximum(known.sum(0), 1))
