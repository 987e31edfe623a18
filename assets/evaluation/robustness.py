"""Whether questions are recognised in other forms than those that were learnt from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from assets.embedding.serving import Serving
from assets.figures.robustness import forecast_dumbbells, loss_changes
from assets.figures.sections import Picture, Row, Section, refused, side_by_side
from assets.figures.style import words
from assets.inputs.workspace import Progress, silent

from .experiment import Result, experiment

if TYPE_CHECKING:
    from embedder.lazy_encoder import LazyEncoder

TITLE = "Is a question recognised in another form?"
CAVEAT = (
    "Answers are those to the questions as they were asked: what models would answer to the other forms is not known. "
    "Forms that change no question have no row."
)
AS_ASKED = "as_asked"
METHODS = ("embedder", "mf", "knn", "model_benchmark_mean", "model_mean")
BY_TEXT = METHODS[:3]  # the others do not read it, and never change
SQL = """\
SELECT form, method, changed, routing_accuracy, routing_forecast, overconfidence, log_loss_rise
FROM robustness
WHERE method IN ('embedder', 'mf', 'knn') AND changed > 0 ORDER BY log_loss_rise DESC, form, method;"""
SHOWN = {  # of the embedder, by form: title of a column in the report, and its name in the table
    "form": "form",
    "changed": "changed",
    "n": "n",
    "right": "routing_accuracy",
    "as asked": "asked_routing_accuracy",
    "forecast": "routing_forecast",
    "too sure": "overconfidence",
    "log-loss": "log_loss",
    "log-loss as asked": "asked_log_loss",
    "ECE": "ece",
}
SHOWN_OF_NONSENSE = {
    "no question": "form",
    "method": "method",
    "forecast of the models chosen": "routing_forecast",
    "their rate": "routing_rate",
    "mean forecast": "mean_forecast",
    "mean rate": "mean_rate",
}


def reword_questions(serving: Serving, encoder: LazyEncoder, seed: int, progress: Progress = silent) -> Result:
    """A row is how one method routes and forecasts test questions in another form: without options, on one line, in a
    chat message, as people type them."""
    from embedder.baselines.knn import KNN
    from embedder.baselines.mf import MatrixFactorization
    from embedder.baselines.rates import ModelBenchmarkMean, ModelMean
    from embedder.downstream.robustness import measure_robustness

    table = measure_robustness(
        serving.matrix,
        serving.questions,
        serving.embedder,
        [MatrixFactorization(), KNN(), ModelBenchmarkMean(), ModelMean()],
        lambda texts: encoder.encode(texts, progress=False),
        serving.version,
        seed=seed,
        progress=progress,
    )
    ours = {row["form"]: row for row in table.to_pylist() if row["method"] == "embedder"}
    figures = {
        f"{name}_{form}": round(row[name], 4)
        for form, row in ours.items()
        for name in ("routing_accuracy", "overconfidence")
        if row[name] is not None
    }
    return Result({"robustness": table}, describe(table), figures)


robustness = experiment(reword_questions, name="robustness", kinds={"scikitlearn"}, code_version="2", expensive=True)


def describe(table: pa.Table) -> Section:
    """Return the report's section on the table `robustness`."""
    recorded = table.to_pylist()
    if reason := refused(TITLE, recorded):
        return reason
    rows = [row | {"form": words(row["form"])} for row in recorded if row["reason"] is None]
    questions = [row for row in rows if row["changed"] is not None]
    nonsense = [row for row in rows if row["changed"] is None]
    by_method = {method: [row for row in questions if row["method"] == method] for method in METHODS}
    ours = by_method["embedder"]
    changed = {method: [row for row in by_method[method] if row["form"] != words(AS_ASKED)] for method in BY_TEXT}
    right = "routed test questions in each form: answered right with 95% interval, and forecast"
    loss = "what log-loss rises by in each form, with 95% intervals, by method"
    pictures = [Picture.of(forecast_dumbbells([row for row in rows if row["method"] == "embedder"]), right)]
    if changed["embedder"]:
        pictures.append(Picture.of(loss_changes(changed, ours="embedder"), loss))
    return Section(
        TITLE,
        " ".join([*_tell_losses(ours[0], changed), _tell_nonsense(nonsense), CAVEAT]),
        pictures,
        [
            [{title: row[name] for title, name in SHOWN.items()} for row in ours],
            side_by_side(by_method, "routing_accuracy", {"routed right, by form": "form"}),
            side_by_side(by_method, "log_loss", {"log-loss, by form": "form"}),
            [
                {title: row[name] for title, name in SHOWN_OF_NONSENSE.items()}
                for row in nonsense
                if row["method"] in BY_TEXT
            ],
        ],
        SQL,
    )


def _tell_losses(first: Row, changed: Mapping[str, Sequence[Row]]) -> list[str]:
    """Return sentences on the questions as asked, the `first` row, and on the form in which routing loses most."""
    ours = changed["embedder"]
    if not ours:
        return ["No other form changes a question here."]
    sentences = [
        f"As they were asked, {first['n']:,} test questions are routed to models that answer "
        f"{first['routing_accuracy']:.1%} of them right, at a forecast of {first['routing_forecast']:.1%}."
    ]
    worst = max(ours, key=lambda row: row["routing_loss"])
    knn = changed["knn"][ours.index(worst)]
    if worst["routing_loss"] <= 0:
        sentences.append(f"In none of {len(ours)} other forms are fewer routed right.")
    else:
        sentences.append(
            f"Of {len(ours)} other forms, routing loses most in the form {worst['form']}: "
            f"{worst['routing_accuracy']:.1%} right (the same questions as asked: "
            f"{worst['asked_routing_accuracy']:.1%}), at a forecast of {worst['routing_forecast']:.1%}; KNN, which "
            f"sees nothing but sentence vectors, has {knn['routing_accuracy']:.1%} there."
        )
    return sentences


def _tell_nonsense(nonsense: Sequence[Row]) -> str:
    """Return a sentence on how likely the embedder takes right answers to texts that are no question."""
    ours = [row for row in nonsense if row["method"] == "embedder"]
    forecast, rate = (sum(row[name] for row in ours) / len(ours) for name in ("routing_forecast", "routing_rate"))
    return (
        f"For texts that are no question at all, the models chosen are forecast {forecast:.1%} right answers; on "
        f"training questions they were right about {rate:.1%}."
    )
