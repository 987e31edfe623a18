"""The models in a plane."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import jinja2
import numpy as np
import numpy.typing as npt

from .style import MARKERS, OTHERS, PALETTE, data_uri, figure, parameters

TEMPLATES = Path(__file__).parent
_OUTLINES = {  # of the markers as SVG paths about (0, 0), some 12 units wide
    "o": "M-6 0a6 6 0 1 0 12 0a6 6 0 1 0-12 0z",
    "s": "M-5-5h10v10h-10z",
    "^": "M0-6.5L6.5 5h-13z",
    "D": "M0-7L7 0L0 7L-7 0z",
    "v": "M0 6.5L6.5-5h-13z",
    "<": "M-6.5 0L5-6.5v13z",
    ">": "M6.5 0L-5-6.5v13z",
}
_MOST_FAMILIES = 14  # with a mark of their own
_WIDTH, _HEIGHT, _MARGIN = 640, 480, 56  # of the SVG, in its own units


class Mapped(NamedTuple):
    """A model on the map, and what pointing at it tells; None is not known."""

    model: str
    family: str | None = None
    size_b: float | None = None
    accuracy: float | None = None

    def __str__(self) -> str:
        size = None if self.size_b is None else f"{parameters(self.size_b)} parameters"
        accuracy = None if self.accuracy is None else f"{self.accuracy:.1%} right"
        return " · ".join(part for part in (self.model, self.family, size, accuracy) if part is not None)


class Style(NamedTuple):
    """How the models of a family are marked."""

    family: str
    color: str
    marker: str

    @property
    def outline(self) -> str:
        return _OUTLINES[self.marker]


@dataclass(frozen=True)
class Plane:
    """Models (M, d) on their first two principal components."""

    embeddings: npt.NDArray[np.float32]

    @cached_property
    def _components(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        centred = (self.embeddings - self.embeddings.mean(axis=0)).astype(np.float64)
        left, scale, _ = np.linalg.svd(centred, full_matrices=False)
        return left * scale, scale

    @property
    def points(self) -> npt.NDArray[np.float64]:
        """(M, 2)."""
        flat = np.zeros((len(self.embeddings), 2))
        placed = self._components[0][:, :2]
        flat[:, : placed.shape[1]] = placed
        return flat

    @property
    def axis_labels(self) -> tuple[str, str]:
        """What goes right and up, and how much of the models' differences that is."""
        variance = np.zeros(2)
        scale = self._components[1]
        variance[: min(2, len(scale))] = scale[:2] ** 2 / max(float((scale**2).sum()), 1e-12)
        return f"first principal component ({variance[0]:.0%} of variance)", f"second component ({variance[1]:.0%})"


def model_map(embeddings: npt.NDArray[np.float32], families: Sequence[str | None]) -> str:
    """The models (M, d) on their first two principal components, one mark a family. Returns a data URI."""
    plane, styles = Plane(embeddings), _styles(families)
    drawn = figure(height=5.6)
    axes = drawn.add_subplot()
    for style in _legend(styles):
        inside = np.array([style == other for other in styles])
        x, y = plane.points[inside].T
        axes.scatter(
            x, y, s=30, c=style.color, marker=style.marker, label=style.family, edgecolors="#333333", linewidths=0.4
        )
    along, up = plane.axis_labels
    axes.set_xlabel(along)
    axes.set_ylabel(up)
    axes.set_aspect("equal", adjustable="datalim")  # distances mean the same in every direction
    axes.grid(alpha=0.3)
    handles, names = axes.get_legend_handles_labels()
    legend = drawn.legend(handles, names, loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)  # a name may have dollars
    return data_uri(drawn)


def hover_map(embeddings: npt.NDArray[np.float32], models: Sequence[Mapped], alt: str) -> str:
    """The same as a part of a page, where pointing at a model, tapping it or going through them with the arrow keys
    tells which it is. Without scripts, the browser shows the same beside the pointer."""
    plane, styles = Plane(embeddings), _styles([model.family for model in models])
    points = plane.points
    low, high = points.min(axis=0), points.max(axis=0)
    # One scale for both axes: distances mean the same in every direction.
    length = float(((high - low) / (np.array([_WIDTH, _HEIGHT]) - 2 * _MARGIN)).max())
    scale = 1 / length if length else float(_HEIGHT)  # a single model has no distances to scale by
    centre = (low + high) / 2
    placed = np.array([_WIDTH, _HEIGHT]) / 2 + (points - centre) * scale * [1, -1]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("map.html.j2").render(
        alt=alt,
        width=_WIDTH,
        height=_HEIGHT,
        margin=_MARGIN,
        labels=plane.axis_labels,
        ticks=[_ticks(centre[0], scale, _WIDTH), _ticks(-centre[1], scale, _HEIGHT, up=True)],
        marks=[
            {"x": float(x), "y": float(y), "style": style, "told": str(model)}
            for (x, y), style, model in zip(placed, styles, models, strict=True)
        ],
        legend=_legend(styles),
    )


def _styles(families: Sequence[str | None]) -> list[Style]:
    """Of each model; the families with the most models have a mark of their own, by name, the others share one."""
    count = Counter(family for family in families if family is not None)
    few = len(count) <= len(PALETTE)
    largest = sorted(count, key=lambda family: (-count[family], family))[:_MOST_FAMILIES]
    named = sorted(family for family in largest if few or count[family] > 1)
    marks = {
        family: Style(family, PALETTE[at % len(PALETTE)], MARKERS[at % len(MARKERS)]) for at, family in enumerate(named)
    }
    shared = "other or unknown" if None in families else "other"
    rest = Style(shared if count else "family unknown", OTHERS, "o")
    return [rest if family is None else marks.get(family, rest) for family in families]


def _legend(styles: list[Style]) -> list[Style]:
    """Each once, by name; what the rest share comes last."""
    return sorted(set(styles), key=lambda style: (style.color == OTHERS, style.family))


def _ticks(centre: float, scale: float, length: int, *, up: bool = False) -> list[tuple[float, str]]:
    """Where round numbers are along an axis of that length, and what they are; the same steps on both axes."""
    from matplotlib.ticker import MaxNLocator

    step = np.diff(MaxNLocator(6).tick_values(0, _WIDTH / scale))[0]
    half = (length - _MARGIN) / 2 / scale
    numbers = np.arange(np.ceil((centre - half) / step), np.floor((centre + half) / step) + 1)
    return [(length / 2 + (at * step - centre) * scale, f"{at * step * (-1 if up else 1) + 0:.4g}") for at in numbers]
