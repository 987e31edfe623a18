"""Executes the plan on this machine: evaluations in worker processes, everything else in this one."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

import dagster as dg

from assets.collection.accelerators import count_accelerators
from assets.inputs.workspace import Workspace
from pipelines.automation.plan import Request
from pipelines.console import Console
from pipelines.definitions import build_definitions
from pipelines.errors import CommandError
from pipelines.instance import end_dead_runs
from pipelines.jobs import REFRESH
from pipelines.runner import Outcome, tell_failure
from pipelines.settings import Settings
from warehouse.database.publish import TABLES, publish
from warehouse.errors import WarehouseError

from .in_process import execute
from .workers import evaluate_models

T = TypeVar("T")


class LocalRunner:
    """Make one holding the home: runs that no process is at work on are ended first, as nobody else does that.

    Raises:
        CommandError: a run of the UI is at work on the home.
    """

    def __init__(
        self, settings: Settings, workspace: Workspace, instance: dg.DagsterInstance, console: Console
    ) -> None:
        self._settings = settings
        self._workspace = workspace
        self._instance = instance
        self._console = console
        end_dead_runs(instance, settings.home)

    def evaluate(self, requests: Sequence[Request], *, again: Collection[str]) -> list[Outcome]:
        settings, workspace = self._settings, self._workspace
        gpus = count_accelerators() if settings.device is None else 0
        # The zoo's models take a core each; of others one at a time uses all cores, and two may not fit into memory.
        cores = len(os.sched_getaffinity(0)) if workspace.registry.made_by == "zoo" else 1
        workers = settings.evaluation_workers or gpus or cores
        outcomes = []
        for outcome in evaluate_models(requests, workspace, self._instance, workers=workers, again=again):
            outcomes.append(outcome)
            self._console.progress(len(outcomes), len(requests), "models evaluated")
        return outcomes

    def refresh(self, request: Request) -> None:
        make_assets(request.assets, self._workspace, self._instance, self._console, request.tags)

    def is_busy(self) -> bool:
        return False

    def attempt(self, step: Callable[[], T]) -> T:
        return step()


def make_assets(
    assets: Sequence[dg.AssetKey],
    workspace: Workspace,
    instance: dg.DagsterInstance,
    console: Console,
    tags: Mapping[str, str],
) -> None:
    """Make these assets, none of which asks a model, in this process. Raises CommandError where one fails."""
    definitions = build_definitions(workspace.registry, workspace, loggers={"console": console.stages()})
    without = {"loggers": {"console": {}}}  # without it, Dagster logs every event
    result = execute(definitions, REFRESH, instance, assets=assets, tags=tags, run_config=without)
    if not result.success:
        failure = next(e for e in result.all_events if e.is_step_failure)
        if failure.step_key != "warehouse":
            # What was made although something else failed, for which Dagster skips the asset that publishes.
            try:
                publish(workspace.lake, workspace.database, TABLES)
                workspace.share(workspace.database)
            except WarehouseError as error:
                console.warn(str(error))
        raise CommandError(tell_failure(failure))
