"""What embedders and baselines have in common: fitted on the matrix, they predict for all models at once."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Self

import numpy as np
from scipy.special import expit, logit

from .matrix import CorrectnessMatrix
from .questions import Questions

__all__ = ["Forecast", "Predictor", "Sample"]


@dataclass(frozen=True)
class Sample:
    """Questions with their answers, row by row."""

    matrix: CorrectnessMatrix
    questions: Questions


@dataclass(frozen=True)
class Forecast:
    """Everything that a predictor says about n questions and M models, each (n, M) float32.

    `deviations` are standard deviations of the log-odds, None where the method does not know; `routing_scores` are what
    to rank models by when one is to be asked. `support` (n,), None where the method does not know, goes from 1 for a
    question like many of the training questions to 0 for one unlike all of them, about which nothing more is known than
    the models' averages.
    """

    probabilities: np.ndarray
    deviations: np.ndarray | None
    routing_scores: np.ndarray
    support: np.ndarray | None = None

    def interval(
        self, rows: np.ndarray | slice = slice(None), columns: np.ndarray | slice = slice(None), *, z: float = 1.96
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the lower and upper ends of the probabilities, each (n, M), or of those at `rows` and `columns`; these
        are 95% intervals for z = 1.96."""
        if self.deviations is None:
            return None
        logits = logit(np.clip(self.probabilities[rows, columns], 1e-6, 1 - 1e-6))
        reach = z * self.deviations[rows, columns]
        return expit(logits - reach), expit(logits + reach)


@dataclass(eq=False)
class Predictor(ABC):
    """Predicts the probability that a model answers a question correctly.

    A subclass is a dataclass whose fields are its settings, and implements `_fit`, `_probabilities`,
    `_learnt` and `_restore`. Fitting reads the questions of the train split, chooses (when to stop, how many
    neighbours) on those of the val split, and never looks at the others. A model without a training answer
    gets the overall rate.
    """

    method: ClassVar[str]

    models: tuple[str, ...] = field(init=False, default=(), repr=False)
    dimensions_in: int = field(init=False, default=0, repr=False)  # D, the length of a question's vector
    overall_rate: float = field(init=False, default=math.nan, repr=False)  # share of right training answers
    has_answers: np.ndarray = field(init=False, default_factory=lambda: np.empty(0, bool), repr=False)  # (M,)

    def fit(self, matrix: CorrectnessMatrix, questions: Questions, *, seed: int = 0) -> Self:
        """Learn from `matrix` (Q, M) and its Q `questions`; same data and seed, same result.

        Raises ValueError where rows do not match, a vector is not finite, or the train split has no answer.
        """
        if len(questions) != len(matrix.labels):
            raise ValueError(f"the matrix has {len(matrix.labels)} questions, but {len(questions)} are described")
        train, val = (_sample(matrix, questions, split) for split in ("train", "val"))
        if not train.matrix.observed.any():
            raise ValueError("the train split has no answers: evaluate models or import results first")
        self.models = matrix.models
        self.dimensions_in = questions.vectors.shape[1]
        self.overall_rate = float(np.nanmean(train.matrix.labels, dtype=np.float64))
        self.has_answers = np.asarray(train.matrix.observed.any(axis=0))
        # Answers of models without training answers cannot help to choose anything.
        labels = np.where(self.has_answers, val.matrix.labels, np.float32(np.nan))
        self._fit(train, Sample(replace(val.matrix, labels=labels), val.questions), seed)
        return self

    def predict_proba(self, questions: Questions) -> np.ndarray:
        """Return the probabilities (n, M) float32 that each model answers each of `questions` correctly.

        Raises ValueError where the length of their vectors is not that of the vectors fitted on, as with another
        encoder.
        """
        self._check(questions)
        probabilities = self._probabilities(questions)
        return np.where(self.has_answers, probabilities, np.float32(self.overall_rate)).astype(np.float32)

    def forecast(self, questions: Questions) -> Forecast:
        """Return probabilities, how sure they are, and what to rank models by: the probabilities, unless a method knows
        better. Raises like `predict_proba`."""
        probabilities = self.predict_proba(questions)
        return Forecast(probabilities, None, probabilities)

    def routing_scores(self, questions: Questions) -> np.ndarray:
        """Return only the forecast's routing scores (n, M) float32. Raises like `predict_proba`."""
        return self.predict_proba(questions)

    def _check(self, questions: Questions) -> None:
        if not self.models:
            raise ValueError(f"this {type(self).__name__} is not fitted: call fit first")
        if questions.vectors.shape[1] != self.dimensions_in:
            raise ValueError(
                f"this {type(self).__name__} was fitted on question vectors of length {self.dimensions_in}, "
                f"but these are {questions.vectors.shape}; use the encoder it was fitted with"
            )

    @property
    def model_embeddings(self) -> np.ndarray | None:
        """(M, d) float32, NaN for a model without training answers; None where the method has no
        embeddings."""
        return None

    @property
    def least_support(self) -> float | None:
        """The support below which a forecast is more of the models' means than of the question; None where the method
        knows of none."""
        return None

    def known_categories(self) -> tuple[str, ...]:
        """Return the sorted names of benchmarks and categories that the method uses where a question's are known."""
        return ()

    def settings(self) -> dict[str, Any]:
        """Return what the constructor takes."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.init}

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return the fitted predictor as arrays and a rest that JSON can hold, for `restored`."""
        arrays, rest = self._learnt()
        common = {"dimensions_in": self.dimensions_in, "overall_rate": self.overall_rate}
        return {"has_answers": self.has_answers, **arrays}, {"models": list(self.models), **common, **rest}

    @classmethod
    def restored(cls, settings: dict[str, Any], arrays: dict[str, np.ndarray], rest: dict[str, Any]) -> Self:
        """Return the predictor with these `settings` and this `state`; KeyError where something is missing."""
        predictor = cls(**settings)
        predictor.models = tuple(rest["models"])
        predictor.dimensions_in = rest["dimensions_in"]
        predictor.overall_rate = rest["overall_rate"]
        predictor.has_answers = arrays["has_answers"]
        predictor._restore(arrays, rest)
        return predictor

    @abstractmethod
    def _fit(self, train: Sample, val: Sample, seed: int) -> None:
        """Learn; `train` has an answer, `val` need not have one."""

    @abstractmethod
    def _probabilities(self, questions: Questions) -> np.ndarray:
        """(n, M); columns of models without training answers are overwritten."""

    @abstractmethod
    def _learnt(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return arrays and a rest that JSON can hold, from which `_restore` rebuilds what `_fit` learnt."""

    @abstractmethod
    def _restore(self, arrays: dict[str, np.ndarray], rest: dict[str, Any]) -> None:
        """Take what `_learnt` returned."""


def _sample(matrix: CorrectnessMatrix, questions: Questions, split: str) -> Sample:
    chosen = matrix.splits == split
    some = questions.rows(chosen)
    if not np.isfinite(some.vectors).all():
        raise ValueError(f"the vectors of some {split} questions are not finite: embed the questions again")
    return Sample(matrix.rows(chosen), some)
