"""One door to the lake: append-only Delta tables with one commit point.

    questions     what can be asked; a row a question, the newest holds
    responses     graded answers, by benchmark and evaluation_id
    evaluations   a row an event (events.py). What has no event is not there: questions and answers are written first
    <table>       tables of later stages, columns as in sql/schema.sql, of which a part is replaced at a time
Any number of processes, on any number of machines, write at once.
"""

from __future__ import annotations

import hashlib
import json
import threading
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from warehouse.errors import CorruptFileError
from warehouse.lake.answers import (
    ANSWERS,
    FINGERPRINT,
    RESPONSES,
    SOURCES,
    USAGE,
    Written,
    accuracy_of,
    answers_digest,
    evaluation_table,
    has_usage,
    identified,
    is_imported,
    lasting,
    merged_answers,
)
from warehouse.lake.delta import PART, DeltaTables, naming_what_is_corrupt
from warehouse.lake.events import EVALUATION, ONBOARDING, Event, InForce, Pair, event_rows, events_of, new_id
from warehouse.lake.failures import INTERRUPTED, Failure, failure_table, next_failure, not_applicable_table
from warehouse.lake.questions import QUESTION_PART, QUESTIONS, content_digest, described, merge_questions
from warehouse.lake.upkeep import KEPT, Damage, compact, compact_events, find_damage, mend

__all__ = ["SUPERSEDED", "Lake", "Writing"]

_OURS = {SOURCES: json.dumps([EVALUATION])}
_MANY_FILES = 100  # of events: each makes the next commit, and the next look, slower
_OWN = frozenset({"responses", "questions", "evaluations"})
_REPLACED = "It was evaluated anew, because what determines its answers had changed."
_TAKEN_BACK = "Answers that it gave under an earlier entry hold again."

SUPERSEDED = pa.schema(
    {
        "benchmark": pa.string(),
        "model": pa.string(),
        "n": pa.int64(),
        "accuracy": pa.float64(),
        "fingerprint": pa.string(),
        "why": pa.string(),
        "superseded_at": pa.timestamp("us"),  # UTC
    }
)


class Writing:
    """What is on its way into the lake. `commit` brings it in: all of it, or nothing where it is cut short."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._questions: list[pa.Table] = []
        self._answers: list[pa.Table] = []
        self._events: list[Event] = []
        self._then: list[Callable[[], None]] = []

    def add(self, event: Event) -> None:
        self._events.append(event)

    def add_questions(self, benchmark: str, rows: pa.Table) -> None:
        """`rows` (QUESTION_PART) are new, or say something new of questions that there are."""
        event = Event("questions", benchmark, evaluation_id=new_id(datetime.now(UTC)), n=rows.num_rows)
        self._questions.append(_labelled(rows, benchmark, event))
        self.add(event)

    def add_answers(self, event: Event, rows: pa.Table) -> None:
        """`rows` (ANSWERS) are those of `event`, which says that they are done."""
        self._answers.append(_labelled(rows, event.benchmark, event))
        self.add(event)

    def after(self, step: Callable[[], None]) -> None:
        """`step` is to be taken once all of this is in the lake."""
        self._then.append(step)

    def spill(self) -> None:
        """Writes questions and answers, which nobody sees before `commit`, and frees their memory."""
        for name, tables in (("questions", self._questions), ("responses", self._answers)):
            if tables:
                self._lake.tables.append(name, pa.concat_tables(tables))
                tables.clear()

    def discard(self) -> None:
        for held in (self._questions, self._answers, self._events, self._then):
            held.clear()

    def commit(self) -> None:
        if self._events:
            self.spill()
            self._lake._commit(self._events)
        then = self._then.copy()
        self.discard()
        for step in then:
            step()


def _labelled(rows: pa.Table, benchmark: str, event: Event) -> pa.Table:
    columns = {"benchmark": benchmark, "evaluation_id": event.evaluation_id}
    constant = [pa.repeat(pa.scalar(value, pa.string()), rows.num_rows) for value in columns.values()]
    return pa.table([*constant, *rows.columns], names=[*columns, *rows.column_names])


class Lake:
    """All that was evaluated, imported and computed, at `address`: a folder, or s3://, gs:// or az://…"""

    def __init__(self, address: Path | str) -> None:
        self.tables = DeltaTables(str(address))
        self.address = self.tables.address
        self._events: dict[str, Event] = {}
        self._in_force = InForce()
        self._read_from: set[str] = set()
        self._seen: int | None = None  # version of the table of events
        self._questions: dict[str, tuple[Mapping[str, int], pa.Table, str]] = {}
        self._described: dict[str, tuple[pa.Table, pa.Table]] = {}
        self._taken: dict[str, tuple[pa.Table, pa.Table]] = {}
        self._lock = threading.RLock()
        self._here = threading.local()

    # --- what is in force

    def now(self) -> InForce:
        """What holds now, whoever wrote it."""
        if (still := getattr(self._here, "still", None)) is not None:
            return still
        with self._lock:
            self._look()
            return self._in_force

    @contextmanager
    def still(self) -> Iterator[None]:
        """Within the block this thread sees the lake as it is at its beginning."""
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

    # --- writing

    @contextmanager
    def together(self) -> Iterator[Writing]:
        """What this thread writes in the block reaches the lake in one commit at its end, and at `Writing.commit`.
        Until then nobody sees it. So it does where the block raises: what was finished before is not lost."""
        if (outer := getattr(self._here, "writing", None)) is not None:
            yield outer
            return
        writing = self._here.writing = Writing(self)
        self.tables.look_again("evaluations")  # what is written follows from what there is
        try:
            yield writing
        finally:
            self._here.writing = None
            writing.commit()

    def _commit(self, events: Sequence[Event]) -> None:
        with self._lock:
            self.tables.look_again("evaluations")
            self._look()
            last = self._in_force.last
            placed = [replace(event, position=last + 1 + i) for i, event in enumerate(events)]
            self.tables.append("evaluations", event_rows(placed))
            self._events |= {event.event_id: event for event in placed}
            self._in_force = self._in_force.after(placed)
            table = self.tables.table("evaluations")
            if table and table.version() == (-1 if self._seen is None else self._seen) + 1:  # nobody else has written
                self._read_from = {uri.rpartition("/")[2] for uri in table.file_uris()}  # faster than `files`
                self._seen = table.version()
                if len(self._read_from) > _MANY_FILES:
                    compact_events(self)

    # --- evaluations

    def write_evaluation(
        self, benchmark: str, model: str, answers: pa.Table, questions: pa.Table, metadata: Mapping[str, str]
    ) -> Written:
        """Takes in the graded answers of one model to a benchmark, and the questions.

        `answers`: task, doc_id, correct, score and any of KNOWN_OF_ANSWERS; a subset of the questions is fine.
        `questions`: task, doc_id, text, category and perhaps target: every question of the benchmark in its own order
        (ids of equal texts depend on it). Answers of another fingerprint that were there are superseded.
        Raises ValueError where answers are absent, null, given twice or to no known question.
        """
        asked = self._describe(benchmark, questions)
        rows = identified(benchmark, model, answers, asked)
        with self.together() as writing:
            self.take_questions(writing, benchmark, asked)
            stored = self.now().answers.get((benchmark, model))
            wanted = done(benchmark, model, rows, _OURS | dict(metadata))
            replaced = stored is not None and stored.fingerprint != wanted.fingerprint
            if stored is not None and replaced:
                writing.add(stored.again("superseded", _REPLACED))
            self._put(writing, wanted, rows, None if replaced else stored)
        return Written(rows.num_rows, accuracy_of(rows), stored is None or stored.digest != wanted.digest)

    def _put(self, writing: Writing, wanted: Event, rows: pa.Table, stored: Event | None) -> None:
        """Adds answers, or only what is new of them."""
        if stored is None or (stored.digest, stored.metadata.get("known")) != (wanted.digest, wanted.metadata["known"]):
            writing.add_answers(wanted, rows)
        elif lasting(stored.metadata) != lasting(wanted.metadata):
            writing.add(replace(wanted, evaluation_id=stored.evaluation_id))
        else:
            self._clear(writing, *wanted.pair)

    def _describe(self, benchmark: str, questions: pa.Table) -> pa.Table:
        """The same questions come with every model."""
        before, known = self._described.get(benchmark, (None, None))
        if known is None or not questions.equals(before):
            known = described(benchmark, questions)
            self._described[benchmark] = questions, known
        return known

    def take_questions(self, writing: Writing, benchmark: str, asked: pa.Table) -> bool:
        """Adds what `asked` (QUESTION_PART) says that the lake does not have, if any. Raises SplitConflictError."""
        stored = self.questions_of(benchmark)
        taken_into, taken = self._taken.get(benchmark, (None, None))
        if stored is not None and stored is taken_into and asked is taken:
            return False  # the same questions come with every model
        merged = merge_questions(stored, asked)
        if stored is None:
            writing.add_questions(benchmark, merged)
        elif merged.equals(stored):
            self._taken[benchmark] = stored, asked
            return False
        else:
            before = {row["question_id"]: row for row in stored.to_pylist()}
            new = [row for row in merged.to_pylist() if before.get(row["question_id"]) != row]
            writing.add_questions(benchmark, pa.Table.from_pylist(new, schema=QUESTION_PART))
        return True

    def response_metadata(self, benchmark: str, model: str) -> dict[str, str] | None:
        """What determined the answers of the pair (fingerprint, versions, …); None where it has none."""
        return _metadata(self.now().answers.get((benchmark, model)))

    def pairs(self) -> list[Pair]:
        """(benchmark, model) of all answers, sorted."""
        return sorted(self.now().answers)

    def responses(self) -> pa.Table:
        """All responses (RESPONSES), a row a question that a model was asked; by benchmark and model."""
        return self._responses(list(self.now().answers.values()), RESPONSES)

    def usage(self) -> pa.Table:
        """The tokens and US$ that answers took (question_id, model, USAGE), where that is known."""
        told = [event for event in list(self.now().answers.values()) if event.metadata.get("usage")]
        schema = pa.schema([*(RESPONSES.field(name) for name in ("question_id", "model", "benchmark")), *USAGE])
        rows = self._responses(told, schema).drop_columns("benchmark")
        return rows.set_column(1, "model", rows["model"].cast(pa.string()))

    def _responses(self, events: Sequence[Event], schema: pa.Schema) -> pa.Table:
        rows = self.answers_reader(events, schema).read_all()
        pair = _codes(rows["benchmark"]).astype(np.int64) * len(events) + _codes(rows["model"])
        return rows if (np.diff(pair) >= 0).all() else rows.take(np.argsort(pair, kind="stable"))

    def answers_reader(self, events: Sequence[Event], schema: pa.Schema) -> pa.RecordBatchReader:
        """The answers that `events` speak of, in whatever order, with columns of ANSWERS and, as dictionaries, model
        and benchmark. They are read as they are asked for; it ends in a CorruptFileError where some are missing."""
        return pa.RecordBatchReader.from_batches(schema, self._batches(events, schema))

    def _batches(self, events: Sequence[Event], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        ids = [event.evaluation_id for event in events]
        names = {place: sorted({event.pair[place] for event in events}) for place in (0, 1)}
        codes = {
            place: np.array([bisect_left(known, event.pair[place]) for event in events], np.int32)
            for place, known in names.items()
        }
        counts = np.zeros(len(events), np.int64)
        own = [name for name in schema.names if name in ANSWERS.names]
        for batch in self._scan(events, ["evaluation_id", *own]):
            number = _places(batch["evaluation_id"], ids)
            if (number < 0).any():
                batch, number = batch.filter(pa.array(number >= 0)), number[number >= 0]
            counts += np.bincount(number, minlength=len(events))
            columns = {name: batch[name] for name in own}
            for place, name in enumerate(("benchmark", "model")):
                columns[name] = pa.DictionaryArray.from_arrays(
                    codes[place][number], pa.array(names[place], pa.string())
                )
            yield pa.record_batch([columns[name] for name in schema.names], schema=schema)
        self._check_whole(events, counts)

    def _scan(self, events: Sequence[Event], columns: list[str]) -> Iterator[pa.RecordBatch]:
        """Rows of `responses`, at least those that `events` speak of."""
        if not events:
            return
        dataset = self.tables.dataset("responses")
        if dataset is None:
            raise CorruptFileError(self.tables.at("responses"), "there is no such table")
        wanted, where = [event.evaluation_id or "" for event in events], None
        if len(wanted) < len(self.now().answers):
            # Statistics tell which files have ids of this time.
            where = (pc.field("evaluation_id") >= min(wanted)) & (pc.field("evaluation_id") <= max(wanted))
            where &= pc.field("evaluation_id").isin(wanted)
        with naming_what_is_corrupt(self.tables.at("responses")):
            yield from dataset.to_batches(columns=columns, filter=where)

    def _check_whole(self, events: Sequence[Event], counts: npt.NDArray[np.int64]) -> None:
        wrong = [event for event, count in zip(events, counts, strict=True) if event.n != count]
        if wrong:
            event = wrong[0]
            raise CorruptFileError(
                self.tables.at("responses"),
                f"of {event.n} answers of {event.model} to {event.benchmark} not all are there",
            )

    def answers_of(self, benchmark: str, model: str) -> pa.Table | None:
        """ANSWERS of the pair; None where it has none."""
        event = self.now().answers.get((benchmark, model))
        return None if event is None else self.rows_of(event)

    def rows_of(self, event: Event) -> pa.Table:
        """ANSWERS that `event` speaks of. Raises CorruptFileError where they are not whole."""
        [(_, rows)] = self.rows_of_each([event])
        self._check_whole([event], np.array([rows.num_rows]))
        return rows

    def rows_of_each(self, events: Sequence[Event]) -> Iterator[tuple[Event, pa.Table]]:
        """The ANSWERS there are of each of `events`."""
        rows = pa.Table.from_batches(self._scan(events, _LABELLED.names), _LABELLED)
        number = _places(rows["evaluation_id"].combine_chunks(), [event.evaluation_id for event in events])
        order = np.argsort(number, kind="stable")
        rows, ends = (
            rows.select(ANSWERS.names).take(order),
            np.searchsorted(number[order], np.arange(-1, len(events)), "right"),
        )
        for event, start, end in zip(events, ends, ends[1:], strict=False):
            yield event, rows.slice(start, end - start)

    # --- questions

    def questions_of(self, benchmark: str) -> pa.Table | None:
        """QUESTION_PART of a benchmark; None where it has no questions."""
        batches = self.now().questions.get(benchmark)
        if not batches:
            return None
        self._read_questions({benchmark: batches})
        return self._questions[benchmark][1]

    def questions(self) -> pa.Table:
        """All questions (QUESTIONS), by benchmark, task and doc_id."""
        batches = dict(sorted(self.now().questions.items()))
        self._read_questions(batches)
        parts = [_labelled(self._questions[benchmark][1], benchmark, Event("questions")) for benchmark in batches]
        return pa.concat_tables([part.select(QUESTIONS.names) for part in parts] or [QUESTIONS.empty_table()])

    def _read_questions(self, batches: Mapping[str, Mapping[str, int]]) -> None:
        """Remembers the questions of these benchmarks; the newest row of a question holds."""
        missing = [name for name, known in batches.items() if self._questions.get(name, ({},))[0] != known]
        if not missing:
            return
        columns = ["benchmark", "evaluation_id", *QUESTION_PART.names]
        found = self.tables.read("questions", columns, pc.field("benchmark").isin(missing))
        if found is None:
            raise CorruptFileError(self.tables.at("questions"), "there is no such table")
        for benchmark in missing:
            known = batches[benchmark]
            rows = found.filter(pc.field("benchmark") == benchmark)
            age = _places(rows["evaluation_id"].combine_chunks(), list(known))
            order = np.argsort(age, kind="stable")[(age < 0).sum() :]
            if len(order) != (n := sum(known.values())):
                reason = f"of {n} entries on questions of {benchmark} {len(order)} are there"
                raise CorruptFileError(self.tables.at("questions"), reason)
            newest = {rows["question_id"][row].as_py(): row for row in order.tolist()}
            rows = rows.take(sorted(newest.values())).select(QUESTION_PART.names)
            rows = rows.sort_by([(name, "ascending") for name in ("task", "doc_id", "question_id")]).combine_chunks()
            self._questions[benchmark] = known, rows, content_digest(rows)

    def count_questions(self) -> int:
        return sum(part.num_rows for _, part, _ in self._known_questions().values())

    def _known_questions(self) -> dict[str, tuple[Mapping[str, int], pa.Table, str]]:
        batches = self.now().questions
        self._read_questions(batches)
        return {benchmark: self._questions[benchmark] for benchmark in batches}

    def state(self, without: Collection[Pair] = ()) -> str:
        """Digest of what collection brought: questions, answers (but those of the pairs `without`), labels of imported
        models.

        The same rows have the same digest, whoever wrote them, whenever and under whichever fingerprint.
        """
        with self.still():
            in_force = self.now()
            content = {
                "answers": sorted((*pair, e.digest) for pair, e in in_force.answers.items() if pair not in without),
                "questions": sorted((name, digest) for name, (_, _, digest) in self._known_questions().items()),
                "labels": sorted(event.metadata.get("labels_digest") or "" for event in in_force.imports.values()),
            }
        return _digest(content)

    def answers_state(self, pairs: Iterable[Pair]) -> str:
        """Digest of the answers of `pairs`, and of all that is known of them; of those without, that there are none."""
        answers = self.now().answers
        found = [(pair, answers.get(pair)) for pair in sorted(set(pairs))]
        return _digest([(*pair, event and (event.digest, event.metadata["known"])) for pair, event in found])

    # --- answers under earlier entries

    def supersede(self, benchmark: str, model: str, why: str) -> bool:
        """Keeps the answers of the pair aside, with the reason (one sentence). False where it has none."""
        stored = self.now().answers.get((benchmark, model))
        if stored is not None:
            with self.together() as writing:
                writing.add(stored.again("superseded", why))
                writing.commit()  # what comes next looks whether they still hold
        return stored is not None

    def restore(self, benchmark: str, model: str, fingerprint: str) -> bool:
        """Takes superseded answers of this fingerprint back; those that are in their place are superseded.

        False, with nothing changed, where there are none, or a question of theirs has left the lake.
        """
        in_force = self.now()
        aside = in_force.superseded.get((benchmark, model), {}).get(fingerprint)
        active = in_force.answers.get((benchmark, model))
        if aside is None or (active is not None and active.fingerprint == fingerprint) or not self._asks(aside):
            return False
        with self.together() as writing:
            if active is not None:
                writing.add(active.again("superseded", _TAKEN_BACK))
            writing.add(aside.again("restored"))
            writing.commit()
        return True

    def _asks(self, answers: Event) -> bool:
        """Whether the lake has all questions that these answers are to."""
        known = self.questions_of(answers.benchmark)
        asked = self.rows_of(answers)["question_id"].to_pylist()
        return known is not None and set(asked) <= set(known["question_id"].to_pylist())

    def evaluated(self) -> list[Pair]:
        """(benchmark, model) of the answers that were not imported, sorted: an import takes back what it brought."""
        return sorted(pair for pair, event in self.now().answers.items() if not is_imported(event.metadata))

    def retire(self, pairs: Iterable[Pair], why: str) -> None:
        """Supersedes the answers of `pairs`, with the reason (one sentence)."""
        answers = self.now().answers
        with self.together() as writing:
            for pair in sorted(set(pairs) & answers.keys()):
                writing.add(answers[pair].again("superseded", why))

    def superseded(self) -> pa.Table:
        """The sets of answers that are kept aside (SUPERSEDED), a row a set; by benchmark, model and time."""
        events = [event for sets in list(self.now().superseded.values()) for event in list(sets.values())]
        rows = [
            {
                **{name: getattr(event, name) for name in ("benchmark", "model", "n", "accuracy", "fingerprint")},
                "why": event.reason,
                "superseded_at": event.recorded_at.replace(tzinfo=None),
            }
            for event in sorted(events, key=lambda event: (event.pair, event.position))
        ]
        return pa.Table.from_pylist(rows, schema=SUPERSEDED)

    def annotate(self, benchmark: str, model: str, metadata: Mapping[str, str]) -> None:
        """Adds to the metadata of the pair's answers, which hold; its failure, if any, is forgotten."""
        stored = self.now().answers[benchmark, model]
        known = stored.metadata | dict(metadata)
        with self.together() as writing:
            if known != stored.metadata:
                writing.add(stored.again("done", metadata=known))
            else:
                self._clear(writing, benchmark, model)

    # --- failures

    def record_failure(self, benchmark: str, model: str, kind: str, reason: str, entry: str = "") -> None:
        """Remembers why the pair has no (new) answers, until it gets some; `entry`: digest of its registry entry."""
        self.write_failure(benchmark, model, next_failure(self.failure(benchmark, model), kind, reason, entry))

    def write_failure(self, benchmark: str, model: str, failure: Failure) -> None:
        """Takes the place of the pair's failure, if it has one."""
        with self.together() as writing:
            writing.add(
                Event(
                    *("failed", benchmark, model),
                    kind=failure.kind,
                    attempts=failure.attempts,
                    entry=failure.entry,
                    reason=failure.reason,
                    recorded_at=failure.failed_at,
                )
            )

    def failure(self, benchmark: str, model: str) -> Failure | None:
        """Why the pair's last evaluation failed; None where it did not."""
        return self.now().failures.get((benchmark, model))

    def forget_failure(self, benchmark: str, model: str) -> None:
        """Nothing is left to be tried again."""
        with self.together() as writing:
            self._clear(writing, benchmark, model)

    def _clear(self, writing: Writing, benchmark: str, model: str) -> None:
        if (benchmark, model) in self.now().failures:
            writing.add(Event("cleared", benchmark, model))

    def failures_state(self, counts: Callable[[str, str], bool] = lambda benchmark, model: True) -> str:
        """Digest of which pairs, of those that count, failed, and why; neither of when nor of how often."""
        failures = [row for row in self.failures().to_pylist() if row["kind"] != INTERRUPTED]
        failures = [row for row in failures if counts(row["benchmark"], row["model"])]
        return _digest([{name: row[name] for name in ("benchmark", "model", "kind", "reason")} for row in failures])

    def failures(self) -> pa.Table:
        """The pairs whose last evaluation failed (FAILURES)."""
        return failure_table(self.now().failures)

    def not_applicable(self) -> pa.Table:
        """benchmark, model and reason of the pairs that were found not to be askable."""
        return not_applicable_table(self.now().failures)

    def evaluations(self) -> pa.Table:
        """How far the answers of each pair can be trusted (EVALUATIONS), as its evaluation noted it."""
        answers = self.now().answers
        return evaluation_table(answers[pair] for pair in sorted(answers))

    # --- answers to a chosen few questions, which nothing trains on

    def write_onboarding(
        self, benchmark: str, model: str, answers: pa.Table, questions: pa.Table, metadata: Mapping[str, str]
    ) -> Written:
        """Adds graded answers to those of the same fingerprint; those of another make place.

        All as in `write_evaluation`; a question answered twice has the newer answer.
        """
        asked = self._describe(benchmark, questions)
        rows = identified(benchmark, model, answers, asked)
        with self.together() as writing:
            self.take_questions(writing, benchmark, asked)
            stored = self.now().onboarding.get((benchmark, model))
            goes_on = stored if stored is not None and stored.fingerprint == metadata.get(FINGERPRINT) else None
            rows = merged_answers(self.rows_of(goes_on) if goes_on else ANSWERS.empty_table(), rows)
            wanted = done(benchmark, model, rows, _OURS | dict(metadata), ONBOARDING)
            self._put(writing, wanted, rows, stored)
        return Written(rows.num_rows, accuracy_of(rows), stored is None or stored.digest != wanted.digest)

    def onboarding_metadata(self, benchmark: str, model: str) -> dict[str, str] | None:
        """What determined the onboarding answers of the pair; None where it has none."""
        return _metadata(self.now().onboarding.get((benchmark, model)))

    def onboarding_responses(self) -> pa.Table:
        """All onboarding answers (RESPONSES), by benchmark and model."""
        return self._responses(list(self.now().onboarding.values()), RESPONSES)

    def onboarded_models(self) -> list[str]:
        """The models that have onboarding answers, sorted."""
        return sorted({model for _, model in list(self.now().onboarding)})

    def drop_onboarding(self, model: str, benchmark: str | None = None) -> None:
        """Lets the model's onboarding answers (to one benchmark; None: to all) go: better ones took their place."""
        with self.together() as writing:
            for pair, event in sorted(self.now().onboarding.items()):
                if pair[1] == model and benchmark in (None, pair[0]):
                    writing.add(event.again("dropped"))

    def onboarding_state(self, without: Collection[str] = ()) -> str:
        """Digest of the onboarding answers, which `state` leaves out, but those of the models `without`."""
        onboarding = self.now().onboarding
        return _digest(sorted((*pair, event.digest) for pair, event in onboarding.items() if pair[1] not in without))

    # --- upkeep, see upkeep.py

    def check(self) -> list[Damage]:
        """Reads everything whole; what cannot be read."""
        return find_damage(Lake(self.address))

    def mend(self, *, thoroughly: bool = False) -> list[Damage]:
        """Sets aside what cannot be read, so that it counts as missing and is made again; what that was."""
        fresh = Lake(self.address)  # this one may remember what is lost
        found = mend(fresh, thoroughly=thoroughly)
        if found:
            vars(self).update(vars(fresh))
        return found

    def compact(self, progress: Callable[[int, int, str], None] | None = None, kept: timedelta = KEPT) -> None:
        """Makes few large files of many small ones, and removes what nobody needs any more."""
        compact(self, kept=kept, progress=progress)

    # --- imports

    def imports(self) -> list[dict[str, Any]]:
        """What was imported, one dict a source: source, split, labels, digest, rows, duplicates, models, questions,
        benchmarks and imported_at (UTC)."""
        events = [event for _, event in sorted(self.now().imports.items())]
        return [event.metadata | {"source": event.source, "imported_at": event.recorded_at} for event in events]

    def labels(self) -> pa.Table | None:
        """Labels of models that came with imports; None where none did."""
        parts = [
            event.metadata["labels_part"] for event in self.now().imports.values() if event.metadata["labels_part"]
        ]
        tables = [table for part in sorted(parts) if (table := self.read_table("imported_models", part))]
        return pa.concat_tables(tables, promote_options="permissive") if tables else None

    # --- tables of later stages

    def embedded_questions(self, encoder: str) -> list[str]:
        """Ids of the questions that this encoder has encoded."""
        rows = self.tables.read("question_embeddings", ["question_id"], pc.field("encoder") == encoder)
        return rows["question_id"].to_pylist() if rows else []

    def add_question_embeddings(
        self, encoder: str, question_ids: Sequence[str], vectors: npt.NDArray[np.float32]
    ) -> None:
        """Adds `vectors` (n, d) of `question_ids` (n) as a part of the table question_embeddings."""
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

    def write_table(self, name: str, table: pa.Table, part: str = "part") -> None:
        """Puts `table` in the place of one part of a later stage's table."""
        self._check_is_later(name)
        self.tables.replace(name, table, part)

    def read_table(self, name: str, part: str | None = None) -> pa.Table | None:
        """One part of a later stage's table, or all of them; None where there is none."""
        self._check_is_later(name)
        if part is not None and part not in self.table_parts(name):
            return None
        rows = self.tables.read(name, where=None if part is None else pc.field(PART) == part)
        return rows.drop_columns(PART).combine_chunks() if rows else None

    def table_parts(self, name: str) -> list[str]:
        """The parts that have rows, sorted."""
        table = self.tables.table(name)
        return sorted(partition[PART] for partition in table.partitions()) if table else []

    def _check_is_later(self, name: str) -> None:
        if name in _OWN:
            raise ValueError(f"{name} is written by write_evaluation and read by {name}()")


def _codes(column: pa.ChunkedArray) -> npt.NDArray[np.int32]:
    """(n,) of a column whose chunks have the same dictionary."""
    return np.concatenate([np.empty(0, np.int32), *(chunk.indices.to_numpy() for chunk in column.chunks)])


def _places(column: pa.StringArray, ids: Sequence[str | None]) -> npt.NDArray[np.int64]:
    """(n,) where in `ids` each of n values stands; -1 for others."""
    encoded = column.dictionary_encode()
    place = {one: number for number, one in enumerate(ids)}
    places = np.array([place.get(value, -1) for value in encoded.dictionary.to_pylist()], np.int64)
    return places[encoded.indices.to_numpy()] if len(column) else np.empty(0, np.int64)


def done(benchmark: str, model: str, rows: pa.Table, metadata: dict[str, str], source: str = EVALUATION) -> Event:
    """The event that says: `source` brought these answers (ANSWERS) of the pair; `metadata` tell SOURCES of all."""
    digest, known = answers_digest(rows)
    now = datetime.now(UTC)
    return Event(
        *("done", benchmark, model, new_id(now), source),
        fingerprint=metadata.get(FINGERPRINT),
        digest=digest,
        n=rows.num_rows,
        accuracy=accuracy_of(rows),
        metadata=metadata | {"known": known, "usage": "yes" if has_usage(rows) else ""},
        recorded_at=now,
    )


def _metadata(event: Event | None) -> dict[str, str] | None:
    if event is None:
        return None
    own = {"benchmark": event.benchmark, "model": event.model, "rows": str(event.n), "accuracy": repr(event.accuracy)}
    return own | event.metadata


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


_LABELLED = pa.schema([("evaluation_id", pa.string()), *ANSWERS])
