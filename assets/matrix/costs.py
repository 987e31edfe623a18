"""What asking a model costs: what its answers took, or the registry's prices, or its size where models have none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from assets.figures.style import DOLLARS, PARAMETERS
from assets.inputs.home import Home
from embedder.costs import Costs, Prices, in_dollars
from embedder.downstream.cost import QuestionCosts
from embedder.matrix import CorrectnessMatrix
from embedder.questions import Questions
from warehouse.lake.answers import USAGE

from .reading import model_labels

if TYPE_CHECKING:
    from embedder.question_costs import CostPredictor

# A multiple-choice question with its options, and an answer of a few sentences.
INPUT_TOKENS, OUTPUT_TOKENS = 200, 200


def model_costs(workspace: Home, predictors: Mapping[str, CostPredictor] | None = None) -> Costs:
    """Return the US$ that a question costs: what answers took on average, where `predictors` know it, or else what a
    question of typical length costs. Where answers say it of fewer than two models, and fewer models have a price than
    a size, costs are in billions of parameters."""
    labels = model_labels(workspace)
    prices = {
        m.model: (m.price_input, m.price_output)
        for m in labels
        if m.price_input is not None and m.price_output is not None
    }
    sizes = {m.model: m.size_b for m in labels if m.size_b is not None}
    typical = {m: (INPUT_TOKENS * price[0] + OUTPUT_TOKENS * price[1]) / 1e6 for m, price in prices.items()}
    known = predictors or {}
    charged = {name: predictor for name, predictor in known.items() if name == "cost"}
    measured = _measured_means(known, prices)
    if measured.keys() == _measured_means(charged, prices).keys():
        known = charged  # tokens add nothing
    dollars = typical | measured
    if len(measured) < 2 and len(dollars) < len(sizes):
        return Costs(PARAMETERS, sizes)
    return Costs(DOLLARS, dollars, known, prices) if measured else Costs(DOLLARS, dollars)


def _measured_means(predictors: Mapping[str, CostPredictor], prices: Prices) -> dict[str, float]:
    if not predictors:
        return {}
    models = next(iter(predictors.values())).models
    means = in_dollars({name: predictor.means[None] for name, predictor in predictors.items()}, models, prices)[0]
    return {model: float(mean) for model, mean in zip(models, means, strict=True) if not np.isnan(mean)}


def observed_amounts(workspace: Home, matrix: CorrectnessMatrix) -> dict[str, np.ndarray]:
    """Return by column of USAGE what the answers in `matrix` took (Q, M), NaN where not known; columns of which nothing
    is known are left out."""
    usage = workspace.lake.usage()
    row = {name: at for at, name in enumerate(matrix.question_ids)}
    column = {name: at for at, name in enumerate(matrix.models)}
    rows = np.array([row.get(name, -1) for name in usage["question_id"].to_pylist()], int)
    columns = np.array([column.get(name, -1) for name in usage["model"].to_pylist()], int)
    there = (rows >= 0) & (columns >= 0)
    amounts = {}
    for name in USAGE:
        values = usage[name].to_numpy(zero_copy_only=False).astype(float)[there]
        if not np.isnan(values).all():
            amounts[name] = np.full(matrix.labels.shape, np.nan)
            amounts[name][rows[there], columns[there]] = values
    return amounts


def fit_question_costs(workspace: Home, matrix: CorrectnessMatrix, questions: Questions) -> dict[str, CostPredictor]:
    """Return by column of USAGE what predicts it, learnt from the train questions of `matrix`."""
    from embedder.question_costs import CostPredictor

    amounts = observed_amounts(workspace, matrix)
    fitted = {
        name: CostPredictor.fit(values, questions, matrix.splits, matrix.models) for name, values in amounts.items()
    }
    return {name: predictor for name, predictor in fitted.items() if predictor is not None}


def question_costs(
    workspace: Home, costs: Costs, matrix: CorrectnessMatrix, questions: Questions
) -> QuestionCosts | None:
    """Return predicted and measured costs in US$ of all questions of `matrix`; None where no answer says what it
    took."""
    if not costs.predictors:
        return None
    measured = in_dollars(observed_amounts(workspace, matrix), matrix.models, costs.prices)
    return QuestionCosts(costs.predict(questions, matrix.models), measured, costs.predicted_by)
