"""Taking questions and answers into the lake: all that belongs together in one commit."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from .answers import FINGERPRINT, accuracy_of, answers_digest, has_usage
from .events import EVALUATION, Event, new_id

if TYPE_CHECKING:
    from .lake import Lake

__all__ = ["Writing", "done"]


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
        self._questions.append(_labelled(rows, event))
        self.add(event)

    def add_answers(self, event: Event, rows: pa.Table) -> None:
        """`rows` (ANSWERS) are those of `event`, which says that they are done."""
        self._answers.append(_labelled(rows, event))
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
            self._lake.record(self._events)
        then = self._then.copy()
        self.discard()
        for step in then:
            step()


def _labelled(rows: pa.Table, event: Event) -> pa.Table:
    columns = [pa.repeat(value, rows.num_rows) for value in (event.benchmark, event.evaluation_id)]
    return pa.table([*columns, *rows.columns], names=["benchmark", "evaluation_id", *rows.column_names])


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
