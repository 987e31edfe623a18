"""From a question's text and sentence embedding to the features its answers are predicted from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Self

import numpy as np
import torch

from embedder.questions import Questions
from embedder.ridge import fit_ridge

from .kernel import NystromFeatures, squared_distances
from .tensors import tensor

__all__ = ["STRENGTHS", "Compared", "Comparison", "QuestionMap", "choose_landmarks"]

# Ridge strengths tried. Small ones must be among them, for what the features explain well.
STRENGTHS = tuple(10.0 ** (exponent / 2) for exponent in range(-4, 11))
_LEXICAL_LIMIT = 4.0  # standard deviations, so that one odd text is not far from all others
_LEAST_SHOWN = 0.1  # share of the training questions that must show a feature for it to count
_SHARPENINGS = (1.0, 1.5, 2.0, 3.0, 4.0)
_LEAST_PROBABILITY = 1e-3
_ENOUGH_SKILL = 0.1  # in telling categories, for predicted ones to count in full; without any, they are mere noise
_LEAST_DIVERSITY = 0.1  # of categories (Simpson's index), so that a rare category does not dominate all comparisons


@dataclass(frozen=True)
class Comparison:
    """How questions are compared: with how many landmarks, and how much their form and their predicted category
    count next to the sentence embedding, as mean squared distances. `width`: see NystromFeatures.fit."""

    landmarks: int
    lexical_weight: float
    category_weight: float
    width: float


@dataclass(frozen=True)
class InputScales:
    """Brings sentence embedding and form to mean squared distances of 1 and the lexical weight."""

    lexical_mean: torch.Tensor  # (L,)
    lexical_deviation: torch.Tensor  # (L,), infinite where the training questions do not differ
    lexical_scale: torch.Tensor  # ()
    vector_mean: torch.Tensor  # (D,): what all vectors share would cost distances their digits
    vector_scale: torch.Tensor  # ()

    @classmethod
    def fit(cls, questions: Questions, lexical_weight: float) -> Self:
        lexical = tensor(questions.lexical) if lexical_weight else torch.empty(len(questions), 0)
        mean = lexical.nanmean(0).nan_to_num()
        deviation = (lexical - mean).square().nanmean(0).nan_to_num().sqrt()
        rare = (~lexical.isnan()).float().mean(0) < _LEAST_SHOWN
        deviation[rare | (deviation < 1e-6)] = torch.inf
        standardised = _standardised(lexical, mean, deviation)
        vectors = tensor(questions.vectors.astype(np.float32))
        lexical_scale = _scale(standardised, lexical_weight)
        return cls(mean, deviation, lexical_scale, vectors.mean(0), _scale(vectors, 1.0))

    def __call__(self, questions: Questions) -> torch.Tensor:
        """(n, D + L) inputs."""
        vectors = (tensor(questions.vectors.astype(np.float32)) - self.vector_mean) * self.vector_scale
        if not len(self.lexical_mean):  # form does not count
            return vectors
        lexical = _standardised(tensor(questions.lexical), self.lexical_mean, self.lexical_deviation)
        return torch.cat([vectors, lexical * self.lexical_scale], 1)


@dataclass(frozen=True)
class CategoryModel:
    """The probability of each of C categories: ridge regression on one-hot categories, sharpened until it fits best.
    Far from all landmarks it is the category's frequency."""

    gamma: torch.Tensor  # ()
    weights: torch.Tensor  # (m, C)
    frequency: torch.Tensor  # (C,)
    sharpening: torch.Tensor  # ()

    @classmethod
    def fit(
        cls, squared: torch.Tensor, between: torch.Tensor, width: float, categories: torch.Tensor
    ) -> tuple[Self, torch.Tensor, float]:
        """From squared distances to landmarks and the number of each question's category. Returns each training
        question's probabilities (n, C) as predicted without it, what a new question would get; and how well they tell
        the categories: 0 no better than their frequency, 1 for sure (McFadden's R²)."""
        features, mapped = NystromFeatures.fit(squared, between, width)
        one_hot = torch.eye(int(categories.max()) + 1)[categories]
        frequency = one_hot.mean(0)
        ridge = fit_ridge(mapped, features.variances, one_hot - frequency, STRENGTHS)
        # The mean of the others lacks the question itself, and so would give its category away.
        held_out = ridge.held_out + frequency + (one_hot - frequency) / max(len(one_hot) - 1, 1)
        rows = torch.arange(len(categories))
        loss = {power: -_sharpened(held_out, frequency, power)[rows, categories].log().mean() for power in _SHARPENINGS}
        sharpening = min(_SHARPENINGS, key=loss.__getitem__)
        uncertain = -frequency.log()[categories].mean()  # with one category, it is 0
        skill = 1 - loss[sharpening] / uncertain if uncertain > 0 else torch.zeros(())
        weights = features.rotation @ ridge.coefficients
        model = cls(features.gamma, weights, frequency, torch.tensor(sharpening))
        return model, _sharpened(held_out, frequency, sharpening), float(skill.clamp(0, 1))

    def __call__(self, squared: torch.Tensor) -> torch.Tensor:
        """(n, C) probabilities."""
        kernel = torch.mul(squared, -self.gamma).exp_()
        scores = torch.addmm(self.frequency, kernel, self.weights)
        return _sharpened(scores, self.frequency, self.sharpening.item())


@dataclass(frozen=True)
class Compared:
    """n questions compared with m landmarks. A question with less support than `familiar`, which nearly all training
    questions have, is strange: its text counts less, and what holds for its category counts more."""

    kernel: torch.Tensor  # (n, m)
    features: torch.Tensor  # (n, r), made of the kernel values
    nearness: torch.Tensor  # (n,): to the mean of the training questions
    guessed: torch.Tensor  # (n, C): probabilities of the categories, given text and what is known of the category
    otherwise: torch.Tensor  # (n, C) or (C,): the same for all that the text says
    told: torch.Tensor | None = None  # (n, C): probabilities of the categories that are possible; 0 where all are
    familiar: float = 1.0

    @cached_property
    def support(self) -> torch.Tensor:
        """(n,) share of a question's kernel that the features see: near 1 at a landmark, 0 far from all of them."""
        return (self.features.square().sum(1) + self.nearness.square()).clamp_max(1)

    @cached_property
    def familiarity(self) -> torch.Tensor:
        """(n,) 1 for questions with as much support as nearly all training questions, and less with less."""
        return (self.support / self.familiar).clamp_max(1)

    @cached_property
    def amplitude(self) -> torch.Tensor:
        """(n,) familiarity, squared: what is left of variances."""
        return self.familiarity.square()

    @cached_property
    def strangeness(self) -> torch.Tensor:
        """(n, 1) how much to go by what holds of many questions instead of by what this one's text says."""
        return (1 - self.amplitude * (1 - (1 - self.support).square()))[:, None]

    @cached_property
    def categories(self) -> torch.Tensor:
        """(n, C) probabilities: what the text says of its category, less as far as it is strange."""
        return torch.lerp(self.guessed, self.otherwise, self.strangeness)

    def some(self, rows: torch.Tensor, familiar: float) -> Self:
        """Return the questions in these rows, on the CPU, with another support at which they count as familiar."""

        def of_rows(part: torch.Tensor) -> torch.Tensor:
            return part[rows.to(part.device)].cpu()

        return type(self)(
            kernel=of_rows(self.kernel),
            features=of_rows(self.features),
            nearness=of_rows(self.nearness),
            guessed=of_rows(self.guessed),
            otherwise=of_rows(self.otherwise) if self.otherwise.dim() > 1 else self.otherwise.cpu(),
            told=None if self.told is None else of_rows(self.told),
            familiar=familiar,
        )


@dataclass(frozen=True)
class QuestionMap:
    """Questions → category probabilities → kernel features, fitted on training questions.

    The comparison by embedding and form first predicts a question's category. The predicted category then takes part
    in the comparison, so that subjects that read alike but are hard for different models come apart.
    """

    scales: InputScales
    landmarks: torch.Tensor  # (m, D + L) inputs of the training questions all others are compared with
    categories: CategoryModel
    category_scale: torch.Tensor  # ()
    landmark_categories: torch.Tensor  # (m, C)
    features: NystromFeatures

    @classmethod
    def fit(cls, questions: Questions, categories: np.ndarray, comparison: Comparison) -> tuple[Self, Compared]:
        """The map, and how it sees these questions, whose `categories` are numbered from 0. A question's own category
        takes no part in its probabilities, as it will not in use."""
        scales = InputScales.fit(questions, comparison.lexical_weight)
        inputs = scales(questions)
        chosen = tensor(choose_landmarks(questions, comparison.landmarks))
        squared = squared_distances(inputs, inputs[chosen])
        model, probabilities, skill = CategoryModel.fit(squared, squared[chosen], comparison.width, tensor(categories))
        # Scaled by how far apart categories are, not their predictions: where these say little, they must count little.
        apart = 2 * (1 - model.frequency.square().sum()).clamp_min(_LEAST_DIVERSITY)
        scale = (comparison.category_weight * min(1, skill / _ENOUGH_SKILL) / apart).sqrt()
        squared += squared_distances(probabilities * scale, probabilities[chosen] * scale)
        features, mapped = NystromFeatures.fit(squared, squared[chosen], comparison.width)
        kernel = features.kernel(squared)
        compared = Compared(
            kernel, mapped, features.nearness(kernel), probabilities, model.frequency, 0 * probabilities
        )
        return cls(scales, inputs[chosen], model, scale, probabilities[chosen], features), compared

    @cached_property
    def _landmark_norms(self) -> torch.Tensor:  # a quarter of the time of a single question
        return self.landmarks.square().sum(1)

    @cached_property
    def _scaled_categories(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The landmarks' scaled categories, and their squared norms."""
        scaled = self.landmark_categories * self.category_scale
        return scaled, scaled.square().sum(1)

    def compare(
        self, questions: Questions, possible: torch.Tensor | None = None, trust: float = 0.0, familiar: float = 1.0
    ) -> Compared:
        """Compare `questions` with the landmarks. Where `possible` (n, C) says which categories a question may be of,
        the probabilities of those count by `trust` (0 to 1), and what the text alone says counts by the rest."""
        squared = squared_distances(self.scales(questions), self.landmarks, self._landmark_norms)
        categories, otherwise = self.categories(squared), self.categories.frequency
        told = None
        if possible is not None:
            among = _among(categories, possible)
            told = torch.where(possible.all(1, keepdim=True), 0.0, among)
            categories = categories.lerp(among, trust)
            otherwise = _among(otherwise, possible)
        squared += squared_distances(categories * self.category_scale, *self._scaled_categories)
        kernel = self.features.kernel(squared)
        features, nearness = kernel @ self.features.rotation, self.features.nearness(kernel)
        return Compared(kernel, features, nearness, categories, otherwise, told, familiar)


def _among(probabilities: torch.Tensor, possible: torch.Tensor) -> torch.Tensor:
    """Return the probabilities among the categories that are `possible` (n, C)."""
    among = probabilities * possible
    return among / among.sum(1, keepdim=True)


def _standardised(lexical: torch.Tensor, mean: torch.Tensor, deviation: torch.Tensor) -> torch.Tensor:
    """Standardise; what is not known (NaN), such as the options of a question typed without them, is that of the
    average question."""
    return ((lexical - mean) / deviation).clamp_(-_LEXICAL_LIMIT, _LEXICAL_LIMIT).nan_to_num_(0.0)


def _scale(inputs: torch.Tensor, weight: float) -> torch.Tensor:
    """Return by how much to stretch `inputs` (n, D) for a mean squared distance of `weight`; 0 where they do not
    differ."""
    mean_squared_distance = 2 * (inputs - inputs.mean(0)).square().mean(0).sum()
    return torch.where(mean_squared_distance > 1e-9, weight / mean_squared_distance.clamp_min(1e-9), 0.0).sqrt()


def _sharpened(scores: torch.Tensor, frequency: torch.Tensor, power: float) -> torch.Tensor:
    """Return probabilities from `scores` (n, C), further from the `frequency` of each category for a higher `power`."""
    powered = frequency * (scores.clamp_min(_LEAST_PROBABILITY) / frequency) ** power
    return powered / powered.sum(1, keepdim=True)


def choose_landmarks(questions: Questions, count: int) -> np.ndarray:
    """Return the row numbers of `count` questions, those whose text has the smallest hash.

    A random draw would change some of the forecasts from fit to fit. This one depends neither on a seed nor on the
    order of the rows, and a new question displaces at most one landmark, so that embedders of growing data stay alike.
    """
    row = {text: i for i, text in enumerate(questions.texts)}
    drawn = sorted(row, key=lambda text: blake2b(text.encode("utf-8", "surrogatepass")).digest())
    return np.array([row[text] for text in drawn[:count]])
