"""What is served by, made anew while requests go on, as soon as the embedder, the registry or its policies change."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable
from typing import Protocol

from .snapshot import Snapshot

__all__ = ["Live", "Source"]

log = logging.getLogger(__name__)


class Source(Protocol):
    """Where a snapshot comes from."""

    def state(self) -> Hashable:
        """Return what is another value once there is something else to load. It is asked every few seconds."""
        ...

    def load(self) -> Snapshot:
        """Return what there is now. Raises an exception that says why that cannot be served by."""
        ...


class Live:
    """The snapshot in force. Where a change cannot be used, the one before stays in force, and `problem` says why."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._seen: Hashable = None
        self._snapshot: Snapshot | None = None
        self.problem: str | None = None
        self.reloads = 0

    @property
    def snapshot(self) -> Snapshot:
        assert self._snapshot is not None, "load first"
        return self._snapshot

    def load(self) -> None:
        """Load for the first time. Raises what the source raises."""
        self._seen = self._source.state()
        self._put(self._source.load())

    def refresh(self) -> None:
        """Load again where there is something else to load. Whatever is wrong with it, the server goes on."""
        try:
            state = self._source.state()
            if state == self._seen:
                return
            self._put(self._source.load())
            self._seen, self.problem = state, None
            self.reloads += 1
        except Exception as error:  # noqa: BLE001 a file or disk can fail in any way, and may be mended
            problem = str(error) or type(error).__name__
            if problem != self.problem:
                log.warning("what was served by before stays in force: %s", problem)
            self.problem = problem

    async def watch(self, seconds: float, then: Callable[[], None] = lambda: None) -> None:
        """Refresh every few seconds, until cancelled. Requests are not held up."""
        while True:
            await asyncio.sleep(seconds)
            await asyncio.to_thread(self.refresh)
            then()

    def _put(self, snapshot: Snapshot) -> None:
        snapshot.router.rank(["What is 2 plus 2?"], top=1)  # the first is slow
        for warning in snapshot.warnings:
            log.warning("%s", warning)
        self._snapshot = snapshot
        able = len(set(snapshot.router.predictor.models) & snapshot.served)
        known = len(snapshot.router.predictor.models)
        log.info("serving by %s: %d of its %d models have a server", snapshot.version, able, known)
