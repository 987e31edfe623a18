"""What decides answers, as it is now: weights, task definitions, their code and their data."""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from harness.definitions import LocalTasks
from harness.digests import digest_of, remember_digests
from harness.errors import HarnessError
from harness.fingerprints import find_change, fingerprint_of
from harness.identity import local_versions
from harness.registry import BenchmarkEntry, ModelEntry

from .workspace import Workspace

if TYPE_CHECKING:
    from harness.tasks import TaskIndex

log = logging.getLogger(__name__)


class LocalState:
    """Looks at what lies on this machine; files that have not changed since another process looked are not read.

    With `ask_hub`, also at what else an answer depends on: the hub's branches and the version of lm-eval. `unknown` has
    a sentence on everything that could not be found out.
    """

    def __init__(self, workspace: Workspace, *, ask_hub: bool = False) -> None:
        self._seed = workspace.seed
        self._ask_hub = ask_hub
        self.unknown: list[str] = []
        self._versions: dict[str, dict[str, str]] = {}  # by model
        remember_digests(workspace.cache / "digests.jsonl")
        folder = workspace.registry.tasks_dir
        self._tasks = LocalTasks(folder, workspace.cache) if folder is not None and folder.is_dir() else None

    def change(self, known: Mapping[str, str], model: ModelEntry, benchmark: BenchmarkEntry) -> str | None:
        """Return what has changed since the answers described by `known` (their metadata) were given; None: nothing."""
        configs = self._configs(benchmark)
        what = find_change(known, model, benchmark, versions=self._versions_of(model), configs=configs, seed=self._seed)
        if what or not self._ask_hub:
            return what
        before = known.get("fingerprint")  # imported answers have none
        try:
            configs = configs or self._own_tasks.configs(benchmark)
            now = fingerprint_of(model, benchmark, configs, self._seed, importlib.metadata.version("lm_eval"))
        except HarnessError as error:
            if (sentence := str(error)) not in self.unknown:
                self.unknown.append(sentence)
            return None
        return None if before in (None, now) else "its branch on the hub, its task or lm-eval's version"

    @cached_property
    def _own_tasks(self) -> TaskIndex:
        from harness.tasks import TaskIndex

        return TaskIndex(None)

    def digest(self, model: ModelEntry, benchmark: BenchmarkEntry) -> str:
        """Return a digest of all that an evaluation of this pair would read here; empty where that is nothing."""
        found = [self._versions_of(model), self._configs(benchmark) or {}]
        return digest_of(found)[:8] if any(found) else ""

    def _versions_of(self, model: ModelEntry) -> dict[str, str]:
        if model.name not in self._versions:
            self._versions[model.name] = local_versions(model)
        return self._versions[model.name]

    def _configs(self, benchmark: BenchmarkEntry) -> dict[str, str] | None:
        """Return the digests of a benchmark's tasks; None for lm-eval's own and for a task that is missing, which its
        evaluation will report."""
        try:
            return self._tasks.configs(benchmark) if self._tasks else None
        except HarnessError as error:
            log.info("%s", error)
            return None
