"""The Dagster instance of a home: where runs and events are kept, who works on it, and which models are partitions."""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from assets.collection.zoo import fetch_zoo
from assets.inputs.home import Home
from assets.inputs.partitions import MODELS_PARTITION
from assets.inputs.workspace import COMMAND_LOCK, Workspace
from pipelines.console import as_typed
from pipelines.errors import CommandError
from pipelines.settings import Settings
from warehouse.files import locked, replacing

from .processes import PROCESS, describe_process, is_gone

if TYPE_CHECKING:
    from warehouse.lake import Leases

LAUNCHED_BY = "embedllm/launched-by"
LOCATION = "pipelines.definitions"
"""Of the definitions, in Dagster's words."""
REPOSITORY = "__repository__"
"""As Dagster calls what has no other name."""
UI_LOCK = ".ui.lock"
"""In the home; held while `embedllm ui` runs."""
ADDRESS = "EMBEDLLM_UI"
"""Environment variable of a running UI: host and port of its web server."""
KILLED = "The process that ran this was killed."
LEFT = "It never got into the queue: what created it failed, or was killed."
POOLS = {"evaluation": None, "warehouse": 1}
"""How many runs of each may be at work at once; None: the default of dagster.yaml."""
MOMENT = 1.0  # seconds
UNKNOWN_FOR = timedelta(minutes=2)  # so long a run may take into the queue, or from its start to naming its process
UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def use_home(settings: Settings) -> Path:
    """Point Dagster, and every process started from here, at this home; returns DAGSTER_HOME."""
    folder = settings.home / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["DAGSTER_HOME"] = str(folder)
    os.environ["EMBEDLLM_HOME"] = str(settings.home)
    if settings.registry:
        os.environ["EMBEDLLM_REGISTRY"] = str(settings.registry)
    target, wanted = folder / "dagster.yaml", settings.dagster_yaml.read_text(encoding="utf-8")
    with locked(folder / ".lock"):  # two processes that make Dagster's databases at once spoil them
        if not target.exists() or target.read_text(encoding="utf-8") != wanted:
            with replacing(target) as draft:
                draft.write_text(wanted, encoding="utf-8")
        with dg.DagsterInstance.get() as instance:
            limit_pools(instance)
    return folder


def limit_pools(instance: dg.DagsterInstance) -> None:
    """Give the pools their limits, before the first run: Dagster gives a pool its default only after it has let runs of
    it start. A limit that is there stays."""
    from sqlalchemy.exc import DBAPIError

    events = instance.event_log_storage
    for pool in POOLS.keys() - {pool.name for pool in events.get_pool_limits()}:
        with suppress(DBAPIError):  # another sensor has just done it; what else is wrong shows at once
            if slots := POOLS[pool]:
                events.set_concurrency_slots(pool, slots)
            else:
                events.initialize_concurrency_limit_to_default(pool)


def runs_elsewhere(instance: dg.DagsterInstance) -> bool:
    """Return whether a launcher is configured that gives runs to other machines or containers, and can tell how they
    are there; that of one machine cannot."""
    return instance.run_launcher.supports_check_run_worker_health


@contextmanager
def exclusive(home: Home) -> Iterator[None]:
    """Hold the home for one command; and its lake, where other homes may share it.

    Raises:
        CommandError: another process holds the home.
        LakeInUse: a command elsewhere holds the lake.
    """
    from warehouse.lake import Lease

    with held_here(home.home):
        if not home.lake_address:
            yield
            return
        mine = Lease.starting(describe_process(), " ".join(["embedllm", *sys.argv[1:2]]))
        with _leases(home.lake_address).hold(mine, lambda news: sys.stderr.write(f"embedllm: {as_typed(news)}\n")):
            yield


@lru_cache(maxsize=8)
def _leases(lake: str) -> Leases:
    from warehouse.lake import Leases

    return Leases(lake, is_gone)  # the same one for the whole process, as it remembers since when nothing was heard


@contextmanager
def held_here(home: Path) -> Iterator[None]:
    """Hold the home on this machine; the lock goes with the process, however it ends.

    Raises:
        CommandError: another process holds it.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (home / COMMAND_LOCK).open("a+") as lock:
        deadline = time.monotonic() + MOMENT
        while True:  # the UI takes the lock now and then, to see whether a command has it
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() <= deadline:
                    time.sleep(MOMENT / 20)
                    continue
                lock.seek(0)
                raise CommandError(
                    f"{home} is in use by another embedllm command (process {lock.read().strip() or 'unknown'}); "
                    "wait for it to end, or set EMBEDLLM_HOME to another folder."
                ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def find_who_works(workspace: Workspace, instance: dg.DagsterInstance) -> str | None:
    """Return a sentence on who else does what would be done here by itself; None where nobody does."""
    with locked(workspace.command_lock, wait=False) as is_free:
        if not is_free:
            return "An embedllm command is at work on this home, and does what is due."
    if workspace.lake_address and (holder := _leases(workspace.lake_address).find_holder()):
        return f"{holder} is at work on this lake, and does what is due."
    if Path(instance.root_directory) == workspace.home / "dagster":
        return None
    with locked(workspace.home / UI_LOCK, wait=False) as is_free:
        return None if is_free else "`embedllm ui` runs on this home, and does what is due."


def end_lost_runs(instance: dg.DagsterInstance) -> int:
    """Mark as failed the runs whose process is gone, so that what they were to do is done again; return how many.

    Dagster's default launcher cannot tell; those of other machines can, but Dagster asks them only of runs that have
    started.
    """
    ended = 0
    for record in instance.get_run_records(dg.RunsFilter(statuses=UNFINISHED)):
        run, since = record.dagster_run, record.update_timestamp.replace(tzinfo=UTC)
        if reason := _find_loss(run, instance, is_old=since < datetime.now(UTC) - UNKNOWN_FOR):
            instance.report_run_failed(run, reason)
            ended += 1
    return ended


def _find_loss(run: dg.DagsterRun, instance: dg.DagsterInstance, *, is_old: bool) -> str | None:
    """Return why nobody executes the run; None where somebody does, or nobody knows."""
    if process := run.tags.get(PROCESS):
        return KILLED if is_gone(process) else None
    if run.status is dg.DagsterRunStatus.STARTED:  # it was killed before it could name its process
        return KILLED if is_old else None
    if run.status is dg.DagsterRunStatus.NOT_STARTED:  # what created it failed before it was in the queue
        return LEFT if is_old else None
    if run.status is not dg.DagsterRunStatus.STARTING or not runs_elsewhere(instance):
        return None
    health = instance.run_launcher.check_run_worker_health(run)
    status = health.status.value
    is_lost = status == "FAILED" or (status in ("NOT_FOUND", "UNKNOWN") and is_old)
    return (health.msg or KILLED) if is_lost else None


def end_dead_runs(instance: dg.DagsterInstance, home: Path) -> int:
    """Mark as failed the runs that no process is at work on. Call it holding the home, as then no command is.

    Raises:
        CommandError: a run is at work on it.
    """
    runs = instance.get_runs(dg.RunsFilter(statuses=UNFINISHED))
    with locked(home / UI_LOCK, wait=False) as without_ui:
        # A run that has not named its process yet is somebody's while a UI runs, or where others execute it.
        waits = not without_ui or runs_elsewhere(instance)
        alive = [run for run in runs if (not is_gone(run.tags[PROCESS]) if PROCESS in run.tags else waits)]
        if alive:
            raise CommandError(
                f"The UI has runs at work on {home} ({len(alive)}), which do what this command would; wait for them, "
                "or stop the UI."
            )
        for run in runs:
            instance.report_run_failed(run, KILLED)
    return len(runs)


def follow_move(workspace: Workspace) -> None:
    """Make what names files of the home by their paths name them where they are now, after a home was moved; a home
    that shares its lake gets the demo's models, if they were trained elsewhere."""
    from harness.zoo import update_tasks

    fetch_zoo(workspace)
    if workspace.registry.made_by == "zoo":
        update_tasks(workspace.zoo, seed=workspace.seed)


def register_models(instance: dg.DagsterInstance, models: Iterable[str]) -> None:
    """Make the partitions equal to the registry's models; answers of a model no longer there stay in the lake."""
    new, gone = compare_partitions(instance, models)
    instance.add_dynamic_partitions(MODELS_PARTITION, new)
    for name in gone:
        instance.delete_dynamic_partition(MODELS_PARTITION, name)


def compare_partitions(instance: dg.DagsterInstance, models: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the models that are no partitions yet, and the partitions that are none of these models."""
    wanted, known = list(models), set(instance.get_dynamic_partitions(MODELS_PARTITION))
    return [name for name in wanted if name not in known], sorted(known.difference(wanted))


def reload_definitions() -> str:
    """Have the running UI load the definitions again; return a sentence on how that went."""
    from dagster_graphql import DagsterGraphQLClient, DagsterGraphQLClientError

    host, _, port = os.environ.get(ADDRESS, "127.0.0.1:3000").rpartition(":")
    try:
        info = DagsterGraphQLClient(host, port_number=int(port)).reload_repository_location(LOCATION)
    except DagsterGraphQLClientError as error:
        return f"The benchmarks of the registry have changed: press *Reload definitions* ({error})."
    return f"The benchmarks of the registry have changed: definitions are loaded again ({info.status.value})."
