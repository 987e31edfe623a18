"""The pictures, in the UI's metadata and in the report. Colours are Okabe and Ito's, told apart by everyone."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from embedder.matrix import CorrectnessMatrix

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OURS, OTHERS = "#0072B2", "#999999"
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
MARKERS = "os^Dv<>"


def markdown(uri: str) -> str:
    """A picture as Dagster shows it in metadata."""
    return f"![]({uri})"


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
    figure = _figure(height=0.6 + 0.28 * len(names))
    axes = figure.add_subplot()
    image = axes.imshow(100 * accuracy[:, order], aspect="auto", cmap="viridis", vmin=0, vmax=100)
    axes.set_yticks(range(len(names)), names)
    axes.set_xticks([])
    axes.set_xlabel(f"{len(order)} models, from lowest to highest accuracy")
    figure.colorbar(image, label="accuracy (%)")
    return _uri(figure)


def interval_bars(rows: Sequence[Mapping[str, Any]], *, ours: str, label: str) -> str:
    """Accuracy with its 95% interval, one line a method from the first row down, ours in blue. Returns a data URI.

    `rows` are of the table `forecasts` or `routing`: method, accuracy, ci_low, ci_high (None: no interval).
    """
    figure = _figure(height=0.7 + 0.35 * len(rows))
    axes = figure.add_subplot()
    for height, row in enumerate(reversed(rows)):
        color, accuracy = OURS if row["method"] == ours else OTHERS, 100 * row["accuracy"]
        if row["ci_low"] is not None:  # one question has no interval
            ends = [100 * row["ci_low"], 100 * row["ci_high"]]
            axes.plot(ends, [height, height], color=color, linewidth=3, solid_capstyle="butt")
        axes.plot(accuracy, height, "o", color=color, markersize=7)
        axes.annotate(f"{accuracy:.1f}", (accuracy, height), (0, 6), textcoords="offset points", ha="center", size=8)
    axes.set_yticks(range(len(rows)), [row["method"].replace("_", " ") for row in reversed(rows)])
    axes.set_ylim(-0.5, len(rows) - 0.2)
    axes.set_xlabel(label)
    axes.grid(axis="x", alpha=0.3)
    return _uri(figure)


def model_map(embeddings: npt.NDArray[np.float32], families: Sequence[str | None]) -> str:
    """The models (M, d) on their first two principal components, one mark a family. Returns a data URI."""
    centred = embeddings - embeddings.mean(axis=0)
    left, scale, _ = np.linalg.svd(centred, full_matrices=False)
    points = np.zeros((len(embeddings), 2))
    width = min(2, len(scale))
    points[:, :width] = left[:, :width] * scale[:width]
    share = np.zeros(2)
    share[:width] = scale[:width] ** 2 / max(float((scale**2).sum()), 1e-12)
    figure = _figure(height=4.6)
    axes = figure.add_subplot()
    for at, family in enumerate(sorted({f or "unknown" for f in families})):
        inside = np.array([(f or "unknown") == family for f in families])
        color, marker = PALETTE[at % len(PALETTE)], MARKERS[at // len(PALETTE) % len(MARKERS)]
        axes.scatter(*points[inside].T, s=26, c=color, marker=marker, label=family, alpha=0.85, linewidths=0)
    axes.set_xlabel(f"first principal component ({share[0]:.0%} of variance)")
    axes.set_ylabel(f"second ({share[1]:.0%})")
    axes.set_aspect("equal", adjustable="datalim")  # distances mean the same in every direction
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=7, frameon=False)
    return _uri(figure)


def _figure(height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(7.2, height), layout="constrained")


def _uri(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
