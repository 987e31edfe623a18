"""Tables of figures as colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from embedder.matrix import CorrectnessMatrix

from .drawing import Drawing, finish
from .style import WIDTH, figure, plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_ANNOTATED = 14  # benchmarks, whose values can still be read


def accuracy_table(matrix: CorrectnessMatrix) -> tuple[list[str], npt.NDArray[np.float64]]:
    """Return the benchmarks (B) and the accuracies on them (B, M), NaN where a model was not asked."""
    names = sorted(set(matrix.benchmarks))
    rows = []
    for name in names:
        labels = matrix.labels[np.asarray(matrix.benchmarks) == name]
        asked = (~np.isnan(labels)).sum(axis=0)
        rows.append(np.where(asked, np.nansum(labels, axis=0) / np.maximum(asked, 1), np.nan))
    return names, np.stack(rows)


def correctness_heatmap(matrix: CorrectnessMatrix) -> Drawing:
    """Draw the accuracy of every model on every benchmark, models from worst to best; what was not asked is white."""
    names, accuracy = accuracy_table(matrix)
    order = np.argsort(np.nanmean(matrix.labels, axis=0), kind="stable")
    drawn, axes = plot(height=1.5 + 0.28 * len(names))
    image = axes.imshow(100 * accuracy[:, order], aspect="auto", cmap="viridis", vmin=0, vmax=100)
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.set_xticks([])
    axes.set_xlabel(f"{len(order)} models, from lowest to highest accuracy")
    drawn.colorbar(image, label="accuracy (%)", location="bottom", shrink=0.7)
    told = [
        [
            None if np.isnan(accuracy[row, model]) else f"{matrix.models[model]} · {name}: {accuracy[row, model]:.1%}"
            for model in order
        ]
        for row, name in enumerate(names)
    ]
    return finish(drawn, {image: told})


def contribution_heatmap(
    names: Sequence[str], contributions: npt.NDArray[np.float64], significant: npt.NDArray[np.bool_]
) -> Drawing:
    """Draw what the benchmark of a row adds to predicting that of a column: (B, B) reductions of the mean squared
    error, NaN where there is none, with their sums by column and by row as bars.

    Those that are `significant` (B, B) have their value, or a dot where there are too many.
    """
    from matplotlib import colormaps
    from matplotlib.colors import CenteredNorm

    cells = 1e4 * contributions  # squared percentage points
    annotated = len(names) <= _MOST_ANNOTATED
    drawn = figure(height=2.8 + 0.28 * len(names), width=max(WIDTH, 2.6 + 0.32 * len(names)))
    grid = drawn.add_gridspec(2, 2, width_ratios=[5, 1], height_ratios=[2, max(len(names), 6) / 2])
    axes = drawn.add_subplot(grid[1, 0])
    # White is 0. A few large cells do not pale all the others, and what is missing is grey.
    norm = CenteredNorm(halfrange=max(float(np.quantile(np.abs(cells[np.isfinite(cells)]), 0.95)), 1e-9))
    image = axes.imshow(cells, cmap=colormaps["RdBu"].with_extremes(bad="#C8C8C8"), norm=norm, aspect="auto")
    for row, column in np.argwhere(significant):
        value = cells[row, column]
        dark = abs(value) > 0.6 * norm.halfrange
        color = "#FEFEFE" if dark else "#101010"  # on the cell's colour, whatever the page's
        if annotated:
            text = f"{value:.0f}" if abs(value) >= 9.95 else f"{value:.1f}"
            axes.text(column, row, text, ha="center", va="center", color=color, fontsize=10)
        else:
            axes.plot(column, row, ".", color=color, markersize=4)
    # `mmlu_pro/law` is `law` where all names begin with `mmlu_pro/`.
    one_folder = len({name.partition("/")[0] for name in names}) == 1
    short = [name.partition("/")[2] or name if one_folder else name for name in names]
    axes.set_xticks(range(len(short)), short, rotation=90, parse_math=False)
    axes.set_yticks(range(len(short)), short, parse_math=False)
    axes.set_xlabel("predicted benchmark")
    axes.set_ylabel("benchmark trained on")
    by_column, by_row = drawn.add_subplot(grid[0, 0], sharex=axes), drawn.add_subplot(grid[1, 1], sharey=axes)
    _draw_sums(by_column, by_row, cells)
    if not annotated:
        drawn.colorbar(image, ax=[axes, by_row], location="bottom", shrink=0.6, extend="both")
    drawn.suptitle(
        "reduction of the mean squared error\n(squared percentage points): blue helps, red harms;\n"
        f"{'a number' if annotated else 'a dot'} where the 95% interval excludes 0",
        fontsize=10,
    )
    told = [
        [
            None if np.isnan(cells[row, column]) else f"{giver} → {taker}: {cells[row, column]:+.1f} squared points"
            for column, taker in enumerate(names)
        ]
        for row, giver in enumerate(names)
    ]
    return finish(drawn, {image: told})


def _draw_sums(by_column: Axes, by_row: Axes, cells: npt.NDArray[np.float64]) -> None:
    received, given = np.nansum(cells, axis=0), np.nansum(cells, axis=1)
    colors = [["#2166AC" if value > 0 else "#B2182B" for value in values] for values in (received, given)]
    by_column.bar(range(len(cells)), received, 0.7, color=colors[0])
    by_row.barh(range(len(cells)), given, 0.7, color=colors[1])
    by_column.axhline(0, color="black", linewidth=0.8)
    by_row.axvline(0, color="black", linewidth=0.8)
    by_column.tick_params(axis="x", labelbottom=False, bottom=False)
    by_row.tick_params(axis="y", labelleft=False, left=False)
    by_column.set_ylabel("sum")
    by_row.set_xlabel("sum")
    for margin in (by_column, by_row):
        margin.spines[["top", "right", "bottom", "left"]].set_visible(False)
