"""Which models to ask a question: text in, names and probabilities out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from math import isnan
from typing import NamedTuple, Protocol

import numpy as np

from .predictor import Forecast, Predictor
from .questions import Questions

__all__ = ["Choice", "Router", "TextEncoder", "UnknownModel"]


class TextEncoder(Protocol):
    """What a router needs of an encoder."""

    def encode(self, texts: Sequence[str], *, progress: bool = True) -> np.ndarray: ...


class Choice(NamedTuple):
    """A model, the probability that it answers the question correctly, the score it was ranked by, and the 95% interval
    of the probability (None where the embedder does not know how sure it is). `cost` is what the question is predicted
    to cost, None where costs by question are not known."""

    model: str
    probability: float
    score: float
    low: float | None = None
    high: float | None = None
    cost: float | None = None


class UnknownModel(ValueError):
    """A model was named that the embedder was not fitted on, whose cost is not known, or none is left."""


class Router:
    """Ranks models for questions.

    `encoder` must be the one whose vectors `embedder` was fitted on (`load_embedder(folder, encoder=...)` checks it).
    `costs` are what a question costs by model, in any one unit; `question_costs`, where given, tells instead what each
    of n questions will cost each model, (n, M) in that unit, NaN where it is not known.
    """

    def __init__(
        self,
        embedder: Predictor,
        encoder: TextEncoder,
        costs: Mapping[str, float] | None = None,
        question_costs: Callable[[Questions], np.ndarray] | None = None,
    ) -> None:
        self.embedder = embedder
        self.encoder = encoder
        self.costs = costs or {}
        self.question_costs = question_costs
        self._column = {name: column for column, name in enumerate(embedder.models)}
        self._all = self._columns(None, ())

    def rank(
        self,
        questions: Sequence[str],
        *,
        models: Collection[str] | None = None,
        without: Collection[str] = (),
        cost_weight: float = 0,
        top: int = 5,
    ) -> list[list[Choice]]:
        """For every question the `top` models, the best first, out of `models` (default: all) less those `without`,
        which are down.

        Models are ranked by the embedder's routing score (see `Predictor.forecast`) less `cost_weight` times their
        cost: with costs in US$, a weight of 10 gives up one point in a hundred of the score for 0.1 cents; in billions
        of parameters, a weight of 0.001 gives it up for ten billion. Equal ones are ordered by name. Raises
        UnknownModel where a model is named that the embedder lacks, none is left, or costs count and one is not known.
        """
        if isinstance(questions, str):
            raise TypeError("rank takes a list of questions; put the one question into a list")
        columns = self._all if models is None and not without else self._columns(models, without)
        asked = self._described(questions)
        forecast = self.embedder.forecast(asked)
        scores = forecast.routing_scores[:, columns]
        costs = None if self.question_costs is None else self.question_costs(asked)
        if cost_weight:
            scores = scores - cost_weight * self._costs(columns, costs)
        best = np.argsort(-scores, axis=1, kind="stable")[:, :top]
        return self._choices(forecast, columns[best], scores[np.arange(len(best))[:, None], best], costs)

    def _described(self, questions: Sequence[str]) -> Questions:
        texts = np.array(questions, object)
        return Questions(texts, self.encoder.encode(questions, progress=False))

    def _columns(self, models: Collection[str] | None, without: Collection[str]) -> np.ndarray:
        """Columns of the embedder's models to choose from, by name."""
        named = set(without) | set(models or ())
        if unknown := sorted(named - self._column.keys()):
            raise UnknownModel(
                f"unknown model {unknown[0]!r}: the embedder knows {len(self._column)}, such as "
                f"{', '.join(sorted(self._column)[:5])}; correct it, or evaluate that model and fit again"
            )
        wanted = sorted(set(self._column if models is None else models) - set(without))
        if not wanted:
            raise UnknownModel("no models to choose from: name at least one, or leave models out for all")
        return np.array([self._column[name] for name in wanted])

    def _costs(self, columns: np.ndarray, predicted: np.ndarray | None) -> np.ndarray:
        """(n or 1, models) of the models in these columns; `predicted` (n, M) are those of the questions."""
        names = [self.embedder.models[column] for column in columns]
        by_model = np.array([[self.costs.get(name, np.nan) for name in names]])
        costs = by_model if predicted is None else predicted[:, columns]
        if (missing := np.isnan(costs).any(axis=0)).any():
            name = names[missing.argmax()]
            raise UnknownModel(
                f"the cost of {name!r} is not known: give its price or size, or leave it out of the choice"
            )
        return costs

    def _choices(
        self, forecast: Forecast, best: np.ndarray, scores: np.ndarray, costs: np.ndarray | None
    ) -> list[list[Choice]]:
        """`best` (n, top) are columns, `scores` theirs; `costs` (n, M)."""
        unknown = np.full_like(forecast.probabilities, np.nan)
        interval = forecast.interval() or (unknown, unknown)
        rows = np.arange(len(best))[:, None]
        told = (forecast.probabilities, *interval, unknown if costs is None else costs)
        values = [array[rows, best].tolist() for array in told]
        return [
            [
                Choice(self.embedder.models[column], p, score, *map(_known, (low, high, cost)))
                for column, score, p, low, high, cost in zip(*row, strict=True)
            ]
            for row in zip(best.tolist(), scores.tolist(), *values, strict=True)
        ]


def _known(value: float) -> float | None:
    return None if isnan(value) else value
