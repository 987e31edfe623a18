"""What the lake holds now: rows as Arrow, and the digests that tell whether something has changed."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from warehouse.database.connect import empty_table, open_reader

from .answers import ANSWERS, RUNS, USAGE, is_imported
from .delta import PART, DeltaTables
from .events import Event, InForce, Pair, events_of
from .failures import INTERRUPTED, NOT_APPLICABLE, Failure
from .questions import QUESTION_PART, digest_rows
from .reading import AS_WRITTEN, rows_of

__all__ = ["Contents"]

_OWN = frozenset({"responses", "questions", "evaluations"})
_GRADES = ("question_id", "model", "benchmark", "correct", "score")
_NEWEST = """
    QUALIFY row_number() OVER (PARTITION BY question_id ORDER BY number DESC) = 1
    ORDER BY task, doc_id, question_id
"""
"""SQL: of the rows of a question, the one that came last."""


class _Questions(NamedTuple):
    """A benchmark's questions: the events that brought them, QUESTION_PART by task and doc_id, and their digest."""

    batches: Mapping[str, Event]
    rows: pa.Table
    digest: str


class Contents:
    """The reading half of `Lake`."""

    def __init__(self, address: Path | str) -> None:
        self.tables = DeltaTables(str(address))
        self.address = self.tables.address
        self._events: dict[str, Event] = {}
        self._in_force = InForce()
        self._read_from: set[str] = set()
        self._seen: int | None = None  # version of the table of events
        self._questions: dict[str, _Questions] = {}
        self._lock = threading.RLock()
        self._here = threading.local()

    # --- what is in force

    def now(self) -> InForce:
        """Return what holds now, whoever wrote it."""
        if (still := getattr(self._here, "still", None)) is not None:
            return still
        with self._lock:
            self._look()
            return self._in_force

    @contextmanager
    def still(self) -> Iterator[None]:
        """Within the block, this thread sees the lake as it was at its beginning."""
        before, self._here.still = getattr(self._here, "still", None), self.now()
        try:
            yield
        finally:
            self._here.still = before

    def _look(self) -> None:
        table = self.tables.table("evaluations")
        if table is None or table.version() == self._seen:
            return
        files = set(self.tables.files("evaluations")["path"].to_pylist())
        rewritten = bool(self._read_from - files)  # compacted, or some were lost
        new = files if rewritten else files - self._read_from
        rows = [self.tables.read_file("evaluations", file) for file in sorted(new)]
        found = {event.event_id: event for part in rows for event in events_of(part)}
        if rewritten or not found.keys() <= self._events.keys():
            self._events = found if rewritten else self._events | found
            self._in_force = InForce(self._events.values())
        self._read_from, self._seen = files, table.version()

    # --- questions

    def questions_of(self, benchmark: str) -> pa.Table | None:
        """Return the QUESTION_PART of a benchmark, by task and doc_id; None where it has no questions."""
        found = self._read_questions([benchmark])
        return found[benchmark].rows if found else None

    def questions(self) -> pa.Table:
        """Return all questions (the columns of the warehouse's table), by benchmark, task and doc_id."""
        columns = empty_table("questions").column_names
        parts = [
            known.rows.append_column("benchmark", pa.repeat(benchmark, known.rows.num_rows)).select(columns)
            for benchmark, known in self._read_questions().items()
        ]
        return pa.concat_tables([empty_table("questions"), *parts])

    def count_questions(self) -> int:
        return sum(known.rows.num_rows for known in self._read_questions().values())

    def questions_state(self) -> str:
        """Return a digest of which questions came when, for which the questions need not be read."""
        return _digest(sorted((name, *batches) for name, batches in self.now().questions.items()))

    def _read_questions(self, benchmarks: Iterable[str] | None = None) -> dict[str, _Questions]:
        """Return the questions of `benchmarks` (None: all), and remember them."""
        batches = self.now().questions
        wanted = sorted(batches if benchmarks is None else batches.keys() & set(benchmarks))
        for name in wanted:
            if name not in self._questions or self._questions[name].batches != batches[name]:
                events = list(batches[name].values())
                with open_reader() as connection, rows_of(connection, self.tables, "questions", events) as rows:
                    found = connection.sql(f"SELECT {', '.join(QUESTION_PART.names)} {rows} {_NEWEST}").to_arrow_table()
                self._questions[name] = _Questions(batches[name], found, digest_rows(found))
        return {name: self._questions[name] for name in wanted}

    # --- answers

    def pairs(self) -> list[Pair]:
        """Return (benchmark, model) of all answers, sorted."""
        return sorted(self.now().answers)

    def evaluated(self) -> list[Pair]:
        """Return (benchmark, model) of the answers that were not imported, sorted."""
        return sorted(pair for pair, event in self.now().answers.items() if not is_imported(event.metadata))

    def response_metadata(self, benchmark: str, model: str) -> dict[str, str] | None:
        """Return what determined the answers of the pair (fingerprint, versions, …); None where it has none."""
        return _metadata(self.now().answers.get((benchmark, model)))

    def responses(self) -> pa.Table:
        """Return all responses (question_id, model, benchmark, correct, score): one row per question that a model was
        asked, by benchmark and model."""
        return self._read_sorted(self.now().answers, _GRADES)

    def usage(self) -> pa.Table:
        """Return the tokens and US$ that answers took (question_id, model, USAGE), where that is known."""
        known = {pair: event for pair, event in self.now().answers.items() if event.metadata.get("usage")}
        return self._read_sorted(known, ["question_id", "model", *USAGE])

    def _read_sorted(self, answers: Mapping[Pair, Event], columns: Sequence[str]) -> pa.Table:
        return self._read([answers[pair] for pair in sorted(answers)], columns)

    def _read(self, events: Sequence[Event], columns: Sequence[str]) -> pa.Table:
        """Return `columns` of the answers of `events`. Raises CorruptFileError where some are missing or damaged."""
        if not any(event.n for event in events):
            return empty_table("responses").select(columns)
        with open_reader() as connection, rows_of(connection, self.tables, "responses", events) as rows:
            return connection.sql(f"SELECT {', '.join(columns)} {rows} {AS_WRITTEN}").to_arrow_table()

    def rows_of(self, event: Event) -> pa.Table:
        """Return the ANSWERS of `event`. Raises CorruptFileError where some are missing or damaged."""
        return self._read([event], ANSWERS.names)

    def rows_of_each(self, events: Sequence[Event]) -> Iterator[tuple[Event, pa.Table]]:
        """Yield the ANSWERS of each of `events`, which are all there."""
        rows, start = self._read(events, ANSWERS.names), 0
        for event in events:
            yield event, rows.slice(start, event.n)
            start += event.n or 0

    def state(self, without: Collection[Pair] = ()) -> str:
        """Return a digest of what was collected: questions, answers (except those of the pairs `without`), labels of
        imported models. The same rows have the same digest, whoever wrote them, and whenever."""
        with self.still():
            in_force = self.now()
            content = {
                "answers": sorted((*pair, e.digest) for pair, e in in_force.answers.items() if pair not in without),
                "questions": sorted((name, known.digest) for name, known in self._read_questions().items()),
                "labels": sorted(event.metadata.get("labels_digest") or "" for event in in_force.imports.values()),
            }
        return _digest(content)

    def answers_state(self, pairs: Iterable[Pair]) -> str:
        """Return a digest of the answers of `pairs` and all that is known of them; pairs without answers count too."""
        answers = self.now().answers
        found = [(pair, answers.get(pair)) for pair in sorted(set(pairs))]
        return _digest([(*pair, event and (event.digest, event.metadata["known"])) for pair, event in found])

    def superseded(self) -> pa.Table:
        """Return the sets of answers that were superseded, one row each, by benchmark, model and time."""
        events = [event for sets in self.now().superseded.values() for event in sets.values()]
        events.sort(key=lambda event: (event.pair, event.position))
        rows = [vars(event) | {"why": event.reason, "superseded_at": event.recorded_at} for event in events]
        return _table("superseded", rows)

    def evaluations(self) -> pa.Table:
        """Return how far the answers of each pair can be trusted, and where and how fast they were given, as its
        evaluation noted it; null where it did not. Imported answers have no row."""
        schema = empty_table("evaluations").schema
        columns = [column for column in schema if column.name not in ("benchmark", "model")]
        noted = {column.name: str if column.type == pa.string() else float for column in columns}
        rows = [
            vars(event) | {name: read(event.metadata[name]) for name, read in noted.items() if name in event.metadata}
            for _, event in sorted(self.now().answers.items())
            if event.fingerprint
        ]
        return _table("evaluations", rows)

    def imported_runs(self) -> pa.Table:
        """Return how imported answers came about, as far as logs say, one row per log, model and category."""
        rows = [
            run | {"benchmark": event.benchmark, "model": event.model, "settings": json.dumps(run.get("settings", {}))}
            for _, event in sorted(self.now().answers.items())
            for run in json.loads(event.metadata.get(RUNS, "[]"))
        ]
        return _table("imported_runs", rows)

    # --- failures

    def failure(self, benchmark: str, model: str) -> Failure | None:
        """Return why the pair's last evaluation failed; None where it did not."""
        return self.now().failures.get((benchmark, model))

    def failures(self) -> pa.Table:
        """Return the pairs whose last evaluation failed, sorted."""
        return self._failed("failures", lambda kind: kind != NOT_APPLICABLE)

    def not_applicable(self) -> pa.Table:
        """Return benchmark, model and reason of the pairs that cannot be asked, sorted."""
        return self._failed("not_applicable", lambda kind: kind == NOT_APPLICABLE)

    def _failed(self, name: str, wanted: Callable[[str], bool]) -> pa.Table:
        rows = [
            vars(failure) | {"benchmark": benchmark, "model": model, "retry_at": failure.retry_at}
            for (benchmark, model), failure in sorted(self.now().failures.items())
            if wanted(failure.kind)
        ]
        return _table(name, rows)

    def failures_state(self, counts: Callable[[str, str], bool] = lambda benchmark, model: True) -> str:
        """Return a digest of which pairs failed, of those that count, and why, but not of when or how often."""
        rows = self.failures().select(["benchmark", "model", "kind", "reason"]).to_pylist()
        counted = [row for row in rows if row["kind"] != INTERRUPTED and counts(row["benchmark"], row["model"])]
        return _digest(counted)

    # --- answers to a few chosen questions, which nothing trains on

    def onboarding_metadata(self, benchmark: str, model: str) -> dict[str, str] | None:
        """Return what determined the onboarding answers of the pair; None where it has none."""
        return _metadata(self.now().onboarding.get((benchmark, model)))

    def onboarding_responses(self) -> pa.Table:
        """Return all onboarding answers, in the columns of `responses`."""
        return self._read_sorted(self.now().onboarding, _GRADES)

    def onboarded_models(self) -> list[str]:
        """Return the models that have onboarding answers, sorted."""
        return sorted({model for _, model in self.now().onboarding})

    def onboarding_state(self, without: Collection[str] = ()) -> str:
        """Return a digest of the onboarding answers, which `state` leaves out, except those of the models `without`."""
        onboarding = self.now().onboarding
        return _digest(sorted((*pair, event.digest) for pair, event in onboarding.items() if pair[1] not in without))

    # --- imports

    def imports(self) -> list[dict[str, Any]]:
        """Return what was imported, one dict per source: source, split, labels, digest, rows, duplicates, models,
        questions, benchmarks, imported_at (UTC) and, since they are kept, formats and options."""
        events = [event for _, event in sorted(self.now().imports.items())]
        return [event.metadata | {"source": event.source, "imported_at": event.recorded_at} for event in events]

    def labels(self) -> pa.Table | None:
        """Return the labels of models that came with imports; None where none did."""
        parts = sorted(filter(None, (event.metadata["labels_part"] for event in self.now().imports.values())))
        tables = [table for part in parts if (table := self.read_table("imported_models", part))]
        return pa.concat_tables(tables, promote_options="permissive") if tables else None

    # --- tables of later stages

    def embedded_questions(self, encoder: str) -> list[str]:
        """Return the ids of the questions that this encoder has encoded."""
        rows = self.tables.read("question_embeddings", ["question_id"], pc.field("encoder") == encoder)
        return rows["question_id"].to_pylist() if rows else []

    def read_table(self, name: str, part: str | None = None) -> pa.Table | None:
        """Return one part of a later stage's table, or all of them; None where there is none."""
        self._check_is_later(name)
        if part is not None and part not in self.table_parts(name):
            return None
        rows = self.tables.read(name, where=None if part is None else pc.field(PART) == part)
        return rows.drop_columns(PART).combine_chunks() if rows else None

    def table_parts(self, name: str) -> list[str]:
        """Return the parts that have rows, sorted."""
        table = self.tables.table(name)
        return sorted(partition[PART] for partition in table.partitions()) if table else []

    def _check_is_later(self, name: str) -> None:
        if name in _OWN:
            raise ValueError(f"{name} is written by write_evaluation and read by {name}()")


def _table(name: str, rows: list[dict[str, Any]]) -> pa.Table:
    """Return the warehouse's table `name` with these rows, without keys that are no columns."""
    return pa.Table.from_pylist(rows, schema=empty_table(name).schema) if rows else empty_table(name)


def _metadata(event: Event | None) -> dict[str, str] | None:
    if event is None:
        return None
    own = {"benchmark": event.benchmark, "model": event.model, "rows": str(event.n), "accuracy": repr(event.accuracy)}
    return own | event.metadata


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
