"""How well the embedder forecasts who answers what, next to its baselines."""

from __future__ import annotations

import pyarrow as pa

from assets.embedding.serving import Serving
from assets.figures.bars import interval_bars
from assets.figures.reliability import reliability_diagram
from assets.figures.sections import Picture, Section, refused, rows
from assets.figures.style import words
from embedder.downstream.forecast import BINS, compare_forecasts

from .experiment import Result, experiment, overall_figures

TITLE = "Will a model answer a new question correctly?"
COMPARED = ("embedder", "mf", "knn")  # in the reliability diagram


def tabulate_forecasts(serving: Serving, seed: int) -> Result:
    """A row is how well one method forecasts the answers to one benchmark's test questions; `predictions` has every
    single forecast, `reliability` how often those of about the same probability turned out right."""
    from embedder.baselines.mf import MatrixFactorization
    from embedder.baselines.rates import Majority, ModelBenchmarkMean, ModelMean

    by_method = {"embedder": serving.test_forecast, "knn": serving.knn_test_forecast}
    for baseline in (MatrixFactorization(), ModelBenchmarkMean(), ModelMean(), Majority()):
        baseline.fit(serving.matrix, serving.questions, seed=seed)
        by_method[baseline.method] = baseline.forecast(serving.test_questions)
    table, predictions, reliability = compare_forecasts(serving.matrix, by_method, serving.version, seed=seed)
    tables = {"forecasts": table, "predictions": predictions, "reliability": reliability}
    return Result(tables, describe(table, reliability), overall_figures(table, "accuracy"))


forecasts = experiment(
    tabulate_forecasts, name="forecasts", kinds={"scikitlearn"}, code_version="6", latest_only=["predictions"]
)


def describe(forecasts: pa.Table, reliability: pa.Table) -> Section:
    """Return the report's section on these tables."""
    overall = rows(
        {"forecasts": forecasts},
        "SELECT method, n, accuracy, ci_low, ci_high, auc, log_loss, brier, ece, reason FROM forecasts "
        "WHERE benchmark = 'all' ORDER BY accuracy DESC, method",
    )
    if reason := refused(TITLE, overall):
        return reason
    by_method = {row["method"]: row for row in overall}
    ours = by_method.pop("embedder")
    best = max(by_method.values(), key=lambda row: row["accuracy"])
    points = round(100 * (ours["accuracy"] - best["accuracy"]), 1)
    compared = "as often as"
    if points:
        compared = f"{abs(points)} percentage points {'more' if points > 0 else 'less'} than"
    label = "forecast accuracy on test questions (%), 95% interval"
    bins = reliability.sort_by([("method", "ascending"), ("bin", "ascending")]).to_pylist()
    shown = [row for name in COMPARED for row in bins if row["method"] == name]
    diagram = "share of right answers by forecast probability, with 95% intervals, and number of forecasts"
    return Section(
        TITLE,
        f"On {ours['n']:,} answers to test questions the embedder is right {ours['accuracy']:.1%} of the time, "
        f"{compared} the best of the baselines, {words(best['method'])}, with {best['accuracy']:.1%} (mf is the "
        "paper's matrix factorisation, fitted here to the same answers). The embedder's probabilities are off by "
        f"{100 * ours['ece']:.1f} percentage points on average (ece), those of mf by "
        f"{100 * by_method['mf']['ece']:.1f} and those of knn by {100 * by_method['knn']['ece']:.1f}.",
        [
            Picture.of(interval_bars(overall, ours="embedder", label=label), label),
            Picture.of(reliability_diagram(shown, ours="embedder", bins=BINS), diagram),
        ],
        [overall],
        "SELECT benchmark, method, accuracy, log_loss\n"
        "FROM forecasts\n"
        "WHERE benchmark <> 'all' ORDER BY benchmark, accuracy DESC;\n\n"
        "SELECT bin, n, probability, accuracy, ci_low, ci_high\n"
        "FROM reliability\n"
        "WHERE method = 'embedder' ORDER BY bin;\n\n"
        "SELECT question_id, model, probability, low, high, correct\n"
        "FROM predictions JOIN responses USING (question_id, model) WHERE method = 'embedder' LIMIT 5;",
        "embedder",
    )
