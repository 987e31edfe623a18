"""What can be read off a model's embedding, beside guessing."""

from __future__ import annotations

from typing import Any

from .communities import MOST_ROWS, significant
from .figures.communities import score_dots
from .inputs import model_labels
from .provenance import Made
from .recording import experiment, record
from .sections import Picture, Section, of_serving, refused
from .serving import load_serving
from .workspace import Workspace

TITLE = "What does an embedding tell of a model?"


@experiment(kinds={"numpy"}, code_version="2")
def probes(workspace: Workspace) -> Made:
    """A row is something told of models from their embeddings alone: a community, the family, the size."""
    from embedder.downstream.probes import probes as probed

    served = load_serving(workspace)
    table = probed(
        served.embeddings, served.embedder.models, model_labels(workspace), served.version, seed=workspace.seed
    )
    tested = [row for row in table.to_pylist() if row["reason"] is None]
    return record(
        workspace,
        served.version,
        {"probes": table},
        {"tested": len(tested), "better_than_chance": len(significant(tested))},
        section,
    )


def section(workspace: Workspace) -> Section:
    """Of the report."""
    found = of_serving(workspace, "probes", rest="ORDER BY score DESC, target, method")
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
