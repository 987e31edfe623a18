"""Graded answers: what the lake keeps of them, which questions they belong to, and when two sets are the same."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from warehouse.database.connect import empty_table

from .events import EVALUATION

__all__ = ["ANSWERS", "FINGERPRINT", "RUNS", "SOURCES", "USAGE", "Written", "is_evaluated", "is_imported"]

ANSWERS = empty_table("responses").drop_columns(["model", "benchmark"]).schema
"""A model's answers to one benchmark; the lake's table `responses` has them by benchmark and `evaluation_id`."""
USAGE = ("tokens_in", "tokens_out", "cost")
"""Columns of ANSWERS: what an answer took, null where that is not known."""
SOURCES = "sources"
"""In the metadata of answers: JSON list of where they come from, EVALUATION or imports."""
RUNS = "runs"
"""In the metadata of imported answers: JSON list of the logs they come from, with the tool and its settings."""
FINGERPRINT = "fingerprint"
"""In the metadata of answers: digest of what determined them; imported ones have none."""


@dataclass(frozen=True)
class Written:
    """What the lake now holds for a pair of benchmark and model."""

    rows: int
    accuracy: float
    changed: bool  # False: the lake held these very answers already


def identify_questions(benchmark: str, model: str, answers: pa.Table, questions: pa.Table) -> pa.Table:
    """Return the `answers` of an evaluation as ANSWERS, in the order of `questions` (QUESTION_PART).

    Raises ValueError where there are none, or one is given twice, without a grade or to no known question.
    """
    where = f"the answers of {model} to {benchmark}"
    if answers.num_rows == 0:
        raise ValueError(f"{where} are empty")
    place = {key: row for row, key in enumerate(_documents(questions))}
    row_of: dict[int, int] = {}
    for row, (task, doc_id) in enumerate(_documents(answers)):
        at = place.get((task, doc_id))
        if at is None:
            raise ValueError(f"{where} name document {doc_id} of {task}, which is not among the questions")
        if at in row_of:
            raise ValueError(f"{where} name document {doc_id} of {task} twice")
        row_of[at] = row
    for name in ("correct", "score"):
        if answers[name].null_count:
            task, doc_id = _documents(answers)[answers[name].to_pylist().index(None)]
            raise ValueError(f"{where} leave document {doc_id} of {task} without a grade")
    order = sorted(row_of)
    graded = answers.take([row_of[at] for at in order])
    return complete_columns(graded.append_column("question_id", questions["question_id"].take(order)))


def _documents(rows: pa.Table) -> list[tuple[str, int]]:
    return list(zip(rows["task"].to_pylist(), rows["doc_id"].to_pylist(), strict=True))


def complete_columns(rows: pa.Table) -> pa.Table:
    """Return `rows` with all columns of ANSWERS; those that they lack are null."""
    known = [rows[name] if name in rows.column_names else pa.nulls(rows.num_rows) for name in ANSWERS.names]
    columns = [column.cast(field.type) for column, field in zip(known, ANSWERS, strict=True)]
    return pa.table(columns, schema=ANSWERS).combine_chunks()


def merge_answers(stored: pa.Table, new: pa.Table) -> pa.Table:
    """Return the `stored` and the `new` answers (both ANSWERS); where both answer a question, the new one."""
    kept = stored.filter(~pc.field("question_id").isin(new["question_id"].combine_chunks()))
    return pa.concat_tables([kept, new]).sort_by("question_id").combine_chunks()


def digest_answers(rows: pa.Table) -> tuple[str, str]:
    """Return two digests of ANSWERS, in whatever order: of the grades with what they took, and of what else is known
    of them ('' where nothing is)."""
    rows = rows.sort_by("question_id")
    grades = hashlib.sha256("".join(rows["question_id"].to_pylist()).encode())
    grades.update(rows["correct"].to_numpy().tobytes() + rows["score"].to_numpy().tobytes())
    took, said = _known(rows, USAGE), _known(rows, ["answer", "latency_s"])
    grades.update(took)
    return grades.hexdigest()[:16], hashlib.sha256(said).hexdigest()[:16] if said else ""


def _known(rows: pa.Table, names: Sequence[str]) -> bytes:
    columns = {name: rows[name].to_pylist() for name in names if rows[name].null_count < rows.num_rows}
    return json.dumps(columns).encode() if columns else b""


def has_usage(rows: pa.Table) -> bool:
    return any(rows[name].null_count < rows.num_rows for name in USAGE)


def accuracy_of(rows: pa.Table) -> float:
    return float(np.mean(rows["correct"].to_numpy())) if rows.num_rows else math.nan


def is_imported(metadata: Mapping[str, str]) -> bool:
    """Return whether some of the answers were imported."""
    return any(source != EVALUATION for source in json.loads(metadata.get(SOURCES, "[]")))


def is_evaluated(metadata: Mapping[str, str]) -> bool:
    """Return whether some of the answers come from an evaluation."""
    return EVALUATION in json.loads(metadata.get(SOURCES, "[]"))
