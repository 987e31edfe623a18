"""One command at a time on a lake that several machines share: a lease, which its holder renews.

The table `leases` has one row while a command holds the lake, else none. Each change is a commit that fails if another
one came first. Clocks of machines differ, so times are only shown: a lease has expired for whoever saw its row stay
the same for EXPIRED seconds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pyarrow as pa

from warehouse.errors import LakeInUse, WarehouseError, first_line

from .delta import DeltaTables

__all__ = ["Lease", "Leases"]

TABLE = "leases"
RENEWED = 10.0  # seconds between two renewals
EXPIRED = 60.0  # seconds without one
LOOK = 1.0  # seconds between two looks of whoever waits
_SCHEMA = pa.schema(
    [("process", pa.string()), ("command", pa.string()), ("since", pa.timestamp("us", "UTC")), ("renewals", pa.int64())]
)
_KEPT = {"delta.logRetentionDuration": "interval 1 days", "delta.deletedFileRetentionDuration": "interval 1 days"}


@dataclass(frozen=True)
class Lease:
    """Who holds the lake, and how often that was renewed."""

    process: str  # its host, its id and what else tells it from others, with blanks between them
    command: str
    since: datetime  # aware, UTC
    renewals: int = 0

    @classmethod
    def starting(cls, process: str, command: str) -> Lease:
        return cls(process, command, datetime.now(UTC))

    def __str__(self) -> str:
        host, number, *_ = self.process.split()
        return f"`{self.command}` on {host} (process {number}, since {self.since:%Y-%m-%d %H:%M} UTC)"


class Leases:
    """The leases of the lake at `address`. `is_gone` tells whether a process of this machine has ended; False for
    others."""

    def __init__(self, address: str, is_gone: Callable[[str], bool]) -> None:
        self._tables = DeltaTables(address)
        self._is_gone = is_gone
        self._seen: tuple[Lease | None, float] = (None, 0.0)  # the row, and since when it has been the same
        self._looked = 0.0

    def find_holder(self) -> Lease | None:
        """Return who holds the lake; None where nobody does: the lease has expired, or its process is gone."""
        found, now = self._read(), time.monotonic()
        long_ago = now - self._looked > EXPIRED / 2  # the store may have been away, for whoever renews it as well
        if found != self._seen[0] or long_ago:
            self._seen = found, now
        self._looked = now
        if found is None or self._is_gone(found.process) or now - self._seen[1] > EXPIRED:
            return None
        return found

    @contextmanager
    def hold(self, mine: Lease, tell: Callable[[str], object]) -> Iterator[None]:
        """Hold the lake for the block; what is worth knowing meanwhile is told.

        Raises:
            LakeInUse: another command holds it, and is alive. Where that cannot be seen at once, it is waited for.
        """
        self._take(mine, tell)
        ended = threading.Event()
        renewing = threading.Thread(target=self._renew, args=(mine, ended, tell), daemon=True)
        renewing.start()
        try:
            yield
        finally:
            ended.set()
            renewing.join()
            with suppress(WarehouseError, OSError):  # it expires by itself
                if self._is_mine(mine):
                    self._swap(None)

    def _take(self, mine: Lease, tell: Callable[[str], object]) -> None:
        waited_for: Lease | None = None
        while True:
            held = self.find_holder()
            if held is None:
                if self._swap(mine):
                    return
            elif waited_for is None:
                tell(f"{self._tables.address} is held by {held}; looking for a minute whether it is still at work.")
                waited_for = held
            elif held != waited_for:
                raise LakeInUse(self._tables.address, str(held))
            time.sleep(LOOK)

    def _renew(self, mine: Lease, ended: threading.Event, tell: Callable[[str], object]) -> None:
        while not ended.wait(RENEWED):
            with suppress(WarehouseError, OSError):  # the store is away: the next time, then
                renewed = replace(mine, renewals=mine.renewals + 1)
                if self._swap(renewed):
                    mine = renewed
                elif not self._is_mine(mine):
                    other = self._read() or "another command"
                    tell(
                        f"{self._tables.address} was taken over by {other}, as nothing was heard of this one for a "
                        "minute. No answer is lost by that, but both do the same work: stop one of them."
                    )
                    return

    def _is_mine(self, mine: Lease) -> bool:
        found = self._read()
        return found is not None and (found.process, found.since) == (mine.process, mine.since)

    def _read(self) -> Lease | None:
        """Return the row as it is now."""
        self._tables.look_again(TABLE)
        rows = self._tables.read(TABLE)
        return Lease(**rows.to_pylist()[0]) if rows else None

    def _swap(self, lease: Lease | None) -> bool:
        """Replace the row that was read last; return False where another process has changed it meanwhile.

        Raises WarehouseError where the table cannot be written.
        """
        from deltalake import CommitProperties, write_deltalake
        from deltalake.exceptions import DeltaError

        rows = pa.Table.from_pylist([vars(lease)] if lease else [], schema=_SCHEMA)
        known = self._tables.known(TABLE)
        try:
            write_deltalake(
                known or self._tables.at(TABLE),
                rows,
                mode="overwrite" if known else "error",
                configuration=None if known else _KEPT,
                commit_properties=CommitProperties(max_commit_retries=0),
                storage_options=self._tables.options,
            )
        except (DeltaError, OSError) as error:
            self._tables.forget(TABLE)
            found = self._read()
            if self._tables.known(TABLE) is None:
                raise WarehouseError(f"{self._tables.at(TABLE)} cannot be written ({first_line(error)})") from error
            return found == lease  # a commit may have come through of which the store's answer did not
        return True
