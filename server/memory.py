"""What the server remembers: decisions, the model that each conversation had, and what was spent today."""

from __future__ import annotations

import json
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from harness.files import write_text

__all__ = ["Ledger", "Recent"]

log = logging.getLogger(__name__)


class Recent:
    """The last values by key, at most `most` of them, each for at most `seconds`."""

    def __init__(self, most: int, seconds: float = float("inf"), clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._seconds, self._clock = most, seconds, clock
        self._values: OrderedDict[str, tuple[float, Any]] = OrderedDict()

    def get(self, key: str | None) -> Any:
        """Return the value; None where there is none, or no longer."""
        at, value = self._values.get(key or "", (-float("inf"), None))
        return value if self._clock() - at <= self._seconds else None

    def put(self, key: str, value: Any) -> None:
        self._values[key] = self._clock(), value
        self._values.move_to_end(key)
        while len(self._values) > self._most:
            self._values.popitem(last=False)

    def __len__(self) -> int:
        return len(self._values)


class Ledger:
    """What each policy has spent today (UTC), in US$; kept in a file, so that a restart forgets nothing."""

    def __init__(self, file: Path | None, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._file, self._now = file, now
        self._day, self._spent = self._today(), {}
        self._kept: dict[str, float] = {}
        try:
            if file is None or not file.exists():
                return
            kept = json.loads(file.read_text(encoding="utf-8"))
            if kept["day"] == self._day:
                self._spent = {str(policy): float(usd) for policy, usd in kept["spent"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("what was spent today is not known: %s cannot be read (%s)", file, error)

    def spent(self, policy: str) -> float:
        self._begin_day()
        return self._spent.get(policy, 0.0)

    def add(self, policy: str, usd: float) -> None:
        self._begin_day()
        self._spent[policy] = self._spent.get(policy, 0.0) + usd

    def all(self) -> dict[str, float]:
        self._begin_day()
        return dict(self._spent)

    def keep(self) -> None:
        """Write the file, where something was spent since the last time. Where that fails, it is said and goes on."""
        if self._file is None or self._spent == self._kept:
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_text(self._file, json.dumps({"day": self._day, "spent": self._spent}))
        except OSError as error:
            log.warning("a restart would forget what was spent today: %s cannot be written (%s)", self._file, error)
        self._kept = dict(self._spent)

    def seconds_left(self) -> float:
        """Return for how long today lasts."""
        now = self._now()
        tomorrow = datetime(now.year, now.month, now.day, tzinfo=UTC) + timedelta(days=1)
        return (tomorrow - now).total_seconds()

    def _begin_day(self) -> None:
        if self._day != self._today():
            self._day, self._spent = self._today(), {}

    def _today(self) -> str:
        return self._now().date().isoformat()
