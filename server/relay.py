"""Asks the model that was chosen and, where it fails before the client got anything of an answer, the next one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from harness.registry import Endpoint, ModelEntry

from .breaker import Breakers
from .requests import Body
from .upstream import Failure, Reply, ask

__all__ = ["AllFailed", "Relayed", "Try", "relay"]


@dataclass(frozen=True)
class Try:
    """A model that was asked, and what came of it."""

    model: str
    seconds: float
    failure: str | None = None

    def record(self) -> dict[str, Any]:
        return {"model": self.model, "seconds": round(self.seconds, 4), "failure": self.failure}


@dataclass(frozen=True)
class Relayed:
    """The reply of the model that answered, and the tries that it took."""

    model: str
    reply: Reply
    tries: Sequence[Try] = field(default_factory=tuple)


class AllFailed(Exception):
    """No model answered. `reply` is what the last one said, where it said anything."""

    def __init__(self, tries: Sequence[Try], failures: Sequence[Failure], retry_after_s: float) -> None:
        told = "; ".join(f"{a_try.model}: {a_try.failure}" for a_try in tries if a_try.failure)
        super().__init__(f"no model answered ({told or 'no server may be asked now'})")
        self.headers: dict[str, str] = {}  # what the client is told of the decision
        self.alone: dict[str, str] = {}  # models that were not asked, as they had failed before, and why
        self.tries = tuple(tries)
        self.reply = failures[-1].reply if failures else None
        self.too_many = bool(failures) and all(f.reply is not None and f.reply.status == 429 for f in failures)
        self.too_late = bool(tries) and all("no answer within" in (a_try.failure or "") for a_try in tries)
        self.retry_after_s = retry_after_s


async def relay(
    client: httpx.AsyncClient,
    models: Sequence[ModelEntry],
    endpoint: Endpoint,
    body: Body,
    headers: dict[str, str],
    *,
    breakers: Breakers,
    timeout_s: float,
    deadline_s: float,
    on_failure: Callable[[str], None] = lambda model: None,
) -> Relayed:
    """Ask `models` in their order until one answers; `on_failure` is told of each that does not.

    Raises AllFailed where none does within the deadline.
    """
    end = time.monotonic() + deadline_s
    tries: list[Try] = []
    failures: list[Failure] = []
    for entry in models:
        breaker, started = breakers.of(entry.name), time.monotonic()
        if started >= end or (len(models) > 1 and breaker.why_not()):
            continue
        breaker.begin()
        try:
            reply = await ask(
                client,
                entry,
                endpoint,
                body.with_model(entry.served_at.model if entry.served_at else entry.name),
                headers,
                stream=body.stream,
                timeout_s=min(timeout_s, end - started),
                idle_s=timeout_s,
            )
        except Failure as failure:
            breaker.fail(failure.retry_after_s)
            failures.append(failure)
            tries.append(Try(entry.name, time.monotonic() - started, str(failure)))
            on_failure(entry.name)
            continue
        except BaseException:  # the client has left
            breaker.abandon()
            raise
        if reply.rest is None:
            breaker.succeed()
        else:
            breaker.answer()
        tries.append(Try(entry.name, time.monotonic() - started))
        return Relayed(entry.name, reply, tuple(tries))
    raise AllFailed(tries, failures, breakers.soonest_s([entry.name for entry in models]))
