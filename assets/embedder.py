"""The embedder: from who answered what to a vector a model."""

from __future__ import annotations

import hashlib
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from embedder import metrics
from embedder.matrix import CorrectnessMatrix
from embedder.questions import Questions
from warehouse.publish import publish

from .figures.maps import model_map
from .figures.style import markdown
from .inputs import correctness, described_questions, encoder_in_use
from .workspace import Workspace

if TYPE_CHECKING:
    from embedder.predictor import Predictor
    from embedder.store import EmbedderInfo


CODE_VERSION = "2"  # another one fits anew, even on the same data


EMBEDDERS = pa.schema(
    {
        "embedder": pa.string(),
        "method": pa.string(),
        "encoder": pa.string(),
        "created_at": pa.timestamp("us"),
        "seed": pa.int64(),
        "models": pa.int64(),
        "questions": pa.int64(),
        "dimensions": pa.int64(),
        "val_accuracy": pa.float64(),
        "val_log_loss": pa.float64(),
        "seconds": pa.float64(),
        "serving": pa.bool_(),
    }
)


@dg.asset(
    deps=["correctness_matrix", "question_embeddings"],
    group_name="embedding",
    kinds={"pytorch"},
    owners=["team:embedllm"],
    code_version=CODE_VERSION,
    pool="warehouse",
)
def embedder(workspace: dg.ResourceParam[Workspace]) -> dg.MaterializeResult:
    """A row is the embedding of one model: what its log-odds of a right answer are made of, fitted on the training
    questions. This version serves from now on."""
    matrix, encoder = correctness(workspace), encoder_in_use(workspace).name
    questions = described_questions(workspace, matrix, encoder)
    version = _version(matrix, questions, workspace.seed)
    fitted, info = _load(workspace.embedders / version) or _fit(workspace, matrix, questions, encoder, version)
    vectors = fitted.model_embeddings
    assert vectors is not None, "the method that serves has embeddings"
    known = np.asarray(np.isfinite(vectors).all(axis=1))  # a model without training answers has none
    names = [name for name, is_known in zip(fitted.models, known, strict=True) if is_known]
    _record(workspace, fitted.method, info, names, vectors[known])
    families = {m.name: m.family for m in workspace.registry.models}
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(names),
            "version": version,
            "dimensions": vectors.shape[1],
            "val_accuracy": _rounded(info.val_accuracy),
            "val_log_loss": _rounded(info.val_log_loss),
            "seconds_to_fit": round(info.seconds, 2),
            "folder": dg.MetadataValue.path(str(workspace.embedders / version)),
            "map": dg.MetadataValue.md(markdown(model_map(vectors[known], [families.get(n) for n in names]))),
        },
        data_version=dg.DataVersion(version),
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _version(matrix: CorrectnessMatrix, questions: Questions, seed: int) -> str:
    """Named after what it is fitted on and how, so that the same data give the same version."""
    from embedder.spectral import SpectralEmbedder

    how = [CODE_VERSION, SpectralEmbedder().settings(), seed]
    digest = hashlib.sha256(json.dumps([how, matrix.models]).encode())
    for array in (matrix.labels, questions.vectors):
        digest.update(np.ascontiguousarray(array).tobytes())
    for names in (matrix.question_ids, matrix.texts, matrix.categories, matrix.splits):
        digest.update("\0".join(names).encode())
    return f"{SpectralEmbedder.method}-{digest.hexdigest()[:12]}"


def _load(folder: Path) -> tuple[Predictor, EmbedderInfo] | None:
    from embedder.store import load_embedder

    return load_embedder(folder) if (folder / "embedder.json").exists() else None


def _fit(
    workspace: Workspace,
    matrix: CorrectnessMatrix,
    questions: Questions,
    encoder: str,
    version: str,
) -> tuple[Predictor, EmbedderInfo]:
    from embedder.spectral import SpectralEmbedder
    from embedder.store import EmbedderInfo, save_embedder

    started = time.monotonic()
    fitted = SpectralEmbedder().fit(matrix, questions, seed=workspace.seed)
    seconds = time.monotonic() - started
    val = matrix.splits == "val"
    labels = matrix.labels[val]
    probabilities = fitted.predict_proba(questions.rows(val))
    asked = not np.isnan(labels).all()
    info = EmbedderInfo(
        embedder=version,
        encoder=encoder,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        seed=workspace.seed,
        questions=int((matrix.splits == "train").sum()),
        val_accuracy=metrics.accuracy(labels, probabilities) if asked else None,
        val_log_loss=metrics.log_loss(labels, probabilities) if asked else None,
        seconds=seconds,
    )
    save_embedder(workspace.embedders / version, fitted, info)
    return fitted, info


def _record(
    workspace: Workspace, method: str, info: EmbedderInfo, models: list[str], vectors: npt.NDArray[np.float32]
) -> None:
    """Into the lake and the warehouse; the last recorded version serves."""
    lake = workspace.lake
    lake.write_table(
        "model_embeddings",
        pa.table(
            {
                "embedder": [info.embedder] * len(models),
                "model": models,
                "embedding": pa.array(list(vectors), pa.list_(pa.float32())),
            }
        ),
        info.embedder,
    )
    row = {
        "embedder": info.embedder,
        "method": method,
        "encoder": info.encoder,
        "created_at": datetime.fromisoformat(info.created_at).replace(tzinfo=None),
        "seed": info.seed,
        "models": len(models),
        "questions": info.questions,
        "dimensions": vectors.shape[1],
        "val_accuracy": info.val_accuracy,
        "val_log_loss": info.val_log_loss,
        "seconds": info.seconds,
        "serving": True,
    }
    new = pa.Table.from_pylist([row], schema=EMBEDDERS)
    old = lake.read_table("embedders") or EMBEDDERS.empty_table()
    old = old.filter(pc.field("embedder") != info.embedder)
    retired = old.set_column(old.column_names.index("serving"), "serving", pa.repeat(False, len(old)))
    lake.write_table("embedders", pa.concat_tables([retired.cast(EMBEDDERS), new]))
    publish(lake, workspace.database, ["model_embeddings", "embedders"])
