"""What each question is about, as a vector."""

from __future__ import annotations

import time

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from warehouse.publish import publish

from .inputs import encoder_in_use
from .workspace import Workspace

CHUNK = 512  # questions between two saves: a killed run loses at most this many


@dg.asset(
    deps=["correctness_matrix"],
    group_name="embedding",
    kinds={"huggingface", "pytorch"},
    owners=["team:embedllm"],
    code_version="1",
    pool="warehouse",
)
def question_embeddings(workspace: dg.ResourceParam[Workspace]) -> dg.MaterializeResult:
    """A row is the sentence embedding of one question; only questions new to this encoder are encoded."""
    encoder = encoder_in_use(workspace)
    questions = workspace.lake.questions()
    known = workspace.lake.embedded_questions(encoder.name)
    fresh = questions.filter(~pc.field("question_id").isin(pa.array(known, pa.string())))
    started = time.monotonic()
    # Longest first, so that a batch pads little and the estimate of the time left errs on the safe side.
    order = np.argsort([-len(text) for text in fresh["text"].to_pylist()], kind="stable")
    for start in range(0, len(order), CHUNK):
        chunk = fresh.take(order[start : start + CHUNK])
        vectors = encoder.encode(chunk["text"].to_pylist(), progress=False)
        workspace.lake.add_question_embeddings(encoder.name, chunk["question_id"].to_pylist(), vectors)
        workspace.progress(min(start + CHUNK, len(order)), len(order), "questions encoded")
    publish(workspace.lake, workspace.database, ["question_embeddings"])
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(questions),
            "encoded_now": len(order),
            "seconds": round(time.monotonic() - started, 1),
            "encoder": encoder.name,
            "dimensions": encoder.dimensions,
        }
    )
