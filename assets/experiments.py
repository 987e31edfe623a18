"""Every experiment, in the order of the report."""

from collections.abc import Callable
from typing import NamedTuple

import dagster as dg

from . import (
    benchmark_predictions,
    communities,
    contributions,
    cost_curve,
    difficulty,
    fallbacks,
    forecast_curve,
    forecasts,
    portfolios,
    probes,
    robustness,
    routing,
)
from .sections import Section
from .workspace import Workspace


class Experiment(NamedTuple):
    """What makes its table, and what the report says of it."""

    asset: dg.AssetsDefinition
    section: Callable[[Workspace], Section]
    expensive: bool = False
    """Trains dozens of embedders, or encodes thousands of texts: waits for the weekly refresh, or until the pool has
    grown."""


EXPERIMENTS = (
    Experiment(forecasts.forecasts, forecasts.section),
    Experiment(forecast_curve.forecast_curve, forecast_curve.section, expensive=True),
    Experiment(routing.routing, routing.section),
    Experiment(robustness.robustness, robustness.section, expensive=True),
    Experiment(cost_curve.cost_curve, cost_curve.section),
    Experiment(benchmark_predictions.benchmark_predictions, benchmark_predictions.section, expensive=True),
    Experiment(communities.communities, communities.section),
    Experiment(probes.probes, probes.section),
    Experiment(contributions.contributions, contributions.section, expensive=True),
    Experiment(fallbacks.fallbacks, fallbacks.section),
    Experiment(portfolios.portfolios, portfolios.section),
    Experiment(difficulty.difficulty, difficulty.section),
)
