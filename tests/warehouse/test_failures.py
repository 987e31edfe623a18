import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warehouse.database.publish import publish
from warehouse.database.read import query
from warehouse.lake import Failure, Lake

NOON = datetime(2026, 3, 29, 12, tzinfo=UTC)


def failed(kind: str, attempts: int) -> Failure:
    return Failure(kind, "why", attempts, "entry", NOON)


@pytest.mark.parametrize(
    ("attempts", "retry_at"),
    [
        (1, datetime(2026, 3, 30, 0, tzinfo=UTC)),
        (2, datetime(2026, 3, 30, 12, tzinfo=UTC)),
        (3, datetime(2026, 3, 31, 12, tzinfo=UTC)),
        (4, datetime(2026, 4, 2, 12, tzinfo=UTC)),
        (5, datetime(2026, 4, 5, 12, tzinfo=UTC)),
        (6, datetime(2026, 4, 5, 12, tzinfo=UTC)),
        (100_000, datetime(2026, 4, 5, 12, tzinfo=UTC)),
    ],
)
def test_failures_wait_twice_as_long_each_time_a_week_at_most(attempts: int, retry_at: datetime):
    assert failed("out_of_memory", attempts).retry_at == retry_at


@pytest.mark.parametrize(("attempts", "retry_at"), [(1, NOON), (3, NOON), (4, datetime(2026, 4, 2, 12, tzinfo=UTC))])
def test_interrupted_evaluations_go_on_at_once_but_not_for_ever(attempts: int, retry_at: datetime):
    assert failed("interrupted", attempts).retry_at == retry_at


@given(attempts=st.integers(1, 10**6), kind=st.sampled_from(["interrupted", "failed"]))
def test_waiting_never_gets_shorter(attempts: int, kind: str):
    assert NOON <= failed(kind, attempts).retry_at <= failed(kind, attempts + 1).retry_at <= NOON + timedelta(days=7)


def test_a_failure_is_due_when_its_time_has_come_or_the_clock_was_set_back():
    failure = failed("failed", 1)
    assert not failure.is_due(NOON)
    assert not failure.is_due(NOON + timedelta(hours=11))
    assert failure.is_due(NOON + timedelta(hours=12))
    assert failure.is_due(NOON - timedelta(minutes=1))
    assert failure.is_due((NOON + timedelta(hours=12)).astimezone(None))


def test_failures_are_counted_until_there_are_answers(lake: Lake, evaluated: Callable[..., None]):
    lake.record_failure("b", "org/m", "out_of_memory", "org/m on b: too large", "e")
    lake.record_failure("b", "org/m", "out_of_memory", "org/m on b: still too large", "e")
    failure = lake.failure("b", "org/m")
    assert failure is not None
    assert (failure.kind, failure.attempts, failure.entry) == ("out_of_memory", 2, "e")
    assert failure.reason == "org/m on b: still too large"
    assert failure.retry_at - failure.failed_at == timedelta(hours=24)
    (row,) = lake.failures().to_pylist()
    assert (row["benchmark"], row["model"], row["attempts"]) == ("b", "org/m", 2)
    assert row["retry_at"] == failure.retry_at.replace(tzinfo=None)
    assert lake.pairs() == []
    evaluated(lake, "b", "org/m", "1")
    assert lake.failures().num_rows == 0
    assert lake.failure("b", "org/m") is None


def test_another_entry_starts_afresh(lake: Lake):
    for entry in ("old", "old", "new"):
        lake.record_failure("b", "m", "failed", "why", entry)
    failure = lake.failure("b", "m")
    assert failure is not None
    assert (failure.attempts, failure.entry) == (1, "new")


def test_what_began_and_what_it_ended_with_are_one_attempt(lake: Lake):
    attempts = []
    for kind in ("interrupted", "failed", "interrupted", "interrupted", "out_of_memory", "failed"):
        lake.record_failure("b", "m", kind, "why", "e")
        failure = lake.failure("b", "m")
        assert failure is not None
        attempts.append((kind, failure.attempts))
    assert attempts == [
        ("interrupted", 1), ("failed", 1), ("interrupted", 2), ("interrupted", 3), ("out_of_memory", 3), ("failed", 4),
    ]  # fmt: skip


def test_the_state_of_failures_is_who_failed_and_why(lake: Lake):
    before = lake.failures_state()
    lake.record_failure("b", "m", "interrupted", "it began", "e")
    assert lake.failures_state() == before
    lake.record_failure("b", "m", "failed", "why", "e")
    first = lake.failures_state()
    assert first != before
    lake.record_failure("b", "m", "failed", "why", "e")
    assert lake.failures_state() == first
    lake.record_failure("b", "m", "failed", "another reason", "e")
    assert lake.failures_state() != first


def test_failures_reach_the_warehouse_with_the_time_of_the_next_try(lake: Lake, database: Path):
    lake.record_failure("b", "m", "out_of_memory", "why", "e")
    publish(lake, database)
    rows = query(database, "SELECT benchmark, model, kind, attempts, retry_at - failed_at AS wait FROM failures")
    assert rows.to_pylist()[0]["kind"] == "out_of_memory"
    hours = query(database, "SELECT date_diff('hour', failed_at, retry_at) AS hours FROM failures").to_pylist()
    assert hours == [{"hours": 12}]


def test_failures_tell_the_machine_that_tried(lake: Lake, database: Path):
    lake.record_failure("b", "m", "out_of_memory", "why", "e")
    lake.write_failure("c", "m", failed("failed", 1))  # of a version that did not note it
    publish(lake, database)
    assert query(database, "SELECT benchmark, node FROM failures ORDER BY benchmark").to_pylist() == [
        {"benchmark": "b", "node": socket.gethostname()},
        {"benchmark": "c", "node": None},
    ]
