"""What remains of routing when a model is down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from assets.embedding.serving import Serving
from assets.figures.bars import interval_bars
from assets.figures.drawing import Drawing
from assets.figures.sections import Picture, Section, pivot, refused, rows

from .experiment import Result, experiment, overall_figures

TITLE = "Who stands in for a model that is down?"


def tabulate_fallbacks(serving: Serving, seed: int) -> Result:
    """A row is a model that the router uses and a way to replace it: how many right answers remain?"""
    from embedder.downstream.fallbacks import find_fallbacks

    table = find_fallbacks(serving.matrix, serving.test_forecast, serving.embeddings, serving.version, seed=seed)
    return Result({"fallbacks": table}, describe(table), overall_figures(table, "loss", over="model"))


fallbacks = experiment(tabulate_fallbacks, name="fallbacks", kinds={"scipy"}, code_version="3")


def describe(table: pa.Table) -> Section:
    """Return the report's section on the table `fallbacks`."""
    overall = rows(
        {"fallbacks": table},
        "SELECT method, n, accuracy_before, accuracy, ci_low, ci_high, loss, loss_low, loss_high, reason "
        "FROM fallbacks WHERE model = 'all' ORDER BY loss, method",
    )
    if reason := refused(TITLE, overall):
        return reason
    most_used = rows(
        {"fallbacks": table},
        f"SELECT model, n, accuracy_before, {pivot('fallback', 'nearest')}, "
        "any_value(distance) FILTER (method = 'nearest') AS distance, "
        f"{pivot('accuracy', 'reroute', 'nearest', 'best_single', 'random', prefix='accuracy_')} "
        "FROM fallbacks WHERE model <> 'all' AND reason IS NULL GROUP BY model, n, accuracy_before "
        "ORDER BY n DESC, model",
    )
    first, accuracy = overall[0], {row["method"]: row["accuracy"] for row in overall}
    return Section(
        TITLE,
        f"{first['accuracy_before']:.1%} of {first['n']:,} test questions are answered right by the model they are "
        f"sent to. If that model were down, {accuracy['reroute']:.1%} would be answered right by the router's next "
        f"choice, {accuracy['nearest']:.1%} by the model with the nearest embedding, {accuracy['best_single']:.1%} by "
        f"the best other model (on training questions) and {accuracy['random']:.1%} by a random one.",
        [Picture.of(lost_points(overall), "right answers lost when a model is down, by what replaces it")],
        [overall, most_used],
        "SELECT model, fallback, distance, n, accuracy_before, accuracy FROM fallbacks\n"
        "WHERE method = 'nearest' AND model <> 'all'\n"
        "ORDER BY n DESC;",
        "nearest",
    )


def lost_points(rows: Sequence[Mapping[str, Any]]) -> Drawing:
    """Draw the loss by method, with a line where nothing is lost."""
    label = (
        "right answers lost when the model is down\n"
        f"(percentage points of {rows[0]['accuracy_before']:.1%} with no model down, 95% interval)"
    )
    return interval_bars(rows, ours="nearest", label=label, columns=("loss", "loss_low", "loss_high"), reference=0)
