"""Clocks that are set back and time zones: every instant is kept in UTC, and nothing is decided by which is later."""

import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from warehouse.lake.failures import Failure
from warehouse.lake import Lake
from warehouse.publish import publish
from warehouse.read import query

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


@pytest.mark.slow
def test_files_from_the_future_and_another_time_zone_change_nothing(copy: Any) -> None:
    """As after the clock was set back by a day."""
    tomorrow = time.time() + 86_400
    for path in copy.path.rglob("*"):
        os.utime(path, (tomorrow, tomorrow))
    done = copy.command.with_settings(TZ="Pacific/Kiritimati")("run")
    assert done.returncode == 0, done.stderr
    assert "Nothing changed" in done.stderr
