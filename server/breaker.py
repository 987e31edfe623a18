"""Keeps requests from a model's server while that fails, and lets one through now and then to see if it is back."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Breaker", "Breakers"]

_FAILURES = 3  # in a row, after which nothing is asked for a while
_PAUSE_S, _LONGEST_PAUSE_S = 10.0, 300.0
_LONGEST_WISH_S = 3600.0  # of a Retry-After


class Breaker:
    """Closed: requests pass. Open: none does until `open_until`. Then half-open: one at a time, until one succeeds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._pause = _PAUSE_S
        self._probing = False
        self.open_until = 0.0

    @property
    def waits_s(self) -> float:
        """For how many seconds no request passes."""
        return max(0.0, self.open_until - self._clock())

    @property
    def state(self) -> str:
        """closed, open or half-open."""
        if not self.open_until:
            return "closed"
        return "open" if self.waits_s else "half-open"

    def why_not(self) -> str | None:
        """Return why a request should not pass now; None where it may."""
        if self.waits_s:
            return f"its server is not asked for another {self.waits_s:.0f} s"
        if self.open_until and self._probing:
            return "its server failed, and is being tried with another request"
        return None

    def begin(self) -> None:
        """Note that a request passes."""
        self._probing = bool(self.open_until)

    def abandon(self) -> None:
        """Note that a request ended without telling anything of the server: its client left."""
        self._probing = False

    def answer(self) -> None:
        """Note that an answer has begun: the server is back. Whether it also ends, `succeed` or `fail` tells."""
        self._probing, self.open_until = False, 0.0

    def succeed(self) -> None:
        """Note a whole answer."""
        self._failures, self._pause, self._probing, self.open_until = 0, _PAUSE_S, False, 0.0

    def fail(self, retry_after_s: float | None = None) -> None:
        """Note a failure. `retry_after_s` is for how long the server asks not to be asked."""
        self._failures += 1
        was_open, self._probing = bool(self.open_until), False
        if retry_after_s is not None:
            self.open_until = self._clock() + min(retry_after_s, _LONGEST_WISH_S)
        elif was_open or self._failures >= _FAILURES:
            self.open_until = self._clock() + self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE_S)


class Breakers:
    """A breaker a server and model."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._by_model: dict[str, Breaker] = {}

    def of(self, model: str) -> Breaker:
        return self._by_model.setdefault(model, Breaker(self._clock))

    def down(self) -> dict[str, str]:
        """Return the models that are not asked now, and why."""
        found = {model: breaker.why_not() for model, breaker in self._by_model.items()}
        return {model: reason for model, reason in found.items() if reason}

    def states(self) -> dict[str, str]:
        return {model: breaker.state for model, breaker in self._by_model.items()}

    def soonest_s(self, models: list[str]) -> float:
        """Return in how many seconds the first of `models` may be asked again."""
        return min((self.of(model).waits_s for model in models), default=0.0)
