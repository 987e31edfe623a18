"""How hard questions are, predicted and observed."""

from __future__ import annotations

import numpy as np

from embedder.downstream.difficulty import bin_predictions

from .drawing import Drawing, finish
from .style import PALETTE, add_legend, plot


def difficulty_map(predicted: np.ndarray, observed: np.ndarray, *, seed: int) -> Drawing:
    """Draw the share of right answers observed against predicted, each (n,): questions as shaded cells, and the means
    of each tenth of them by prediction with 95% intervals."""
    drawn, axes = plot(height=4.4)
    extent = (0, 100, 0, 100)
    cells = axes.hexbin(100 * predicted, 100 * observed, gridsize=20, extent=extent, cmap="Blues", mincnt=1)
    cells.set(edgecolor="#BBBBBB", linewidth=0.4)  # or one question is hardly seen
    drawn.colorbar(cells, label="test questions", shrink=0.8)
    axes.plot([0, 100], [0, 100], color="black", linewidth=1, linestyle="--", label="as predicted")
    tenths = bin_predictions(predicted, observed, seed=seed)
    color = PALETTE[5]
    for mean, _, interval in tenths:
        if interval is not None:
            axes.plot([100 * mean] * 2, [100 * end for end in interval], color=color, linewidth=2)
    middles = [[100 * mean for mean, _, _ in tenths], [100 * found for _, found, _ in tenths]]
    axes.plot(*middles, "o", color=color, markersize=6, label="mean of a tenth, 95% interval")
    axes.set_xlabel("predicted: mean probability of a right answer (%)")
    axes.set_ylabel("observed: models that were right (%)")
    axes.set(xlim=(-3, 103), ylim=(-3, 103), aspect="equal")
    add_legend(drawn, "outside lower center", columns=1)
    return finish(drawn)
