"""The Dagster instance of a home: where runs and events are kept, and which models are its partitions."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from assets.partitions import MODELS_PARTITION

from .settings import PROJECT, Settings

LAUNCHED_BY = "embedllm/launched-by"
LOCATION = "pipelines.definitions"
CLI_TAGS = {
    LAUNCHED_BY: "cli",
    ".dagster/repository": f"__repository__@{LOCATION}",  # by this the UI finds a job's runs
}
UNFINISHED = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


class HomeBusy(RuntimeError):
    """Another `embedllm` command is at work on this home."""


def use_home(settings: Settings) -> Path:
    """Point Dagster, and every process started from here, at this home; returns DAGSTER_HOME."""
    folder = settings.home / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    target, wanted = folder / "dagster.yaml", (PROJECT / "dagster.yaml").read_text(encoding="utf-8")
    if not target.exists() or target.read_text(encoding="utf-8") != wanted:
        draft = target.with_suffix(f".{os.getpid()}.tmp")
        draft.write_text(wanted, encoding="utf-8")
        draft.replace(target)
    os.environ["DAGSTER_HOME"] = str(folder)
    os.environ["EMBEDLLM_HOME"] = str(settings.home)
    if settings.registry:
        os.environ["EMBEDLLM_REGISTRY"] = str(settings.registry)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two processes that make Dagster's databases at once spoil them
        dg.DagsterInstance.get().dispose()
    return folder


@contextmanager
def exclusive(home: Path) -> Iterator[None]:
    """Hold the home for one command; the lock goes with the process, however it ends.

    Raises:
        HomeBusy: another process holds it.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (home / ".lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise HomeBusy(
                f"{home} is in use by another embedllm command (process {lock.read().strip() or 'unknown'}); "
                "wait for it to end, or set EMBEDLLM_HOME to another folder."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def end_dead_runs(instance: dg.DagsterInstance) -> int:
    """Mark as failed the runs whose command was killed. Call it holding the home: no live command has any then."""
    unfinished = instance.get_runs(dg.RunsFilter(statuses=UNFINISHED, tags={LAUNCHED_BY: "cli"}))
    dead = [run for run in unfinished if run.parent_run_id is None]  # the UI repeats a run with its tags
    for run in dead:
        instance.report_run_failed(run, "The process that ran this was killed.")
    return len(dead)


def register_models(instance: dg.DagsterInstance, names: Iterable[str]) -> None:
    """Make the partitions equal to the registry's models; answers of a model no longer there stay in the lake."""
    wanted, known = list(names), set(instance.get_dynamic_partitions(MODELS_PARTITION))
    instance.add_dynamic_partitions(MODELS_PARTITION, [name for name in wanted if name not in known])
    for name in known - set(wanted):
        instance.delete_dynamic_partition(MODELS_PARTITION, name)
