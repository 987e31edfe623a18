"""Digests of task definitions, remembered on disk: as long as no file has changed, lm-eval need not be loaded.

To find out what a task's name means, lm-eval reads every definition there is, which takes seconds. Sizes and times of
files show whether one of them has changed.
"""

from __future__ import annotations

import importlib.metadata
import json
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .digests import digest_of
from .files import write_text
from .registry import BenchmarkEntry

if TYPE_CHECKING:
    from .tasks import TaskIndex

__all__ = ["LocalTasks"]


class LocalTasks:
    """The task definitions in `folder` (a registry's tasks_dir) as they are when this is made.

    What is found out about them is kept in the folder `memory`.
    """

    def __init__(self, folder: Path, memory: Path) -> None:
        self._folder = folder
        self._file = memory / f"tasks-{digest_of(str(folder.absolute()))[:16]}.json"
        # What the names mean changes with any file there, with lm-eval, and with where relative paths begin.
        self._state = digest_of([importlib.metadata.version("lm_eval"), str(Path.cwd()), _looks_of(folder)])
        self._looked_at: set[str] = set()
        self._known: dict[str, Any] = {}
        with suppress(FileNotFoundError, ValueError):
            known = json.loads(self._file.read_text(encoding="utf-8"))
            self._known = known["benchmarks"] if known.get("state") == self._state else {}

    def configs(self, benchmark: BenchmarkEntry) -> dict[str, str]:
        """Return leaf task → digest of its definition, its code and its data, as `TaskIndex.configs` finds them now.

        Raises TaskUnknown.
        """
        key = digest_of(list(benchmark.tasks))
        if key not in self._looked_at and not self._holds(key):
            files = {str(path.absolute()) for path in self._index.local_files(benchmark)}
            looks = {file: _looks_of(Path(file)) for file in sorted(files)}
            self._known[key] = {"configs": self._index.configs(benchmark), "files": looks}
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_text(self._file, json.dumps({"state": self._state, "benchmarks": self._known}))
        self._looked_at.add(key)
        return self._known[key]["configs"]

    def _holds(self, key: str) -> bool:
        known = self._known.get(key)
        return known is not None and all(_looks_of(Path(file)) == looks for file, looks in known["files"].items())

    @cached_property
    def _index(self) -> TaskIndex:
        from .tasks import TaskIndex

        return TaskIndex(self._folder)


def _looks_of(path: Path) -> Any:
    """Return size and times of a file, or of all files in a folder, or None where there is neither."""
    try:
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
            return {file.relative_to(path).as_posix(): _looks_of(file) for file in files}
        stat = path.stat()
    except FileNotFoundError:
        return None
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
