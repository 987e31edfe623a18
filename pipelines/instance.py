"""The Dagster instance of a home: where runs and events are kept, and which models are its partitions."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import dagster as dg

from assets.partitions import MODELS_PARTITION
from assets.workspace import COMMAND_LOCK, Workspace
from warehouse.files import locked, replacing

from .errors import CommandError
from .settings import PROJECT, Settings

LAUNCHED_BY = "embedllm/launched-by"
LOCATION = "pipelines.definitions"
CLI_TAGS = {
    LAUNCHED_BY: "cli",
    ".dagster/repository": f"__repository__@{LOCATION}",  # by this the UI finds a job's runs
}
UI_LOCK = ".ui.lock"
"""In the home; held while a UI runs."""
KILLED = "The process that ran this was killed."
POOLS = {"evaluation", "warehouse"}
MOMENT = 1.0  # seconds
UNFINISHED = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


class HomeBusy(CommandError):
    """Another `embedllm` command is at work on this home."""


def use_home(settings: Settings) -> Path:
    """Point Dagster, and every process started from here, at this home; returns DAGSTER_HOME."""
    folder = settings.home / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["DAGSTER_HOME"] = str(folder)
    os.environ["EMBEDLLM_HOME"] = str(settings.home)
    if settings.registry:
        os.environ["EMBEDLLM_REGISTRY"] = str(settings.registry)
    target, wanted = folder / "dagster.yaml", (PROJECT / "dagster.yaml").read_text(encoding="utf-8")
    with locked(folder / ".lock"):  # two processes that make Dagster's databases at once spoil them
        if not target.exists() or target.read_text(encoding="utf-8") != wanted:
            with replacing(target) as draft:
                draft.write_text(wanted, encoding="utf-8")
        with dg.DagsterInstance.get() as instance:
            _limit_pools(instance)
    return folder


def _limit_pools(instance: dg.DagsterInstance) -> None:
    """Before the first run: Dagster gives a pool its default limit only after it has let runs of it start."""
    known = {pool.name for pool in instance.event_log_storage.get_pool_limits()}
    for pool in POOLS - known:
        instance.event_log_storage.initialize_concurrency_limit_to_default(pool)


@contextmanager
def exclusive(home: Path) -> Iterator[None]:
    """Hold the home for one command; the lock goes with the process, however it ends.

    Raises:
        HomeBusy: another process holds it.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (home / COMMAND_LOCK).open("a+") as lock:
        if not _taken(lock):
            lock.seek(0)
            raise HomeBusy(
                f"{home} is in use by another embedllm command (process {lock.read().strip() or 'unknown'}); "
                "wait for it to end, or set EMBEDLLM_HOME to another folder."
            )
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _taken(lock: IO[str]) -> bool:
    """Tries for a moment: the UI takes the lock now and then, to see whether a command has it."""
    deadline = time.monotonic() + MOMENT
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(MOMENT / 20)
        else:
            return True


def end_dead_runs(instance: dg.DagsterInstance, home: Path) -> int:
    """Mark as failed the runs whose processes were killed: no live command has any, and without a UI nothing has.

    Call it holding the home.

    Raises:
        HomeBusy: the UI is at work on it.
    """
    of_ui, of_commands = _unfinished(instance)
    with locked(home / UI_LOCK, wait=False) as without_ui:
        if of_ui and not without_ui:
            raise HomeBusy(
                f"The UI has {len(of_ui)} runs at work on {home}, which do what this command would; wait for them, or "
                "stop the UI."
            )
        _end(instance, [*of_ui, *of_commands])
    return len(of_ui) + len(of_commands)


def end_dead_runs_of_ui(instance: dg.DagsterInstance) -> None:
    """Mark the runs of a UI before this one as failed: their processes ended with it. Call it holding UI_LOCK."""
    _end(instance, _unfinished(instance)[0])


def _unfinished(instance: dg.DagsterInstance) -> tuple[list[dg.DagsterRun], list[dg.DagsterRun]]:
    """Runs of the UI, runs of commands."""
    of_ui, of_commands = [], []
    for run in instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)):
        # The UI repeats a command's run with its tags.
        (of_commands if run.tags.get(LAUNCHED_BY) == "cli" and not run.parent_run_id else of_ui).append(run)
    return of_ui, of_commands


def _end(instance: dg.DagsterInstance, runs: Iterable[dg.DagsterRun]) -> None:
    for run in runs:
        instance.report_run_failed(run, KILLED)


def follow_move(workspace: Workspace) -> None:
    """Once a home was moved or copied, what names files in it by their paths names them where they are now."""
    from harness.zoo import update_tasks

    if workspace.registry.made_by == "zoo":
        update_tasks(workspace.zoo, seed=workspace.seed)


def register_models(instance: dg.DagsterInstance, names: Iterable[str]) -> None:
    """Make the partitions equal to the registry's models; answers of a model no longer there stay in the lake."""
    wanted, known = list(names), set(instance.get_dynamic_partitions(MODELS_PARTITION))
    instance.add_dynamic_partitions(MODELS_PARTITION, [name for name in wanted if name not in known])
    for name in known - set(wanted):
        instance.delete_dynamic_partition(MODELS_PARTITION, name)
