"""Every experiment, in the order of the report."""

from .benchmark_predictions import benchmark_predictions
from .communities import communities
from .contributions import contributions
from .cost_curve import cost_curve
from .difficulty import difficulty
from .fallbacks import fallbacks
from .forecast_curve import forecast_curve
from .forecasts import forecasts
from .portfolios import portfolios
from .probes import probes
from .robustness import robustness
from .routing import routing

EXPERIMENTS = (
    forecasts,
    forecast_curve,
    routing,
    robustness,
    cost_curve,
    benchmark_predictions,
    communities,
    probes,
    contributions,
    fallbacks,
    portfolios,
    difficulty,
)
