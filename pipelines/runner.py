"""What executes what the plan says: this machine (pipelines/local), or a cluster's queue (pipelines/cluster)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import dagster as dg

from pipelines.automation.plan import Request

__all__ = ["Outcome", "Runner", "tell_failure"]

T = TypeVar("T")
OWN = ("harness", "warehouse", "embedder", "assets")  # packages whose errors are sentences; Dagster passes on names


@dataclass(frozen=True)
class Outcome:
    """What became of one model's evaluation."""

    model: str
    succeeded: bool


class Runner(Protocol):
    """Executes requests of the plan, and shows how far they are."""

    def evaluate(self, requests: Sequence[Request], *, again: Collection[str]) -> list[Outcome]:
        """Ask models what is requested; those in `again` whatever they answered before. Returns once all have ended,
        and with them what others had started."""
        ...

    def refresh(self, request: Request) -> None:
        """Make assets, none of which asks a model. Raises CommandError where one fails; what was made stays."""
        ...

    def is_busy(self) -> bool:
        """Whether something is at work that others have started, and that can be waited for."""
        ...

    def attempt(self, step: Callable[[], T]) -> T:
        """Take a step of the chain, again where what the runner depends on was out of reach for a while."""
        ...


def tell_failure(event: dg.DagsterEvent) -> str:
    """Return which step failed and what went wrong, without how it travelled through Dagster."""
    error = event.step_failure_data.error
    while error and error.cause and (error.cls_name or "").startswith("Dagster"):
        error = error.cause
    if error is None:
        return f"{event.step_key} failed: unknown reason"
    kind, _, sentence = error.message.strip().partition(": ")
    is_sentence = kind.split(".")[0] in OWN or kind.endswith(".Failure")
    return f"{event.step_key} failed: {sentence if is_sentence else f'{kind}: {sentence}'}"
