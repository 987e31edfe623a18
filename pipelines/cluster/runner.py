"""Executes the plan on a cluster: each request is a run in Dagster's queue, which this process only follows."""

from __future__ import annotations

import logging
import textwrap
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeVar

import dagster as dg

from assets.collection.responses import AGAIN
from assets.inputs.workspace import Progress, Workspace
from pipelines.automation.plan import ATTEMPTS, PLANNED, WAREHOUSE, Request
from pipelines.console import Console
from pipelines.errors import CommandError
from pipelines.instance import LAUNCHED_BY, LEFT, UNFINISHED
from pipelines.jobs import EVALUATE, REFRESH
from pipelines.runner import Outcome, tell_failure
from pipelines.settings import Settings

from .capacity import find_shortage
from .server import Server, ServerAway, ServerFailed

__all__ = ["ClusterRunner", "end_runs"]

T = TypeVar("T")
LOOK = 1.0  # seconds between two looks at the runs
PATIENCE = 15 * 60.0  # seconds for which the database of runs or the web server may be away
SHORT = 160  # characters of a message of Dagster's or the launcher's
PARTITION = "dagster/partition"
CUT_SHORT = {"OperationalError", "InterfaceError", "DagsterPostgresException", "DagsterExecutionInterruptedError"}
"""Errors of a step that could not tell Dagster how far it is, or whose node was taken away."""
SHOWN = {
    dg.DagsterEventType.STEP_START,
    dg.DagsterEventType.ASSET_MATERIALIZATION,
    dg.DagsterEventType.ASSET_CHECK_EVALUATION,
    dg.DagsterEventType.STEP_SUCCESS,
    dg.DagsterEventType.STEP_FAILURE,
}


@dataclass(frozen=True)
class _Submitted:
    """A run that was put into the queue from here."""

    job: str
    request: Request
    tags: Mapping[str, str]
    attempt: int = 1


class ClusterRunner:
    """Follows all runs of the instance: those that it has put into the queue, and those that were there.

    Raises:
        CommandError: the lake or the registry lies in this home, where no other machine finds it.
        ServerAway: the web server does not answer.
    """

    def __init__(
        self, settings: Settings, workspace: Workspace, instance: dg.DagsterInstance, console: Console
    ) -> None:
        if not workspace.lake_address:
            raise CommandError(
                "Runs are started on other machines, and EMBEDLLM_LAKE is not set: their answers would stay there. Set "
                "it, here and on all nodes, to an address that all of them reach, e.g. s3://bucket/lake."
            )
        if workspace.registry.folder.is_relative_to(workspace.home):
            raise CommandError(
                f"Runs are started on other machines, which do not find {workspace.registry.folder}: move it to a path "
                "that all of them have, outside of EMBEDLLM_HOME, and set EMBEDLLM_REGISTRY to that."
            )
        self._instance = instance
        self._console = console
        self._server = Server(settings.webserver)
        self._server.check()
        self._submitted: dict[str, _Submitted] = {}  # by run; those whose end was not seen yet
        self._reached = time.monotonic()  # when the database last answered
        self._outcomes: dict[str, Outcome] = {}  # by model; those that were not returned yet, should a look fail
        logging.getLogger().addFilter(lambda record: "failed database connection" not in str(record.msg))

    def evaluate(self, requests: Sequence[Request], *, again: Collection[str]) -> list[Outcome]:
        for request in requests:
            self._submit(EVALUATE, request, {AGAIN: "true"} if request.model in again else {})
        asked = {run.tags[PARTITION] for run in self._unfinished() if PARTITION in run.tags} | self._outcomes.keys()
        if asked:
            self._console.progress(len(self._outcomes), len(asked), "models evaluated")
        for run in self._follow():
            model = run.tags.get(PARTITION)
            if model and not self._is_still_due(run):
                self._outcomes[model] = Outcome(model, run.is_success)
                asked.add(model)
                self._console.progress(len(self._outcomes), len(asked), "models evaluated")
        outcomes, self._outcomes = self._outcomes, {}
        return list(outcomes.values())

    def refresh(self, request: Request) -> None:
        self._submit(REFRESH, request)
        failed = None
        for run in self._follow():
            if PARTITION not in run.tags and not run.is_success and not self._is_still_due(run):
                failed = run
        if failed is None:
            return
        if WAREHOUSE in request.reasons and len(request.reasons) > 1:  # what was made gets published all the same
            self._submit(REFRESH, replace(request, reasons={WAREHOUSE: request.reasons[WAREHOUSE]}))
            for _ in self._follow():
                pass
        raise CommandError(self._tell_failure(failed))

    def is_busy(self) -> bool:
        return bool(self._unfinished())

    def attempt(self, step: Callable[[], T]) -> T:
        """Take the step; again, for some minutes, if the database of runs or the web server is away meanwhile. Runs
        that were started go on, and the step follows them where it finds them."""
        self._reached, said = time.monotonic(), 0.0
        while True:
            try:
                return step()
            except (*_errors_of_database(), ServerAway) as error:
                if time.monotonic() - self._reached > PATIENCE:
                    raise
                if said != self._reached:  # once each time
                    what = str(error) if isinstance(error, ServerAway) else "The database of runs is away."
                    self._console.warn(f"{what} Runs go on meanwhile, and are followed again once it is back.")
                    said = self._reached
            time.sleep(LOOK)

    def _submit(self, job: str, request: Request, tags: Mapping[str, str] | None = None, attempt: int = 1) -> None:
        tags = {**request.tags, **(tags or {}), LAUNCHED_BY: "cli"}
        if request.model:
            tags[PARTITION] = request.model
            if shortage := find_shortage(tags):
                self._console.warn(
                    f"No node of the cluster has {shortage}: the run of {request.model} waits until one does. What a "
                    "model needs stands in its entry (resources), or follows from its size."
                )
        try:
            run = self._server.submit(job, request.assets, tags)
        except ServerFailed:
            created = dg.RunsFilter(tags={PLANNED: request.digest}, statuses=[dg.DagsterRunStatus.NOT_STARTED])
            for left in self._instance.get_runs(created):
                self._instance.report_run_failed(left, LEFT)
            raise
        self._submitted[run] = _Submitted(job, request, tags, attempt)

    def _unfinished(self) -> Sequence[dg.DagsterRun]:
        runs = self._instance.get_runs(dg.RunsFilter(statuses=UNFINISHED))
        self._reached = time.monotonic()
        return runs

    def _follow(self) -> Iterator[dg.DagsterRun]:
        """Yield each run as it ends, until none is queued or at work; shows the assets that are made meanwhile."""
        following: dict[str, str | None] = dict.fromkeys(self._submitted)  # by run, up to where its events were shown
        while True:
            unfinished = {run.run_id: run for run in self._unfinished()}
            following |= {run_id: following.get(run_id) for run_id in (*unfinished, *self._submitted)}
            for run_id in list(following):
                run = unfinished.get(run_id) or self._instance.get_run_by_id(run_id)
                if run and PARTITION not in run.tags:
                    following[run_id] = self._show(run_id, following[run_id])
                if run_id not in unfinished:
                    del following[run_id]
                    if run:
                        yield run
                    self._submitted.pop(run_id, None)
            if not following and not self._submitted:
                return
            time.sleep(LOOK)

    def _show(self, run_id: str, cursor: str | None) -> str | None:
        found = self._instance.get_records_for_run(run_id, cursor, SHOWN)
        for record in found.records:
            if event := record.event_log_entry.dagster_event:
                self._console.show_stage(event, record.event_log_entry.timestamp)
        return found.cursor

    def _is_still_due(self, run: dg.DagsterRun) -> bool:
        """Whether a run was lost, with its node or before it could tell how it ended. If it is one of ours, it is put
        into the queue once more; others are left to the plan."""
        submitted = self._submitted.pop(run.run_id, None)
        if not self._was_lost(run) or (submitted and submitted.attempt == ATTEMPTS):
            return False
        what = f"{run.tags.get(PARTITION, 'a refresh')} ({run.run_id[:8]})"
        self._console.warn(f"The run of {what} was lost, and is started again. {self._tell_loss(run)}")
        if submitted:
            self._submit(submitted.job, submitted.request, submitted.tags, submitted.attempt + 1)
        return True

    def _was_lost(self, run: dg.DagsterRun) -> bool:
        if run.status is not dg.DagsterRunStatus.FAILURE:
            return False
        failure = self._failure(run)
        error = failure.step_failure_data.error if failure else None
        kinds = []
        while error:
            kinds.append(error.cls_name)
            error = error.cause
        return failure is None or not CUT_SHORT.isdisjoint(kinds)

    def _failure(self, run: dg.DagsterRun) -> dg.DagsterEvent | None:
        found = self._instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
        return next((record.event_log_entry.dagster_event for record in found.records), None)

    def _tell_loss(self, run: dg.DagsterRun) -> str:
        found = self._instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
        events = [record.event_log_entry.dagster_event for record in found.records]
        return textwrap.shorten(events[0].message or "", SHORT) if events and events[0] else ""

    def _tell_failure(self, run: dg.DagsterRun) -> str:
        failure = self._failure(run)
        if failure:
            return tell_failure(failure)
        ended = "was ended by somebody" if run.status is dg.DagsterRunStatus.CANCELED else "was lost again and again"
        return f"The run {run.run_id} {ended}; the web server's page of runs says more."


def end_runs(instance: dg.DagsterInstance, progress: Progress) -> int:
    """End all runs that are queued or at work; return how many there were."""
    runs = instance.get_runs(dg.RunsFilter(statuses=UNFINISHED))
    queued = dg.DagsterRunStatus.QUEUED
    queued_first = sorted(runs, key=lambda run: run.status is not queued)  # else some of these would start meanwhile
    for done, run in enumerate(queued_first, start=1):
        instance.run_coordinator.cancel_run(run.run_id)
        if run.status is dg.DagsterRunStatus.STARTING:  # it has no process yet that would say how it ended
            instance.report_run_canceled(run)
        progress(done, len(runs), "runs ended")
    return len(runs)


def _errors_of_database() -> list[type[Exception]]:
    from sqlalchemy.exc import DBAPIError

    errors: list[type[Exception]] = [DBAPIError]
    with suppress(ImportError):
        from dagster_postgres.utils import DagsterPostgresException  # pyright: ignore[reportMissingImports]

        errors.append(DagsterPostgresException)
    return errors
