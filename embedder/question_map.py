"""From a question's text and sentence embedding to the features its answers are predicted from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Self

import numpy as np
import torch

from .kernel import Kernel, NystromFeatures, fit_ridge, squared_distances
from .questions import Questions

__all__ = ["STRENGTHS", "Comparison", "QuestionMap"]

# Ridge strengths tried. Small ones must be among them, for what the features explain well.
STRENGTHS = tuple(10.0 ** (exponent / 2) for exponent in range(-4, 11))
_LEXICAL_LIMIT = 4.0  # standard deviations: one odd text shall not be far from all others
_SHARPENINGS = (1.0, 1.5, 2.0, 3.0, 4.0)
_LEAST_PROBABILITY = 1e-3
_LEAST_DIVERSITY = 0.1  # of categories (Simpson's index), lest a rare category dominates all comparisons


@dataclass(frozen=True)
class Comparison:
    """How questions are compared: with how many landmarks, and how much their form and their predicted category
    count beside the sentence embedding, as mean squared distances. `width`: see NystromFeatures.fit."""

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
        lexical = torch.from_numpy(questions.lexical) if lexical_weight else torch.empty(len(questions), 0)
        deviation = _variances(lexical).sqrt()
        deviation[deviation < 1e-6] = torch.inf
        standardised = _standardised(lexical, lexical.mean(0), deviation)
        vectors = torch.from_numpy(questions.vectors.astype(np.float32))
        lexical_scale = _scale(standardised, lexical_weight)
        return cls(lexical.mean(0), deviation, lexical_scale, vectors.mean(0), _scale(vectors, 1.0))

    def __call__(self, questions: Questions) -> torch.Tensor:
        """(n, D + L) inputs."""
        vectors = (torch.from_numpy(questions.vectors.astype(np.float32)) - self.vector_mean) * self.vector_scale
        if not len(self.lexical_mean):  # form does not count
            return vectors
        lexical = _standardised(torch.from_numpy(questions.lexical), self.lexical_mean, self.lexical_deviation)
        return torch.cat([vectors, lexical * self.lexical_scale], 1)


@dataclass(frozen=True)
class CategoryModel:
    """The probability of each of C categories: ridge regression on one-hot categories, sharpened until it fits best."""

    kernel: Kernel
    weights: torch.Tensor  # (m, C)
    frequency: torch.Tensor  # (C,)
    sharpening: torch.Tensor  # ()

    @classmethod
    def fit(
        cls, squared: torch.Tensor, between: torch.Tensor, width: float, categories: torch.Tensor
    ) -> tuple[Self, torch.Tensor]:
        """From squared distances to landmarks and the number of each question's category. Returns each training
        question's probabilities (n, C) as predicted without it: what a new question would get."""
        features, mapped = NystromFeatures.fit(squared, between, width)
        one_hot = torch.eye(int(categories.max()) + 1)[categories]
        frequency = one_hot.mean(0)
        ridge = fit_ridge(mapped, features.variances, one_hot - frequency, STRENGTHS)
        held_out = ridge.held_out + frequency
        rows = torch.arange(len(categories))
        loss = {power: -_sharpened(held_out, power)[rows, categories].log().mean() for power in _SHARPENINGS}
        sharpening = min(_SHARPENINGS, key=loss.__getitem__)
        weights = features.rotation @ ridge.coefficients
        return cls(features.kernel, weights, frequency, torch.tensor(sharpening)), _sharpened(held_out, sharpening)

    def __call__(self, squared: torch.Tensor) -> torch.Tensor:
        """(n, C) probabilities."""
        return _sharpened(self.kernel(squared) @ self.weights + self.frequency, self.sharpening.item())


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
    def fit(cls, questions: Questions, categories: np.ndarray, comparison: Comparison) -> tuple[Self, torch.Tensor]:
        """The map, and the features (n, r) of these questions, whose `categories` are numbered from 0."""
        scales = InputScales.fit(questions, comparison.lexical_weight)
        inputs = scales(questions)
        chosen = _landmarks(questions, comparison.landmarks)
        squared = squared_distances(inputs, inputs[chosen])
        model, probabilities = CategoryModel.fit(
            squared, squared[chosen], comparison.width, torch.from_numpy(categories)
        )
        # By how far categories are apart, not their predictions: where these say little, they shall count little.
        apart = 2 * (1 - model.frequency.square().sum()).clamp_min(_LEAST_DIVERSITY)
        scale = (comparison.category_weight / apart).sqrt()
        squared += squared_distances(probabilities * scale, probabilities[chosen] * scale)
        features, mapped = NystromFeatures.fit(squared, squared[chosen], comparison.width)
        return cls(scales, inputs[chosen], model, scale, probabilities[chosen], features), mapped

    @cached_property
    def _landmark_norms(self) -> torch.Tensor:  # a quarter of the time of a single question
        return self.landmarks.square().sum(1)

    @cached_property
    def _scaled_categories(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Of the landmarks, and their squared norms."""
        scaled = self.landmark_categories * self.category_scale
        return scaled, scaled.square().sum(1)

    def kernel(self, questions: Questions) -> tuple[torch.Tensor, torch.Tensor]:
        """Kernel values with the landmarks (n, m), centred, which `features.rotation` turns into features; and the
        category probabilities (n, C) found on the way."""
        squared = squared_distances(self.scales(questions), self.landmarks, self._landmark_norms)
        probabilities = self.categories(squared)
        squared += squared_distances(probabilities * self.category_scale, *self._scaled_categories)
        return self.features.kernel(squared), probabilities


def _standardised(lexical: torch.Tensor, mean: torch.Tensor, deviation: torch.Tensor) -> torch.Tensor:
    return ((lexical - mean) / deviation).clamp(-_LEXICAL_LIMIT, _LEXICAL_LIMIT)


def _scale(inputs: torch.Tensor, weight: float) -> torch.Tensor:
    """By how much to stretch `inputs` (n, D) for a mean squared distance of `weight`; 0 where they do not differ."""
    mean_squared_distance = 2 * _variances(inputs).sum()
    return torch.where(mean_squared_distance > 1e-9, weight / mean_squared_distance.clamp_min(1e-9), 0.0).sqrt()


def _variances(inputs: torch.Tensor) -> torch.Tensor:
    return (inputs - inputs.mean(0)).square().mean(0)


def _sharpened(scores: torch.Tensor, power: float) -> torch.Tensor:
    powered = scores.clamp_min(_LEAST_PROBABILITY) ** power
    return powered / powered.sum(1, keepdim=True)


def _landmarks(questions: Questions, count: int) -> torch.Tensor:
    """Row numbers of `count` questions, those whose text has the smallest hash.

    A random draw would change some of the forecasts from fit to fit. This one depends neither on a seed nor on the
    order of the rows, and a new question displaces at most one landmark, so that embedders of growing data stay alike.
    """
    row = {text: i for i, text in enumerate(questions.texts)}
    drawn = sorted(row, key=lambda text: blake2b(text.encode("utf-8", "surrogatepass")).digest())
    return torch.tensor([row[text] for text in drawn[:count]])
