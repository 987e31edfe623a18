"""Tables of figures as colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from embedder.matrix import CorrectnessMatrix

from .style import data_uri, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import CenteredNorm, Colormap

_MOST_ANNOTATED = 14  # benchmarks, whose values can still be read


def accuracy_table(matrix: CorrectnessMatrix) -> tuple[list[str], npt.NDArray[np.float64]]:
    """Benchmarks (B) and accuracies (B, M); NaN where a model was not asked."""
    names = sorted(set(matrix.benchmarks))
    rows = []
    for name in names:
        labels = matrix.labels[np.asarray(matrix.benchmarks) == name]
        asked = (~np.isnan(labels)).sum(axis=0)
        rows.append(np.where(asked, np.nansum(labels, axis=0) / np.maximum(asked, 1), np.nan))
    return names, np.stack(rows)


def correctness_heatmap(matrix: CorrectnessMatrix) -> str:
    """Accuracy of every model on every benchmark, models from worst to best; white is not asked. Returns a data URI."""
    names, accuracy = accuracy_table(matrix)
    order = np.argsort(np.nanmean(matrix.labels, axis=0), kind="stable")
    drawn = figure(height=0.6 + 0.28 * len(names))
    axes = drawn.add_subplot()
    image = axes.imshow(100 * accuracy[:, order], aspect="auto", cmap="viridis", vmin=0, vmax=100)
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.set_xticks([])
    axes.set_xlabel(f"{len(order)} models, from lowest to highest accuracy")
    drawn.colorbar(image, label="accuracy (%)")
    return data_uri(drawn)


def contribution_heatmap(
    names: Sequence[str], contributions: npt.NDArray[np.float64], significant: npt.NDArray[np.bool_]
) -> str:
    """What the benchmark of a row adds to predicting that of a column: (B, B) reductions of the mean squared error,
    NaN where there is none. Those that are `significant` (B, B) have their value, or a dot where there are too many.
    Bars are the sums by column and by row. Returns a data URI.
    """
    cells = 1e4 * contributions  # squared percentage points
    annotated = len(names) <= _MOST_ANNOTATED
    drawn = figure(height=2.4 + 0.26 * len(names))
    grid = drawn.add_gridspec(2, 2, width_ratios=[5, 1], height_ratios=[2, max(len(names), 6) / 2])
    axes = drawn.add_subplot(grid[1, 0])
    norm = _symmetric(cells)
    image = axes.imshow(cells, cmap=_contrasting(), norm=norm, aspect="auto")
    _mark(axes, cells, significant, pale=0.6 * norm.halfrange, annotated=annotated)
    short = _without_common_folder(names)
    axes.set_xticks(range(len(short)), short, rotation=90, fontsize=8, parse_math=False)
    axes.set_yticks(range(len(short)), short, fontsize=8, parse_math=False)
    axes.set_xlabel("predicted benchmark")
    axes.set_ylabel("benchmark trained on")
    by_column, by_row = drawn.add_subplot(grid[0, 0], sharex=axes), drawn.add_subplot(grid[1, 1], sharey=axes)
    received, given = np.nansum(cells, axis=0), np.nansum(cells, axis=1)
    by_column.bar(range(len(names)), received, 0.7, color=_by_sign(received))
    by_row.barh(range(len(names)), given, 0.7, color=_by_sign(given))
    _finish_margins(by_column, by_row)
    if not annotated:
        drawn.colorbar(image, ax=[axes, by_row], location="bottom", shrink=0.6, extend="both")
    mark = "a number" if annotated else "a dot"
    drawn.suptitle(
        "reduction of the mean squared error (squared percentage points):\n"
        f"blue helps, red harms; {mark} where the 95% interval excludes 0",
        fontsize=9,
    )
    return data_uri(drawn)


def _contrasting() -> Colormap:
    """Told apart by everyone; what is missing is grey."""
    from matplotlib import colormaps

    return colormaps["RdBu"].with_extremes(bad="#C8C8C8")


def _symmetric(cells: npt.NDArray[np.float64]) -> CenteredNorm:
    """White is 0; a few large cells do not pale all the others."""
    from matplotlib.colors import CenteredNorm

    known = np.abs(cells[np.isfinite(cells)])
    return CenteredNorm(halfrange=max(float(np.quantile(known, 0.95)), 1e-9))


def _mark(
    axes: Axes, cells: npt.NDArray[np.float64], significant: npt.NDArray[np.bool_], *, pale: float, annotated: bool
) -> None:
    """`pale`: up to there black is read on the cell's colour."""
    for row, column in np.argwhere(significant):
        value = cells[row, column]
        color = "white" if abs(value) > pale else "black"
        if annotated:
            text = f"{value:.0f}" if abs(value) >= 9.95 else f"{value:.1f}"
            axes.text(column, row, text, ha="center", va="center", color=color, fontsize=7.5)
        else:
            axes.plot(column, row, ".", color=color, markersize=4)


def _by_sign(values: npt.NDArray[np.float64]) -> list[str]:
    return ["#2166AC" if value > 0 else "#B2182B" for value in values]


def _finish_margins(by_column: Axes, by_row: Axes) -> None:
    by_column.axhline(0, color="black", linewidth=0.8)
    by_row.axvline(0, color="black", linewidth=0.8)
    by_column.tick_params(axis="x", labelbottom=False, bottom=False)
    by_row.tick_params(axis="y", labelleft=False, left=False)
    by_column.set_ylabel("sum")
    by_row.set_xlabel("sum")
    for margin in (by_column, by_row):
        margin.tick_params(labelsize=8)
        margin.spines[["top", "right", "bottom", "left"]].set_visible(False)


def _without_common_folder(names: Sequence[str]) -> list[str]:
    """`mmlu_pro/law` is `law` where all begin with `mmlu_pro/`."""
    folders = {name.partition("/")[0] for name in names}
    return [name.partition("/")[2] or name for name in names] if len(folders) == 1 else list(names)
