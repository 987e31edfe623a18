"""Which models to ask a question: text in, names and probabilities out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from math import isnan
from typing import Any, NamedTuple, Protocol

import numpy as np

from .errors import EmbedderError
from .predictor import Forecast, Predictor
from .questions import Questions

__all__ = ["Choice", "Router", "TextEncoder", "UnknownBenchmark", "UnknownModel", "as_records", "describe"]


class TextEncoder(Protocol):
    """What a router needs of an encoder."""

    def encode(self, texts: Sequence[str], *, progress: bool = True) -> np.ndarray: ...


class Choice(NamedTuple):
    """A model, the probability that it answers the question correctly, the score it was ranked by, and the 95% interval
    of the probability (None where the embedder does not know how sure it is). `cost` is what the question is expected
    to cost, None where that is not known. `support`, the same for all models, is how like the training
    questions the question is, see `Forecast.support`."""

    model: str
    probability: float
    score: float
    low: float | None = None
    high: float | None = None
    cost: float | None = None
    support: float | None = None


class UnknownBenchmark(EmbedderError):
    """A benchmark or category was named that no training question is of."""


class UnknownModel(EmbedderError):
    """A model was named that the embedder was not fitted on or whose cost is not known, or no model is left."""


class Router:
    """Ranks models for questions.

    `encoder` must be the one whose vectors `predictor` was fitted on (`load_embedder(folder, encoder=...)` checks it).
    `costs` are what a question costs by model, in any one unit, whose name is `cost_unit`; `question_costs`, where
    given, tells instead what each of n questions will cost each model, (n, M) in that unit, NaN where it is not known.
    """

    def __init__(
        self,
        predictor: Predictor,
        encoder: TextEncoder,
        costs: Mapping[str, float] | None = None,
        question_costs: Callable[[Questions], np.ndarray] | None = None,
        cost_unit: str = "US$",
    ) -> None:
        self.predictor = predictor
        self.encoder = encoder
        self.costs = costs or {}
        self.question_costs = question_costs
        self.cost_unit = cost_unit
        self._mean_costs = np.array([[self.costs.get(name, np.nan) for name in predictor.models]])
        self._column = {name: column for column, name in enumerate(predictor.models)}
        self._all = self._find_columns(None, ())

    def rank(
        self,
        questions: Sequence[str],
        *,
        models: Collection[str] | None = None,
        without: Collection[str] = (),
        cost_weight: float = 0,
        top: int = 5,
        benchmark: str | None = None,
    ) -> list[list[Choice]]:
        """Return for every question the `top` models, the best first, out of `models` (default: all) except those
        `without`, which are down.

        Models are ranked by the embedder's routing score (see `Predictor.forecast`) less `cost_weight` times their
        cost: with costs in US$, a weight of 10 gives up one point in a hundred of the score for 0.1 cents; in billions
        of parameters, a weight of 0.001 gives it up for ten billion. Equal ones are ordered by name. `benchmark` is the
        benchmark or category that the questions are of, where that is known. Raises UnknownBenchmark for one the
        embedder does not know, UnknownModel where a model is named that the embedder lacks, none is left, or costs
        count and one is not known."""
        if isinstance(questions, str):
            raise TypeError("rank takes a list of questions; put the one question into a list")
        if top < 1:
            raise ValueError(f"top is {top}, but must be 1 or more")
        columns = self._all if models is None and not without else self._find_columns(models, without)
        asked = self._describe(questions, benchmark)
        forecast = self.predictor.forecast(asked)
        scores = forecast.routing_scores[:, columns]
        costs = self._mean_costs if self.question_costs is None else self.question_costs(asked)
        costs = np.broadcast_to(costs, forecast.probabilities.shape)
        if cost_weight:
            scores = scores - cost_weight * self._find_costs(columns, costs)
        best = np.argsort(-scores, axis=1, kind="stable")[:, :top]
        return self._choose(forecast, columns[best], scores[np.arange(len(best))[:, None], best], costs)

    @property
    def least_support(self) -> float | None:
        """The support below which a choice is little more than that of the best model on average; None where the
        embedder knows of none."""
        return self.predictor.least_support

    def _describe(self, questions: Sequence[str], benchmark: str | None) -> Questions:
        if benchmark is not None and benchmark not in self.predictor.known_categories():
            known = ", ".join(self.predictor.known_categories()) or "none"
            raise UnknownBenchmark(
                f"unknown benchmark or category {benchmark!r}: the embedder knows {known}; correct it, or leave it out"
            )
        known = None if benchmark is None else np.full(len(questions), benchmark, object)
        texts = np.array(questions, object)
        return Questions(texts, self.encoder.encode(questions, progress=False), known)

    def _find_columns(self, models: Collection[str] | None, without: Collection[str]) -> np.ndarray:
        """Return the columns of the models to choose from, sorted by name."""
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

    def _find_costs(self, columns: np.ndarray, costs: np.ndarray) -> np.ndarray:
        """Return those of `costs` (n, M) that are of the models in these columns."""
        costs = costs[:, columns]
        if (missing := np.isnan(costs).any(axis=0)).any():
            names = [repr(self.predictor.models[column]) for column in columns[missing]]
            more = f" and {len(names) - 20} more" if len(names) > 20 else ""
            raise UnknownModel(
                f"the cost of {', '.join(names[:20])}{more} is not known: give a price or size, or leave out "
                "of the choice what has none"
            )
        return costs

    def _choose(
        self, forecast: Forecast, best: np.ndarray, scores: np.ndarray, costs: np.ndarray
    ) -> list[list[Choice]]:
        """Return the choices in the columns `best` (n, top), with their `scores` (n, top); `costs` are (n, M)."""
        rows = np.arange(len(best))[:, None]
        low, high = forecast.interval(rows, best) or (None, None)
        chosen = (
            forecast.probabilities[rows, best],
            scores,
            low,
            high,
            costs[rows, best],
            None if forecast.support is None else np.broadcast_to(forecast.support[:, None], best.shape),
        )
        told = [[None] * best.size if part is None else part.ravel().tolist() for part in chosen]
        flat = [
            Choice(self.predictor.models[column], p, score, _known(low), _known(high), _known(cost), support)
            for column, p, score, low, high, cost, support in zip(best.ravel().tolist(), *told, strict=True)
        ]
        width = best.shape[1]
        return [flat[start : start + width] for start in range(0, len(flat), width)]


def describe(choice: Choice) -> dict[str, Any]:
    """Return a choice as JSON holds it; `support` stands once beside all of them."""
    told = {name: value for name, value in choice._asdict().items() if name != "support"}
    return {name: None if isinstance(value, float) and isnan(value) else value for name, value in told.items()}


def as_records(questions: Sequence[str], ranked: Sequence[Sequence[Choice]], router: Router) -> dict[str, Any]:
    """Return the choices for each question as JSON holds them."""
    return {
        "cost_unit": router.cost_unit,
        "least_support": router.least_support,
        "questions": [
            {"question": question, "support": choices[0].support, "models": [describe(choice) for choice in choices]}
            for question, choices in zip(questions, ranked, strict=True)
        ],
    }


def _known(value: float | None) -> float | None:
    return None if value is None or isnan(value) else value
