"""What quality costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from .drawing import Drawing, finish
from .style import DOLLARS, OTHERS, OURS, PALETTE, add_legend, parameters, plot, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

_CURVES = {"router": (OURS, "-"), "best_per_benchmark": (PALETTE[1], "--"), "best_single": ("#000000", ":")}
_MOST_NAMES = 8
_LONGEST_NAME = 32

Rows = Sequence[Mapping[str, Any]]


def cost_quality_curves(rows: Rows) -> Drawing:
    """Draw the accuracy by mean cost of each method with the router's 95% interval, and the single models; the
    Pareto-optimal ones are numbered and named.

    `rows` are of the table `cost_curve`: method, model, cost_weight, accuracy, ci_low, ci_high, mean_cost, cost_unit,
    pareto; those of a method by their cost weight.
    """
    models = [row for row in rows if row["method"] == "model"]
    pareto = sorted((row for row in models if row["pareto"]), key=_place)
    named = pareto
    if len(pareto) > _MOST_NAMES:  # as many as there is room for, evenly spread, both ends among them
        named = [pareto[round(at)] for at in np.linspace(0, len(pareto) - 1, _MOST_NAMES)]
    drawn, axes = plot(height=5.2 + 0.2 * len(named))
    for method, (color, dashes) in _CURVES.items():
        _draw_curve(axes, [row for row in rows if row["method"] == method], color, dashes)
    others = [row for row in models if not row["pareto"]]
    told = {
        _draw_dots(axes, others, "o", 4, OTHERS, "a single model"): [_tell(row) for row in others],
        _draw_dots(axes, pareto, "D", 6, PALETTE[2], "a Pareto-optimal one"): [_tell(row) for row in pareto],
    }
    best = next(row for row in rows if row["method"] == "best_single" and row["cost_weight"] == 0)
    _draw_dots(axes, [best], "*", 15, PALETTE[5], "the single best on train")
    _number_dots(axes, named)
    _label_axes(axes, rows)
    add_legend(drawn, "outside lower center", columns=1)
    return finish(drawn, told)


def _draw_curve(axes: Axes, points: Rows, color: str, dashes: str) -> None:
    """Between two points questions are divided among both, so that the mean cost grows evenly, also on a log axis."""
    between = np.linspace(0, len(points) - 1, 1 + 20 * (len(points) - 1))
    cost, accuracy, low, high = (
        np.interp(between, np.arange(len(points)), unit * np.array([row[name] for row in points], float))
        for name, unit in (("mean_cost", 1), ("accuracy", 100), ("ci_low", 100), ("ci_high", 100))
    )
    name = points[0]["method"]
    axes.plot(cost, accuracy, dashes, color=color, linewidth=2, label=words(name), zorder=3)
    if name == "router":
        axes.fill_between(cost, low, high, color=color, alpha=0.15, linewidth=0, label="its 95% interval")


def _draw_dots(axes: Axes, rows: Rows, marker: str, size: float, color: str, label: str) -> Line2D:
    x, y = [row["mean_cost"] for row in rows], [100 * row["accuracy"] for row in rows]
    style: dict[str, Any] = {"linestyle": "", "markeredgecolor": "white", "markeredgewidth": 0.5, "zorder": 4}
    (dots,) = axes.plot(x, y, marker, markersize=size, color=color, label=label, **style)
    return dots


def _tell(row: Mapping[str, Any]) -> str:
    cost = f"US${1000 * row['mean_cost']:.3g} for 1,000 questions"
    if row["cost_unit"] != DOLLARS:
        cost = f"{parameters(row['mean_cost'])} parameters"
    return f"{row['model']}: {row['accuracy']:.1%} right, {cost}"


def _number_dots(axes: Axes, named: Rows) -> None:
    """Write numbers next to the dots, and with the names into the legend."""
    for number, row in enumerate(named, 1):
        name = row["model"]
        if len(name) > _LONGEST_NAME:  # names of models differ at both ends
            name = f"{name[: _LONGEST_NAME - 13]}…{name[-12:]}"
        axes.plot([], [], linestyle="", marker=f"${number}$", color="black", markersize=7, label=name)
    for (cost, accuracy), together in groupby(enumerate(named, 1), lambda numbered: _place(numbered[1])):
        numbers = ", ".join(str(number) for number, _ in together)
        axes.annotate(numbers, (cost, 100 * accuracy), (-5, 5), textcoords="offset points", ha="right", zorder=6)


def _label_axes(axes: Axes, rows: Rows) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = min(row["mean_cost"] for row in rows), max(row["mean_cost"] for row in rows)
    if 0 < low < high / 10:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    if rows[0]["cost_unit"] == DOLLARS:
        axes.set_xlabel("mean cost of 1,000 questions (US$)")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda cost, _: f"{1000 * cost:g}"))
    else:
        axes.set_xlabel("mean cost of a question (parameters of the model)")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda cost, _: parameters(cost)))
    axes.set_ylabel("right answers on test questions (%)")
    axes.margins(y=0.08)  # room for numbers
    axes.grid(alpha=0.3)


def _place(row: Mapping[str, Any]) -> tuple[float, float]:
    return row["mean_cost"], row["accuracy"]
