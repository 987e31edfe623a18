"""The lake: a Parquet file a (benchmark, model), one of questions a benchmark, and what later stages made.

    lake/responses/benchmark=<b>/model=<m>/part.parquet   RESPONSE_PART; metadata: what determined the answers
    lake/questions/benchmark=<b>/part.parquet             QUESTION_PART
    lake/<table>/<part>.parquet                           tables of later stages, columns as in sql/schema.sql
Names are percent-encoded in paths. One process writes at a time; files appear whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from warehouse.errors import CorruptFileError, first_line
from warehouse.files import locked, read_parquet, replacing, write_parquet
from warehouse.questions import EVALUATION, QUESTION_PART, merge_questions, question_ids, split_of
from warehouse.staging import FAILURE, Staging, open_staging, recover_staging

__all__ = ["FAILURES", "QUESTIONS", "RESPONSES", "RESPONSE_PART", "SOURCES", "Lake", "Written"]

RESPONSE_PART = pa.schema(
    {
        "question_id": pa.string(),
        "correct": pa.bool_(),
        "score": pa.float64(),  # the metric before thresholding
        "doc_id": pa.int64(),
        "task": pa.string(),
    }
)
"""Columns of lake/responses/benchmark=<b>/model=<m>/part.parquet."""

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
QUESTIONS = pa.schema(
    {
        "question_id": pa.string(),
        "benchmark": pa.string(),
        "category": pa.string(),
        "task": pa.string(),
        "doc_id": pa.int64(),
        "text": pa.string(),
        "split": pa.string(),
    }
)
FAILURES = pa.schema(
    {
        "benchmark": pa.string(),
        "model": pa.string(),
        "kind": pa.string(),
        "reason": pa.string(),
        "attempts": pa.int32(),
        "failed_at": pa.timestamp("us"),  # UTC
    }
)

SOURCES = "sources"
"""Metadata key of a response file: JSON list of where its answers come from, EVALUATION or imports."""
_TIMES = frozenset({"started", "finished"})  # the same answers at another time are the same answers
_OWN = frozenset({"responses", "questions"})


@dataclass(frozen=True)
class Written:
    rows: int
    accuracy: float
    changed: bool  # False: the lake held these very answers already


class Lake:
    """All that was evaluated, imported and computed, as files under `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    # --- paths

    def responses_path(self, benchmark: str, model: str) -> Path:
        pair = Path(f"benchmark={_encoded(benchmark)}") / f"model={_encoded(model)}"
        return self.root / "responses" / pair / "part.parquet"

    def questions_path(self, benchmark: str) -> Path:
        return self.root / "questions" / f"benchmark={_encoded(benchmark)}" / "part.parquet"

    def table_path(self, name: str, part: str = "part") -> Path:
        if name in _OWN:
            raise ValueError(f"lake/{name} has files of its own: use write_evaluation and {name}()")
        return self.root / name / f"{_encoded(part)}.parquet"

    # --- one writer at a time

    @contextmanager
    def exclusively(self) -> Iterator[None]:
        """No other process or thread writes during the block; what a killed one left is put right first."""
        with locked(self.root / ".lock"):
            recover_staging(self.root)
            yield

    @contextmanager
    def staging(self) -> Iterator[Staging]:
        """A folder to prepare many files in that reach the lake together."""
        with ExitStack() as stack:
            with self.exclusively():
                staging = stack.enter_context(open_staging(self.root))
            yield staging

    def recover(self) -> None:
        """Completes a landing that was cut short, removes staged files that were not ready to land."""
        with self.exclusively():
            pass

    # --- evaluations

    def write_evaluation(
        self, benchmark: str, model: str, answers: pa.Table, questions: pa.Table, metadata: Mapping[str, str]
    ) -> Written:
        """Takes in the graded answers of one model to a benchmark, and the questions.

        `answers`: task, doc_id, correct, score; a subset of the questions is fine. `questions`: task, doc_id,
        text, category: every question of the benchmark in its own order (ids of equal texts depend on it).
        Raises ValueError where answers are absent, null, given twice or to no known question.
        """
        described = _described(benchmark, questions)
        rows = _identified(benchmark, model, answers, described)
        wanted = response_part_metadata(benchmark, model, rows, [EVALUATION]) | dict(metadata)
        path = self.responses_path(benchmark, model)
        with self.exclusively():
            self._write_questions(benchmark, described)
            stored = read_parquet(path) if path.exists() else None
            changed = stored is None or not stored.equals(rows)
            if stored is None or changed or _lasting(_metadata(stored.schema)) != _lasting(wanted):
                write_parquet(rows.replace_schema_metadata(wanted), path)
            path.with_name(FAILURE).unlink(missing_ok=True)
        return Written(rows.num_rows, accuracy_of(rows), changed)

    def _write_questions(self, benchmark: str, described: pa.Table) -> None:
        path = self.questions_path(benchmark)
        stored = read_parquet(path) if path.exists() else None
        merged = merge_questions(stored, described)
        if stored is None or not merged.equals(stored):
            write_parquet(merged, path)

    def response_metadata(self, benchmark: str, model: str) -> dict[str, str] | None:
        """What determined the answers of the pair (fingerprint, versions, …); None where it has none."""
        path = self.responses_path(benchmark, model)
        try:
            return _metadata(pq.read_schema(path))
        except FileNotFoundError:
            return None
        except (pa.ArrowException, OSError) as error:
            raise CorruptFileError(path, first_line(error)) from error

    def pairs(self) -> list[tuple[str, str]]:
        """(benchmark, model) of every response file, sorted."""
        return sorted(_pair(path) for path in self.root.glob("responses/benchmark=*/model=*/part.parquet"))

    def state(self) -> str:
        """Digest of what collection brought: questions, answers, failures, labels of imported models."""
        digest = hashlib.sha256()
        for pattern in (
            "questions/*/part.parquet",
            "responses/*/*/part.parquet",
            "imported_models/[!.]*.parquet",
        ):
            for path in sorted(self.root.glob(pattern)):
                digest.update(str(path.relative_to(self.root)).encode() + b"\0" + _file_digest(path))
        failures = self.failures().select(["benchmark", "model", "kind", "reason"]).to_pylist()
        digest.update(json.dumps(failures).encode())
        return digest.hexdigest()[:16]

    # --- failures

    def record_failure(self, benchmark: str, model: str, kind: str, reason: str) -> None:
        """Remembers why the pair has no (new) answers, until it gets some."""
        path = self.responses_path(benchmark, model).with_name(FAILURE)
        with self.exclusively():
            attempts = json.loads(path.read_text())["attempts"] if path.exists() else 0
            record = {
                "kind": kind,
                "reason": reason,
                "attempts": attempts + 1,
                "failed_at": datetime.now(UTC).isoformat(),
            }
            with replacing(path) as temporary:
                temporary.write_text(json.dumps(record))

    def failures(self) -> pa.Table:
        """The pairs whose last evaluation failed (FAILURES)."""
        rows = []
        for path in sorted(self.root.glob(f"responses/benchmark=*/model=*/{FAILURE}")):
            benchmark, model = _pair(path)
            record = json.loads(path.read_text())
            record["failed_at"] = datetime.fromisoformat(record["failed_at"]).replace(tzinfo=None)
            rows.append(record | {"benchmark": benchmark, "model": model})
        return pa.Table.from_pylist(rows, schema=FAILURES)

    # --- whole tables

    def questions(self) -> pa.Table:
        """All questions (QUESTIONS), by benchmark, task and doc_id."""
        parts = []
        for path in sorted(self.root.glob("questions/benchmark=*/part.parquet")):
            part = read_parquet(path, [name for name in QUESTIONS.names if name != "benchmark"])
            benchmark = pa.repeat(_decoded(path.parent), part.num_rows)
            parts.append(part.append_column("benchmark", benchmark).select(QUESTIONS.names))
        return pa.concat_tables(parts) if parts else QUESTIONS.empty_table()

    def responses(self) -> pa.Table:
        """All responses (RESPONSES), a row a question that a model was asked; by benchmark and model."""
        pairs = self.pairs()
        benchmarks, models = (sorted(set(names)) for names in zip(*pairs, strict=True)) if pairs else ([], [])
        columns = ["question_id", "correct", "score"]

        def part(pair: tuple[str, str]) -> pa.Table:
            rows = read_parquet(self.responses_path(*pair), columns)
            rows = rows.append_column("benchmark", _constant(benchmarks, pair[0], rows.num_rows))
            rows = rows.append_column("model", _constant(models, pair[1], rows.num_rows))
            return rows.select(RESPONSES.names).cast(RESPONSES)

        with ThreadPoolExecutor() as pool:
            parts = list(pool.map(part, pairs))
        return pa.concat_tables(parts) if parts else RESPONSES.empty_table()

    def embedded_questions(self, encoder: str) -> list[str]:
        """Ids of the questions that this encoder has encoded."""
        table = self.read_table("question_embeddings")
        return table.filter(pc.field("encoder") == encoder)["question_id"].to_pylist() if table else []

    def add_question_embeddings(
        self, encoder: str, question_ids: Sequence[str], vectors: npt.NDArray[np.float32]
    ) -> None:
        """Adds `vectors` (n, d) of `question_ids` (n) as a part of lake/question_embeddings."""
        table = pa.table(
            {
                "question_id": pa.array(question_ids, pa.string()),
                "encoder": pa.array([encoder] * len(question_ids), pa.string()),
                # Lists of variable length, so that encoders of different dimensions fit one table.
                "embedding": pa.array(list(vectors), pa.list_(pa.float32())),
            }
        )
        part = hashlib.sha256("\0".join([encoder, *question_ids]).encode()).hexdigest()[:16]
        self.write_table("question_embeddings", table, part)

    def imports(self) -> list[dict[str, Any]]:
        """What was imported, one dict a source (columns as in ingest.IMPORTS)."""
        table = self.read_table("imports")
        return table.to_pylist() if table else []

    def write_table(self, name: str, table: pa.Table, part: str = "part") -> None:
        """Puts `table` in the place of one part of lake/<name>."""
        path = self.table_path(name, part)
        with self.exclusively():
            write_parquet(table, path)

    def read_table(self, name: str, part: str | None = None) -> pa.Table | None:
        """One part of lake/<name>, or all of them; None where there is none."""
        parts = self.table_parts(name) if part is None else [part]
        paths = [path for path in (self.table_path(name, part) for part in parts) if path.exists()]
        tables = [read_parquet(path) for path in paths]
        return pa.concat_tables(tables, promote_options="permissive") if tables else None

    def table_parts(self, name: str) -> list[str]:
        folder = self.table_path(name).parent
        return sorted(unquote(path.stem) for path in folder.glob("*.parquet") if not path.name.startswith("."))


def response_part_metadata(benchmark: str, model: str, rows: pa.Table, sources: Sequence[str]) -> dict[str, str]:
    """Metadata that every response file has."""
    return {
        "benchmark": benchmark,
        "model": model,
        "rows": str(rows.num_rows),
        "accuracy": repr(accuracy_of(rows)),
        SOURCES: json.dumps(sorted(sources)),
    }


def accuracy_of(rows: pa.Table) -> float:
    return float(rows["correct"].to_numpy().mean())


def _file_digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _constant(names: list[str], name: str, rows: int) -> pa.DictionaryArray:
    """A column of one name, coded by the same dictionary in every file so that chunks need no unifying."""
    codes = pa.array(np.full(rows, bisect_left(names, name), dtype=np.int32))
    return pa.DictionaryArray.from_arrays(codes, pa.array(names))


def _encoded(name: str) -> str:
    return quote(name, safe="")


def _decoded(folder: Path) -> str:
    return unquote(folder.name.partition("=")[2])


def _pair(path: Path) -> tuple[str, str]:
    return _decoded(path.parent.parent), _decoded(path.parent)


def _metadata(schema: pa.Schema) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in (schema.metadata or {}).items() if key != b"ARROW:schema"}


def _lasting(metadata: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in metadata.items() if key not in _TIMES}


def _described(benchmark: str, questions: pa.Table) -> pa.Table:
    """`questions` of an evaluation as QUESTION_PART."""
    texts: Sequence[str] = questions["text"].to_pylist()
    count = len(texts)
    columns: dict[str, Any] = {
        "question_id": question_ids(benchmark, texts),
        "category": questions["category"],
        "task": questions["task"],
        "doc_id": questions["doc_id"],
        "text": texts,
        "split": [split_of(text) for text in texts],
        "source": [EVALUATION] * count,
        "split_source": [None] * count,
    }
    return pa.table(columns, schema=QUESTION_PART)


def _identified(benchmark: str, model: str, answers: pa.Table, described: pa.Table) -> pa.Table:
    """`answers` of an evaluation as RESPONSE_PART, in the order of the questions."""
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
    for question in described.select(["question_id", "task", "doc_id"]).to_pylist():
        grade = graded.pop((question["task"], question["doc_id"]), None)
        if grade is not None:
            rows.append(question | {"correct": grade[0], "score": grade[1]})
    if graded:
        task, doc_id = next(iter(graded))
        raise ValueError(f"{where} name document {doc_id} of {task}, which is not among the questions")
    return pa.Table.from_pylist(rows, schema=RESPONSE_PART)
