"""Closes connections whose request does not arrive or whose answer is not read: asyncio would keep them for ever."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["Impatient", "protocol"]


class Impatient(HttpToolsProtocol):
    """uvicorn's protocol with three limits: the head of a request must arrive within `head_s` seconds of the connection
    or of its first byte, and in at most `head_bytes` bytes; and a client must read on within `unread_s` seconds where
    so much waits for it that nothing more can be sent. Bodies are limited by `Guard`."""

    head_s: ClassVar[float]
    head_bytes: ClassVar[int]
    unread_s: ClassVar[float]

    _timer: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    _waiting = 0  # bytes of a head that is not complete
    _headers = 0  # bytes of a request's headers, those behind its body included

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._start()

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        between = before is None or before.response_complete
        super().data_received(data)
        if self.cycle is not before:
            self._stop()
        elif between and not self.transport.is_closing():
            self._start()
            self._waiting += len(data)
            if self._waiting > self.head_bytes:
                self._give_up()

    def on_message_begin(self) -> None:
        self._headers = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers += len(name) + len(value)
        if self._headers > self.head_bytes:
            raise ValueError("too many headers")  # answered with status 400
        super().on_header(name, value)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.loop.call_later(self.unread_s, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._read_on()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        self._read_on()
        super().connection_lost(exc)

    def _read_on(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _start(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self.head_s, self._give_up)

    def _stop(self) -> None:
        self._waiting = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._stop()
        if not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            self.transport.close()


def protocol(head_s: float, head_bytes: int, unread_s: float) -> type[Impatient]:
    """Return the protocol with these limits."""
    return type("Impatient", (Impatient,), {"head_s": head_s, "head_bytes": head_bytes, "unread_s": unread_s})
