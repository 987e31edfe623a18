"""What can be predicted of a model from its embedding, next to guessing."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from assets.embedding.serving import Serving
from assets.figures.communities import score_dots
from assets.figures.sections import Picture, Section, columns, refused, rows
from assets.matrix.reading import ModelLabels

from .communities import MOST_ROWS, significant
from .experiment import Result, experiment

TITLE = "What does an embedding reveal about a model?"


def tabulate_probes(serving: Serving, labels: Sequence[ModelLabels], seed: int) -> Result:
    """A row is something predicted of models from their embeddings alone: a community, the family, the size."""
    from embedder.downstream.probes import probe_embeddings

    table = probe_embeddings(serving.embeddings, serving.embedder.models, labels, serving.version, seed=seed)
    tested = [row for row in table.to_pylist() if row["reason"] is None]
    return Result(
        {"probes": table}, describe(table), {"tested": len(tested), "better_than_chance": len(significant(tested))}
    )


probes = experiment(tabulate_probes, name="probes", kinds={"numpy"}, code_version="4")


def describe(table: pa.Table) -> Section:
    """Return the report's section on the table `probes`."""
    found = rows({"probes": table}, "SELECT * EXCLUDE (embedder) FROM probes ORDER BY score DESC, target, method")
    if reason := refused(TITLE, found):
        return reason
    tested = [row for row in found if row["reason"] is None]
    pictured = sorted(tested, key=lambda row: (row["target"] not in ("family", "size"), -row["models"]))[:MOST_ROWS]
    says = (
        f"Of {len(tested)} probes, {len(significant(tested))} predict something of models that they were not fitted on "
        "better than guessing (at most 5% false alarms expected among them)."
    )
    linear = {row["target"]: row for row in tested if row["method"] == "linear"}
    if family := linear.get("family"):
        says += (
            f" The family is predicted with a balanced accuracy of {family['score']:.0%} (guessing: "
            f"{family['chance']:.0%})."
        )
    if size := linear.get("size"):
        says += f" Predicted and true size correlate by {size['score']:.2f}."
    shown = columns(
        tested,
        *("target", "method", "models", "classes", "metric", "score", "ci_low", "ci_high", "chance", "p_value"),
    )
    return Section(
        TITLE,
        f"{says} Only the model itself is left out: others of its family, which resemble it, are not.",
        [Picture.of(score_dots(pictured), "scores of probes of the models' embeddings, next to guessing")],
        [shown],
        "SELECT target, method, metric, score, chance, p_value, reason FROM probes\nORDER BY score DESC;",
    )
