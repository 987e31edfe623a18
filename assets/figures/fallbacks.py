"""What is lost when a model is down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .style import OTHERS, OURS, data_uri, figure


def lost_points(rows: Sequence[Mapping[str, Any]], *, ours: str) -> str:
    """Loss with its 95% interval, one line a method from the first row down, beside nothing lost. Returns a data URI.

    `rows` are of the table `fallbacks`: method, accuracy_before, loss, loss_low, loss_high (None: no interval).
    """
    drawn = figure(height=0.9 + 0.4 * len(rows))
    axes = drawn.add_subplot()
    axes.axvline(0, color="black", linewidth=1, linestyle="--")
    for height, row in enumerate(reversed(rows)):
        color, loss = OURS if row["method"] == ours else OTHERS, 100 * row["loss"]
        if row["loss_low"] is not None:  # one question has no interval
            ends = [100 * row["loss_low"], 100 * row["loss_high"]]
            axes.plot(ends, [height, height], color=color, linewidth=3, solid_capstyle="butt")
        axes.plot(loss, height, "o", color=color, markersize=7)
        axes.annotate(f"{loss:.1f}", (loss, height), (0, 6), textcoords="offset points", ha="center", size=8)
    axes.set_yticks(range(len(rows)), [row["method"].replace("_", " ") for row in reversed(rows)])
    axes.set_ylim(-0.5, len(rows) - 0.2)
    axes.set_xlabel(
        "right answers lost when the model is down\n"
        f"(percentage points of {rows[0]['accuracy_before']:.1%} with no model down, 95% interval)"
    )
    axes.grid(axis="x", alpha=0.3)
    return data_uri(drawn)
