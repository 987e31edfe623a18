"""What a question costs each model: by what its answers took, or else one amount for every question."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from .questions import Questions

if TYPE_CHECKING:
    from .question_costs import CostPredictor

__all__ = ["Costs", "Prices", "in_dollars"]

Prices = Mapping[str, tuple[float, float]]
"""By model, US$ per million tokens in and out."""


@dataclass(frozen=True)
class Costs:
    """Cost of a question by model, in one unit; models whose cost is not known are left out.

    `predictors` say how much an answer takes of each amount (cost, tokens_in, tokens_out); there are none where no
    answer says it.
    """

    unit: str
    by_model: Mapping[str, float]
    predictors: Mapping[str, CostPredictor] = field(default_factory=dict, compare=False)
    prices: Prices = field(default_factory=dict, compare=False)

    def predict(self, questions: Questions, models: tuple[str, ...]) -> np.ndarray:
        """Return (n, M) US$ that each question will cost, as `predictors` tell; for a model whose answers do not say
        what they took, its cost in `by_model`, NaN where it has none."""
        costs = np.repeat([[self.by_model.get(model, np.nan) for model in models]], len(questions), axis=0)
        amounts = {name: predictor.predict(questions) for name, predictor in self.predictors.items()}
        fitted = next(iter(self.predictors.values())).models
        column = {model: at for at, model in enumerate(fitted)}
        there = np.array([model in column for model in models])
        predicted = in_dollars(amounts, fitted, self.prices)[:, [column[m] for m in models if m in column]]
        costs[:, there] = np.where(np.isnan(predicted), costs[:, there], predicted)
        return costs

    @property
    def predicted_by(self) -> str:
        """What costs are predicted from: mean, category or form; of each amount, where these differ."""
        ways = {name: predictor.told for name, predictor in self.predictors.items()}
        if len(set(ways.values())) == 1:
            return next(iter(ways.values()))
        return ", ".join(f"{way} ({name})" for name, way in ways.items())


def in_dollars(amounts: Mapping[str, np.ndarray], models: tuple[str, ...], prices: Prices) -> np.ndarray:
    """Return the (n, M) US$ of `amounts` (cost, tokens_in, tokens_out, each (n, M), NaN where not known): what was
    charged, or else tokens at their price."""
    unknown = np.full_like(next(iter(amounts.values())), np.nan, float)
    cost, tokens_in, tokens_out = (amounts.get(name, unknown) for name in ("cost", "tokens_in", "tokens_out"))
    price_in, price_out = np.array([prices.get(model, (np.nan, np.nan)) for model in models]).T
    return np.where(np.isnan(cost), (tokens_in * price_in + tokens_out * price_out) / 1e6, cost)
