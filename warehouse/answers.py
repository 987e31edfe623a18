"""What a file of answers holds: a model's graded answers to one benchmark, and what determined them."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from warehouse.files import read_parquet
from warehouse.layout import file_of, pairs_in
from warehouse.questions import EVALUATION

__all__ = [
    "EVALUATIONS",
    "FINGERPRINT",
    "RESPONSES",
    "RESPONSE_PART",
    "SOURCES",
    "USAGE",
    "Written",
    "accuracy_of",
    "evaluation_table",
    "identified",
    "is_imported",
    "lasting",
    "merged_answers",
    "read_responses",
    "read_usage",
    "response_part_metadata",
]

RESPONSE_PART = pa.schema(
    {
        "question_id": pa.string(),
        "correct": pa.bool_(),
        "score": pa.float64(),  # the metric before thresholding
        "doc_id": pa.int64(),
        "task": pa.string(),
    }
)
"""Columns of lake/responses/benchmark=<b>/model=<m>/part.parquet, followed by those of USAGE that say something."""

USAGE = pa.schema(
    {
        "tokens_in": pa.int64(),
        "tokens_out": pa.int64(),
        "cost": pa.float64(),  # US$
    }
)
"""What an answer took, null where that is not known. A file of which nothing is known has none of these columns."""

_NAME = pa.dictionary(pa.int32(), pa.string())
RESPONSES = pa.schema(
    {
        "question_id": pa.string(),
        "model": _NAME,
        "benchmark": _NAME,
        "correct": pa.bool_(),
        "score": pa.float64(),
    }
)

EVALUATIONS = pa.schema(
    {
        "benchmark": pa.string(),
        "model": pa.string(),
        "asked": pa.int64(),
        "unanswered": pa.int64(),
        "truncated": pa.int64(),
        "commonest_choice": pa.float64(),
        "equal_scores": pa.float64(),
        "chance": pa.float64(),
    }
)
"""How far the answers of a pair can be trusted; null where its evaluation did not say, or does not know."""

SOURCES = "sources"
"""Metadata key of a response file: JSON list of where its answers come from, EVALUATION or imports."""
FINGERPRINT = "fingerprint"
"""Metadata key of a response file: digest of what determined the answers; imported ones have none."""
_TIMES = frozenset({"started", "finished"})  # the same answers at another time are the same answers


@dataclass(frozen=True)
class Written:
    """What the lake holds of the pair now."""

    rows: int
    accuracy: float
    changed: bool  # False: the lake held these very answers already


def identified(benchmark: str, model: str, answers: pa.Table, questions: pa.Table) -> pa.Table:
    """`answers` of an evaluation as RESPONSE_PART, in the order of `questions` (QUESTION_PART)."""
    where = f"the answers of {model} to {benchmark}"
    if answers.num_rows == 0:
        raise ValueError(f"{where} are empty")
    graded: dict[tuple[str, int], tuple[bool, float]] = {}
    for answer in answers.select(["task", "doc_id", "correct", "score"]).to_pylist():
        key = (answer["task"], answer["doc_id"])
        if key in graded:
            raise ValueError(f"{where} name document {key[1]} of {key[0]} twice")
        if answer["correct"] is None or answer["score"] is None:
            raise ValueError(f"{where} leave document {key[1]} of {key[0]} without a grade")
        graded[key] = (answer["correct"], answer["score"])
    rows = []
    for question in questions.select(["question_id", "task", "doc_id"]).to_pylist():
        grade = graded.pop((question["task"], question["doc_id"]), None)
        if grade is not None:
            rows.append(question | {"correct": grade[0], "score": grade[1]})
    if graded:
        task, doc_id = next(iter(graded))
        raise ValueError(f"{where} name document {doc_id} of {task}, which is not among the questions")
    return pa.Table.from_pylist(rows, schema=RESPONSE_PART)


def merged_answers(stored: pa.Table, new: pa.Table) -> pa.Table:
    """The stored answers and the `new` ones (both RESPONSE_PART), of two to one question the new one.

    Ordered by task and doc_id, so that the order in which answers came in does not show.
    """
    again = set(new["question_id"].to_pylist())
    kept = stored.filter(pa.array([question not in again for question in stored["question_id"].to_pylist()]))
    order = [(name, "ascending") for name in ("task", "doc_id", "question_id")]
    return pa.concat_tables([kept.replace_schema_metadata(), new]).sort_by(order).combine_chunks()


def response_part_metadata(benchmark: str, model: str, rows: pa.Table, sources: Sequence[str]) -> dict[str, str]:
    """Metadata that every response file has."""
    return {
        "benchmark": benchmark,
        "model": model,
        "rows": str(rows.num_rows),
        "accuracy": repr(accuracy_of(rows)),
        SOURCES: json.dumps(sorted(sources)),
    }


def evaluation_table(evaluated: Iterable[tuple[str, str, Mapping[str, str]]]) -> pa.Table:
    """EVALUATIONS from (benchmark, model, metadata) of files with answers; imported ones have no row."""
    rows = [
        {"benchmark": benchmark, "model": model, **_quality(known)}
        for benchmark, model, known in evaluated
        if FINGERPRINT in known
    ]
    return pa.Table.from_pylist(rows, schema=EVALUATIONS) if rows else pa.Table.from_batches([], EVALUATIONS)


def _quality(known: Mapping[str, str]) -> dict[str, object]:
    counts = {name: int(known[name]) for name in ("asked", "unanswered", "truncated") if name in known}
    shares = {name: float(known[name]) for name in ("commonest_choice", "equal_scores", "chance") if name in known}
    return {**counts, **shares}


def accuracy_of(rows: pa.Table) -> float:
    return float(rows["correct"].to_numpy().mean())


def is_imported(metadata: Mapping[str, str]) -> bool:
    """Whether some of the answers were imported."""
    return any(source != EVALUATION for source in json.loads(metadata.get(SOURCES, "[]")))


def lasting(metadata: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in metadata.items() if key not in _TIMES}


def read_responses(folder: Path) -> pa.Table:
    """All answers under `folder` (lake/responses, lake/onboarding) as RESPONSES, by benchmark and model."""
    pairs = pairs_in(folder)
    benchmarks, models = (sorted(set(names)) for names in zip(*pairs, strict=True)) if pairs else ([], [])
    columns = ["question_id", "correct", "score"]

    def part(pair: tuple[str, str]) -> pa.Table:
        try:
            rows = read_parquet(file_of(folder, *pair), columns)
        except FileNotFoundError:  # superseded since it was listed
            return RESPONSES.empty_table()
        rows = rows.append_column("benchmark", _constant(benchmarks, pair[0], rows.num_rows))
        rows = rows.append_column("model", _constant(models, pair[1], rows.num_rows))
        return rows.select(RESPONSES.names).cast(RESPONSES)

    with ThreadPoolExecutor() as pool:
        parts = list(pool.map(part, pairs))
    return pa.concat_tables(parts) if parts else RESPONSES.empty_table()


def read_usage(folder: Path) -> pa.Table:
    """What answers under `folder` (lake/responses) took: question_id, model, and the columns of USAGE. Answers in files
    that know nothing of it are left out."""
    schema = pa.schema([("question_id", pa.string()), ("model", pa.string()), *USAGE])
    parts = [schema.empty_table()]
    for benchmark, model in pairs_in(folder):
        path = file_of(folder, benchmark, model)
        try:
            if not read_parquet(path, USAGE.names).num_columns:
                continue
            rows = read_parquet(path, ["question_id", *USAGE.names])
        except FileNotFoundError:  # superseded since it was listed
            continue
        parts.append(rows.append_column("model", pa.repeat(model, rows.num_rows)))
    return pa.concat_tables(parts, promote_options="default").replace_schema_metadata()


def _constant(names: list[str], name: str, rows: int) -> pa.DictionaryArray:
    """A column of one name, coded by the same dictionary in every file so that chunks need no unifying."""
    codes = pa.array(np.full(rows, bisect_left(names, name), dtype=np.int32))
    return pa.DictionaryArray.from_arrays(codes, pa.array(names))
