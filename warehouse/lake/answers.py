"""Graded answers: what the lake keeps of them, which questions they are to, and when two sets are the same."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .events import EVALUATION

__all__ = [
    "ANSWERS",
    "FINGERPRINT",
    "KNOWN_OF_ANSWERS",
    "SOURCES",
    "USAGE",
    "Written",
    "accuracy_of",
    "answers_digest",
    "complete",
    "has_usage",
    "identified",
    "is_evaluated",
    "is_imported",
    "lasting",
    "merged_answers",
]

USAGE = pa.schema(
    {
        "tokens_in": pa.int64(),
        "tokens_out": pa.int64(),
        "cost": pa.float64(),  # US$
    }
)
"""What an answer took, null where that is not known."""
KNOWN_OF_ANSWERS = pa.schema([("answer", pa.string()), *USAGE, ("latency_s", pa.float64())])
"""What may be known of an answer beside its grade: what the model said or chose, and what that took."""
ANSWERS = pa.schema(
    [
        ("question_id", pa.string()),
        ("correct", pa.bool_()),
        ("score", pa.float64()),  # the metric before thresholding
        *KNOWN_OF_ANSWERS,
    ]
)
"""A model's answers to one benchmark; the lake's table `responses` has them by benchmark and `evaluation_id`."""

SOURCES = "sources"
"""In the metadata of answers: JSON list of where they come from, EVALUATION or imports."""
FINGERPRINT = "fingerprint"
"""In the metadata of answers: digest of what determined them; imported ones have none."""
_TIMES = frozenset({"started", "finished"})  # the same answers at another time are the same answers


@dataclass(frozen=True)
class Written:
    """What the lake holds of the pair now."""

    rows: int
    accuracy: float
    changed: bool  # False: the lake held these very answers already


def identified(benchmark: str, model: str, answers: pa.Table, questions: pa.Table) -> pa.Table:
    """`answers` of an evaluation as ANSWERS, in the order of `questions` (QUESTION_PART)."""
    where = f"the answers of {model} to {benchmark}"
    if answers.num_rows == 0:
        raise ValueError(f"{where} are empty")
    place = {key: row for row, key in enumerate(_keys(questions))}
    row_of: dict[int, int] = {}
    for row, (task, doc_id) in enumerate(_keys(answers)):
        at = place.get((task, doc_id))
        if at is None:
            raise ValueError(f"{where} name document {doc_id} of {task}, which is not among the questions")
        if at in row_of:
            raise ValueError(f"{where} name document {doc_id} of {task} twice")
        row_of[at] = row
    for name in ("correct", "score"):
        if answers[name].null_count:
            task, doc_id = _keys(answers)[answers[name].to_pylist().index(None)]
            raise ValueError(f"{where} leave document {doc_id} of {task} without a grade")
    order = sorted(row_of)
    graded = answers.take([row_of[at] for at in order])
    return complete(graded.append_column("question_id", questions["question_id"].take(order)))


def _keys(rows: pa.Table) -> list[tuple[str, int]]:
    return list(zip(rows["task"].to_pylist(), rows["doc_id"].to_pylist(), strict=True))


def complete(rows: pa.Table) -> pa.Table:
    """`rows` with all columns of ANSWERS; those they lack are null."""
    known = [rows[name] if name in rows.column_names else pa.nulls(rows.num_rows) for name in ANSWERS.names]
    columns = [column.cast(field.type) for column, field in zip(known, ANSWERS, strict=True)]
    return pa.table(columns, schema=ANSWERS).combine_chunks()


def merged_answers(stored: pa.Table, new: pa.Table) -> pa.Table:
    """The stored answers and the `new` ones (both ANSWERS), of two to one question the new one."""
    kept = stored.filter(~pc.field("question_id").isin(new["question_id"].combine_chunks()))
    return pa.concat_tables([kept, new]).sort_by("question_id").combine_chunks()


def answers_digest(rows: pa.Table) -> tuple[str, str]:
    """Digests of ANSWERS, in whatever order: of the grades with what they took, and of what else is known of them. Of
    nothing it is ''."""
    rows = rows.sort_by("question_id")
    grades = hashlib.sha256("".join(rows["question_id"].to_pylist()).encode())
    grades.update(rows["correct"].to_numpy().tobytes() + rows["score"].to_numpy().tobytes())
    took, said = _known(rows, USAGE.names), _known(rows, ["answer", "latency_s"])
    grades.update(took)
    return grades.hexdigest()[:16], hashlib.sha256(said).hexdigest()[:16] if said else ""


def _known(rows: pa.Table, names: Sequence[str]) -> bytes:
    columns = {name: rows[name].to_pylist() for name in names if rows[name].null_count < rows.num_rows}
    return json.dumps(columns).encode() if columns else b""


def has_usage(rows: pa.Table) -> bool:
    return any(rows[name].null_count < rows.num_rows for name in USAGE.names)


def accuracy_of(rows: pa.Table) -> float:
    return float(np.mean(rows["correct"].to_numpy())) if rows.num_rows else math.nan


def is_imported(metadata: Mapping[str, str]) -> bool:
    """Whether some of the answers were imported."""
    return any(source != EVALUATION for source in json.loads(metadata.get(SOURCES, "[]")))


def is_evaluated(metadata: Mapping[str, str]) -> bool:
    """Whether some of the answers were given to an evaluation."""
    return EVALUATION in json.loads(metadata.get(SOURCES, "[]"))


def lasting(metadata: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in metadata.items() if key not in _TIMES}
