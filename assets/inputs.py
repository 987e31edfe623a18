"""What the stages after collection read from the lake."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embedder.matrix import CorrectnessMatrix
from embedder.questions import Questions
from warehouse.read import query

from .workspace import Workspace

if TYPE_CHECKING:
    from embedder.encoder import Encoder


def correctness(workspace: Workspace) -> CorrectnessMatrix:
    """Every graded answer in the lake, as questions × models."""
    return CorrectnessMatrix.from_tables(workspace.lake.questions(), workspace.lake.responses())


@lru_cache(maxsize=1)
def _encoder(name: str, device: str | None) -> Encoder:
    from embedder.encoder import load_encoder

    return load_encoder(name, device=device)


def encoder_in_use(workspace: Workspace) -> Encoder:
    """The question encoder of the settings, loaded once a process.

    Raises:
        EncoderError: it cannot be found or loaded.
    """
    return _encoder(workspace.encoder, workspace.device)


def embeddings_of(workspace: Workspace, encoder: str) -> pa.Table:
    """`question_id` and `embedding` of the questions this encoder has encoded; other encoders' are not mixed in."""
    table = workspace.lake.read_table("question_embeddings")
    if table is None:
        return pa.table({"question_id": pa.array([], pa.string()), "embedding": pa.array([], pa.list_(pa.float32()))})
    return table.filter(pc.field("encoder") == encoder).select(["question_id", "embedding"])


def described_questions(workspace: Workspace, matrix: CorrectnessMatrix, encoder: str) -> Questions:
    """The matrix's questions, in its order, with their embeddings.

    Raises:
        LookupError: a question has no embedding by this encoder.
    """
    table = embeddings_of(workspace, encoder)
    at = {question: row for row, question in enumerate(table["question_id"].to_pylist())}
    rows = [at[question] for question in matrix.question_ids if question in at]
    if missing := len(matrix.question_ids) - len(rows):
        raise LookupError(
            f"{missing} of {len(matrix.question_ids)} questions have no embedding by {encoder}; "
            "materialise question_embeddings first."
        )
    vectors = table["embedding"].combine_chunks()
    flat = vectors.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    return Questions(matrix.texts, flat.reshape(len(table), -1)[rows], matrix.benchmarks)


class ModelLabels(NamedTuple):
    """What is known of a model beside its answers, from the registry or from an import."""

    model: str
    family: str | None
    size_b: float | None  # billions of parameters
    communities: list[str]
    price_input: float | None  # US$ per million tokens
    price_output: float | None


def model_labels(workspace: Workspace) -> list[ModelLabels]:
    """Of every model in the warehouse, by name."""
    rows = query(
        workspace.database,
        "SELECT model, family, size_b, coalesce(communities, []) AS communities, price_input, price_output "
        "FROM models ORDER BY model",
    )
    return [ModelLabels(**row) for row in rows.to_pylist()]
