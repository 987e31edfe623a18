"""What identifies a question, which split it is in, and how two descriptions of one question are merged."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import pyarrow as pa

from warehouse.errors import SplitConflictError

from .events import EVALUATION

__all__ = [
    "QUESTION_PART",
    "Split",
    "content_digest",
    "described",
    "merge_questions",
    "question_ids",
    "split_of",
]

QUESTION_PART = pa.schema(
    {
        "question_id": pa.string(),
        "category": pa.string(),
        "task": pa.string(),
        "doc_id": pa.int64(),
        "text": pa.string(),
        "split": pa.string(),
        "source": pa.string(),
        "split_source": pa.string(),  # null: the split follows from the text
        "target": pa.string(),  # what is right, where that is known
    }
)
"""A benchmark's questions, as the lake's table `questions` has them beside the benchmark and `evaluation_id`."""

Split = Literal["train", "val", "test"]
SPLITS: tuple[str, ...] = get_args(Split)
_TRAIN, _VAL = 0.8, 0.9  # cumulative shares


def question_ids(benchmark: str, texts: Sequence[str]) -> list[str]:
    """16 hex digits a question, the same on every machine.

    The k-th question (k > 1) of a benchmark with the very same text carries its ordinal k, so `texts` are all
    questions of the benchmark in their own order.
    """
    seen: Counter[str] = Counter()
    ids = []
    for text in texts:
        seen[text] += 1
        ordinal = f"\0{seen[text]}" if seen[text] > 1 else ""
        ids.append(hashlib.sha256(f"{benchmark}\0{text}{ordinal}".encode()).hexdigest()[:16])
    return ids


def split_of(text: str) -> Split:
    """80 / 10 / 10, from the text alone: new questions move no old ones and copies stay together."""
    share = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64
    return "train" if share < _TRAIN else "val" if share < _VAL else "test"


def described(benchmark: str, questions: pa.Table, source: str = EVALUATION) -> pa.Table:
    """The `questions` that `source` brings as QUESTION_PART. They may have columns split, null where it follows from
    the text, and target."""
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
    """The questions of a benchmark after `new` came in (all QUESTION_PART), ordered by task and doc_id.

    No question ever leaves. What an evaluation says of category, task and doc_id holds over what an import
    says; a split that an import brings holds over the split that follows from the text; whoever said a thing
    may change it. Raises SplitConflictError where two imports differ.
    """
    known = [] if stored is None else stored.to_pylist()
    rows: dict[str, dict[str, Any]] = {row["question_id"]: row for row in known}
    conflicts = []
    for row in new.to_pylist():
        old = rows.get(row["question_id"])
        if old is None:
            rows[row["question_id"]] = row
            continue
        if _conflicting(old, row):
            conflicts.append((row["question_id"], old["split_source"]))
        rows[row["question_id"]] = old | _description(old, row) | _split(old, row)
    if conflicts:
        raise SplitConflictError(tuple(question_id for question_id, _ in conflicts), conflicts[0][1])
    order = sorted(rows.values(), key=lambda row: (row["task"], row["doc_id"], row["question_id"]))
    return pa.Table.from_pylist(order, schema=QUESTION_PART)


def _conflicting(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    by_two = old["split_source"] and new["split_source"] and old["split_source"] != new["split_source"]
    return bool(by_two) and old["split"] != new["split"]


def _description(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    takes_over = new["source"] in (old["source"], EVALUATION)
    chosen = new if takes_over else old
    described = {name: chosen[name] for name in ("category", "task", "doc_id", "source")}
    return described | {"target": old["target"] if new["target"] is None else new["target"]}


def _split(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    withdrawn = old["split_source"] == new["source"]
    first_given = old["split_source"] is None and new["split_source"] is not None
    chosen = new if withdrawn or first_given else old
    return {name: chosen[name] for name in ("split", "split_source")}


def content_digest(questions: pa.Table) -> str:
    """Of the rows; the same rows have the same digest."""
    digest = hashlib.sha256()
    for column in questions.columns:
        digest.update("\0".join(map(str, column.to_pylist())).encode() + b"\1")
    return digest.hexdigest()[:16]
