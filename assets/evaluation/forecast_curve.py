"""How forecasts improve with training questions, next to the figures that the paper reports."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from assets.embedding.serving import Serving
from assets.figures.curves import Curve, curves
from assets.figures.sections import Picture, Row, Section, refused, rows, side_by_side
from assets.figures.style import words
from assets.inputs.workspace import Progress, silent
from embedder.downstream.forecast_curve import measure_forecast_curve

from .experiment import Result, experiment

TITLE = "How many training questions does it take?"
PAPER = {  # Table 1 of EmbedLLM (arXiv 2410.02223): training questions → accuracy, of 112 models on ten benchmarks
    "mf": {1000: 0.6443, 5000: 0.7331, 10000: 0.7362, 15000: 0.7378, 20000: 0.7390, 25000: 0.7394, 29000: 0.7409},
    "knn": {1000: 0.6372, 5000: 0.7078, 10000: 0.7107, 15000: 0.7128, 20000: 0.7143, 25000: 0.7146, 29000: 0.7152},
}
X_LABEL = "training questions (logarithmic)"
METHODS = ("embedder", "mf", "knn", "model_benchmark_mean", "model_mean")


def draw_learning_curves(serving: Serving, seed: int, progress: Progress = silent) -> Result:
    """A row is how well one method forecasts the answers to all test questions after one draw of so many training
    questions."""
    from embedder.baselines.knn import KNN
    from embedder.baselines.mf import MatrixFactorization
    from embedder.baselines.rates import ModelBenchmarkMean, ModelMean

    table = measure_forecast_curve(
        serving.matrix,
        serving.questions,
        serving.embedder,
        [MatrixFactorization(), KNN(), ModelBenchmarkMean(), ModelMean()],
        serving.version,
        seed=seed,
        progress=progress,
    )
    return Result({"forecast_curve": table}, describe(table))


forecast_curve = experiment(
    draw_learning_curves, name="forecast_curve", kinds={"scikitlearn"}, code_version="2", expensive=True
)


def describe(table: pa.Table) -> Section:
    """Return the report's section on the table `forecast_curve`."""
    found = rows(
        {"forecast_curve": table},
        "SELECT method, questions, count(*) AS draws, avg(accuracy) AS accuracy, min(ci_low) AS ci_low, "
        "max(ci_high) AS ci_high, avg(log_loss) AS log_loss, min(log_loss) AS least, max(log_loss) AS most, reason "
        "FROM forecast_curve GROUP BY ALL ORDER BY questions",
    )
    if reason := refused(TITLE, found):
        return reason
    by_method = {method: [row for row in found if row["method"] == method] for method in METHODS}
    accuracy = [_curve(method, rows, ("accuracy", "ci_low", "ci_high"), 100) for method, rows in by_method.items()]
    accuracy += [
        Curve(f"{method}, the paper's data", list(known), [100 * share for share in known.values()], like=method)
        for method, known in PAPER.items()
    ]
    loss = [_curve(method, rows, ("log_loss", "least", "most"), 1) for method, rows in by_method.items()]
    accuracy_label = "accuracy on test questions (%), 95% intervals"
    loss_label = "log-loss on test questions (nats), range of draws"
    return Section(
        TITLE,
        f"{_tell_how_many(by_method)} The dashed curves and the last table show the paper's figures, on its own 112 "
        "models and ten benchmarks: unless the data here are the same, only the shapes compare.",
        [
            Picture.of(
                curves(accuracy, ours="embedder", x_label=X_LABEL, y_label=accuracy_label),
                "accuracy on test questions: mean over draws, lowest to highest end of their 95% intervals",
            ),
            Picture.of(
                curves(loss, ours="embedder", x_label=X_LABEL, y_label=loss_label),
                "log-loss on test questions: mean over draws, and their range",
            ),
        ],
        [
            side_by_side(by_method, "accuracy", {"accuracy by training questions": "questions", "draws": "draws"}),
            side_by_side(by_method, "log_loss", {"log-loss by training questions": "questions", "draws": "draws"}),
            [{"paper's accuracy by training questions": n} | {m: PAPER[m][n] for m in PAPER} for n in PAPER["mf"]],
        ],
        "SELECT method, questions, count(*) AS draws, avg(accuracy) AS accuracy, stddev(accuracy) AS between_draws\n"
        "FROM forecast_curve\n"
        "GROUP BY ALL ORDER BY questions, accuracy DESC;",
    )


def _tell_how_many(by_method: Mapping[str, list[Row]]) -> str:
    """Return a sentence on how well the embedder does with all questions, and how many make it as good as the best
    baseline with all."""
    *fewer, ours = by_method["embedder"]
    best = max((by_method[method][-1] for method in METHODS[1:]), key=lambda row: row["accuracy"])
    enough = next((row for row in fewer if row["accuracy"] >= best["accuracy"]), None)
    if enough:
        reached = f"reaches with {enough['questions']:,} of them"
    elif ours["accuracy"] >= best["accuracy"]:
        reached = "reaches with all of them"
    else:
        reached = "misses with all of them"
    fewest = f" (with {fewer[0]['questions']:,}, {fewer[0]['accuracy']:.1%})" if fewer else ""
    return (
        f"With all {ours['questions']:,} training questions the embedder forecasts {ours['accuracy']:.1%} of the "
        f"answers right{fewest}, and the best of the baselines, {words(best['method'])}, {best['accuracy']:.1%}, which "
        f"the embedder {reached}."
    )


def _curve(method: str, rows: list[Row], columns: tuple[str, str, str], unit: float) -> Curve:
    """Return a method's curve of the `columns` with the mean and the ends of the intervals, times `unit`."""
    mean, *ends = columns
    low, high = ([None if row[name] is None else unit * row[name] for row in rows] for name in ends)
    return Curve(words(method), [row["questions"] for row in rows], [unit * row[mean] for row in rows], low, high)
