"""What every asset works on: the home and the registry in force, as one Dagster resource."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from harness.registry import Registry

from .home import COMMAND_LOCK, Home

__all__ = ["COMMAND_LOCK", "Progress", "Workspace", "silent"]


class Progress(Protocol):
    """Is told how far a long step is; `embedllm` draws a bar from it."""

    def __call__(self, done: int, total: int, label: str) -> None: ...


def silent(done: int, total: int, label: str) -> None:
    """Draw nothing: the UI shows the event log instead."""


@dataclass(frozen=True)
class Workspace(Home):
    """A home, the registry in force and who is told how far things are."""

    registry: Registry
    progress: Progress = field(default=silent, compare=False, kw_only=True)
