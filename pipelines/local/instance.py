"""The Dagster instance of a home: where runs and events are kept, who works on it, and which models are partitions."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

import dagster as dg

from assets.inputs.partitions import MODELS_PARTITION
from assets.inputs.workspace import COMMAND_LOCK, Workspace
from pipelines.errors import CommandError
from pipelines.settings import PROJECT, Settings
from warehouse.files import locked, replacing

from .processes import PROCESS, is_gone

LAUNCHED_BY = "embedllm/launched-by"
LOCATION = "pipelines.definitions"
"""Of the definitions, in Dagster's words."""
UI_LOCK = ".ui.lock"
"""In the home; held while `embedllm ui` runs."""
KILLED = "The process that ran this was killed."
POOLS = {"evaluation", "warehouse"}
MOMENT = 1.0  # seconds
UNKNOWN_FOR = timedelta(minutes=2)  # so long a run may take from its start to naming its process
UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


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


def find_who_works(workspace: Workspace, instance: dg.DagsterInstance) -> str | None:
    """A sentence on who else does what would be done here by itself; None where nobody does."""
    with locked(workspace.command_lock, wait=False) as is_free:
        if not is_free:
            return "An embedllm command is at work on this home, and does what is due."
    if Path(instance.root_directory) == workspace.home / "dagster":
        return None
    with locked(workspace.home / UI_LOCK, wait=False) as is_free:
        return None if is_free else "`embedllm ui` runs on this home, and does what is due."


def end_lost_runs(instance: dg.DagsterInstance) -> int:
    """Mark as failed the runs whose process is gone, so that what they were to do is done again; how many there were.

    Dagster's default launcher cannot tell. Runs of other hosts are left to their launchers.
    """
    records = instance.get_run_records(dg.RunsFilter(statuses=UNFINISHED))
    lost = [record.dagster_run for record in records if _is_lost(record)]
    _end(instance, lost)
    return len(lost)


def _is_lost(record: dg.RunRecord) -> bool:
    """What has not named its process has none yet, or was killed before it could."""
    run, since = record.dagster_run, record.update_timestamp.replace(tzinfo=UTC)
    if process := run.tags.get(PROCESS):
        return is_gone(process)
    return run.status is dg.DagsterRunStatus.STARTED and since < datetime.now(UTC) - UNKNOWN_FOR


def end_dead_runs(instance: dg.DagsterInstance, home: Path) -> int:
    """Mark as failed the runs that no process is at work on. Call it holding the home, as then no command is.

    Raises:
        HomeBusy: a run is at work on it.
    """
    runs = instance.get_runs(dg.RunsFilter(statuses=UNFINISHED))
    with locked(home / UI_LOCK, wait=False) as without_ui:
        alive = [run for run in runs if _may_live(run, without_ui=without_ui)]
        if alive:
            raise HomeBusy(
                f"The UI has runs at work on {home} ({len(alive)}), which do what this command would; wait for them, "
                "or stop the UI."
            )
        _end(instance, runs)
    return len(runs)


def _may_live(run: dg.DagsterRun, *, without_ui: bool) -> bool:
    """A run that has not named its process yet is somebody's only while a UI runs."""
    process = run.tags.get(PROCESS)
    return not is_gone(process) if process else not without_ui


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
