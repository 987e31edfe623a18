"""How forecasts improve with training questions, beside the figures the paper reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from assets.embedding.serving import Serving
from assets.figures.curves import Curve, curves
from assets.figures.sections import Picture, Section, refused, rows
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

Row = dict[str, Any]


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
    of = {method: [row for row in found if row["method"] == method] for method in METHODS}
    right = "accuracy on test questions: mean over draws, lowest to highest end of their 95% intervals"
    loss = "log-loss on test questions: mean over draws, and their range"
    return Section(
        TITLE,
        f"{_found(of)} Dashed, and in the last table, are the paper's figures, on "
        "its own 112 models and ten benchmarks: unless the data here are the same, only the shapes compare.",
        [Picture(_accuracy_curves(of), right), Picture(_loss_curves(of), loss)],
        [
            _by_size(of, "accuracy", "accuracy by training questions"),
            _by_size(of, "log_loss", "log-loss by training questions"),
            [{"paper's accuracy by training questions": n} | {m: PAPER[m][n] for m in PAPER} for n in PAPER["mf"]],
        ],
        "SELECT method, questions, count(*) AS draws, avg(accuracy) AS accuracy, stddev(accuracy) AS between_draws\n"
        "FROM latest('forecast_curve')\n"
        "GROUP BY ALL ORDER BY questions, accuracy DESC;",
    )


def _found(of: Mapping[str, list[Row]]) -> str:
    """What the curves show, in a sentence."""
    ours = of["embedder"]
    all_questions, accuracy = ours[-1]["questions"], ours[-1]["accuracy"]
    name = max(METHODS[1:], key=lambda method: of[method][-1]["accuracy"])
    best = of[name][-1]["accuracy"]
    enough = [f"{row['questions']:,}" for row in ours[:-1] if row["accuracy"] >= best]
    reached = f"reaches with {enough[0]}" if enough else "reaches with all" if accuracy >= best else "misses with all"
    fewest = f" (with {ours[0]['questions']:,}, {ours[0]['accuracy']:.1%})" if len(ours) > 1 else ""
    return (
        f"With all {all_questions:,} training questions the embedder forecasts {accuracy:.1%} of the answers right"
        f"{fewest}, and the best of the baselines, {_said(name)}, {best:.1%}, which the embedder {reached} of them."
    )


def _accuracy_curves(of: Mapping[str, list[Row]]) -> str:
    drawn = [_curve(method, rows, ("accuracy", "ci_low", "ci_high"), 100) for method, rows in of.items()]
    published = [
        Curve(f"{method}, the paper's data", list(found), [100 * share for share in found.values()], like=method)
        for method, found in PAPER.items()
    ]
    return curves(
        drawn + published, ours="embedder", x_label=X_LABEL, y_label="accuracy on test questions (%), 95% intervals"
    )


def _loss_curves(of: Mapping[str, list[Row]]) -> str:
    drawn = [_curve(method, rows, ("log_loss", "least", "most"), 1) for method, rows in of.items()]
    return curves(drawn, ours="embedder", x_label=X_LABEL, y_label="log-loss on test questions (nats), range of draws")


def _curve(method: str, rows: list[Row], columns: tuple[str, str, str], unit: float) -> Curve:
    """Of the columns with the mean and the ends of the intervals."""
    mean, *ends = columns
    low, high = ([None if row[name] is None else unit * row[name] for row in rows] for name in ends)
    return Curve(_said(method), [row["questions"] for row in rows], [unit * row[mean] for row in rows], low, high)


def _by_size(of: Mapping[str, list[Row]], measure: str, head: str) -> list[Row]:
    """A row a number of training questions, a column a method."""
    return [
        {head: found[0]["questions"], "draws": found[0]["draws"]}
        | {_said(row["method"]): row[measure] for row in found}
        for found in zip(*of.values(), strict=True)
    ]


def _said(method: str) -> str:
    return method.replace("_", " ")
