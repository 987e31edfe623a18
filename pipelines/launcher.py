"""Starts runs as Dagster does by default, and knows whether the process of a run is still there.

Dagster's monitoring daemon asks it; a run whose process was killed, or whose server was, is failed within seconds, so
that what it was to do is done again. Named in dagster.yaml.
"""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import grpc
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.types import GetCurrentRunsResult
from dagster._serdes import deserialize_value

from assets.workspace import COMMAND_LOCK
from warehouse.files import locked

from .instance import KILLED


class LocalRunLauncher(DefaultRunLauncher):
    """Runs are processes of the code server that started them, or of an `embedllm` command."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        server = self._get_grpc_client_for_termination(run.run_id)
        alive = _is_running(server, run.run_id) if server else self._command_is_at_work()
        return CheckRunHealthResult(WorkerStatus.RUNNING if alive else WorkerStatus.FAILED, "its process was killed")

    def _command_is_at_work(self) -> bool:
        home = Path(self._instance.root_directory).parent
        with locked(home / COMMAND_LOCK, wait=False) as is_free:
            return not is_free


def end_lost_runs(instance: dg.DagsterInstance) -> None:
    """Mark as failed what a daemon that has ended was about to hand to a process: no process knows of it."""
    launcher = instance.run_launcher
    if not isinstance(launcher, LocalRunLauncher):  # somebody's own, named in dagster.yaml
        return
    for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTING])):
        if launcher.check_run_worker_health(run).status is WorkerStatus.FAILED:
            instance.report_run_failed(run, KILLED)


def _is_running(server: DagsterGrpcClient, run: str) -> bool:
    """False where the server does not know the run, or is gone; one that is only slow counts as running it."""
    try:
        found = deserialize_value(server.get_current_runs(), GetCurrentRunsResult)
    except DagsterUserCodeUnreachableError as error:
        cause = error.__cause__
        return not (isinstance(cause, grpc.RpcError) and cause.code() is grpc.StatusCode.UNAVAILABLE)
    return run in found.current_runs
