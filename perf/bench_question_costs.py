"""What it is worth to predict a question's cost, on real answers (ZeroEval) with planted costs.

    python perf/bench_question_costs.py [--data ../shared/data] [--cache data/cache] [--draws 5]

The published answers say nothing of costs. So prices are drawn that rise with a model's accuracy, tokens of an answer
by model and category, and noise of a half on the log scale; tokens of the prompt are those of the text. Every table row
is a draw: which way of prediction was chosen, and the area under the router's curve on test questions (AIQ, over the
range of costs that all of them have) where it chooses by mean costs, by the form of the text, by category, and by the
true costs. What was measured counts as spent in all of them.
"""

import sys
from pathlib import Path

import numpy as np
from rich.console import Console

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY))

from embedder.baselines.rates import model_rates  # noqa: E402
from embedder.downstream.aiq import aiq  # noqa: E402
from embedder.downstream.cost import QuestionCosts, weigh_costs  # noqa: E402
from embedder.encoder import load_encoder  # noqa: E402
from embedder.matrix import CorrectnessMatrix  # noqa: E402
from embedder.question_costs import CATEGORY, FORM, MEAN, CostPredictor  # noqa: E402
from embedder.questions import Questions  # noqa: E402
from embedder.spectral.spectral import SpectralEmbedder  # noqa: E402
from perf._common import embed, is_there, parser, published, table  # noqa: E402

WAYS = (MEAN, FORM, CATEGORY, "true")


def planted_costs(matrix: CorrectnessMatrix, seed: int) -> np.ndarray:
    """(Q, M) US$, NaN where a model was not asked."""
    rng = np.random.default_rng(seed)
    rates = model_rates(matrix.of_split("train"))
    price = 0.1 * np.exp(4 * (rates - rates.min()) / np.ptp(rates) + rng.normal(0, 0.7, len(rates)))  # a million tokens
    names, category = np.unique(matrix.benchmarks.astype(str), return_inverse=True)
    answer = 200 * np.exp(rng.normal(0, 0.8, (len(names), len(rates))))
    prompt = 1.3 * np.array([len(text.split()) for text in matrix.texts])
    # A token out costs four times one in.
    tokens = prompt[:, None] + 4 * answer[category] * rng.lognormal(0, 0.5, matrix.labels.shape)
    return np.where(matrix.observed, tokens * price / 1e6, np.nan)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--draws", type=int, default=5)
    chosen = options.parse_args()
    if not is_there(chosen.data):
        return
    matrix = published(chosen.data, "zeroeval")
    vectors = embed(load_encoder(), matrix.texts.tolist(), chosen.cache)
    questions = Questions(matrix.texts, vectors, matrix.benchmarks)
    fitted = SpectralEmbedder().fit(matrix, questions)
    val, test = (fitted.routing_scores(questions.rows(matrix.splits == split)) for split in ("val", "test"))
    drawn = table("AIQ of the router, planted costs", ("draw", "told", "untold", *WAYS))
    for seed in range(chosen.draws):
        costs = planted_costs(matrix, seed)
        predictor = CostPredictor.fit(costs, questions, matrix.splits, matrix.models)
        if predictor is None:
            raise ValueError("no train question was answered")
        means = dict(zip(matrix.models, predictor.means.tolist(), strict=True))
        curves = []
        for way in WAYS:
            predicted = np.where(np.isnan(costs), predictor.means, costs)
            if way != "true":
                predicted = predictor.predict_by(way, questions)
            each = QuestionCosts(predicted, costs, way)
            curve, _ = weigh_costs(matrix, val, test, "", costs=means, cost_unit="US$", question_costs=each)
            rows = [row for row in curve.to_pylist() if row["method"] == "router"]
            curves.append(np.array([[row["mean_cost"], row["accuracy"]] for row in rows]).T)
        low, high = max(cost.min() for cost, _ in curves), min(cost.max() for cost, _ in curves)
        areas = [f"{aiq(cost, accuracy, low, high):.4f}" for cost, accuracy in curves]
        drawn.add_row(str(seed), predictor.told, predictor.untold, *areas)
    Console().print(drawn)


if __name__ == "__main__":
    main()
