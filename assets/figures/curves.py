"""Quantities that depend on one another, as curves with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .drawing import Drawing, finish
from .style import MARKERS, OTHERS, OURS, PALETTE, add_legend, plot, wrapped

_APART = 1.025  # so that the intervals of neighbouring curves stand side by side


@dataclass(frozen=True)
class Curve:
    """Points from left to right; `low` and `high` are the ends of their intervals, None where there are none.

    A curve on other data, to compare with the one whose name is `like`, is drawn grey and dashed with its marker.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()
    like: str = ""


def curves(drawn: Sequence[Curve], *, ours: str, x_label: str, y_label: str) -> Drawing:
    """Draw all curves in one plot, `ours` in blue, over a logarithmic x axis."""
    from matplotlib.ticker import LogLocator, NullLocator

    page, axes = plot(height=4.4)
    axes.set_xscale("log")
    colors, names = iter(PALETTE[1:]), [curve.name for curve in drawn]
    for number, curve in enumerate(drawn):
        color = OTHERS if curve.like else OURS if curve.name == ours else next(colors)
        marker = MARKERS[names.index(curve.like or curve.name) % len(MARKERS)]
        shift = 1 if curve.like else _APART ** (number - len(drawn) // 2)
        at = [x * shift for x in curve.x]
        (line,) = axes.plot(at, curve.y, marker=marker, markersize=4.5, color=color, linewidth=1.8, label=curve.name)
        if curve.like:
            line.set(linestyle=(0, (4, 2)), linewidth=1, markerfacecolor="white")
        for x, low, high in zip(at, curve.low, curve.high, strict=False):
            if low is not None and high is not None:
                axes.plot([x, x], [low, high], color=color, linewidth=1, alpha=0.6)
    least, most = ([end(curve.x) for curve in drawn if curve.x] for end in (min, max))
    axes.set_xlabel(x_label)
    axes.set_ylabel(wrapped(y_label))
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if max(most) < 50 * min(least) else (1, 3)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(alpha=0.3)
    add_legend(page, "outside upper center", columns=2)
    return finish(page)
