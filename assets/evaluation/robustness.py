"""Whether questions are recognised in other forms than those they were learnt from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from assets.embedding.serving import Serving
from assets.figures.robustness import forecast_dumbbells, loss_changes
from assets.figures.sections import Picture, Section, refused
from assets.inputs.workspace import Progress, silent

from .experiment import Result, experiment

if TYPE_CHECKING:
    from embedder.lazy_encoder import LazyEncoder

TITLE = "Is a question recognised in another form?"
FOUND = (
    "As they were asked, {n:,} test questions are routed to models that answer {right:.1%} of them right, at a "
    "forecast of {forecast:.1%}. "
)
LOST = (
    "Of {forms} other forms, routing loses most in the form {worst}: {worst_right:.1%} right (the same ones as asked: "
    "{worst_asked:.1%}), at a forecast of {worst_forecast:.1%}; KNN, which sees nothing but sentence vectors, has "
    "{knn:.1%} there. "
)
NOTHING_LOST = "In none of {forms} other forms are fewer routed right. "
ALIKE = "No other form changes a question here. "
NONSENSE = (
    "To texts that are no question at all, the models chosen are given {forecast:.1%}; on training questions they were "
    "right about {rate:.1%}. "
)
CAVEAT = (
    "Answers are those to the questions as they were asked: what models would answer to the other forms is not known. "
    "Forms that change no question have no row."
)
AS_ASKED = "as_asked"
METHODS = ("embedder", "mf", "knn", "model_benchmark_mean", "model_mean")
BY_TEXT = METHODS[:3]  # the others do not read it, and never change

Row = dict[str, Any]


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
    rows = [row for row in recorded if row["reason"] is None]
    by_method = {method: [row for row in rows if row["method"] == method] for method in METHODS}
    ours = by_method["embedder"]
    changed = {
        method: [row for row in by_method[method] if row["changed"] is not None and row["form"] != AS_ASKED]
        for method in BY_TEXT
    }
    right = "routed test questions in each form: answered right with 95% interval, and forecast"
    loss = "what log-loss rises by in each form, with 95% intervals, by method"
    pictures = [Picture(forecast_dumbbells(ours), right)]
    if changed["embedder"]:
        pictures.append(Picture(loss_changes(changed, ours="embedder"), loss))
    return Section(
        TITLE,
        _found(ours, changed["embedder"], changed["knn"]) + CAVEAT,
        pictures,
        [
            [_of_embedder(row) for row in ours if row["changed"] is not None],
            _by_form(by_method, "routing_accuracy", "routed right, by form"),
            _by_form(by_method, "log_loss", "log-loss, by form"),
            [_of_nonsense(row) for row in rows if row["changed"] is None and row["method"] in BY_TEXT],
        ],
        "SELECT form, method, changed, routing_accuracy, routing_forecast, overconfidence, log_loss_rise\n"
        "FROM latest('robustness')\n"
        "WHERE method IN ('embedder', 'mf', 'knn') AND changed > 0 ORDER BY log_loss_rise DESC, form, method;",
    )


def _found(ours: list[Row], changed: list[Row], knn: list[Row]) -> str:
    """What the rows of the embedder show, in sentences; `changed` and `knn` are of the forms that change something."""
    first = ours[0]
    nonsense = [row for row in ours if row["changed"] is None]
    mean = {name: sum(row[name] for row in nonsense) / len(nonsense) for name in ("routing_forecast", "routing_rate")}
    told = NONSENSE.format(forecast=mean["routing_forecast"], rate=mean["routing_rate"])
    if not changed:
        return ALIKE + told
    worst = max(changed, key=lambda row: row["routing_loss"])
    said = FOUND.format(n=first["n"], right=first["routing_accuracy"], forecast=first["routing_forecast"])
    if worst["routing_loss"] <= 0:
        return said + NOTHING_LOST.format(forms=len(changed)) + told
    said += LOST.format(
        forms=len(changed),
        worst=_said(worst["form"]),
        worst_right=worst["routing_accuracy"],
        worst_asked=worst["asked_routing_accuracy"],
        worst_forecast=worst["routing_forecast"],
        knn=knn[changed.index(worst)]["routing_accuracy"],
    )
    return said + told


def _of_embedder(row: Row) -> Row:
    return {
        "form": _said(row["form"]),
        "changed": row["changed"],
        "n": row["n"],
        "right": row["routing_accuracy"],
        "as asked": row["asked_routing_accuracy"],
        "forecast": row["routing_forecast"],
        "too sure": row["overconfidence"],
        "log-loss": row["log_loss"],
        "log-loss as asked": row["asked_log_loss"],
        "ECE": row["ece"],
    }


def _of_nonsense(row: Row) -> Row:
    return {
        "no question": _said(row["form"]),
        "method": _said(row["method"]),
        "forecast of the models chosen": row["routing_forecast"],
        "their rate": row["routing_rate"],
        "mean forecast": row["mean_forecast"],
        "mean rate": row["mean_rate"],
    }


def _by_form(by_method: Mapping[str, list[Row]], measure: str, head: str) -> list[Row]:
    """A row a form, a column a method."""
    return [
        {head: _said(found[0]["form"])} | {_said(row["method"]): row[measure] for row in found}
        for found in zip(*by_method.values(), strict=True)
        if found[0][measure] is not None
    ]


def _said(name: str) -> str:
    return name.replace("_", " ")
