"""Why a pair of benchmark and model has no (new) answers, and when to try again.

A failure lies beside the pair's answers as failure.json: kind, reason, attempts, entry, failed_at.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa

from warehouse.errors import CorruptFileError
from warehouse.files import replacing
from warehouse.layout import FAILURE, pair_of

__all__ = [
    "FAILURES",
    "INTERRUPTED",
    "NOT_APPLICABLE",
    "Failure",
    "failure_table",
    "next_failure",
    "not_applicable_table",
    "read_failure",
    "write_failure",
]

FAILURES = pa.schema(
    {
        "benchmark": pa.string(),
        "model": pa.string(),
        "kind": pa.string(),
        "reason": pa.string(),
        "attempts": pa.int32(),
        "failed_at": pa.timestamp("us"),  # UTC
        "retry_at": pa.timestamp("us"),  # UTC
    }
)

INTERRUPTED = "interrupted"
"""Kind that is recorded before an evaluation starts: it stays where the evaluation kills its process."""
NOT_APPLICABLE = "not_applicable"
"""Kind of a pair that cannot be asked: recorded like a failure, and neither one nor tried again."""
_NOT_APPLICABLE_COLUMNS = ("benchmark", "model", "reason")
_FIRST_DELAY, _LONGEST_DELAY = timedelta(hours=12), timedelta(days=7)
_INTERRUPTIONS = 4  # so many in a row are no accident: from the fourth on they wait as others do


@dataclass(frozen=True)
class Failure:
    """The last evaluation of a pair, which failed."""

    kind: str
    reason: str
    attempts: int  # since it last succeeded or its registry entry changed
    entry: str  # digest of the registry entry under which it failed
    failed_at: datetime  # aware, UTC

    @property
    def retry_at(self) -> datetime:
        """When to try again (aware, UTC): after 12 hours, then twice as long each time, a week at most."""
        if self.kind == INTERRUPTED and self.attempts < _INTERRUPTIONS:
            return self.failed_at
        doublings = min(self.attempts - 1, 10)  # more exceed the longest delay anyway, and overflow
        return self.failed_at + min(_FIRST_DELAY * 2**doublings, _LONGEST_DELAY)

    def is_due(self, now: datetime) -> bool:
        """Whether to try again; a failure later than `now` (the clock was set back) is due at once."""
        return now >= self.retry_at or now < self.failed_at


def next_failure(last: Failure | None, kind: str, reason: str, entry: str) -> Failure:
    """The failure to record now, after `last`: under the same entry it is one attempt more.

    What was recorded when an attempt began (INTERRUPTED) and what it then ended with are one attempt.
    """
    attempts = last.attempts if last is not None and last.entry == entry else 0
    ended = attempts > 0 and last is not None and last.kind == INTERRUPTED and kind != INTERRUPTED
    return Failure(kind, reason, attempts if ended else attempts + 1, entry, datetime.now(UTC))


def write_failure(failure: Failure, path: Path) -> None:
    with replacing(path) as temporary:
        record = asdict(failure) | {"failed_at": failure.failed_at.isoformat()}
        temporary.write_text(json.dumps(record), encoding="utf-8")


def read_failure(path: Path) -> Failure | None:
    """None where there is none. Raises CorruptFileError where it is no record of a failure."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        failed_at = datetime.fromisoformat(record["failed_at"]).astimezone(UTC)
        return Failure(
            str(record["kind"]), str(record["reason"]), int(record["attempts"]), record.get("entry", ""), failed_at
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptFileError(path, f"it is no record of a failure: {error}") from error


def not_applicable_table(folder: Path) -> pa.Table:
    """benchmark, model and reason of the pairs under `folder` (lake/responses) that cannot be asked, sorted."""
    rows = [row for row in _rows(folder) if row["kind"] == NOT_APPLICABLE]
    schema = pa.schema([FAILURES.field(name) for name in _NOT_APPLICABLE_COLUMNS])
    return pa.Table.from_pylist(rows, schema=schema) if rows else pa.Table.from_batches([], schema)


def failure_table(folder: Path) -> pa.Table:
    """FAILURES of all pairs under `folder` (lake/responses), sorted."""
    rows = [row for row in _rows(folder) if row["kind"] != NOT_APPLICABLE]
    # Most often nothing failed; from_pylist and empty_table load pandas, a quarter of a second.
    return pa.Table.from_pylist(rows, schema=FAILURES) if rows else pa.Table.from_batches([], FAILURES)


def _rows(folder: Path) -> Iterator[dict[str, object]]:
    for path in sorted(folder.glob(f"benchmark=*/model=*/{FAILURE}")):
        benchmark, model = pair_of(path)
        if failure := read_failure(path):
            yield {
                "benchmark": benchmark,
                "model": model,
                "kind": failure.kind,
                "reason": failure.reason,
                "attempts": failure.attempts,
                "failed_at": failure.failed_at.replace(tzinfo=None),
                "retry_at": failure.retry_at.replace(tzinfo=None),
            }
