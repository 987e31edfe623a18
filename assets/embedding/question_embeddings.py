"""What each question is about, as a vector."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.inputs.provenance import Made, asset
from assets.inputs.repair import mending
from assets.inputs.table_metadata import table_metadata
from assets.inputs.workspace import Workspace
from assets.matrix.reading import encoder_in_use

if TYPE_CHECKING:
    from embedder.lazy_encoder import LazyEncoder

TABLE = "question_embeddings"
CHUNK = 512  # questions between two saves: a killed run loses at most this many


@asset(
    deps=["correctness_matrix"],
    reads=["encoder"],
    group_name="embedding",
    kinds={"huggingface", "pytorch"},
    owners=["team:embedllm"],
    code_version="2",
)
def question_embeddings(workspace: Workspace) -> Made:
    """A row is the sentence embedding of one question; only questions new to this encoder are encoded."""
    encoder, started = encoder_in_use(workspace), time.monotonic()
    with mending(workspace):
        encoded, long = _encode_new(encoder, workspace)
    return Made(
        metadata={
            **table_metadata(TABLE, workspace.lake.count_questions()),
            "encoded_now": encoded,
            # Read in their first and last window only.
            **({"longer_than_a_window": round(long / encoded, 4)} if encoded else {}),
            "seconds": round(time.monotonic() - started, 1),
            "encoder": encoder.name,
            "dimensions": encoder.dimensions,
        },
        tables={TABLE: workspace.lake.table_parts(TABLE)},
    )


def _encode_new(encoder: LazyEncoder, workspace: Workspace) -> tuple[int, int]:
    """Encodes what this encoder has not yet encoded; returns how many questions that were, and how many of them are
    longer than the encoder's window."""
    lake, long = workspace.lake, 0
    known = pa.array(lake.embedded_questions(encoder.name), pa.string())
    fresh = lake.questions().filter(~pc.field("question_id").isin(known))
    # Longest first, so that a batch pads little and the estimate of the time left errs on the safe side.
    order = np.argsort([-len(text) for text in fresh["text"].to_pylist()], kind="stable")
    for start in range(0, len(order), CHUNK):
        chunk = fresh.take(order[start : start + CHUNK])
        texts = chunk["text"].to_pylist()
        vectors = encoder.encode(texts, progress=False)
        long += encoder.count_long(texts)
        lake.add_question_embeddings(encoder.name, chunk["question_id"].to_pylist(), vectors)
        workspace.progress(min(start + CHUNK, len(order)), len(order), "questions encoded")
    return len(order), long
