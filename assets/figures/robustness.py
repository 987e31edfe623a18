"""Questions in other forms: what was forecast beside what came, and what is lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .style import MARKERS, OTHERS, OURS, PALETTE, data_uri, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FORECAST = PALETTE[5]


def forecast_dumbbells(rows: Sequence[Mapping[str, Any]]) -> str:
    """Routing accuracy with its 95% interval, joined to what was forecast, one line a form from the first row down.
    Returns a data URI.

    `rows` are one method's of the table `robustness`: form, routing_accuracy, ci_low, ci_high (None: no interval),
    routing_forecast, routing_rate. Nonsense has no accuracy: its forecast is joined to the rate.
    """
    drawn = figure(height=1.3 + 0.34 * len(rows))
    axes = drawn.add_subplot()
    for height, row in enumerate(reversed(rows)):
        right, told = row["routing_accuracy"], 100 * row["routing_forecast"]
        came = 100 * (row["routing_rate"] if right is None else right)
        axes.plot([came, told], [height, height], color=OTHERS, linewidth=1.2, zorder=1)
        if row["ci_low"] is not None:
            ends = [100 * row["ci_low"], 100 * row["ci_high"]]
            axes.plot(ends, [height, height], color=OURS, linewidth=4, alpha=0.35, solid_capstyle="butt", zorder=2)
        axes.plot(came, height, "s" if right is None else "o", color="black" if right is None else OURS, zorder=3)
        axes.plot(told, height, "D", color=_FORECAST, markerfacecolor="white", markeredgewidth=1.6, zorder=4)
    axes.plot([], [], "o-", color=OURS, label="answered right, 95% interval")
    axes.plot([], [], "D", color=_FORECAST, markerfacecolor="white", markeredgewidth=1.6, label="forecast")
    if any(row["routing_accuracy"] is None for row in rows):
        axes.plot([], [], "s", color="black", label="rate of the models chosen (no question)")
    axes.set_xlabel("routed questions (%)")
    return _finished(drawn, axes, rows)


def loss_changes(rows: Mapping[str, Sequence[Mapping[str, Any]]], *, ours: str) -> str:
    """What log-loss rises by from the questions as asked, with 95% intervals, by form; a mark a method, `ours` in blue.
    Returns a data URI.

    `rows` are those of each method in the table `robustness`, the same forms in the same order: form, log_loss_rise,
    log_loss_rise_low, log_loss_rise_high (None: no interval).
    """
    forms = next(iter(rows.values()))
    drawn = figure(height=1.3 + 0.42 * len(forms))
    axes = drawn.add_subplot()
    axes.axvline(0, color="black", linewidth=1, zorder=1)
    others = iter(PALETTE[1:])
    for number, (method, of_method) in enumerate(rows.items()):
        color, marker = OURS if method == ours else next(others), MARKERS[number % len(MARKERS)]
        shift = 0.22 * ((len(rows) - 1) / 2 - number)
        for height, row in enumerate(reversed(of_method)):
            if row["log_loss_rise_low"] is not None:
                ends = [row["log_loss_rise_low"], row["log_loss_rise_high"]]
                axes.plot(ends, [height + shift] * 2, color=color, linewidth=1.8, zorder=2)
            axes.plot(row["log_loss_rise"], height + shift, marker, color=color, markersize=5, zorder=3)
        axes.plot([], [], marker, color=color, label=method.replace("_", " "))
    axes.set_xlabel("log-loss, more than of the same questions as asked (nats)")
    return _finished(drawn, axes, forms)


def _finished(drawn: Figure, axes: Axes, rows: Sequence[Mapping[str, Any]]) -> str:
    """With a form a line, and what the marks mean above."""
    axes.set_yticks(range(len(rows)), [row["form"].replace("_", " ") for row in reversed(rows)])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.grid(axis="x", alpha=0.3)
    drawn.legend(loc="outside upper center", ncols=3, fontsize=8, frameon=False)
    return data_uri(drawn)
