"""Kinds of models beside what chance would give: how near they lie, and how well they are told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .style import OTHERS, OURS, data_uri, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CHANCE = "#D8D8D8"


def ratio_dots(rows: Sequence[Mapping[str, Any]]) -> str:
    """Ratio of the distances inside to those outside, the lowest first, with the range of chance. Returns a data URI.

    `rows` are of the table `communities`: kind, label, models, ratio, chance_low, chance_high.
    """
    drawn = figure(height=1.3 + 0.24 * len(rows))
    axes = drawn.add_subplot()
    ordered = sorted(rows, key=lambda row: (-row["ratio"], row["kind"], row["label"]))
    for height, row in enumerate(ordered):
        ends = [row["chance_low"], row["chance_high"]]
        axes.plot(ends, [height] * 2, color=_CHANCE, linewidth=9, solid_capstyle="butt", zorder=1)
        axes.plot(row["ratio"], height, "o", color=OURS, markersize=6, zorder=3)
    axes.plot([], [], color=_CHANCE, linewidth=9, label="95% of random groups of as many models")
    axes.plot([], [], "o", color=OURS, markersize=6, label="observed")
    axes.axvline(1, color=OTHERS, linewidth=1, zorder=2)
    names = [_name(row["label"], f"{row['kind']}, {row['models']}") for row in ordered]
    axes.set_xlabel("mean distance inside / mean distance to the outside\n(below 1: nearer to each other)")
    return _finished(drawn, axes, names)


def score_dots(rows: Sequence[Mapping[str, Any]]) -> str:
    """Score of each probe with its 95% interval and a stroke where guessing is, the best first. Returns a data URI.

    `rows` are of the table `probes`: target, method, models, score, ci_low, ci_high, chance.
    """
    drawn = figure(height=1.3 + 0.26 * len(rows))
    axes = drawn.add_subplot()
    ordered = sorted(rows, key=lambda row: (row["score"], row["target"], row["method"]))
    for height, row in enumerate(ordered):
        ends = [row["ci_low"], row["ci_high"]]
        axes.plot(ends, [height] * 2, color=OURS, linewidth=2.5, solid_capstyle="butt", zorder=2)
        axes.plot(row["score"], height, "o", color=OURS, markersize=6, zorder=3)
        axes.plot([row["chance"]] * 2, [height - 0.38, height + 0.38], color="black", linewidth=1.6, zorder=1)
    axes.plot([], [], "o-", color=OURS, linewidth=2.5, markersize=6, label="score, 95% interval")
    axes.plot([], [], color="black", linewidth=1.6, label="guessing")
    axes.set_xlabel("score on models left out:\nbalanced accuracy, or what the brackets say")
    return _finished(drawn, axes, [_name(row["target"], _measure(row)) for row in ordered])


def _measure(row: Mapping[str, Any]) -> str:
    return "" if row["metric"] == "balanced accuracy" else row["metric"]


def _name(name: str, said: str) -> str:
    short = name if len(name) <= 24 else f"{name[:23]}…"
    return f"{short} ({said})" if said else short


def _finished(drawn: Figure, axes: Axes, names: list[str]) -> str:
    """With a name a line, and what the marks mean above."""
    axes.set_yticks(range(len(names)), names, parse_math=False)  # a name may have dollars
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.grid(axis="x", alpha=0.3)
    drawn.legend(loc="outside upper center", ncols=2, fontsize=9, frameon=False)
    return data_uri(drawn)
