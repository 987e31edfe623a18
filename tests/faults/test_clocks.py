"""Clocks that are set back and time zones: every instant is kept in UTC, and nothing is decided by which is later."""

import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pytest

from warehouse.database.publish import publish
from warehouse.database.read import query
from warehouse.lake import Lake
from warehouse.lake.failures import Failure

ZONES = ["UTC", "America/St_Johns", "Pacific/Kiritimati", "Europe/Berlin"]


@pytest.fixture
def move_to() -> Iterator[Callable[[str], None]]:
    """Sets this process's time zone; `own_environment` takes it back, and the last line here makes that known."""

    def move(zone: str) -> None:
        os.environ["TZ"] = zone
        time.tzset()

    before = os.environ.get("TZ")
    yield move
    if before is None:
        os.environ.pop("TZ", None)
    else:
        os.environ["TZ"] = before
    time.tzset()


@pytest.mark.parametrize("zone", ZONES)
def test_a_failure_has_the_same_time_everywhere(zone: str, move_to: Callable[[str], None], tmp_path: Path) -> None:
    lake, database = Lake(tmp_path / "lake"), tmp_path / "warehouse.duckdb"
    move_to(zone)
    before = datetime.now(UTC)
    lake.record_failure("sums", "tiny/a", "failed", "it is broken")
    publish(lake, database)
    move_to("Asia/Tokyo")
    failure = lake.failure("sums", "tiny/a")
    assert failure is not None
    assert before <= failure.failed_at <= datetime.now(UTC)
    assert failure.retry_at - failure.failed_at == timedelta(hours=12)
    (row,) = query(database, "SELECT failed_at, retry_at FROM failures").to_pylist()
    assert row == {
        "failed_at": failure.failed_at.replace(tzinfo=None),
        "retry_at": failure.retry_at.replace(tzinfo=None),
    }


@pytest.mark.parametrize("night", [datetime(2026, 3, 28, 18, tzinfo=UTC), datetime(2026, 10, 24, 18, tzinfo=UTC)])
def test_waiting_takes_as_long_when_summer_time_begins_or_ends(night: datetime, move_to: Callable[[str], None]) -> None:
    move_to("Europe/Berlin")
    failure = Failure("failed", "it is broken", 1, "", night.astimezone())
    assert not failure.is_due(night + timedelta(hours=11, minutes=59))
    assert failure.is_due(night + timedelta(hours=12))


def test_a_clock_that_is_set_back_changes_nothing_of_what_is_in_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a changed entry fails and is asked, and a question described anew, a day before they first were."""
    lake = Lake(tmp_path / "lake")
    evaluate(lake, fingerprint="first", category="old", correct=False)
    for module in ("warehouse.lake.writing", "warehouse.lake.events", "warehouse.lake.failures"):
        monkeypatch.setattr(f"{module}.datetime", Yesterday)
    lake.record_failure("sums", "tiny/a", "failed", "it is broken")
    assert Lake(lake.address).failures().num_rows == 1
    evaluate(lake, fingerprint="second", category="new", correct=True)
    lake.write_table("forecasts", pa.table({"model": ["tiny/a"]}))

    for found in (lake, Lake(lake.address)):
        assert found.responses()["correct"].to_pylist() == [True]
        assert found.questions()["category"].to_pylist() == ["new"]
        assert found.superseded()["fingerprint"].to_pylist() == ["first"]
        assert found.failures().num_rows == 0
    lake.compact()
    assert Lake(lake.address).responses()["correct"].to_pylist() == [True]
    assert lake.restore("sums", "tiny/a", "first")
    assert Lake(lake.address).responses()["correct"].to_pylist() == [False]


class Yesterday(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return super().now(tz) - timedelta(days=1)


def evaluate(lake: Lake, *, fingerprint: str, category: str, correct: bool) -> None:
    asked = {"task": ["t"], "doc_id": [0]}
    answers = pa.table({**asked, "correct": [correct], "score": [float(correct)]})
    questions = pa.table({**asked, "text": ["2 + 2?"], "category": [category]})
    lake.write_evaluation("sums", "tiny/a", answers, questions, {"fingerprint": fingerprint})


@pytest.mark.slow
def test_files_from_the_future_and_another_time_zone_change_nothing(copy: Any) -> None:
    """As after the clock was set back by a day."""
    tomorrow = time.time() + 86_400
    for path in copy.path.rglob("*"):
        os.utime(path, (tomorrow, tomorrow))
    done = copy.command.with_settings(TZ="Pacific/Kiritimati")("run")
    assert done.returncode == 0, done.stderr
    assert "Nothing changed" in done.stderr
