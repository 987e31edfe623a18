"""Which models are alike, and whether those of one kind are."""

from __future__ import annotations

from typing import Any

import numpy as np

from .figures.communities import ratio_dots
from .figures.maps import Mapped, hover_map, model_map
from .inputs import model_labels
from .provenance import Made
from .recording import experiment, record
from .sections import Picture, Section, of_serving, refused, rows
from .serving import load_serving
from .workspace import Workspace

TITLE = "Which models are alike?"
MOST_ROWS = 25  # of the picture and the table; the rest by SQL


@experiment(kinds={"scipy"}, code_version="1")
def communities(workspace: Workspace) -> Made:
    """A row is a community of models, a size class or a family: are its models nearer to each other than to others?"""
    from embedder.downstream.communities import communities as compared

    served = load_serving(workspace)
    table = compared(
        served.embeddings, served.embedder.models, model_labels(workspace), served.version, seed=workspace.seed
    )
    tested = [row for row in table.to_pylist() if row["reason"] is None]
    return record(
        workspace,
        served.version,
        {"communities": table},
        {"tested": len(tested), "nearer_than_chance": len(significant(tested))},
        section,
    )


def significant(tested: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of the tests of which at most 5% are expected to be false alarms (Benjamini and Hochberg)."""
    from scipy.stats import false_discovery_control

    adjusted = false_discovery_control([row["p_value"] for row in tested]) if tested else []
    return [row for row, p_value in zip(tested, adjusted, strict=True) if p_value <= 0.05]


def section(workspace: Workspace) -> Section:
    """Of the report."""
    found = of_serving(workspace, "communities", rest="ORDER BY ratio, kind, label")
    tested = [row for row in found if row["reason"] is None]
    pictured = sorted(tested, key=lambda row: -row["models"])[:MOST_ROWS]
    pictures = _map(workspace)
    if tested:
        pictures.append(Picture(ratio_dots(pictured), "distances inside communities relative to those to the outside"))
    columns = ("kind", "label", "models", "inside", "outside", "ratio", "chance_low", "chance_high", "p_value")
    table = [{name: row[name] for name in columns} for row in pictured]
    impossible = refused(TITLE, found)
    says = impossible.says if impossible else _says(tested)
    return Section(
        TITLE,
        f"{says} {_metric(workspace)}",
        pictures,
        [sorted(table, key=lambda row: row["ratio"])],
        _sql(workspace),
    )


def _says(tested: list[dict[str, Any]]) -> str:
    near = len(significant(tested))
    clearest = min(tested, key=lambda row: (row["p_value"], row["ratio"]))
    return (
        f"Of {len(tested)} communities, size classes and families, {near} {'lies' if near == 1 else 'lie'} closer "
        "together than random groups of as many models (at most 5% false alarms expected among them); the clearest is "
        f"{clearest['label']}, with distances inside of {clearest['ratio']:.0%} of those to other models "
        f"(p = {clearest['p_value']:.2g})."
    )


def _metric(workspace: Workspace) -> str:
    """What distance is, where the serving method knows."""
    (serving,) = rows(workspace, "SELECT method FROM embedders WHERE serving")
    if serving["method"] != "spectral":
        return ""
    return (
        "The distance of two models is the root mean square difference of their log-odds of a right answer over the "
        "training questions."
    )


def _map(workspace: Workspace) -> list[Picture]:
    mapped = of_serving(
        workspace,
        "model_embeddings",
        "model, embedding, family, size_b, accuracy",
        "LEFT JOIN models USING (model) "
        "LEFT JOIN (SELECT model, accuracy FROM leaderboard WHERE benchmark = 'all') USING (model) ORDER BY model",
    )
    if not mapped:
        return []
    vectors = np.array([row.pop("embedding") for row in mapped], np.float32)
    models = [Mapped(**row) for row in mapped]
    alt = f"map of {len(models)} models, near where they answer alike, marked by family"
    return [Picture(model_map(vectors, [model.family for model in models]), alt, hover_map(vectors, models, alt))]


def _sql(workspace: Workspace) -> str:
    """Whom the best model resembles, and the whole table."""
    best = of_serving(
        workspace,
        "model_embeddings",
        "model",
        "JOIN leaderboard USING (model) WHERE benchmark = 'all' ORDER BY accuracy DESC, model LIMIT 1",
    )
    name = best[0]["model"].replace("'", "''") if best else ""
    return (
        "SELECT other, distance, cosine FROM model_similarity\n"
        f"WHERE model = '{name}' AND embedder = (FROM serving)\n"
        "ORDER BY distance LIMIT 5;\n\n"
        "SELECT kind, label, models, ratio, p_value, reason FROM communities\n"
        "WHERE embedder = (FROM serving) ORDER BY ratio;"
    )
