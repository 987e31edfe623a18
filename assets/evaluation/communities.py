"""Which models are alike, and whether those of one kind are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from assets.embedding.serving import PlacedModel, Serving
from assets.figures.communities import ratio_dots
from assets.figures.maps import Mapped, hover_map, model_map
from assets.figures.sections import Picture, Section, columns, refused, rows
from assets.matrix.reading import ModelLabels

from .experiment import Result, experiment

TITLE = "Which models are alike?"
DISTANCE = (
    "The distance of two models is the root mean square difference of their log-odds of a right answer over the "
    "training questions."
)
MOST_ROWS = 25  # of the picture; the table has the rest


def tabulate_communities(
    serving: Serving, labels: Sequence[ModelLabels], placed: Sequence[PlacedModel], seed: int
) -> Result:
    """A row is a community of models, a size class or a family: are its models nearer to each other than to others?"""
    from embedder.downstream.communities import compare_communities

    table = compare_communities(serving.embeddings, serving.embedder.models, labels, serving.version, seed=seed)
    tested = [row for row in table.to_pylist() if row["reason"] is None]
    return Result(
        {"communities": table},
        describe(table, placed, labels, serving.embedder.method),
        {"tested": len(tested), "nearer_than_chance": len(significant(tested))},
    )


communities = experiment(
    tabulate_communities,
    name="communities",
    kinds={"scipy"},
    code_version="3",
    deps=["correctness_matrix", "embedder", "onboarded"],  # the map shows those that are onboarded
)


def significant(tested: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return those of the tests of which at most 5% are expected to be false alarms (Benjamini and Hochberg)."""
    from scipy.stats import false_discovery_control

    adjusted = false_discovery_control([row["p_value"] for row in tested]) if tested else []
    return [row for row, p_value in zip(tested, adjusted, strict=True) if p_value <= 0.05]


def describe(table: pa.Table, placed: Sequence[PlacedModel], labels: Sequence[ModelLabels], method: str) -> Section:
    """Return the report's section on the table `communities`, with a map of the models that are `placed` by an embedder
    of a `method`."""
    found = rows({"communities": table}, "SELECT * EXCLUDE (embedder) FROM communities ORDER BY ratio, kind, label")
    tested = [row for row in found if row["reason"] is None]
    pictured = sorted(tested, key=lambda row: -row["models"])[:MOST_ROWS]
    pictures = [_map_models(placed, labels)] if placed else []
    if impossible := refused(TITLE, found):
        says = impossible.says
    else:
        pictures.append(
            Picture.of(ratio_dots(pictured), "distances inside communities relative to those to the outside")
        )
        near = len(significant(tested))
        clearest = min(tested, key=lambda row: (row["p_value"], row["ratio"]))
        says = (
            f"Of {len(tested)} communities, size classes and families, {near} {'lies' if near == 1 else 'lie'} closer "
            "together than random groups of as many models (at most 5% false alarms expected among them); the clearest "
            f"is {clearest['label']}, whose models are {clearest['ratio']:.0%} as far from each other as from other "
            f"models (p = {clearest['p_value']:.2g})."
        )
    best = min(placed, key=lambda model: (-(model.accuracy or 0), model.model), default=None)
    name = best.model.replace("'", "''") if best else ""
    return Section(
        TITLE,
        f"{says} {DISTANCE if method == 'spectral' else ''}",
        pictures,
        [
            columns(
                tested,
                *("kind", "label", "models", "inside", "outside", "ratio", "chance_low", "chance_high", "p_value"),
            )
        ],
        "SELECT other, distance, cosine FROM model_similarity\n"
        f"WHERE model = '{name}'\n"
        "ORDER BY distance LIMIT 5;\n\n"
        "SELECT kind, label, models, ratio, p_value, reason FROM communities\n"
        "ORDER BY ratio;",
    )


def _map_models(placed: Sequence[PlacedModel], labels: Sequence[ModelLabels]) -> Picture:
    known = {label.model: label for label in labels}
    models = []
    for model in placed:
        label = known.get(model.model)
        models.append(Mapped(model.model, label and label.family, label and label.size_b, model.accuracy))
    vectors = np.stack([model.embedding for model in placed])
    alt = f"map of {len(models)} models, near where they answer alike, marked by family"
    return Picture.of(model_map(vectors, [model.family for model in models]), alt, hover_map(vectors, models, alt))
