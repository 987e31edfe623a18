"""What can go wrong; each message names the culprit and the remedy.

WarehouseError (ValueError)
├── CorruptFileError      a file of the lake cannot be read
├── LakeInUse             another command works on a lake that several machines share
├── SplitConflictError    two imports put a question into different splits
└── ImportRefused         published results that cannot be imported as they are
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

__all__ = ["CorruptFileError", "ImportRefused", "LakeInUse", "SplitConflictError", "WarehouseError", "first_line"]


class WarehouseError(ValueError):
    """The lake or the warehouse cannot do what was asked."""


class CorruptFileError(WarehouseError):
    """A file of the lake that cannot be read."""

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(path, reason)  # all arguments, so that the error survives pickling between processes
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"{self.path} cannot be read ({self.reason}); `embedllm check --mend` sets it aside, and `embedllm run` "
            "makes again what can be"
        )


class LakeInUse(WarehouseError):
    """Another command works on this lake."""

    def __init__(self, lake: str, holder: str) -> None:
        super().__init__(lake, holder)
        self.lake = lake
        self.holder = holder

    def __str__(self) -> str:
        return f"{self.lake} is in use by {self.holder}; wait for it to end, or stop it there."


class SplitConflictError(WarehouseError):
    """Two imports put the same questions into different splits."""

    def __init__(self, question_ids: tuple[str, ...], other: str) -> None:
        super().__init__(question_ids, other)
        self.question_ids = question_ids
        self.other = other

    def __str__(self) -> str:
        return (
            f"{len(self.question_ids)} questions have another split from the import of {self.other} (for example "
            f"question {self.question_ids[0]}); give both imports the same split"
        )


class ImportRefused(WarehouseError):
    """Published results that cannot be imported as they are. Nothing of them was imported; `problems` lists why."""

    def __init__(self, source: object, problems: Sequence[str]) -> None:
        super().__init__(str(source), tuple(problems))
        self.source = str(source)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        source = re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", self.source).encode(errors="replace").decode()
        several = len(self.problems) > 1
        told = "".join(f"\n- {problem}" for problem in self.problems) if several else f" {self.problems[0]}"
        return f"{source} was not imported:{told}"


def first_line(error: object) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
