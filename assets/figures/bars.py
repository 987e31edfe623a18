"""Methods side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .style import OTHERS, OURS, data_uri, figure


def interval_bars(rows: Sequence[Mapping[str, Any]], *, ours: str, label: str) -> str:
    """Accuracy with its 95% interval, one line a method from the first row down, ours in blue. Returns a data URI.

    `rows` are of the table `forecasts` or `routing`: method, accuracy, ci_low, ci_high (None: no interval).
    """
    drawn = figure(height=0.7 + 0.35 * len(rows))
    axes = drawn.add_subplot()
    for height, row in enumerate(reversed(rows)):
        color, accuracy = OURS if row["method"] == ours else OTHERS, 100 * row["accuracy"]
        if row["ci_low"] is not None:  # one question has no interval
            ends = [100 * row["ci_low"], 100 * row["ci_high"]]
            axes.plot(ends, [height, height], color=color, linewidth=3, solid_capstyle="butt")
        axes.plot(accuracy, height, "o", color=color, markersize=7)
        axes.annotate(f"{accuracy:.1f}", (accuracy, height), (0, 6), textcoords="offset points", ha="center", size=8)
    axes.set_yticks(range(len(rows)), [row["method"].replace("_", " ") for row in reversed(rows)])
    axes.set_ylim(-0.5, len(rows) - 0.2)
    axes.set_xlabel(label)
    axes.grid(axis="x", alpha=0.3)
    return data_uri(drawn)
