"""The area under a curve of quality by cost (RouterBench, arXiv 2403.12031)."""

from __future__ import annotations

import numpy as np

__all__ = ["aiq", "frontier"]


def frontier(cost: np.ndarray, accuracy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners of the non-decreasing convex hull of a method's points (W,), the cheapest first: what it
    reaches where questions are divided between two weights at random (RouterBench, arXiv 2403.12031)."""

    def is_below_line(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
        """Whether b lies on or below the line from a to c."""
        return (b[1] - a[1]) * (c[0] - a[0]) <= (c[1] - a[1]) * (b[0] - a[0])

    corners: list[tuple[float, float]] = []
    for x, y in sorted(zip(cost.tolist(), accuracy.tolist(), strict=True), key=lambda point: (point[0], -point[1])):
        if corners and y <= corners[-1][1]:
            continue
        while len(corners) > 1 and is_below_line(corners[-2], corners[-1], (x, y)):
            corners.pop()
        corners.append((x, y))
    x, y = np.array(corners).T
    return x, y


def aiq(cost: np.ndarray, accuracy: np.ndarray, low: float, high: float) -> float:
    """Return the mean over the costs from `low` to `high` of the hull of points (W,), flat beyond its ends; NaN where
    there is no range (RouterBench's average improvement in quality)."""
    if high <= low:
        return np.nan
    x, y = frontier(cost, accuracy)
    at = np.concatenate([[low], x[(x > low) & (x < high)], [high]])
    return float(np.trapezoid(np.interp(at, x, y), at) / (high - low))
