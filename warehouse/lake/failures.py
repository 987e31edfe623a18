"""Why a pair of benchmark and model has no (new) answers, and when to try again."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

__all__ = ["INTERRUPTED", "NOT_APPLICABLE", "Failure", "next_failure"]

INTERRUPTED = "interrupted"
"""The kind that is recorded before an evaluation starts: it stays where the evaluation kills its process."""
NOT_APPLICABLE = "not_applicable"
"""The kind of a pair that cannot be asked: it is recorded like a failure, but is none and is not tried again."""
_FIRST_DELAY, _LONGEST_DELAY = timedelta(hours=12), timedelta(days=7)
_INTERRUPTIONS = 4  # from the fourth in a row on, interruptions are no accident and wait as other failures do


@dataclass(frozen=True)
class Failure:
    """The last evaluation of a pair, which failed."""

    kind: str
    reason: str
    attempts: int  # since it last succeeded or its registry entry changed
    entry: str  # digest of the registry entry under which it failed
    failed_at: datetime  # aware, UTC
    node: str | None = None  # host name of the machine that tried

    @property
    def retry_at(self) -> datetime:
        """When to try again (aware, UTC): after 12 hours, then twice as long each time, a week at most."""
        if self.kind == INTERRUPTED and self.attempts < _INTERRUPTIONS:
            return self.failed_at
        doublings = min(self.attempts - 1, 10)  # more exceed the longest delay anyway, and overflow
        return self.failed_at + min(_FIRST_DELAY * 2**doublings, _LONGEST_DELAY)

    def is_due(self, now: datetime) -> bool:
        """Return whether to try again; a failure later than `now` (the clock was set back) is due at once."""
        return now >= self.retry_at or now < self.failed_at


def next_failure(last: Failure | None, kind: str, reason: str, entry: str) -> Failure:
    """Return the failure to record now, after `last`: under the same entry it is one more attempt.

    What was recorded when an attempt began (INTERRUPTED) and how it then ended are one attempt.
    """
    attempts = last.attempts if last is not None and last.entry == entry else 0
    ended = attempts > 0 and last is not None and last.kind == INTERRUPTED and kind != INTERRUPTED
    return Failure(kind, reason, attempts if ended else attempts + 1, entry, datetime.now(UTC), socket.gethostname())
