"""Published results, brought into the lake: all of a source or nothing of it.

find_source ─▶ read_published ─▶ merge with the lake, staged ─▶ land
sources.py     published.py      here                           staging.py
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from warehouse.answers import RESPONSE_PART, SOURCES, USAGE, response_part_metadata
from warehouse.errors import ImportRefused, SplitConflictError
from warehouse.files import read_parquet, write_parquet
from warehouse.labels import read_labels
from warehouse.lake import Lake
from warehouse.published import Answers, NameFault, Published, open_scratch, read_published
from warehouse.questions import QUESTION_PART, merge_questions, question_ids, split_of
from warehouse.shown import lacks_what_it_speaks_of
from warehouse.sources import Source, digest_of, find_source
from warehouse.staging import Staging
from warehouse.tables import checked_file

__all__ = ["IMPORTS", "ImportRefused", "ImportSummary", "import_results"]

IMPORTS = pa.schema(
    {
        "source": pa.string(),  # absolute path or hub id
        "split": pa.string(),  # the split table, if one was given
        "labels": pa.string(),  # the table of models, if one was given
        "digest": pa.string(),  # SHA-256 of what was read
        "rows": pa.int64(),
        "duplicates": pa.int64(),
        "models": pa.int64(),
        "questions": pa.int64(),
        "benchmarks": pa.list_(pa.string()),
        "imported_at": pa.timestamp("us"),  # UTC
    }
)
"""Columns of lake/imports, one part a source."""

Progress = Callable[[int, int, str], None]
"""Told (done, total, what)."""


@dataclass(frozen=True)
class ImportSummary:
    source: str
    rows: int  # answers, each (prompt_id, model) counted once
    duplicates: int  # further rows that say the same
    models: int
    questions: int
    benchmarks: int
    changed: bool  # False: the lake held all of it already
    lacking: Mapping[str, tuple[int, int]]  # by benchmark: questions that lack what they speak of, and all questions


def import_results(
    lake: Lake,
    source: str,
    *,
    split: Path | None = None,
    models: Path | None = None,
    benchmark_of: Callable[[str], str],
    model_fault: NameFault = lambda name: None,
    benchmark_fault: NameFault = lambda name: None,
    progress: Progress | None = None,
) -> ImportSummary:
    """Brings the published results at `source` (see `find_source`) into the lake.

    `split`: a table prompt_id, split, which holds over what `source` says of splits. `models`: a table of
    model labels (see `read_labels`). `benchmark_of` tells the benchmark of a published category.
    `model_fault` and `benchmark_fault` tell why a name of either cannot be used; None where it can.

    What only this source brought before is replaced; to a pair of benchmark and model that others brought too,
    answers are added. Raises ImportRefused, with the lake untouched, where the data are not as they must be or
    contradict what the lake holds.
    """
    tell = progress or (lambda done, total, what: None)
    tell(0, 1, "import: finding the files")
    found = find_source(source)
    labels = read_labels(models, model_fault) if models else None
    inputs = [file.path for file in found.files] + [checked_file(path) for path in (split, models) if path]
    digest = digest_of(inputs)
    with lake.staging() as staging, open_scratch(staging.folder / "scratch") as scratch:
        tell(0, 1, "import: reading and checking")
        published = read_published(
            scratch,
            staging.folder / "scratch",
            found,
            split,
            benchmark_of=benchmark_of,
            model_fault=model_fault,
            benchmark_fault=benchmark_fault,
        )
        benchmarks = published.benchmarks
        with lake.exclusively():
            incoming = _Incoming(lake, staging, found, published)
            incoming.refuse_case_twins()
            for number, benchmark in enumerate(benchmarks):
                tell(number, len(benchmarks), "benchmarks imported")
                incoming.stage_benchmark(benchmark)
            tell(len(benchmarks), len(benchmarks), "benchmarks imported")
            incoming.refuse_contradictions()
            incoming.withdraw(benchmarks)
            if labels is not None:
                incoming.stage_table("imported_models", labels)
            incoming.stage_record(split, models, digest, benchmarks)
            if incoming.changed:
                staging.land()
    return ImportSummary(
        source=found.name,
        rows=published.rows,
        duplicates=published.duplicates,
        models=published.models,
        questions=published.questions,
        benchmarks=len(benchmarks),
        changed=incoming.changed,
        lacking=incoming.lacking,
    )


class _Incoming:
    """What of an import differs from the lake, staged file by file. Its user holds the lake's lock."""

    def __init__(self, lake: Lake, staging: Staging, source: Source, published: Published) -> None:
        self.lake = lake
        self.staging = staging
        self.source = source.name
        self.published = published
        self._part = hashlib.sha256(source.name.encode()).hexdigest()[:16]
        self.changed = False
        self.brought: set[tuple[str, str]] = set()
        self.lacking: dict[str, tuple[int, int]] = {}
        self.contradictions: list[str] = []

    def refuse_case_twins(self) -> None:
        """Raises ImportRefused where new names differ in letter case only from names that the lake has and will keep.

        File systems exist on which they would share a folder.
        """
        pairs = self.lake.pairs()
        known = {
            "benchmark": ({benchmark for benchmark, _ in pairs}, self.published.benchmarks),
            "model": ({model for _, model in pairs}, self.published.model_names()),
        }
        problems = []
        for place, (kind, (stored, brought)) in enumerate(known.items()):
            new_names = {name.casefold(): name for name in set(brought) - stored}
            for old in sorted(stored - set(brought)):
                new = new_names.get(old.casefold())
                if new and any(pair[place] == old and not self._is_only_ours(*pair) for pair in pairs):
                    problems.append(
                        f"the {kind} name {new!r} differs from {old!r}, which the lake has, in letter case only; "
                        "write it alike"
                    )
        if problems:
            raise ImportRefused(self.source, problems)

    def _is_only_ours(self, benchmark: str, model: str) -> bool:
        """Whether this source alone brought the answers of the pair."""
        known = self.lake.response_metadata(benchmark, model) or {}
        return json.loads(known[SOURCES]) == [self.source]

    def stage_benchmark(self, benchmark: str) -> None:
        described = self._described(benchmark)
        texts = described["text"].to_pylist()
        self.lacking[benchmark] = sum(map(lacks_what_it_speaks_of, texts)), len(texts)
        path = self.lake.questions_path(benchmark)
        stored = read_parquet(path) if path.exists() else None
        try:
            merged = merge_questions(stored, described)
        except SplitConflictError as error:
            raise ImportRefused(self.source, [f"in {benchmark}, {error}"]) from error
        if stored is None or not merged.equals(stored):
            self._stage(merged, path)
        for answers in self.published.answers_of(benchmark):
            self._stage_answers(benchmark, answers, described)

    def _described(self, benchmark: str) -> pa.Table:
        """The benchmark's questions as QUESTION_PART, in the order of prompt_id."""
        questions = self.published.questions_of(benchmark)
        texts = questions["text"].to_pylist()
        given = questions["split"].to_pylist()
        return pa.table(
            {
                "question_id": question_ids(benchmark, texts),
                "category": questions["category"],
                "task": questions["category"],
                "doc_id": questions["doc_id"],
                "text": questions["text"],
                "split": [split or split_of(text) for split, text in zip(given, texts, strict=True)],
                "source": [self.source] * len(texts),
                "split_source": [self.source if split else None for split in given],
            },
            schema=QUESTION_PART,
        )

    def _stage_answers(self, benchmark: str, answers: Answers, described: pa.Table) -> None:
        self.brought.add((benchmark, answers.model))
        path = self.lake.responses_path(benchmark, answers.model)
        rows = _response_part(answers, described)
        metadata: dict[str, str] = {}
        sources = {self.source}
        stored = read_parquet(path) if path.exists() else None
        if stored is not None:
            known = self.lake.response_metadata(benchmark, answers.model) or {}
            others = set(json.loads(known[SOURCES])) - sources
            if others:
                self._note_contradictions(benchmark, answers.model, stored, rows, others)
                rows, metadata, sources = _union(stored, rows), known, sources | others
            if rows.equals(stored) and sorted(sources) == json.loads(known[SOURCES]):
                return
        metadata = metadata | response_part_metadata(benchmark, answers.model, rows, sorted(sources))
        self._stage(rows.replace_schema_metadata(metadata), path)

    def _note_contradictions(
        self, benchmark: str, model: str, stored: pa.Table, rows: pa.Table, others: set[str]
    ) -> None:
        known = dict(zip(stored["question_id"].to_pylist(), stored["correct"].to_pylist(), strict=True))
        wrong = [
            row["doc_id"] for row in rows.to_pylist() if known.get(row["question_id"], row["correct"]) != row["correct"]
        ]
        if wrong:
            self.contradictions.append(
                f"{len(wrong)} answers of {model} to {benchmark} differ from those that the lake has from "
                f"{', '.join(sorted(others))} (for example document {wrong[0]})"
            )

    def refuse_contradictions(self) -> None:
        if self.contradictions:
            count = len(self.contradictions)
            more = [f"{count - 3} more pairs of model and benchmark differ"] if count > 3 else []
            remedy = f"to have the new answers, delete the old ones under {self.lake.root / 'responses'} first"
            raise ImportRefused(self.source, [*self.contradictions[:3], *more, remedy])

    def withdraw(self, benchmarks: list[str]) -> None:
        """Takes back what this source alone brought before and brings no more: a model, or a benchmark that
        has another name since the registry groups categories otherwise."""
        left = set()
        for benchmark, model in set(self.lake.pairs()) - self.brought:
            if self._is_only_ours(benchmark, model):
                self._remove(self.lake.responses_path(benchmark, model))
            else:
                left.add(benchmark)
        for benchmark in {old for record in self._records() for old in record["benchmarks"]} - {*benchmarks, *left}:
            if (path := self.lake.questions_path(benchmark)).exists():
                self._remove(path)

    def _records(self) -> list[dict[str, Any]]:
        """What is recorded of this source's last import: one row or none."""
        table = self.lake.read_table("imports", self._part)
        return table.to_pylist() if table else []

    def stage_record(self, split: Path | None, models: Path | None, digest: str, benchmarks: list[str]) -> None:
        record = {
            "source": self.source,
            "split": str(split.resolve()) if split else None,
            "labels": str(models.resolve()) if models else None,
            "digest": digest,
            "rows": self.published.rows,
            "duplicates": self.published.duplicates,
            "models": self.published.models,
            "questions": self.published.questions,
            "benchmarks": benchmarks,
            "imported_at": datetime.now(UTC).replace(tzinfo=None),
        }
        self.stage_table("imports", pa.Table.from_pylist([record], schema=IMPORTS), apart_from="imported_at")

    def stage_table(self, name: str, table: pa.Table, *, apart_from: str | None = None) -> None:
        """Stages this source's part of lake/<name>, unless it differs in nothing (`apart_from` a column)."""
        stored = self.lake.read_table(name, self._part)
        compared = [column for column in table.column_names if column != apart_from]
        if stored is None or not stored.select(compared).equals(table.select(compared)):
            self._stage(table, self.lake.table_path(name, self._part))

    def _stage(self, table: pa.Table, path: Path) -> None:
        write_parquet(table, self.staging.path_of(path))
        self.changed = True

    def _remove(self, path: Path) -> None:
        self.staging.remove(path)
        self.changed = True


def _response_part(answers: Answers, described: pa.Table) -> pa.Table:
    """RESPONSE_PART and what is known of USAGE: the score of a published answer is its label."""
    asked = described.select(["question_id", "doc_id", "task"]).take(pa.array(answers.questions))
    columns = {name: asked[name] for name in asked.column_names}
    columns |= {"correct": pa.array(answers.correct), "score": pa.array(answers.correct.astype(np.float64))}
    part = pa.table(columns, schema=RESPONSE_PART)
    for name, values in answers.usage.items():
        unknown = np.isnan(values)
        if not unknown.all():
            part = part.append_column(USAGE.field(name), pa.array(values, mask=unknown).cast(USAGE.field(name).type))
    return part.combine_chunks()


def _union(stored: pa.Table, rows: pa.Table) -> pa.Table:
    """The stored answers, and those of `rows` to other questions."""
    known = set(stored["question_id"].to_pylist())
    new = rows.filter(pa.array([question not in known for question in rows["question_id"].to_pylist()]))
    if not new.num_rows:
        return stored
    return pa.concat_tables([stored.replace_schema_metadata(), new], promote_options="default")
