"""Writing questions and answers to the lake: everything that belongs together in one commit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pyarrow as pa

from .answers import FINGERPRINT, accuracy_of, digest_answers, has_usage
from .delta import DeltaTables
from .events import EVALUATION, Event, new_id

__all__ = ["Writing", "done"]


class Writing:
    """What is about to be written to the lake's `tables`. `commit` writes all of it, or nothing where it is cut short;
    `record` commits the events."""

    def __init__(self, tables: DeltaTables, record: Callable[[Sequence[Event]], None]) -> None:
        self._tables = tables
        self._record = record
        self._questions: list[pa.Table] = []
        self._answers: list[pa.Table] = []
        self._events: list[Event] = []
        self._then: list[Callable[[], None]] = []

    def add(self, event: Event) -> None:
        self._events.append(event)

    def add_questions(self, benchmark: str, rows: pa.Table) -> None:
        """Add `rows` (QUESTION_PART), which are new or say something new of known questions."""
        event = Event("questions", benchmark, evaluation_id=new_id(datetime.now(UTC)), n=rows.num_rows)
        self._questions.append(_labelled(rows, event))
        self.add(event)

    def add_answers(self, event: Event, rows: pa.Table) -> None:
        """Add the `rows` (ANSWERS) of which `event` says that they are done."""
        self._answers.append(_labelled(rows, event))
        self.add(event)

    def after(self, step: Callable[[], None]) -> None:
        """Call `step` once all of this is in the lake."""
        self._then.append(step)

    def spill(self) -> None:
        """Write questions and answers, which nobody sees before `commit`, and free their memory."""
        for name, tables in (("questions", self._questions), ("responses", self._answers)):
            if tables:
                self._tables.append(name, pa.concat_tables(tables))
                tables.clear()

    def discard(self) -> None:
        for waiting in (self._questions, self._answers, self._events, self._then):
            waiting.clear()

    def commit(self) -> None:
        if self._events:
            self.spill()
            self._record(self._events)
        then = self._then.copy()
        self.discard()
        for step in then:
            step()


def _labelled(rows: pa.Table, event: Event) -> pa.Table:
    columns = [pa.repeat(value, rows.num_rows) for value in (event.benchmark, event.evaluation_id)]
    return pa.table([*columns, *rows.columns], names=["benchmark", "evaluation_id", *rows.column_names])


def done(benchmark: str, model: str, rows: pa.Table, metadata: dict[str, str], source: str = EVALUATION) -> Event:
    """Return the event which says that `source` brought these answers (ANSWERS); `metadata` has the SOURCES of all."""
    digest, known = digest_answers(rows)
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
