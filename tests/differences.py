"""Where two warehouses differ that came about in different ways."""

import math
from typing import Any, Protocol

from warehouse.database.publish import TABLES


class Home(Protocol):
    def rows(self, sql: str) -> list[dict[str, Any]]: ...


EXPENSIVE = {"forecast_curve", "robustness", "benchmark_predictions", "predicted_accuracies", "contributions"}
HISTORY = {
    *("created_at", "seconds", "node", "gpu", "tokens_per_second"),
    *("aligned_to", "drift_distance", "drift_predictions", "low", "high"),
}
"""Columns that depend on how a home came about: intervals of probabilities too, as variances are kept an axis each."""
DISTANCES = """
SELECT a.model, b.model AS other, list_distance(a.embedding::FLOAT[], b.embedding::FLOAT[]) AS distance
FROM model_embeddings a JOIN model_embeddings b USING (embedder) JOIN embedders USING (embedder) WHERE serving
"""
TOLERANCE = 1e-4  # on other axes, sums are rounded otherwise


def found_differences(home: Home, other: Home) -> list[str]:
    """Where the warehouses differ in what serves: embedders of earlier versions and the axes chosen are history."""
    return [difference for table in TABLES if (difference := _difference(table, home, other))]


def _difference(table: str, home: Home, other: Home) -> str | None:
    ours, theirs = _serving(table, home), _serving(table, other)
    if table in EXPENSIVE and not ours:  # these wait until the pool has grown by a fifth
        return None
    if len(ours) != len(theirs):
        return f"{table}: {len(ours)} rows, not {len(theirs)}"
    pairs = zip(ours, theirs, strict=True)
    return next((f"{table}: {row}, not {wanted}" for row, wanted in pairs if not _is_close(row, wanted)), None)


def _serving(table: str, home: Home) -> list[dict[str, Any]]:
    """The rows of the version that serves, or all where there are no versions, in a fixed order."""
    rows = home.rows(DISTANCES if table == "model_embeddings" else f"FROM {table}")  # the axes are free, distances not
    if rows and "embedder" in rows[0]:
        rows = home.rows(f"FROM {table} SEMI JOIN (FROM embedders WHERE serving) USING (embedder)")
    rows = [{name: value for name, value in row.items() if name not in HISTORY} for row in rows]
    return sorted(rows, key=lambda row: [str(value) for value in row.values() if not isinstance(value, float)])


def _is_close(value: Any, wanted: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_close(value[name], wanted[name]) for name in wanted)
    if isinstance(value, float) and wanted is not None:
        return math.isclose(value, wanted, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    if isinstance(value, list) and wanted is not None:
        return all(map(_is_close, value, wanted)) and len(value) == len(wanted)
    return value == wanted
