"""What quality costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from .style import DOLLARS, OTHERS, OURS, PALETTE, data_uri, figure, parameters

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CURVES = {"router": (OURS, "-"), "best_per_benchmark": (PALETTE[1], "--"), "best_single": ("#000000", ":")}
_MOST_NAMES = 8
_LONGEST_NAME = 32

Rows = Sequence[Mapping[str, Any]]


def cost_quality_curves(rows: Rows) -> str:
    """Accuracy by mean cost of each method with the router's 95% interval, and the single models; the Pareto-optimal
    ones are numbered and named. Returns a data URI.

    `rows` are of the table `cost_curve`: method, model, cost_weight, accuracy, ci_low, ci_high, mean_cost, cost_unit,
    pareto; those of a method by their cost weight.
    """
    models = [row for row in rows if row["method"] == "model"]
    pareto = sorted((row for row in models if row["pareto"]), key=_place)
    named = _spread(pareto)
    drawn = figure(height=4.8 + 0.2 * ((len(named) + 1) // 2))
    axes = drawn.add_subplot()
    for method, (color, dashes) in _CURVES.items():
        _curve(axes, [row for row in rows if row["method"] == method], color, dashes)
    _dots(axes, [row for row in models if not row["pareto"]], "o", 4, OTHERS, "a single model")
    _dots(axes, pareto, "D", 6, PALETTE[2], "a Pareto-optimal one")
    best = next(row for row in rows if row["method"] == "best_single" and row["cost_weight"] == 0)
    _dots(axes, [best], "*", 15, PALETTE[5], "the single best on train")
    _number(axes, named)
    _name_axes(axes, rows)
    legend = drawn.legend(loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)  # a name may have dollars
    return data_uri(drawn)


def _curve(axes: Axes, points: Rows, color: str, dashes: str) -> None:
    """Between two points questions are divided among both, so that the mean cost grows evenly, also on a log axis."""
    accuracy, low, high = (
        np.array([row[name] for row in points], float) * 100 for name in ("accuracy", "ci_low", "ci_high")
    )
    between = np.linspace(0, len(points) - 1, 1 + 20 * (len(points) - 1))
    cost, accuracy, low, high = (
        np.interp(between, np.arange(len(points)), values)
        for values in (np.array([row["mean_cost"] for row in points]), accuracy, low, high)
    )
    name = points[0]["method"]
    axes.plot(cost, accuracy, dashes, color=color, linewidth=2, label=name.replace("_", " "), zorder=3)
    if name == "router":
        axes.fill_between(cost, low, high, color=color, alpha=0.15, linewidth=0, label="its 95% interval")


def _dots(axes: Axes, rows: Rows, marker: str, size: float, color: str, label: str) -> None:
    x, y = [row["mean_cost"] for row in rows], [100 * row["accuracy"] for row in rows]
    style: dict[str, Any] = {"linestyle": "", "markeredgecolor": "white", "markeredgewidth": 0.5, "zorder": 4}
    axes.plot(x, y, marker, markersize=size, color=color, label=label, **style)


def _number(axes: Axes, named: Rows) -> None:
    """Beside the dots, and with the names in the legend."""
    for number, row in enumerate(named, 1):
        marker = f"${number}$"
        axes.plot([], [], linestyle="", marker=marker, color="black", markersize=7, label=_short(row["model"]))
    for (cost, accuracy), together in groupby(enumerate(named, 1), lambda numbered: _place(numbered[1])):
        numbers = ", ".join(str(number) for number, _ in together)
        axes.annotate(numbers, (cost, 100 * accuracy), (-5, 5), textcoords="offset points", ha="right", zorder=6)


def _name_axes(axes: Axes, rows: Rows) -> None:
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


def _spread(rows: Rows) -> Rows:
    """As many as there is room for, evenly spread, both ends among them."""
    if len(rows) <= _MOST_NAMES:
        return rows
    return [rows[round(at)] for at in np.linspace(0, len(rows) - 1, _MOST_NAMES)]


def _short(name: str) -> str:
    """Names of models differ at both ends."""
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 13]}…{name[-12:]}"
