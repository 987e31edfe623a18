"""The default embedder: a masked logistic fit between kernel features of questions and the directions models differ in.

    log-odds(m is right on q) = u(q) · theta_m + b_m

u(q) (d,) are a question's coordinates, of mean 0 and uncorrelated with variance 1 over the training questions; theta_m
and b_m are the model's embedding. So the squared Euclidean distance of two models is the mean squared difference of
their log-odds: models that are near answer alike. docs/embedder.md derives it and shows what each part is worth.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch

from .baselines import group_rates, model_rates
from .basis import fill_missing, leading_directions
from .kernel import fit_ridge
from .logistic import LogisticProblem
from .predictor import Forecast, Predictor, Sample
from .question_map import STRENGTHS, Comparison, QuestionMap
from .questions import Questions
from .tensors import flattened, rebuilt

__all__ = ["SpectralEmbedder"]

_NEGLIGIBLE = 1e-6  # share of the log-odds' variance below which a coordinate is dropped
_FORECAST_SHARE = 0.7  # of the routing score; the rest is that of the category's rates
_CATEGORY_PRIOR_ANSWERS = 20.0  # a category's rate starts as that many answers at the model's overall rate
_UNCERTAINTY_FEATURES = 256  # of the kernel: the others' coefficients are hardly surer after the fit than before


@dataclass(frozen=True)
class Learnt:
    """What fitting found: m landmarks, f features, k directions, d coordinates, C categories, M models with answers."""

    question_map: QuestionMap
    coordinates: torch.Tensor  # (m, d): kernel values → question coordinates u
    embeddings: torch.Tensor  # (M, d + 1): theta, then b
    directions: torch.Tensor  # (M, k)
    coefficient_variance: torch.Tensor  # (f, k): of the features' coefficients along each direction, a posteriori
    prior_variance: torch.Tensor  # (k,): the same a priori
    embedding_variance: torch.Tensor  # (M, d + 1): what is not known of theta and b for want of answers
    category_rates: torch.Tensor  # (C, M): share of right training answers


@dataclass(eq=False)
class SpectralEmbedder(Predictor):
    """Closed-form but for one convex optimisation, and nothing is drawn at random: the seed changes nothing.

    The defaults were chosen by cross-validation over the train and val questions of mmlu_pro and zeroeval.
    """

    method: ClassVar[str] = "spectral"

    landmarks: int = 1500
    lexical_weight: float = 2.0
    category_weight: float = 3.0
    width: float = 2.0
    rank: int = 64  # directions in which models are told apart
    prior_answers: float = 5.0  # a model's bias starts as that many answers at the overall rate

    @property
    def model_embeddings(self) -> np.ndarray:
        """(M, d + 1) float32: theta, then the bias; NaN for a model without training answers."""
        embeddings = np.full((len(self.models), self._learned.embeddings.shape[1]), np.nan, np.float32)
        embeddings[self.has_answers] = self._learned.embeddings.numpy()
        return embeddings

    def coordinates(self, questions: Questions) -> np.ndarray:
        """(n, d + 1) float32: u of each question, and a 1: inner products with `model_embeddings` are log-odds."""
        self._check(questions)
        return self._coordinates(self._learned.question_map.kernel(questions)[0]).numpy()

    def question_variance(self, questions: Questions) -> np.ndarray:
        """(n,) float32: what is not known of each question, as the mean variance of the models' log-odds."""
        self._check(questions)
        kernel = self._learned.question_map.kernel(questions)[0]
        return (self._variances(kernel) @ self._learned.directions.square().mean(0)).numpy()

    @torch.inference_mode()
    def forecast(self, questions: Questions) -> Forecast:
        """Probabilities, their standard deviations on the scale of log-odds, and routing scores.

        The deviations are of Laplace's approximation, NaN for models without training answers. They grow with the
        distance from the training questions, and with the want of answers of a model.
        """
        self._check(questions)
        kernel, categories = self._learned.question_map.kernel(questions)
        logits = self._logits(kernel)
        return Forecast(
            self._for_all(logits.sigmoid(), self.overall_rate),
            self._for_all(self._deviations(kernel), np.nan),
            self._for_all(self._scores(logits, categories), self.overall_rate),
        )

    def routing_scores(self, questions: Questions) -> np.ndarray:
        """(n, M) float32, between 0 and 1: the forecast's log-odds averaged with those of the model's rate on the
        category the question seems to be of. The forecast shrinks small differences between models, among which are
        those of the best; the rates do not."""
        self._check(questions)
        kernel, categories = self._learned.question_map.kernel(questions)
        return self._for_all(self._scores(self._logits(kernel), categories), self.overall_rate)

    def rates_by_category(self, questions: Questions, expected: np.ndarray) -> np.ndarray:
        """(C, K): of K further models, the rates on the training categories that routing weighs in, from what is
        `expected` (n, K) of their answers to `questions`, each counted to the category it most seems to be of."""
        self._check(questions)
        seems = self._learned.question_map.kernel(questions)[1].argmax(1).numpy()
        right = np.zeros((len(self._learned.category_rates), expected.shape[1]))
        np.add.at(right, seems, expected)
        asked = np.bincount(seems, minlength=len(right))[:, None]
        return (right + _CATEGORY_PRIOR_ANSWERS * expected.mean(0)) / (asked + _CATEGORY_PRIOR_ANSWERS)

    def _fit(self, train: Sample, val: Sample, seed: int) -> None:
        labels = train.matrix.labels[:, self.has_answers]
        rates = model_rates(train.matrix, prior_answers=self.prior_answers)[self.has_answers]
        categories = np.unique(train.matrix.categories, return_inverse=True)[1]
        comparison = Comparison(self.landmarks, self.lexical_weight, self.category_weight, self.width)
        question_map, features = QuestionMap.fit(train.questions, categories, comparison)
        residuals = fill_missing(labels - rates.astype(np.float32))
        directions = torch.from_numpy(leading_directions(residuals, self.rank))
        targets = torch.from_numpy(residuals) @ directions
        ridge = fit_ridge(features, question_map.features.variances, targets - targets.mean(0), STRENGTHS)
        # On the scale of log-odds, a difference in rate of e is one of e / (p (1 - p)).
        slope = max(float((rates * (1 - rates)).mean()), 0.01)
        problem = LogisticProblem(
            features=features,
            variances=question_map.features.variances,
            directions=directions,
            labels=torch.from_numpy(labels),
            strengths=ridge.strengths * slope,
            overall_rate=float(np.clip(self.overall_rate, 1e-3, 1 - 1e-3)),
            prior_answers=self.prior_answers,
        )
        start = torch.from_numpy(rates.astype(np.float32)).logit(eps=1e-3)
        coefficients, bias = problem.solve(ridge.coefficients / slope, start)
        by_category = group_rates(labels, categories, rates, prior_answers=_CATEGORY_PRIOR_ANSWERS)
        category_rates = torch.from_numpy(by_category.astype(np.float32))
        self._learned = _learnt(question_map, problem, coefficients, bias, category_rates)

    def _probabilities(self, questions: Questions) -> np.ndarray:
        kernel, _ = self._learned.question_map.kernel(questions)
        return self._for_all(self._logits(kernel).sigmoid_(), self.overall_rate)

    def _logits(self, kernel: torch.Tensor) -> torch.Tensor:
        return self._coordinates(kernel) @ self._learned.embeddings.T

    def _scores(self, logits: torch.Tensor, categories: torch.Tensor) -> torch.Tensor:
        rates = (categories @ self._learned.category_rates).clamp(1e-6, 1 - 1e-6)
        by_category = (rates / (1 - rates)).log()  # torch.logit wakes all threads, even for a hundred numbers
        return torch.lerp(by_category, logits, _FORECAST_SHARE).sigmoid_()

    def _deviations(self, kernel: torch.Tensor) -> torch.Tensor:
        learnt = self._learned
        of_questions = self._variances(kernel) @ learnt.directions.square().T
        return (of_questions + self._coordinates(kernel).square() @ learnt.embedding_variance.T).sqrt()

    def _variances(self, kernel: torch.Tensor) -> torch.Tensor:
        """(n, k): what is not known of a question along each direction, as a variance of log-odds."""
        learnt, features = self._learned, self._learned.question_map.features
        mapped = kernel @ features.rotation
        return mapped.square() @ learnt.coefficient_variance + features.unseen(mapped)[:, None] * learnt.prior_variance

    def _coordinates(self, kernel: torch.Tensor) -> torch.Tensor:
        return torch.cat([kernel @ self._learned.coordinates, torch.ones(len(kernel), 1)], 1)

    def _for_all(self, values: torch.Tensor, otherwise: float) -> np.ndarray:
        """(n, models with answers) → (n, M), `otherwise` for the models without."""
        if values.shape[1] == len(self.models):
            return values.numpy()
        spread = np.full((len(values), len(self.models)), otherwise, np.float32)
        spread[:, self.has_answers] = values.numpy()
        return spread

    def _learnt(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        return flattened(self._learned), {}

    def _restore(self, arrays: dict[str, np.ndarray], rest: dict[str, Any]) -> None:
        self._learned = rebuilt(Learnt, arrays)


def _learnt(
    question_map: QuestionMap,
    problem: LogisticProblem,
    coefficients: torch.Tensor,
    bias: torch.Tensor,
    category_rates: torch.Tensor,
) -> Learnt:
    """The optimum, turned to the principal axes of the log-odds over the training questions."""
    strongest = question_map.features.strongest(_UNCERTAINTY_FEATURES)
    covariance = coefficients.T @ (problem.variances[:, None] * coefficients) / len(problem.features)
    variance, axes = torch.linalg.eigh(covariance)
    kept = variance > max(_NEGLIGIBLE * variance.sum().item(), 1e-9)
    axes, deviation = axes[:, kept].flip(1), variance[kept].flip(0).sqrt()
    information = problem.information(bias)
    by_direction = (problem.directions.square() * information[:, None]).sum(0) / len(problem.features)
    theta = problem.directions @ axes * deviation  # (M, d)
    uncertain = 1 / (information[:, None] + 1 / theta.square().mean(0))
    return Learnt(
        question_map=replace(question_map, features=strongest),
        coordinates=question_map.features.rotation @ (coefficients @ axes / deviation),
        embeddings=torch.cat([theta, bias[:, None]], 1),
        directions=problem.directions,
        coefficient_variance=1 / (strongest.variances[:, None] * by_direction + problem.strengths),
        prior_variance=1 / problem.strengths,
        embedding_variance=torch.cat([uncertain, 1 / (information[:, None] + problem.prior_answers * 0.25)], 1),
        category_rates=category_rates,
    )
