"""What the stages after collection read from the lake."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.inputs.home import Home
from assets.inputs.memory import remember_last
from embedder.errors import EmbedderError
from embedder.lazy_encoder import LazyEncoder
from embedder.matrix import CorrectnessMatrix
from embedder.questions import Questions


@remember_last(lambda workspace: (workspace.lake.address, workspace.lake.state()))
def correctness(workspace: Home) -> CorrectnessMatrix:
    """Return every graded answer in the lake, as questions × models."""
    return CorrectnessMatrix.from_tables(workspace.lake.questions(), workspace.lake.responses())


@lru_cache(maxsize=1)
def _encoder(name: str, device: str | None, cache: Path) -> LazyEncoder:
    return LazyEncoder(name, device=device, cache=cache)


def encoder_in_use(workspace: Home) -> LazyEncoder:
    """Return the question encoder of the settings; it is loaded once a process, when it is first needed.

    Raises:
        EncoderError: when its name is asked for, or it encodes: it cannot be found or loaded.
    """
    return _encoder(workspace.encoder, workspace.device, workspace.cache)


def embeddings_of(workspace: Home, encoder: str) -> pa.Table:
    """Return `question_id` and `embedding` of the questions that this encoder has encoded, and no other."""
    table = workspace.lake.read_table("question_embeddings")
    if table is None:
        return pa.table({"question_id": pa.array([], pa.string()), "embedding": pa.array([], pa.list_(pa.float32()))})
    return table.filter(pc.field("encoder") == encoder).select(["question_id", "embedding"])


# An id says all there is to a question.
@remember_last(lambda workspace, matrix, encoder: (workspace.lake.address, encoder, tuple(matrix.question_ids)))
def described_questions(workspace: Home, matrix: CorrectnessMatrix, encoder: str) -> Questions:
    """Return the matrix's questions, in its order, with their embeddings.

    Raises:
        EmbedderError: a question has no embedding by this encoder.
    """
    table = embeddings_of(workspace, encoder)
    at = {question: row for row, question in enumerate(table["question_id"].to_pylist())}
    rows = [at[question] for question in matrix.question_ids if question in at]
    if missing := len(matrix.question_ids) - len(rows):
        raise EmbedderError(
            f"{missing} of {len(matrix.question_ids)} questions have no embedding by {encoder}; "
            "materialise question_embeddings first."
        )
    vectors = table["embedding"].combine_chunks()
    flat = vectors.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    return Questions(matrix.texts, flat.reshape(len(table), -1)[rows], matrix.benchmarks)


class ModelLabels(NamedTuple):
    """What is known of a model next to its answers, from the registry or from an import."""

    model: str
    family: str | None
    size_b: float | None  # billions of parameters
    communities: list[str]
    price_input: float | None  # US$ per million tokens
    price_output: float | None


def model_labels(workspace: Home) -> list[ModelLabels]:
    """Return the labels of every model that is registered or has answers, by name. Where the registry has a model, only
    what it says counts."""
    lake = workspace.lake
    registered, imported = lake.read_table("models"), lake.labels()
    known: dict[str, dict[str, Any]] = {model: {} for _, model in lake.pairs()}
    known |= {row["model"]: row for row in (imported.to_pylist() if imported else ()) if row["model"] in known}
    known |= {row["model"]: row for row in (registered.to_pylist() if registered else ())}
    return [
        ModelLabels(
            model,
            row.get("family"),
            row.get("size_b"),
            row.get("communities") or [],
            row.get("price_input"),
            row.get("price_output"),
        )
        for model, row in sorted(known.items())
    ]
