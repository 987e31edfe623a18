"""Methods side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .style import OTHERS, OURS, data_uri, figure


def interval_bars(
    rows: Sequence[Mapping[str, Any]],
    *,
    ours: str,
    label: str,
    columns: tuple[str, str, str] = ("accuracy", "ci_low", "ci_high"),
    reference: float | None = None,
) -> str:
    """A share with its 95% interval, in percent, one line a method from the first row down, ours in blue. Returns a
    data URI.

    `rows` have a method and the `columns`: the share and the ends of its interval (None: no interval). At `reference`
    stands a dashed line.
    """
    share, low, high = columns
    drawn = figure(height=0.8 + 0.38 * len(rows))
    axes = drawn.add_subplot()
    if reference is not None:
        axes.axvline(100 * reference, color="black", linewidth=1, linestyle="--")
    for height, row in enumerate(reversed(rows)):
        color, percent = OURS if row["method"] == ours else OTHERS, 100 * row[share]
        if row[low] is not None:  # one question has no interval
            ends = [100 * row[low], 100 * row[high]]
            axes.plot(ends, [height, height], color=color, linewidth=3, solid_capstyle="butt")
        axes.plot(percent, height, "o", color=color, markersize=7)
        axes.annotate(f"{percent:.1f}", (percent, height), (0, 6), textcoords="offset points", ha="center", size=8)
    axes.set_yticks(range(len(rows)), [row["method"].replace("_", " ") for row in reversed(rows)])
    axes.set_ylim(-0.5, len(rows) - 0.2)
    axes.set_xlabel(label)
    axes.grid(axis="x", alpha=0.3)
    return data_uri(drawn)
