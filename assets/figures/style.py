"""What all pictures have in common. Everyone can tell the colours apart: they are Okabe and Ito's."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jinja2

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OURS, OTHERS = "#0072B2", "#8A8A8A"
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
MARKERS = "os^Dv<>"
WIDTH = 4.5  # inches
LETTERS = 36  # in a line below the axes
DOLLARS, PARAMETERS = "US$", "billions of parameters"
_SCALES = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K"))


def words(name: str) -> str:
    """Return a name of a method or a form as it is shown: model_mean as "model mean"."""
    return name.replace("_", " ")


def markdown(uri: str) -> str:
    """Return the markup by which Dagster shows a picture in metadata."""
    return f"![]({uri})"


def wrapped(label: str) -> str:
    """Return the label of an axis in as many lines as it takes on a figure of the usual width."""
    return textwrap.fill(label, LETTERS)


def templates_next_to(file: str) -> jinja2.Environment:
    """Return what renders the templates next to `file`; names of models and questions are escaped."""
    loader = jinja2.FileSystemLoader(Path(file).parent)
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)


def figure(height: float, width: float = WIDTH) -> Figure:
    """Return an empty figure of that size in inches; at its usual width, a phone shows text of 10 points readably."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def plot(height: float) -> tuple[Figure, Axes]:
    """Return a figure as `figure` does, and the only axes in it."""
    drawn = figure(height)
    return drawn, drawn.add_subplot()


def draw_interval(
    axes: Axes, ends: tuple[float | None, float | None], height: float, *, unit: float = 1, **style: Any
) -> None:
    """Draw a horizontal line between the `ends` of an interval times `unit`; nothing where there is none (None)."""
    low, high = ends
    if low is not None and high is not None:
        axes.plot([unit * low, unit * high], [height, height], **style)


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Write a name next to each of the rows at heights 0, 1, 2 and so on."""
    axes.set_yticks(range(len(names)), names, parse_math=False)  # a name may have dollars
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.grid(axis="x", alpha=0.3)


def add_legend(drawn: Figure, place: Literal["outside upper center", "outside lower center"], *, columns: int) -> None:
    """Explain the marks of a figure above or below its plots."""
    legend = drawn.legend(loc=place, ncols=columns, fontsize=10, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)  # a name may have dollars


def parameters(size_b: float) -> str:
    """Return billions of parameters as people write them, in three digits: 46.7B, 135M, 79.3K."""
    count = float(f"{size_b * 1e9:.3g}")
    scale, letter = next((unit for unit in _SCALES if count >= unit[0]), (1, ""))
    return f"{count / scale:g}{letter}"
