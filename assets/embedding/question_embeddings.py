"""What each question is about, as a vector."""

from __future__ import annotations

import time

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.inputs.provenance import Made, asset
from assets.inputs.repair import mending
from assets.inputs.table_metadata import table_metadata
from assets.inputs.workspace import Workspace
from assets.matrix.reading import encoder_in_use

TABLE = "question_embeddings"
CHUNK = 512  # questions between two saves: a killed run loses at most this many


@asset(
    deps=["correctness_matrix"],
    reads=["encoder"],
    group_name="embedding",
    kinds={"huggingface", "pytorch"},
    code_version="2",
)
def question_embeddings(workspace: Workspace) -> Made:
    """A row is the sentence embedding of one question; only questions new to this encoder are encoded."""
    encoder, lake, started = encoder_in_use(workspace), workspace.lake, time.monotonic()
    with mending(workspace):
        known = pa.array(lake.embedded_questions(encoder.name), pa.string())
        fresh = lake.questions().filter(~pc.field("question_id").isin(known))
        # Longest first, so that a batch pads little and the time left is estimated as too long rather than too short.
        order = np.argsort([-len(text) for text in fresh["text"].to_pylist()], kind="stable")
        long = 0  # questions that are longer than the encoder's window
        for start in range(0, len(order), CHUNK):
            chunk = fresh.take(order[start : start + CHUNK])
            texts = chunk["text"].to_pylist()
            vectors = encoder.encode(texts, progress=False)
            long += encoder.count_long(texts)
            lake.add_question_embeddings(encoder.name, chunk["question_id"].to_pylist(), vectors)
            workspace.progress(min(start + CHUNK, len(order)), len(order), "questions encoded")
    return Made(
        metadata={
            **table_metadata(TABLE, lake.count_questions()),
            "encoded_now": len(order),
            # Only their first and last windows are read.
            **({"longer_than_a_window": round(long / len(order), 4)} if len(order) else {}),
            "seconds": round(time.monotonic() - started, 1),
            "encoder": encoder.name,
            "dimensions": encoder.dimensions,
        },
        tables={TABLE: lake.table_parts(TABLE)},
    )
