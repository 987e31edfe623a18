"""The default embedder: a masked logistic fit between kernel features of questions and the directions models differ in.

    log-odds(m is right on q) = u(q) · theta_m + b_m

u(q) (d,) are a question's coordinates, of mean 0 and uncorrelated with variance 1 over the training questions; theta_m
and b_m are the model's embedding. So the squared Euclidean distance of two models is the mean squared difference of
their log-odds: models that are near answer alike. The probability allows for what is not known of the question
(`moderation.py`); far from all training questions u is 0, and the probability the model's mean.
docs/embedder.md derives it and shows what each part is worth.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from itertools import product
from typing import Any, ClassVar, Self

import numpy as np
import torch

from embedder.baselines.rates import group_rates, model_rates
from embedder.predictor import Forecast, Predictor, Sample
from embedder.questions import Questions
from embedder.ridge import fit_ridge

from .basis import fill_missing, leading_directions
from .categories import CategoryNames, fit_offsets
from .learnt import LEAST_SUPPORT, Learnt
from .logistic import LogisticProblem
from .moderation import moderate, scale_unknown
from .question_map import STRENGTHS, Compared, Comparison, QuestionMap, choose_landmarks
from .tensors import flatten, rebuild, tensor

__all__ = ["SpectralEmbedder"]

_NEGLIGIBLE = 1e-6  # share of the log-odds' variance below which a coordinate is dropped
_CATEGORY_PRIOR_ANSWERS = 20.0  # a category's rate starts as that many answers at the model's overall rate
_UNCERTAINTY_FEATURES = 96  # of the kernel: the others' coefficients are hardly surer after the fit than before
_DIRECTIONS_COST = 100.0  # questions; see _caution
_BLOCK = 1024  # questions
_HALF_FAMILIAR = 0.5  # of the support at which a question counts as familiar
_STRANGE_SHARE = 0.005  # of the training questions: texts with less support than all others are strange
_ENOUGH_OTHERS = 0.2  # of the training questions that are no landmarks, to tell how much support new ones have
_CENTRING_CELLS = 2_000_000  # answers enough to centre the biases, and to choose how far a known category is trusted
_TRUSTS = tuple(product((0.0, 0.25, 0.5, 0.75, 1.0), (0.0, 0.5, 1.0)))  # in a known category, and in its offsets
_UNVALIDATED_TRUSTS = (0.25, 1.0)


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

    _device: str = field(init=False, default="cpu", repr=False)  # what fitting is done on

    @property
    def model_embeddings(self) -> np.ndarray:
        """(M, d + 1) float32: theta, then the bias; NaN for a model without training answers."""
        embeddings = np.full((len(self.models), self._learned.embeddings.shape[1]), np.nan, np.float32)
        embeddings[self.has_answers] = self._learned.embeddings.numpy()
        return embeddings

    def coordinates(self, questions: Questions) -> np.ndarray:
        """Return u of each question, and a 1 (n, d + 1) float32, and a 1: inner products with `model_embeddings` are
        log-odds."""
        return self._learned.coordinates_of(self._compared(questions)).numpy()

    def question_variance(self, questions: Questions) -> np.ndarray:
        """(n,) float32: what is not known of each question, as the mean variance of the models' log-odds."""
        compared = self._compared(questions)
        seen, unseen = self._learned.seen_variances(compared), self._learned.unseen_by_features(compared)
        along = torch.addr(seen, unseen, self._learned.prior_variance)
        return (along @ self._learned.directions.square().mean(0)).numpy()

    def moderation(self, questions: Questions) -> np.ndarray:
        """(n,) float32 from 0 to 1: by how much each question's log-odds are shrunk in probabilities, for the average
        of the models, as not all is known of the question."""
        compared = self._compared(questions)
        unseen = self._learned.unseen_scale * self._learned.unseen(compared)
        allowed = torch.addr(self._learned.seen_variances(compared), unseen, self._learned.prior_variance)
        return moderate(torch.ones(len(questions)), allowed @ self._learned.directions.square().mean(0)).numpy()

    def support(self, questions: Questions) -> np.ndarray:
        """(n,) float32 from 0 to 1: how much the training questions say of each question, see `Forecast.support`."""
        return self._compared(questions).support.numpy()

    @torch.inference_mode()
    def forecast(self, questions: Questions) -> Forecast:
        """Probabilities, their standard deviations on the scale of log-odds, routing scores and support.

        The probabilities allow for what is not known of the question, not for what is not known of the model, which is
        hardly ever much, and depends on the axes that embeddings are written in. The deviations come from Laplace's
        approximation and are NaN for models without training answers. They grow with the distance from the training
        questions, and are larger for models with few answers.
        """
        blocks = [self._forecast(block) for block in self._split(questions)]
        if len(blocks) == 1:
            return blocks[0]
        parts = ([getattr(block, part.name) for block in blocks] for part in fields(Forecast))
        return Forecast(*map(np.concatenate, parts))

    def _split(self, questions: Questions) -> list[Questions]:
        """Kernel values of a thousand questions stay in a processor's cache; of a million they would not fit in
        memory."""
        if len(questions) <= _BLOCK:
            return [questions]
        starts = range(0, len(questions), _BLOCK)
        return [questions.rows(np.arange(start, min(start + _BLOCK, len(questions)))) for start in starts]

    def _forecast(self, questions: Questions) -> Forecast:
        compared = self._compared(questions)
        coordinates = self._learned.coordinates_of(compared)
        logits = self._learned.logits(compared, coordinates)
        seen = self._learned.seen_variances(compared) @ self._learned.squares
        allowed = torch.addr(seen, self._learned.unseen_scale * self._learned.unseen(compared), self._learned.prior)
        probabilities = moderate(logits, allowed).sigmoid_()
        variances = seen.addr_(self._learned.unseen_by_features(compared), self._learned.prior)
        variances.addmm_(coordinates.square(), self._learned.embedding_variance.T)
        return Forecast(
            self._for_all(probabilities, self.overall_rate),
            self._for_all(variances.sqrt_(), np.nan),
            self._for_all(self._learned.scores(compared, logits), self.overall_rate),
            compared.support.numpy(),
        )

    @torch.inference_mode()
    def routing_scores(self, questions: Questions) -> np.ndarray:
        """(n, M) float32, between 0 and 1: the forecast's log-odds averaged with those of the model's rate on the
        category the question seems to be of. The forecast shrinks small differences between models, among which are
        those of the best; the rates do not."""
        scores = [
            self._learned.scores(compared, self._learned.logits(compared, self._learned.coordinates_of(compared)))
            for compared in map(self._compared, self._split(questions))
        ]
        return self._for_all(torch.cat(scores), self.overall_rate)

    @property
    def least_support(self) -> float:
        """Below it a forecast is more of the models' means than of the question. All but a few of the training
        questions, forecast by the others, have more."""
        return float(self._learned.familiar * _HALF_FAMILIAR)

    def known_categories(self) -> tuple[str, ...]:
        """Names of benchmarks and categories that some training question is of, sorted."""
        return tuple(sorted(self._names.benchmarks.keys() | set(self._names.categories)))

    def rates_by_category(self, questions: Questions, expected: np.ndarray) -> np.ndarray:
        """(C, K): of K further models, the rates on the training categories that routing weighs in, from what is
        `expected` (n, K) of their answers to `questions`, each counted to the category it most seems to be of."""
        seems = self._compared(questions).categories.argmax(1).numpy()
        right = np.zeros((len(self._learned.category_rates), expected.shape[1]))
        np.add.at(right, seems, expected)
        asked = np.bincount(seems, minlength=len(right))[:, None]
        return (right + _CATEGORY_PRIOR_ANSWERS * expected.mean(0)) / (asked + _CATEGORY_PRIOR_ANSWERS)

    def on(self, device: str | None) -> Self:
        """This embedder, to be fitted on a torch device; None: on the CPU. What was learnt lies on the CPU either way,
        and forecasts are made there. Other devices round otherwise: expect differences in the fourth digit."""
        self._device = device or "cpu"
        return self

    def _fit(self, train: Sample, val: Sample, seed: int) -> None:
        self._names, categories = CategoryNames.of(train.matrix.categories, train.matrix.benchmarks)
        comparison = Comparison(self.landmarks, self.lexical_weight, self.category_weight, self.width)
        with torch.device(self._device):
            learnt, compared = self._solve(train, categories, comparison)
            support = _measure_support(train.questions, categories, comparison, compared)
            familiar = torch.quantile(support, _STRANGE_SHARE).clamp_min(LEAST_SUPPORT)
            usual = support.median().clamp_min(LEAST_SUPPORT)
        learnt = rebuild(Learnt, flatten(replace(learnt, usual=usual, familiar=familiar)))
        self._learned = _centre(learnt, compared)
        self._trust(*self._choose_trusts(val))

    def _solve(self, train: Sample, categories: np.ndarray, comparison: Comparison) -> tuple[Learnt, Compared]:
        """The optimum, and how the map sees the training questions."""
        labels = train.matrix.labels[:, self.has_answers]
        rates = model_rates(train.matrix, prior_answers=self.prior_answers)[self.has_answers]
        question_map, compared = QuestionMap.fit(train.questions, categories, comparison)
        features = compared.features
        residuals = fill_missing(labels - rates.astype(np.float32))
        directions = tensor(leading_directions(residuals, self.rank))
        targets = tensor(residuals) @ directions
        ridge = fit_ridge(features, question_map.features.variances, targets - targets.mean(0), STRENGTHS)
        # On the scale of log-odds, a difference in rate of e is one of e / (p (1 - p)).
        slope = max(float((rates * (1 - rates)).mean()), 0.01)
        problem = LogisticProblem(
            features=features,
            variances=question_map.features.variances,
            directions=directions,
            labels=tensor(labels),
            strengths=ridge.strengths * slope * _caution(len(labels)),
            overall_rate=float(np.clip(self.overall_rate, 1e-3, 1 - 1e-3)),
            prior_answers=self.prior_answers,
        )
        start = tensor(rates.astype(np.float32)).logit(eps=1e-3)
        coefficients, bias = problem.solve(ridge.coefficients / slope, start)
        by_category = group_rates(labels, categories, rates, prior_answers=_CATEGORY_PRIOR_ANSWERS)
        category_rates = tensor(by_category.astype(np.float32))
        offsets = fit_offsets(
            problem.labels,
            lambda rows: ((ridge.held_out[rows] + targets.mean(0)) @ directions.T + start.sigmoid()).logit(eps=0.02),
            tensor(categories),
            len(category_rates),
        )
        learnt = _summarise(question_map, problem, coefficients, bias, categories, category_rates)
        return replace(learnt, category_offsets=offsets), compared

    def _trust(self, category: float, offsets: float) -> None:
        self._learned = replace(self._learned, trust=torch.tensor(category), offset_trust=torch.tensor(offsets))

    def _choose_trusts(self, val: Sample) -> tuple[float, float]:
        """Choose how far known categories are trusted: as forecasts answers to val questions best, unless the usual
        trusts do as well within the standard error of the difference."""
        rows = np.flatnonzero(val.matrix.observed.any(axis=1))
        rows = rows[:: max(1, len(rows) * len(self.models) // _CENTRING_CELLS)]
        if val.questions.benchmarks is None or not len(rows):
            return _UNVALIDATED_TRUSTS
        val = Sample(val.matrix.rows(rows), val.questions.rows(rows))
        losses = {trusts: self._losses(val, *trusts) for trusts in (_UNVALIDATED_TRUSTS, *_TRUSTS)}
        best = min(losses, key=lambda trusts: losses[trusts].sum())
        gained = losses[_UNVALIDATED_TRUSTS] - losses[best]
        error = gained.std() * np.sqrt(len(gained))
        return best if gained.sum() > error else _UNVALIDATED_TRUSTS

    def _losses(self, val: Sample, *trusts: float) -> np.ndarray:
        """Return the summed log-loss of the answers to each question (n,), with these trusts."""
        self._trust(*trusts)
        probabilities = np.clip(self._probabilities(val.questions), 1e-6, 1 - 1e-6)
        right = np.where(val.matrix.labels == 1, probabilities, 1 - probabilities)
        return -np.nansum(np.where(val.matrix.observed, np.log(right), np.nan), axis=1)

    def _probabilities(self, questions: Questions) -> np.ndarray:
        return self.forecast(questions).probabilities

    def _compared(self, questions: Questions) -> Compared:
        self._check(questions)
        possible = None if questions.benchmarks is None else self._names.possible(questions.benchmarks)
        learnt = self._learned
        return learnt.question_map.compare(questions, possible, learnt.trust.item(), learnt.familiar.item())

    def _for_all(self, values: torch.Tensor, otherwise: float) -> np.ndarray:
        """(n, models with answers) → (n, M), `otherwise` for the models without."""
        if values.shape[1] == len(self.models):
            return values.numpy()
        spread = np.full((len(values), len(self.models)), otherwise, np.float32)
        spread[:, self.has_answers] = values.numpy()
        return spread

    def _learnt(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        return flatten(self._learned), self._names.stored()

    def _restore(self, arrays: dict[str, np.ndarray], rest: dict[str, Any]) -> None:
        self._learned = rebuild(Learnt, arrays)
        self._names = CategoryNames.restored(rest)


def _centre(learnt: Learnt, compared: Compared) -> Learnt:
    """Return `learnt` with the biases, and the variance of what is unseen, at which moderated probabilities have the
    models' means, over the training questions and far from them."""
    strongest = learnt.question_map.features.rotation.shape[1]
    count = len(compared.kernel)
    rows = torch.arange(0, count, max(1, count * len(learnt.embeddings) // _CENTRING_CELLS))
    some = replace(compared, features=compared.features[:, :strongest]).some(rows, learnt.familiar.item())
    theta, bias = learnt.embeddings[:, :-1], learnt.embeddings[:, -1]
    coordinates = learnt.coordinates_of(some)
    signal = coordinates[:, :-1] @ theta.T
    seen = learnt.seen_variances(some) @ learnt.squares
    unseen = torch.outer(learnt.unseen(some), learnt.prior)
    scale, centre = scale_unknown(signal, bias, seen, unseen, learnt.prior)
    return replace(
        learnt,
        embeddings=torch.cat([theta, centre[:, None]], 1),
        unseen_scale=torch.tensor(scale),
    )


def _caution(questions: int) -> float:
    """Return by how much more to shrink: leave-one-out errors are too small with few questions, as the directions were
    found with the question that is left out."""
    return 1 + _DIRECTIONS_COST / questions


def _measure_support(
    questions: Questions, categories: np.ndarray, comparison: Comparison, compared: Compared
) -> torch.Tensor:
    """Return the support of training questions that are no landmarks, as new ones are none. Where nearly all are, a
    fifth of them is compared by a map that was fitted to the others."""
    others = np.ones(len(questions), bool)
    others[choose_landmarks(questions, comparison.landmarks)] = False
    if others.mean() >= _ENOUGH_OTHERS:
        features = compared.features[:, :_UNCERTAINTY_FEATURES]
        return replace(compared, features=features).some(torch.tensor(np.flatnonzero(others)), 1.0).support
    held_out = np.arange(len(questions)) % 5 == 4
    if not held_out.any():
        return torch.zeros(1)
    numbers = np.unique(categories[~held_out], return_inverse=True)[1]
    fitted, _ = QuestionMap.fit(questions.rows(~held_out), numbers, comparison)
    fitted = replace(fitted, features=fitted.features.strongest(_UNCERTAINTY_FEATURES))
    return fitted.compare(questions.rows(held_out)).support


def _summarise(
    question_map: QuestionMap,
    problem: LogisticProblem,
    coefficients: torch.Tensor,
    bias: torch.Tensor,
    categories: np.ndarray,
    category_rates: torch.Tensor,
) -> Learnt:
    """Turn the optimum to the principal axes of the log-odds over the training questions."""
    strongest = question_map.features.strongest(_UNCERTAINTY_FEATURES)
    covariance = coefficients.T @ (problem.variances[:, None] * coefficients) / len(problem.features)
    variance, axes = torch.linalg.eigh(covariance)
    kept = variance > max(_NEGLIGIBLE * variance.sum().item(), 1e-9)
    axes, deviation = axes[:, kept].flip(1), variance[kept].flip(0).sqrt()
    strengths = problem.strengths / _caution(len(problem.features))  # to be cautious is not to be surer
    information = problem.information(bias)
    by_direction = (problem.directions.square() * information[:, None]).sum(0) / len(problem.features)
    theta = problem.directions @ axes * deviation  # (M, d)
    uncertain = 1 / (information[:, None] + 1 / theta.square().mean(0))
    turned = coefficients @ axes / deviation  # (r, d): features → coordinates
    members = torch.eye(len(category_rates))[categories]
    return Learnt(
        question_map=replace(question_map, features=strongest),
        coordinates=question_map.features.rotation @ turned,
        category_coordinates=(members / members.sum(0)).T @ problem.features @ turned,
        unseen_scale=torch.tensor(1.0),
        usual=torch.tensor(1.0),
        familiar=torch.tensor(0.0),
        trust=torch.tensor(_UNVALIDATED_TRUSTS[0]),
        embeddings=torch.cat([theta, bias[:, None]], 1),
        directions=problem.directions,
        coefficient_variance=1 / (strongest.variances[:, None] * by_direction + strengths),
        prior_variance=1 / strengths,
        embedding_variance=torch.cat([uncertain, 1 / (information[:, None] + problem.prior_answers * 0.25)], 1),
        category_rates=category_rates,
        category_offsets=torch.zeros_like(category_rates),
        offset_trust=torch.tensor(_UNVALIDATED_TRUSTS[1]),
    )
