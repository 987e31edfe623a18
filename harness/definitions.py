"""Digests of task definitions, remembered on disk: as long as no file has changed, lm-eval need not be loaded.

To find out what a task's name means, lm-eval reads every definition there is, which takes seconds. Whether one of them
has changed shows in sizes and times of files.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness.digests import digest_of
from harness.entries import BenchmarkEntry

__all__ = ["LocalTasks"]


class LocalTasks:
    """The task definitions in `folder` (a registry's tasks_dir); what was found is kept in `memory`, a folder."""

    def __init__(self, folder: Path, memory: Path) -> None:
        self._folder = folder
        self._file = memory / f"tasks-{digest_of(str(folder.absolute()))[:16]}.json"

    def configs(self, benchmark: BenchmarkEntry) -> dict[str, str]:
        """Leaf task → digest of its definition, its code and its data, as `TaskIndex.configs` finds them now.

        Raises TaskUnknown.
        """
        return self.all_configs([benchmark])[benchmark.name]

    def all_configs(self, benchmarks: Iterable[BenchmarkEntry]) -> dict[str, dict[str, str]]:
        """By benchmark, what `configs` gives."""
        benchmarks, state = list(benchmarks), self._state()
        known = self._read()
        if known.get("state") != state:
            known = {"state": state, "benchmarks": {}}
        tasks = {benchmark.name: digest_of(list(benchmark.tasks)) for benchmark in benchmarks}
        entries = known["benchmarks"]
        if stale := [b for b in benchmarks if not _holds(entries.get(tasks[b.name]))]:
            from harness.tasks import TaskIndex

            index = TaskIndex(self._folder)
            for benchmark in stale:
                files = sorted(str(path.absolute()) for path in index.local_files(benchmark))
                looks = {file: _looks_of(Path(file)) for file in files}
                entries[tasks[benchmark.name]] = {"configs": index.configs(benchmark), "files": looks}
            self._write(known)
        return {name: entries[key]["configs"] for name, key in tasks.items()}

    def _state(self) -> str:
        """Changes with any file in the folder, with the version of lm-eval, and with what relative paths mean."""
        return digest_of([importlib.metadata.version("lm_eval"), str(Path.cwd()), _looks_of(self._folder)])

    def _read(self) -> dict[str, Any]:
        try:
            return json.loads(self._file.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}

    def _write(self, known: dict[str, Any]) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=self._file.parent, delete=False, encoding="utf-8") as file:
            json.dump(known, file)
        os.replace(file.name, self._file)  # noqa: PTH105  several processes may write at once


def _holds(entry: dict[str, Any] | None) -> bool:
    return entry is not None and all(_looks_of(Path(file)) == looks for file, looks in entry["files"].items())


def _looks_of(path: Path) -> Any:
    """Size and times of a file, of all files in a folder, or None where there is neither."""
    try:
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
            return {file.relative_to(path).as_posix(): _looks_of(file) for file in files}
        stat = path.stat()
    except FileNotFoundError:
        return None
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
