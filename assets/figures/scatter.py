"""Predicted against observed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .drawing import Drawing, finish
from .style import OTHERS, OURS, figure

_COLUMNS = 2


@dataclass(frozen=True)
class Panel:
    """What was observed of each model, and what two methods predicted of it; shares between 0 and 1."""

    title: str
    models: Sequence[str]
    observed: Sequence[float]
    predicted: Sequence[float]
    baseline: Sequence[float]


def predicted_against_observed(
    panels: Sequence[Panel], *, ours: str, baseline: str, x_label: str, y_label: str
) -> Drawing:
    """Draw a plot for each panel, in percent, `ours` in blue over the `baseline` in grey; on the line a prediction is
    right."""
    lines, told = -(-len(panels) // _COLUMNS), {}
    drawn = figure(height=1.1 + 1.9 * lines)
    for number, panel in enumerate(panels, 1):
        axes = drawn.add_subplot(lines, _COLUMNS, number)
        values = 100 * np.array([panel.observed, panel.predicted, panel.baseline])
        observed, predicted, of_baseline = values
        margin = max(0.06 * np.ptp(values), 1)
        ends = [values.min() - margin, values.max() + margin]
        axes.plot(ends, ends, color="black", linewidth=0.8)
        axes.scatter(observed, of_baseline, s=13, c=OTHERS, marker="^", linewidths=0, alpha=0.8, label=baseline)
        dots = axes.scatter(observed, predicted, s=13, c=OURS, linewidths=0, alpha=0.85, label=ours)
        told[dots] = [
            f"{model}: observed {came:.1f}%, predicted {said:.1f}%"
            for model, came, said in zip(panel.models, observed, predicted, strict=True)
        ]
        axes.set(xlim=ends, ylim=ends)
        axes.set_box_aspect(1)
        axes.locator_params(nbins=4)
        axes.set_yticks([tick for tick in axes.get_xticks() if ends[0] <= tick <= ends[1]])
        axes.set_title(panel.title, fontsize=10, parse_math=False)
    handles, names = drawn.axes[0].get_legend_handles_labels()
    drawn.legend(handles[::-1], names[::-1], loc="outside upper center", ncols=2, frameon=False)
    drawn.supxlabel(x_label, fontsize=10)
    drawn.supylabel(y_label, fontsize=10)
    return finish(drawn, told)
