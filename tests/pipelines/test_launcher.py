"""Which runs are dead: those whose server does not know them or is gone, and those of commands that are over."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import grpc
import pytest
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.types import GetCurrentRunsResult
from dagster._serdes import serialize_value

from assets.workspace import COMMAND_LOCK
from pipelines.instance import use_home
from pipelines.launcher import end_lost_runs
from pipelines.settings import Settings
from warehouse.files import locked

SERVER = {GRPC_INFO_TAG: '{"host": "localhost", "socket": "/nowhere"}'}


@dg.job
def _nothing(): ...


@pytest.fixture
def status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., WorkerStatus]:
    """Of a run that has started, as Dagster's monitoring is told."""
    monkeypatch.setenv("EMBEDLLM_HOME", str(tmp_path))
    monkeypatch.setenv("DAGSTER_HOME", "")
    use_home(Settings())

    def ask(tags: dict[str, str], answer: Callable[[str], Any] | None = None) -> WorkerStatus:
        with dg.DagsterInstance.get() as instance:
            run = instance.create_run_for_job(_nothing, tags=tags, status=dg.DagsterRunStatus.STARTED)
            if answer:
                monkeypatch.setattr(DagsterGrpcClient, "get_current_runs", lambda _: answer(run.run_id))
            assert instance.run_launcher.supports_check_run_worker_health
            return instance.run_launcher.check_run_worker_health(run).status

    return ask


def _running(*runs: str) -> str:
    return serialize_value(GetCurrentRunsResult(current_runs=list(runs), serializable_error_info=None))


def _fails(code: grpc.StatusCode) -> Any:
    cause = grpc.RpcError()
    cause.code = lambda: code  # type: ignore[attr-defined]
    raise DagsterUserCodeUnreachableError("no answer") from cause


def test_a_run_that_its_server_knows_is_alive(status: Callable[..., WorkerStatus]) -> None:
    assert status(SERVER, lambda run: _running("another", run)) is WorkerStatus.RUNNING


def test_a_run_that_its_server_does_not_know_is_dead(status: Callable[..., WorkerStatus]) -> None:
    assert status(SERVER, lambda run: _running("another")) is WorkerStatus.FAILED


def test_a_run_whose_server_is_gone_is_dead(status: Callable[..., WorkerStatus]) -> None:
    assert status(SERVER) is WorkerStatus.FAILED  # nobody listens there


def test_a_run_whose_server_is_only_slow_is_alive(status: Callable[..., WorkerStatus]) -> None:
    assert status(SERVER, lambda run: _fails(grpc.StatusCode.DEADLINE_EXCEEDED)) is WorkerStatus.RUNNING


def test_a_run_of_a_command_lives_as_long_as_the_command(status: Callable[..., WorkerStatus], tmp_path: Path) -> None:
    with locked(tmp_path / COMMAND_LOCK):
        assert status({}) is WorkerStatus.RUNNING
    assert status({}) is WorkerStatus.FAILED


def test_a_run_that_was_never_handed_over_is_ended(
    status: Callable[..., WorkerStatus], monkeypatch: pytest.MonkeyPatch
) -> None:
    with dg.DagsterInstance.get() as instance:
        known, lost = (
            instance.create_run_for_job(_nothing, tags=SERVER, status=dg.DagsterRunStatus.STARTING) for _ in range(2)
        )
        monkeypatch.setattr(DagsterGrpcClient, "get_current_runs", lambda _: _running(known.run_id))
        end_lost_runs(instance)
        ended = [run.run_id for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))]
    assert ended == [lost.run_id]
