"""What identifies a question, which split it belongs to, and how two descriptions of one question are merged."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from warehouse.database.connect import empty_table
from warehouse.errors import SplitConflictError

from .events import EVALUATION

__all__ = ["QUESTION_PART", "SPLITS", "merge_questions", "question_ids", "split_of"]

QUESTION_PART = pa.schema(
    [
        *empty_table("questions").drop_columns(["benchmark", "target"]).schema,
        ("source", pa.string()),
        ("split_source", pa.string()),  # null: the split follows from the text
        empty_table("questions").schema.field("target"),
    ]
)
"""A benchmark's questions, as in the lake's table `questions`, which also has `benchmark` and `evaluation_id`."""

SPLITS = ("train", "val", "test")
_TRAIN, _VAL = 0.8, 0.9  # cumulative shares


def question_ids(benchmark: str, texts: Sequence[str]) -> list[str]:
    """Return 16 hex digits for each question, the same on every machine.

    Where several questions have the same text, the number of the repetition is part of the id, so `texts` must be
    all questions of the benchmark in their own order.
    """
    seen: Counter[str] = Counter()
    ids = []
    for text in texts:
        seen[text] += 1
        ordinal = f"\0{seen[text]}" if seen[text] > 1 else ""
        ids.append(hashlib.sha256(f"{benchmark}\0{text}{ordinal}".encode()).hexdigest()[:16])
    return ids


def split_of(text: str) -> str:
    """Split 80 / 10 / 10 by the text alone: new questions move no old ones, and copies stay together."""
    share = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64
    return "train" if share < _TRAIN else "val" if share < _VAL else "test"


def describe_questions(benchmark: str, questions: pa.Table, source: str = EVALUATION) -> pa.Table:
    """Return the `questions` that `source` brings as QUESTION_PART. They may have the columns target and split, which
    is null where it follows from the text."""
    count, texts = questions.num_rows, questions["text"].to_pylist()
    given, targets = (
        questions[name].to_pylist() if name in questions.column_names else [None] * count
        for name in ("split", "target")
    )
    columns: dict[str, Any] = {
        "question_id": question_ids(benchmark, texts),
        "category": questions["category"],
        "task": questions["task"],
        "doc_id": questions["doc_id"],
        "text": texts,
        "split": [split or split_of(text) for split, text in zip(given, texts, strict=True)],
        "source": [source] * count,
        "split_source": [source if split else None for split in given],
        "target": targets,
    }
    return pa.table(columns, schema=QUESTION_PART)


def merge_questions(stored: pa.Table | None, new: pa.Table) -> pa.Table:
    """Return the questions of a benchmark after `new` came in (all QUESTION_PART), ordered by task and doc_id.

    No question ever leaves. What an evaluation says of category, task and doc_id overrides what an import says; a
    split that an import brings overrides the one that follows from the text; each source may change what it said.
    Raises SplitConflictError where two imports differ.
    """
    rows: dict[str, dict[str, Any]] = {row["question_id"]: row for row in (stored.to_pylist() if stored else [])}
    conflicts = []
    for row in new.to_pylist():
        old = rows.setdefault(row["question_id"], row)
        given_before, given_now = old["split_source"], row["split_source"]
        if given_before and given_now and given_before != given_now and old["split"] != row["split"]:
            conflicts.append((row["question_id"], given_before))
        describes = row if row["source"] in (old["source"], EVALUATION) else old
        splits = row if given_before == row["source"] or (given_before is None and given_now is not None) else old
        rows[row["question_id"]] = {
            **{name: describes[name] for name in ("question_id", "category", "task", "doc_id", "text", "source")},
            **{name: splits[name] for name in ("split", "split_source")},
            "target": old["target"] if row["target"] is None else row["target"],
        }
    if conflicts:
        raise SplitConflictError(tuple(question_id for question_id, _ in conflicts), conflicts[0][1])
    order = sorted(rows.values(), key=lambda row: (row["task"], row["doc_id"], row["question_id"]))
    return pa.Table.from_pylist(order, schema=QUESTION_PART)


def digest_rows(rows: pa.Table) -> str:
    digest = hashlib.sha256()
    for column in rows.columns:
        digest.update("\0".join(map(str, column.to_pylist())).encode() + b"\1")
    return digest.hexdigest()[:16]
