"""What happened to the answers of each benchmark and model, and what is therefore in force.

The table `evaluations` is the commit point of the lake: questions and answers without an event do not count.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from .failures import Failure

__all__ = ["EVALUATION", "EVENTS", "ONBOARDING", "Event", "InForce", "event_rows", "events_of", "new_id"]

EVALUATION = "evaluation"
"""The `source` of questions and answers that an evaluation brought; an import's is its path or hub id."""
ONBOARDING = "onboarding"
"""The `source` of answers to a few chosen questions, which nothing trains on."""

Pair = tuple[str, str]  # benchmark, model
_PASSING = frozenset({"started", "finished", "node", "gpu", "seconds", "tokens_per_second"})
"""Metadata that say when, where and how fast an evaluation was done."""


@dataclass(frozen=True)
class Event:
    """A row of the table `evaluations`. `event` is one of
    done, restored               the answers are in force, and those in their place no longer are;
    superseded                   the answers are set aside, `reason` tells why;
    dropped                      the answers are given up;
    failed, cleared              the last evaluation of the pair failed; it need not be tried again;
    questions, withdrawn         questions of the benchmark came in; all of them left;
    imported                     everything that the import `source` brought is there; `metadata` describes it;
    removed                      the import `source` is taken back.
    """

    event: str
    benchmark: str = ""
    model: str = ""
    evaluation_id: str | None = None  # of its answers, or its questions
    source: str = EVALUATION
    fingerprint: str | None = None  # of what determined the answers
    digest: str | None = None  # of the answers: the same answers have the same
    n: int | None = None
    accuracy: float | None = None
    kind: str | None = None  # of a failure
    attempts: int | None = None
    entry: str | None = None  # digest of the registry entry under which it failed
    reason: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    recorded_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    position: int = 0  # among all events: clocks differ, and are set back
    event_id: str = field(default_factory=lambda: uuid.uuid4().hex[:16])

    @property
    def lasting_metadata(self) -> dict[str, Any]:
        """The metadata without time and place: the same answers at another time are the same answers."""
        return {key: value for key, value in self.metadata.items() if key not in _PASSING}

    @property
    def pair(self) -> Pair:
        return self.benchmark, self.model

    def again(self, event: str, reason: str | None = None, **changed: Any) -> Event:
        """Return another event about the same answers, now."""
        now, event_id = datetime.now(UTC), uuid.uuid4().hex[:16]
        return replace(self, event=event, reason=reason, recorded_at=now, event_id=event_id, **changed)

    @property
    def key(self) -> str:
        """The key of superseded answers: one set is kept per fingerprint."""
        return self.fingerprint or f"answers {self.digest}"


_TYPES = {
    "str": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "datetime": pa.timestamp("us", "UTC"),
    "dict[str, Any]": pa.string(),  # JSON
}
EVENTS = pa.schema([(column.name, _TYPES[str(column.type).removesuffix(" | None")]) for column in fields(Event)])


class InForce:
    """What holds after the events so far."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.answers: dict[Pair, Event] = {}
        self.without_answers: dict[Pair, Event] = {}  # of two sources, which agree on no answer
        self.onboarding: dict[Pair, Event] = {}
        self.superseded: dict[Pair, dict[str, Event]] = {}
        self.failures: dict[Pair, Failure] = {}
        self.questions: dict[str, dict[str, Event]] = {}  # what brought them, by evaluation_id
        self.imports: dict[str, Event] = {}
        self.last = 0
        for event in sorted(events, key=lambda event: (event.position, event.event_id)):
            self._apply(event)

    def after(self, events: Iterable[Event]) -> InForce:
        """Return what holds after these events as well; this object stays as it is."""
        later = copy(self)
        for name, held in vars(self).items():
            if isinstance(held, dict):
                setattr(later, name, held.copy())
        for event in events:
            later._apply(event)
        return later

    def _apply(self, event: Event) -> None:
        self.last = max(self.last, event.position)
        match event.event:
            case "failed":
                self.failures[event.pair] = Failure(
                    kind=event.kind or "",
                    reason=event.reason or "",
                    attempts=event.attempts or 1,
                    entry=event.entry or "",
                    failed_at=event.recorded_at,
                    node=event.metadata.get("node"),
                )
            case "cleared":
                self.failures.pop(event.pair, None)
            case "questions":
                before = self.questions.get(event.benchmark, {})
                self.questions[event.benchmark] = before | {event.evaluation_id or "": event}
            case "withdrawn":
                self.questions.pop(event.benchmark, None)
            case "imported":
                self.imports[event.source] = event
            case "removed":
                self.imports.pop(event.source, None)
            case _:
                self._apply_to_answers(event)

    def _apply_to_answers(self, event: Event) -> None:
        pair, aside = event.pair, dict(self.superseded.get(event.pair, {}))
        self.superseded[pair] = aside
        held = self.onboarding if event.source == ONBOARDING else self.answers
        for known in (held.get(pair), aside.get(event.key)):
            if known is not None and known.evaluation_id == event.evaluation_id:
                held.pop(pair, None) if known is held.get(pair) else aside.pop(event.key)
        match event.event:
            case "done" | "restored":
                self.without_answers.pop(pair, None)
                held.pop(pair, None)
                (held if event.n else self.without_answers)[pair] = event
                self.failures.pop(pair, None)
            case "superseded":
                aside[event.key] = event


def event_rows(events: Iterable[Event]) -> pa.Table:
    rows = [vars(event) | {"metadata": json.dumps(event.metadata)} for event in events]
    return pa.Table.from_pylist(rows, schema=EVENTS)


def events_of(rows: pa.Table) -> list[Event]:
    return [Event(**row | {"metadata": json.loads(row["metadata"])}) for row in rows.to_pylist()]


def new_id(now: datetime) -> str:
    """Return an id that is greater than earlier ones, so that the statistics of files tell which answers they hold."""
    return f"{int(now.timestamp() * 1e6):014x}{uuid.uuid4().hex[:10]}"
