"""Kinds of models next to chance: how near their models lie to each other, and how well they can be predicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .drawing import Drawing, finish
from .style import OTHERS, OURS, add_legend, draw_interval, name_rows, plot

_CHANCE = "#D8D8D8"


def ratio_dots(rows: Sequence[Mapping[str, Any]]) -> Drawing:
    """Draw the ratio of the distances inside to those outside, the lowest first, with the range of chance.

    `rows` are of the table `communities`: kind, label, models, ratio, chance_low, chance_high.
    """
    drawn, axes = plot(height=1.3 + 0.24 * len(rows))
    ordered = sorted(rows, key=lambda row: (-row["ratio"], row["kind"], row["label"]))
    chance: dict[str, Any] = {"color": _CHANCE, "linewidth": 9}
    for height, row in enumerate(ordered):
        ends = row["chance_low"], row["chance_high"]
        draw_interval(axes, ends, height, solid_capstyle="butt", zorder=1, **chance)
        axes.plot(row["ratio"], height, "o", color=OURS, markersize=6, zorder=3)
    axes.plot([], [], label="95% of random groups of as many models", **chance)
    axes.plot([], [], "o", color=OURS, markersize=6, label="observed")
    axes.axvline(1, color=OTHERS, linewidth=1, zorder=2)
    axes.set_xlabel("mean distance inside / outside\n(below 1: nearer to each other)")
    name_rows(axes, [_shorten(row["label"], f"{row['kind']}, {row['models']}") for row in ordered])
    add_legend(drawn, "outside upper center", columns=1)
    return finish(drawn)


def score_dots(rows: Sequence[Mapping[str, Any]]) -> Drawing:
    """Draw the score of each probe with its 95% interval and a stroke where guessing is, the best first.

    `rows` are of the table `probes`: target, method, models, score, ci_low, ci_high, chance.
    """
    drawn, axes = plot(height=1.3 + 0.26 * len(rows))
    ordered = sorted(rows, key=lambda row: (row["score"], row["target"], row["method"]))
    for height, row in enumerate(ordered):
        ends = row["ci_low"], row["ci_high"]
        draw_interval(axes, ends, height, color=OURS, linewidth=2.5, solid_capstyle="butt", zorder=2)
        axes.plot(row["score"], height, "o", color=OURS, markersize=6, zorder=3)
        axes.plot([row["chance"]] * 2, [height - 0.38, height + 0.38], color="black", linewidth=1.6, zorder=1)
    axes.plot([], [], "o-", color=OURS, linewidth=2.5, markersize=6, label="score, 95% interval")
    axes.plot([], [], color="black", linewidth=1.6, label="guessing")
    axes.set_xlabel("score on models left out: balanced\naccuracy, or what the brackets say")
    metrics = ["" if row["metric"] == "balanced accuracy" else row["metric"] for row in ordered]
    name_rows(axes, [_shorten(row["target"], metric) for row, metric in zip(ordered, metrics, strict=True)])
    add_legend(drawn, "outside upper center", columns=1)
    return finish(drawn)


def _shorten(name: str, detail: str) -> str:
    short = name if len(name) <= 24 else f"{name[:23]}…"
    return f"{short} ({detail})" if detail else short
