"""Are probabilities what they say? What was forecast next to what came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .drawing import Drawing, finish
from .style import MARKERS, OURS, PALETTE, figure, words

_APART = 0.7  # percentage points, so that the methods' intervals stand side by side


def reliability_diagram(rows: Sequence[Mapping[str, Any]], *, ours: str, bins: int) -> Drawing:
    """Draw the share of right answers by forecast probability with 95% intervals, and below it how many forecasts lie
    in each of the `bins`.

    `rows` are of the table `reliability`: method, bin, n, probability, accuracy, ci_low, ci_high (None: no interval).
    Methods come in the order of their first rows, `ours` in blue.
    """
    page = figure(height=6.2)
    above, below = page.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 100], [0, 100], color="black", linewidth=1, linestyle=(0, (4, 2)), label="as forecast")
    methods = list(dict.fromkeys(row["method"] for row in rows))
    colors = iter(PALETTE[1:])
    for number, method in enumerate(methods):
        color = OURS if method == ours else next(colors)
        shift = _APART * (number - (len(methods) - 1) / 2)
        own = [row for row in rows if row["method"] == method]
        at = [100 * row["probability"] + shift for row in own]
        for x, row in zip(at, own, strict=True):
            if row["ci_low"] is not None:
                above.plot([x, x], [100 * row["ci_low"], 100 * row["ci_high"]], color=color, linewidth=1.4, alpha=0.7)
        heights = [100 * row["accuracy"] for row in own]
        above.plot(at, heights, MARKERS[number], color=color, markersize=5, label=words(method))
        count = {row["bin"]: row["n"] for row in own}
        edges = [100 * edge / bins for edge in range(bins + 1)]
        below.stairs([count.get(number, 0) / 1000 for number in range(bins)], edges, color=color, linewidth=1.8)
    above.set_ylabel("answered correctly (%), 95% interval")
    above.set_ylim(-2, 102)
    below.set_ylabel("forecasts\n(thousands)")
    below.set_xlabel("forecast probability of a right answer (%)")
    below.set_xlim(-1, 101)
    for axes in (above, below):
        axes.grid(alpha=0.3)
    above.legend(loc="upper left", frameon=False)
    return finish(page)
