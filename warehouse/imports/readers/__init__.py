"""One reader a format of evaluation results. A reader turns files into graded answers; what they then must satisfy,
and how they come into the lake, is the same for all of them (`warehouse/imports`).

A format of your own is a class like `Reader`, which a package names under the entry point `embedllm.importers`.
"""

from __future__ import annotations

from importlib.metadata import entry_points

from .lm_eval import LmEval
from .reader import Reader

__all__ = ["all_readers"]

ENTRY_POINT = "embedllm.importers"


def all_readers() -> list[Reader]:
    """Return a reader of every format, those that are the hardest to mistake first; then those of other packages."""
    own: list[Reader] = [LmEval()]
    return [*own, *(point.load()() for point in sorted(entry_points(group=ENTRY_POINT), key=lambda point: point.name))]
