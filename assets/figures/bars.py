"""Methods side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .drawing import Drawing, finish
from .style import OTHERS, OURS, draw_interval, name_rows, plot, words, wrapped


def interval_bars(
    rows: Sequence[Mapping[str, Any]],
    *,
    ours: str,
    label: str,
    columns: tuple[str, str, str] = ("accuracy", "ci_low", "ci_high"),
    reference: float | None = None,
) -> Drawing:
    """Draw a share with its 95% interval, in percent, a line a method from the first row down, `ours` in blue.

    `rows` have a method and the `columns`: the share and the ends of its interval (None: no interval). A dashed line
    stands at `reference`.
    """
    share, low, high = columns
    drawn, axes = plot(height=0.8 + 0.42 * len(rows))
    if reference is not None:
        axes.axvline(100 * reference, color="black", linewidth=1, linestyle="--")
    for height, row in enumerate(reversed(rows)):
        color, percent = OURS if row["method"] == ours else OTHERS, 100 * row[share]
        draw_interval(axes, (row[low], row[high]), height, unit=100, color=color, linewidth=3, solid_capstyle="butt")
        axes.plot(percent, height, "o", color=color, markersize=7)
        axes.annotate(f"{percent:.1f}", (percent, height), (0, 6), textcoords="offset points", ha="center")
    name_rows(axes, [words(row["method"]) for row in reversed(rows)])
    axes.set_ylim(-0.5, len(rows) - 0.2)  # with room for the numbers
    axes.set_xlabel(wrapped(label))
    return finish(drawn)
