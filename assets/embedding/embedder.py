"""The embedder: from who answered what to a vector a model."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np

from assets.figures.maps import model_map
from assets.figures.style import markdown
from assets.inputs.freshness import CONFIRMED_WEEKLY
from assets.inputs.provenance import Made, asset
from assets.inputs.repair import mending
from assets.inputs.table_metadata import table_metadata
from assets.inputs.versions import record, serving, versions
from assets.inputs.workspace import Workspace
from assets.matrix.costs import fit_question_costs
from assets.matrix.reading import correctness, described_questions, encoder_in_use
from embedder import metrics
from embedder.matrix import CorrectnessMatrix
from embedder.questions import Questions

from .serving import load_spectral, tabulate_embeddings

if TYPE_CHECKING:
    from embedder.spectral.spectral import SpectralEmbedder
    from embedder.store import EmbedderInfo

log = logging.getLogger(__name__)

CODE_VERSION = "6"  # another one is fitted again, even on the same data


@asset(
    deps=["correctness_matrix", "question_embeddings"],
    reads=["chosen_version", "seed"],
    group_name="embedding",
    kinds={"pytorch"},
    code_version=CODE_VERSION,
    pool="warehouse",  # one at a time reads and writes the table of versions
    freshness_policy=CONFIRMED_WEEKLY,
)
def embedder(workspace: Workspace) -> Made:
    """A row is the embedding of one model, from which its log-odds of a right answer are computed. It is fitted on the
    training questions, on the axes of the version before. A new version serves from now on, if it is good enough."""
    from embedder.question_costs import save_question_costs

    data_version, encoder = workspace.lake.state(), encoder_in_use(workspace).name
    with mending(workspace):
        matrix = correctness(workspace)
        questions = described_questions(workspace, matrix, encoder)
    version = _name_version(matrix, questions, encoder, workspace.seed)
    fitted, info = _load_kept(workspace.embedders / version) or _fit(
        workspace, matrix, questions, encoder=encoder, version=version, data_version=data_version
    )
    # On every run: what answers cost may have become known since the version was fitted.
    costs = save_question_costs(workspace.embedders / version, fit_question_costs(workspace, matrix, questions))
    vectors = fitted.model_embeddings
    has_vector = np.asarray(np.isfinite(vectors).all(axis=1))  # a model without training answers has none
    known = {name: vectors[at] for at, name in enumerate(fitted.models) if has_vector[at]}
    workspace.lake.write_table("model_embeddings", tabulate_embeddings(version, known), version)
    served = record(
        workspace.lake,
        asdict(info)
        | {
            "method": fitted.method,
            "models": len(known),
            "dimensions": vectors.shape[1],
            "created_at": datetime.fromisoformat(info.created_at).replace(tzinfo=None),
        },
        replace=not _can_go_on(workspace, encoder),
    )
    families = {model.name: model.family for model in workspace.registry.models}
    picture = model_map(vectors[has_vector], [families.get(name) for name in known]).uri
    return Made(
        metadata={
            **table_metadata("model_embeddings", len(known)),
            "version": version,
            "serving": served,
            "dimensions": vectors.shape[1],
            "least_support": _rounded(fitted.least_support),
            "val_accuracy": _rounded(info.val_accuracy),
            "val_log_loss": _rounded(info.val_log_loss),
            "seconds_to_fit": round(info.seconds, 2),
            "aligned_to": info.aligned_to,
            "drift_distance": _rounded(info.drift_distance),
            "drift_predictions": _rounded(info.drift_predictions),
            "verdict": info.verdict or "nothing is wrong with it",
            "judged_against": f"{info.aligned_to} and the models' rates" if info.aligned_to else "the models' rates",
            "folder": dg.MetadataValue.path(str(workspace.embedders / version)),
            "map": dg.MetadataValue.md(markdown(picture)),
        },
        tables={"model_embeddings": [served]},
        files=[*sorted({workspace.embedders / name for name in (served, version)}), *([costs] if costs else [])],
        # What comes next evaluates the version that serves: not today's where that was rolled back or held back.
        data_version=served,
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _name_version(matrix: CorrectnessMatrix, questions: Questions, encoder: str, seed: int) -> str:
    """Return a name made of what the embedder is fitted on and how, so that the same data give the same version."""
    from embedder.spectral.spectral import SpectralEmbedder

    how = [CODE_VERSION, SpectralEmbedder().settings(), encoder, seed]
    digest = hashlib.sha256(json.dumps([how, matrix.models]).encode())
    for array in (matrix.labels, questions.vectors):
        digest.update(np.ascontiguousarray(array).tobytes())
    for names in (matrix.question_ids, matrix.texts, matrix.categories, matrix.splits):
        digest.update("\0".join(names).encode())
    return f"{SpectralEmbedder.method}-{digest.hexdigest()[:12]}"


def _load_kept(folder: Path) -> tuple[SpectralEmbedder, EmbedderInfo] | None:
    """Load a version; None where it was not fitted yet, or is damaged."""
    from embedder.store import StoreError

    if not (folder / "embedder.json").exists():
        return None
    try:
        return load_spectral(folder)
    except StoreError as error:
        log.warning("%s: this is done now", error)
        return None


def _fit(
    workspace: Workspace,
    matrix: CorrectnessMatrix,
    questions: Questions,
    *,
    encoder: str,
    version: str,
    data_version: str,
) -> tuple[SpectralEmbedder, EmbedderInfo]:
    from embedder.gate import save_training_texts
    from embedder.spectral.alignment import align, common_models, measure_drift
    from embedder.spectral.spectral import SpectralEmbedder
    from embedder.store import EmbedderInfo, save_embedder

    started = time.monotonic()
    fitted = SpectralEmbedder().on(workspace.device).fit(matrix, questions, seed=workspace.seed)
    seconds = time.monotonic() - started
    before = _load_before(workspace, version, encoder)
    drifted = {}
    if before and common_models(fitted, before[1]):
        fitted = align(fitted, before[1])
        found = measure_drift(fitted, before[1], questions.rows(matrix.splits == "test"))
        drifted = {
            "aligned_to": before[0],
            "drift_distance": found.distance,
            "drift_predictions": found.predictions,
        }
    info = EmbedderInfo(
        embedder=version,
        encoder=encoder,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        seed=workspace.seed,
        questions=int((matrix.splits == "train").sum()),
        seconds=seconds,
        data_version=data_version,
        code_version=CODE_VERSION,
        **_judge(workspace, fitted, matrix, questions, before),
        **drifted,
    )
    save_training_texts(workspace.embedders / version, matrix.texts[matrix.splits == "train"])
    save_embedder(workspace.embedders / version, fitted, info)
    return fitted, info


def _judge(
    workspace: Workspace,
    fitted: SpectralEmbedder,
    matrix: CorrectnessMatrix,
    questions: Questions,
    before: tuple[str, SpectralEmbedder] | None,
) -> dict[str, Any]:
    """Return how good the embedder is on val questions, and whether it is good enough to serve; without answers to
    them, nothing is known."""
    from embedder.gate import Version, judge_version, load_training_texts

    val = matrix.splits == "val"
    labels = matrix.labels[val]
    if np.isnan(labels).all():
        return {"val_accuracy": None, "val_log_loss": None}
    probabilities = fitted.predict_proba(questions.rows(val).by_text_alone())
    earlier = Version(*before, load_training_texts(workspace.embedders / before[0])) if before else None
    verdict = judge_version(fitted, matrix, questions, probabilities, earlier)
    return {
        "val_accuracy": metrics.accuracy(labels, probabilities),
        "val_log_loss": metrics.log_loss(labels, probabilities),
        "verdict": "; and ".join(verdict.faults) or None,
        "held_back": verdict.holds_back,
    }


def _load_before(workspace: Workspace, version: str, encoder: str) -> tuple[str, SpectralEmbedder] | None:
    """Return the version whose axes `version` takes over, and its name: the one that serves, or, where `version` is
    only made again, the one it was aligned to before. None where there is none, or its axes are of another encoder."""
    from embedder.store import StoreError

    aligned_to = {row["embedder"]: row["aligned_to"] for row in versions(workspace.lake).to_pylist()}
    name = aligned_to[version] if version in aligned_to else serving(workspace.lake)
    if name is None:
        return None
    workspace.fetch(workspace.embedders / name)
    try:
        old, info = load_spectral(workspace.embedders / name)
    except StoreError as error:
        log.warning("%s has axes of its own, as the version before cannot be loaded: %s", version, error)
        return None
    return (name, old) if info.encoder == encoder else None


def _can_go_on(workspace: Workspace, encoder: str) -> bool:
    """Whether the version that serves can go on serving: it is of the encoder in use, and was not lost."""
    for row in versions(workspace.lake).to_pylist():
        if row["serving"] and row["encoder"] == encoder:
            workspace.fetch(folder := workspace.embedders / row["embedder"])
            return (folder / "embedder.json").exists()
    return False
