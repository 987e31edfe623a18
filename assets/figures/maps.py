"""The models in a plane."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .drawing import Drawing, finish
from .style import MARKERS, OTHERS, PALETTE, add_legend, parameters, plot, templates_next_to

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


def model_map(embeddings: npt.NDArray[np.float32], families: Sequence[str | None]) -> Drawing:
    """Draw the models (M, d) on their first two principal components, one mark a family."""
    points, (along, up) = _project(embeddings)
    styles = _choose_styles(families)
    drawn, axes = plot(height=5.6)
    for style in _legend(styles):
        inside = np.array([style == other for other in styles])
        x, y = points[inside].T
        axes.scatter(
            x, y, s=30, c=style.color, marker=style.marker, label=style.family, edgecolors="#333333", linewidths=0.4
        )
    axes.set_xlabel(along)
    axes.set_ylabel(up)
    axes.set_aspect("equal", adjustable="datalim")  # distances mean the same in every direction
    axes.grid(alpha=0.3)
    add_legend(drawn, "outside lower center", columns=2)
    return finish(drawn)


def hover_map(embeddings: npt.NDArray[np.float32], models: Sequence[Mapped], alt: str) -> str:
    """Return the same map as a part of a page, where pointing at a model, tapping it or going through them with the
    arrow keys tells which it is. Without scripts, the browser shows the same next to the pointer."""
    points, labels = _project(embeddings)
    styles = _choose_styles([model.family for model in models])
    low, high = points.min(axis=0), points.max(axis=0)
    # One scale for both axes: distances mean the same in every direction.
    length = float(((high - low) / (np.array([_WIDTH, _HEIGHT]) - 2 * _MARGIN)).max())
    scale = 1 / length if length else float(_HEIGHT)  # a single model has no distances to scale by
    centre = (low + high) / 2
    placed = np.array([_WIDTH, _HEIGHT]) / 2 + (points - centre) * scale * [1, -1]
    return (
        templates_next_to(__file__)
        .get_template("map.html.j2")
        .render(
            alt=alt,
            width=_WIDTH,
            height=_HEIGHT,
            margin=_MARGIN,
            labels=labels,
            ticks=[_place_ticks(centre[0], scale, _WIDTH), _place_ticks(-centre[1], scale, _HEIGHT, up=True)],
            marks=[
                {"x": float(x), "y": float(y), "style": style, "told": str(model)}
                for (x, y), style, model in zip(placed, styles, models, strict=True)
            ],
            legend=_legend(styles),
        )
    )


def _project(embeddings: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float64], tuple[str, str]]:
    """Return the models (M, d) on their first two principal components (M, 2), and the labels of both axes, which tell
    how much of the models' differences they show."""
    centred = (embeddings - embeddings.mean(axis=0)).astype(np.float64)
    left, scale, _ = np.linalg.svd(centred, full_matrices=False)
    known = min(2, len(scale))  # components: of one model or dimension there are fewer than two
    points, variance = np.zeros((len(embeddings), 2)), np.zeros(2)
    points[:, :known] = (left * scale)[:, :known]
    variance[:known] = scale[:known] ** 2 / max(float((scale**2).sum()), 1e-12)
    across, up = (f"{share:.0%}" for share in variance)
    return points, (f"first principal component ({across} of variance)", f"second component ({up})")


def _choose_styles(families: Sequence[str | None]) -> list[Style]:
    """Return the style of each model; the families with the most models have a mark of their own, by name, the others
    share one."""
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
    """Return each style once, by name; what the rest share comes last."""
    return sorted(set(styles), key=lambda style: (style.color == OTHERS, style.family))


def _place_ticks(centre: float, scale: float, length: int, *, up: bool = False) -> list[tuple[float, str]]:
    """Return where round numbers are along an axis of that length, and what they are; both axes have the same steps."""
    from matplotlib.ticker import MaxNLocator

    step = np.diff(MaxNLocator(6).tick_values(0, _WIDTH / scale))[0]
    half = (length - _MARGIN) / 2 / scale
    numbers = np.arange(np.ceil((centre - half) / step), np.floor((centre + half) / step) + 1)
    return [(length / 2 + (at * step - centre) * scale, f"{at * step * (-1 if up else 1) + 0:.4g}") for at in numbers]
