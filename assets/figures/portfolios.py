"""How much of the accuracy of all models a few models keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .drawing import Drawing, finish
from .style import OTHERS, OURS, PALETTE, add_legend, plot, words

_STYLES = {  # colour, line, mark and its size: methods that agree can be seen through one another
    "greedy": (OURS, "-", "o", 10),
    "best_mean": (PALETTE[1], "--", "s", 6),
    "random": (OTHERS, ":", "^", 6),
}
_TICKS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


def portfolio_curves(rows: Sequence[Mapping[str, Any]], *, enough: float) -> Drawing:
    """Draw the accuracy by number of models with its 95% interval, a line a method, next to that of all models and the
    share `enough` of it; a mark shows where a method has enough.

    `rows` are of the table `portfolios`, sorted by k: method, k, accuracy, ci_low, ci_high (None: no interval), enough.

    """
    drawn, axes = plot(height=4.2)
    of_all = 100 * rows[-1]["accuracy"]
    axes.axhline(of_all, color="black", linewidth=1, label=f"all {rows[-1]['k']} models: {of_all:.1f}")
    axes.axhline(enough * of_all, color="black", linewidth=1, linestyle=(0, (1, 2)), label=f"{enough:.0%} of that")
    for method, (color, line, mark, size) in _STYLES.items():
        points = [row for row in rows if row["method"] == method]
        k = [row["k"] for row in points]
        axes.plot(k, [100 * row["accuracy"] for row in points], line, color=color, label=words(method))
        if points[0]["ci_low"] is not None:  # one question has no interval
            low, high = ([100 * row[end] for row in points] for end in ("ci_low", "ci_high"))
            axes.fill_between(k, low, high, color=color, alpha=0.15, linewidth=0)
        kept = next(row for row in points if row["enough"])
        axes.plot(kept["k"], 100 * kept["accuracy"], mark, color=color, markersize=size)
        axes.annotate(str(kept["k"]), (kept["k"], 100 * kept["accuracy"]), (4, -15), textcoords="offset points")
    axes.set_xscale("log")
    axes.minorticks_off()
    ticks = [tick for tick in _TICKS if tick <= rows[-1]["k"]]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xlabel("models in the portfolio\n(mark: enough, by validation questions)")
    axes.set_ylabel("routed test questions\nanswered right (%), 95% interval")
    axes.grid(alpha=0.3)
    add_legend(drawn, "outside lower center", columns=2)
    return finish(drawn)
