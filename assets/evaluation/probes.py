"""What can be read off a model's embedding, beside guessing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from assets.embedding.serving import Serving
from assets.figures.communities import score_dots
from assets.figures.sections import Picture, Section, refused, rows
from assets.matrix.reading import ModelLabels

from .communities import MOST_ROWS, significant
from .experiment import Result, experiment

TITLE = "What does an embedding tell of a model?"


def tabulate_probes(serving: Serving, labels: Sequence[ModelLabels], seed: int) -> Result:
    """A row is something told of models from their embeddings alone: a community, the family, the size."""
    from embedder.downstream.probes import probe_embeddings

    table = probe_embeddings(serving.embeddings, serving.embedder.models, labels, serving.version, seed=seed)
    tested = [row for row in table.to_pylist() if row["reason"] is None]
    return Result(
        {"probes": table}, describe(table), {"tested": len(tested), "better_than_chance": len(significant(tested))}
    )


probes = experiment(tabulate_probes, name="probes", kinds={"numpy"}, code_version="3")


def describe(table: pa.Table) -> Section:
    """Return the report's section on the table `probes`."""
    found = rows({"probes": table}, "SELECT * EXCLUDE (embedder) FROM probes ORDER BY score DESC, target, method")
    if reason := refused(TITLE, found):
        return reason
    tested = [row for row in found if row["reason"] is None]
    pictured = sorted(tested, key=lambda row: (row["target"] not in ("family", "size"), -row["models"]))[:MOST_ROWS]
    columns = ("target", "method", "models", "classes", "metric", "score", "ci_low", "ci_high", "chance", "p_value")
    return Section(
        TITLE,
        _says(tested),
        [Picture(score_dots(pictured), "scores of probes of the models' embeddings, beside guessing")],
        [[{name: row[name] for name in columns} for row in tested if row in pictured]],
        "SELECT target, method, metric, score, chance, p_value, reason FROM probes\n"
        "WHERE embedder = (FROM serving) ORDER BY score DESC;",
    )


def _says(tested: list[dict[str, Any]]) -> str:
    told = [_family(row) if row["target"] == "family" else _size(row) for row in tested if _of_all(row)]
    return (
        f"Of {len(tested)} probes, {len(significant(tested))} tell models that they were not fitted on better than "
        f"guessing (at most 5% false alarms expected among them){'; ' if told else ''}{', '.join(told)}. "
        "Only the model itself is left out: others of its family, which resemble it, are not."
    )


def _of_all(row: dict[str, Any]) -> bool:
    return row["method"] == "linear" and row["target"] in ("family", "size")


def _family(row: dict[str, Any]) -> str:
    return f"the family is told with a balanced accuracy of {row['score']:.0%} (guessing: {row['chance']:.0%})"


def _size(row: dict[str, Any]) -> str:
    return f"predicted and true size correlate by {row['score']:.2f}"
