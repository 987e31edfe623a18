"""Questions in other forms: what was forecast next to what came out, and what is lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .drawing import Drawing, finish
from .style import MARKERS, OTHERS, OURS, PALETTE, add_legend, draw_interval, name_rows, plot, words

_FORECAST: dict[str, Any] = {"color": PALETTE[5], "markerfacecolor": "white", "markeredgewidth": 1.6}


def forecast_dumbbells(rows: Sequence[Mapping[str, Any]]) -> Drawing:
    """Draw the routing accuracy with its 95% interval, joined to what was forecast, a line a form from the first row
    down.

    `rows` are one method's of the table `robustness`: form, routing_accuracy, ci_low, ci_high (None: no interval),
    routing_forecast, routing_rate. Nonsense has no accuracy: its forecast is joined to the rate.
    """
    drawn, axes = plot(height=1.3 + 0.34 * len(rows))
    for height, row in enumerate(reversed(rows)):
        right, told = row["routing_accuracy"], 100 * row["routing_forecast"]
        came = 100 * (row["routing_rate"] if right is None else right)
        axes.plot([came, told], [height, height], color=OTHERS, linewidth=1.2, zorder=1)
        style: dict[str, Any] = {"color": OURS, "linewidth": 4, "alpha": 0.35, "solid_capstyle": "butt", "zorder": 2}
        draw_interval(axes, (row["ci_low"], row["ci_high"]), height, unit=100, **style)
        axes.plot(came, height, "s" if right is None else "o", color="black" if right is None else OURS, zorder=3)
        axes.plot(told, height, "D", zorder=4, **_FORECAST)
    axes.plot([], [], "o-", color=OURS, label="answered right, 95% interval")
    axes.plot([], [], "D", label="forecast", **_FORECAST)
    if any(row["routing_accuracy"] is None for row in rows):
        axes.plot([], [], "s", color="black", label="rate of the models chosen (no question)")
    axes.set_xlabel("routed questions (%)")
    name_rows(axes, [words(row["form"]) for row in reversed(rows)])
    add_legend(drawn, "outside upper center", columns=1)
    return finish(drawn)


def loss_changes(rows: Mapping[str, Sequence[Mapping[str, Any]]], *, ours: str) -> Drawing:
    """Draw by how much log-loss rises from the questions as asked, with 95% intervals, by form; a mark a method, `ours`
    in blue.

    `rows` are those of each method in the table `robustness`, the same forms in the same order: form, log_loss_rise,
    log_loss_rise_low, log_loss_rise_high (None: no interval).
    """
    forms = next(iter(rows.values()))
    drawn, axes = plot(height=1.3 + 0.42 * len(forms))
    axes.axvline(0, color="black", linewidth=1, zorder=1)
    others = iter(PALETTE[1:])
    for number, (method, of_method) in enumerate(rows.items()):
        color, marker = OURS if method == ours else next(others), MARKERS[number % len(MARKERS)]
        shift = 0.22 * ((len(rows) - 1) / 2 - number)
        for height, row in enumerate(reversed(of_method)):
            ends = row["log_loss_rise_low"], row["log_loss_rise_high"]
            draw_interval(axes, ends, height + shift, color=color, linewidth=1.8, zorder=2)
            axes.plot(row["log_loss_rise"], height + shift, marker, color=color, markersize=5, zorder=3)
        axes.plot([], [], marker, color=color, label=words(method))
    axes.set_xlabel("log-loss, more than of the same questions\nas asked (nats)")
    name_rows(axes, [words(row["form"]) for row in reversed(forms)])
    add_legend(drawn, "outside upper center", columns=2)
    return finish(drawn)
