"""The home's lock and its partitions."""

import multiprocessing
import os
import socket
import threading
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest

from assets.inputs.home import Home
from assets.inputs.partitions import MODELS_PARTITION
from assets.inputs.workspace import COMMAND_LOCK, Workspace
from harness.registry import Registry
from pipelines.errors import CommandError
from pipelines.instance import (
    UI_LOCK,
    end_dead_runs,
    end_lost_runs,
    exclusive,
    find_who_works,
    held_here,
    register_models,
    use_home,
)
from pipelines.processes import PROCESS, describe_process, is_gone
from pipelines.settings import Settings
from warehouse.errors import LakeInUse
from warehouse.files import locked
from warehouse.lake import lease


def _hold(home, held, release):
    with held_here(home):
        held.set()
        release.wait(30)


def test_second_command_is_told_who_holds_the_home(tmp_path):
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(tmp_path, held, release))
    holder.start()
    try:
        assert held.wait(30)
        with (
            pytest.raises(CommandError, match=rf"in use by another embedllm command \(process {holder.pid}\)"),
            held_here(tmp_path),
        ):
            pass
    finally:
        release.set()
        holder.join()
    with held_here(tmp_path):  # free again
        pass


def test_a_killed_command_leaves_the_home_free(tmp_path):
    context = multiprocessing.get_context("spawn")
    held, never = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(tmp_path, held, never))
    holder.start()
    assert held.wait(30)
    holder.kill()
    holder.join()
    with held_here(tmp_path):
        pass


def test_a_look_at_the_lock_is_waited_for(tmp_path):
    """As the UI takes it for a moment to see whether a command is at work."""
    looking = ExitStack()
    looking.enter_context(locked(tmp_path / COMMAND_LOCK))
    threading.Timer(0.2, looking.close).start()
    with held_here(tmp_path):
        pass


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch):
    for name, seconds in (("RENEWED", 0.2), ("LOOK", 0.1)):
        monkeypatch.setattr(lease, name, seconds)


@pytest.mark.usefixtures("impatient")
def test_a_command_elsewhere_holds_the_lake_that_homes_share(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    registry = Registry(folder=tmp_path, models=(), benchmarks=())
    one, other = (Workspace(tmp_path / name, registry, lake_address=str(tmp_path / "lake")) for name in ("one", "two"))
    with dg.DagsterInstance.ephemeral() as instance:
        with exclusive(one):
            with pytest.raises(LakeInUse, match=rf"is in use by `embedllm.*` on .* \(process {os.getpid()}, since"):
                exclusive(other).__enter__()
            assert "is at work on this lake, and does what is due" in (find_who_works(other, instance) or "")
        assert find_who_works(other, instance) is None
    with exclusive(other):  # free again
        pass
    assert "is held by `embedllm" in capsys.readouterr().err


def test_a_lake_in_the_home_needs_no_lease(tmp_path: Path):
    with exclusive(Home(tmp_path)):
        assert not (tmp_path / "lake").exists()


def test_partitions_follow_the_registry():
    with dg.DagsterInstance.ephemeral() as instance:
        register_models(instance, ["a", "org/b"])
        register_models(instance, ["org/b", "c"])
        assert sorted(instance.get_dynamic_partitions(MODELS_PARTITION)) == ["c", "org/b"]


ANOTHER_HOST = "elsewhere 1 1.00"
LONG_GONE = f"{socket.gethostname()} {2**22 + 1} 1.00"  # no process has such an id


def _start(instance: dg.DagsterInstance, process: str | None = None) -> str:
    tags = {PROCESS: process} if process else {}
    return instance.create_run_for_job(_nothing, tags=tags, status=dg.DagsterRunStatus.STARTED).run_id


def _failed(instance: dg.DagsterInstance) -> set[str]:
    return {run.run_id for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))}


def test_runs_whose_process_is_gone_are_ended():
    with dg.DagsterInstance.ephemeral() as instance:
        lost = _start(instance, LONG_GONE)
        _start(instance, describe_process())
        _start(instance, ANOTHER_HOST)  # its launcher knows
        _start(instance)  # it has not said yet
        assert end_lost_runs(instance) == 1
        assert _failed(instance) == {lost}


def test_a_process_with_the_id_of_one_that_is_gone_is_another():
    host, pid, started = describe_process().split()
    assert not is_gone(f"{host} {pid} {started}")
    assert is_gone(f"{host} {pid} 1.00")


def test_a_run_that_never_said_who_executes_it_is_ended_after_a_while(monkeypatch: pytest.MonkeyPatch):
    with dg.DagsterInstance.ephemeral() as instance:
        run = _start(instance)
        assert end_lost_runs(instance) == 0
        monkeypatch.setattr("pipelines.instance.UNKNOWN_FOR", timedelta(seconds=-1))
        assert end_lost_runs(instance) == 1
        assert _failed(instance) == {run}


@pytest.mark.parametrize(
    ("worker", "old", "is_ended"),
    [
        ("FAILED", False, True),
        ("RUNNING", True, False),
        ("UNKNOWN", False, False),
        ("UNKNOWN", True, True),
    ],
)
def test_a_run_that_its_launcher_could_not_start_is_ended(
    worker: str, old: bool, is_ended: bool, monkeypatch: pytest.MonkeyPatch
):
    """Dagster asks a launcher only of runs that have started."""
    health = SimpleNamespace(status=SimpleNamespace(value=worker), msg="dagster: not found")
    launcher = SimpleNamespace(supports_check_run_worker_health=True, check_run_worker_health=lambda _: health)
    monkeypatch.setattr(dg.DagsterInstance, "run_launcher", launcher)
    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.create_run_for_job(_nothing, status=dg.DagsterRunStatus.STARTING).run_id
        if old:
            monkeypatch.setattr("pipelines.instance.UNKNOWN_FOR", timedelta(seconds=-1))
        assert end_lost_runs(instance) == is_ended
        assert _failed(instance) == ({run} if is_ended else set())


def test_a_run_that_never_got_into_the_queue_is_ended_after_a_while(monkeypatch: pytest.MonkeyPatch):
    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.create_run_for_job(_nothing).run_id
        assert end_lost_runs(instance) == 0
        monkeypatch.setattr("pipelines.instance.UNKNOWN_FOR", timedelta(seconds=-1))
        assert end_lost_runs(instance) == 1
        assert _failed(instance) == {run}


def test_a_command_ends_the_runs_that_were_killed(tmp_path: Path):
    with dg.DagsterInstance.ephemeral() as instance:
        runs = {_start(instance, LONG_GONE), _start(instance)}
        assert end_dead_runs(instance, tmp_path) == 2
        assert _failed(instance) == runs


def test_a_command_leaves_alone_what_waits_for_another_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    launcher = SimpleNamespace(supports_check_run_worker_health=True)
    monkeypatch.setattr(dg.DagsterInstance, "run_launcher", launcher)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.create_run_for_job(_nothing, status=dg.DagsterRunStatus.STARTING)
        with pytest.raises(CommandError, match="has runs at work"):
            end_dead_runs(instance, tmp_path)
        assert _failed(instance) == set()


@pytest.mark.parametrize("process", [None, describe_process()], ids=["unknown", "this"])
def test_runs_of_a_ui_at_work_are_not_disturbed(tmp_path: Path, process: str | None):
    with dg.DagsterInstance.ephemeral() as instance, locked(tmp_path / UI_LOCK):
        _start(instance, process)
        with pytest.raises(CommandError, match=r"The UI has runs at work on .* \(1\)"):
            end_dead_runs(instance, tmp_path)
        assert _failed(instance) == set()


def test_only_one_works_by_itself_on_a_home(tmp_path: Path):
    workspace = Workspace(tmp_path, Registry(folder=tmp_path, models=(), benchmarks=()))
    with dg.DagsterInstance.ephemeral() as another:  # of plain `dagster dev`, which knows no DAGSTER_HOME
        assert find_who_works(workspace, another) is None
        with locked(tmp_path / UI_LOCK):
            assert find_who_works(workspace, another) == "`embedllm ui` runs on this home, and does what is due."
        with locked(tmp_path / COMMAND_LOCK):
            assert "An embedllm command is at work" in (find_who_works(workspace, another) or "")


@dg.job
def _nothing(): ...


def test_home_carries_its_dagster_configuration(tmp_path, monkeypatch):
    monkeypatch.setenv("EMBEDLLM_HOME", str(tmp_path))
    monkeypatch.setenv("DAGSTER_HOME", "")
    folder = use_home(Settings())
    with dg.DagsterInstance.get() as instance:
        assert instance.root_directory == str(folder)
        assert instance.get_settings("concurrency")["pools"] == {"granularity": "run", "default_limit": 1}


def test_one_model_is_evaluated_at_a_time_unless_the_user_says_otherwise(tmp_path, monkeypatch):
    monkeypatch.setenv("EMBEDLLM_HOME", str(tmp_path))
    monkeypatch.setenv("DAGSTER_HOME", "")
    use_home(Settings())
    with dg.DagsterInstance.get() as instance:
        limits = {pool.name: pool.limit for pool in instance.event_log_storage.get_pool_limits()}
        assert limits == {"evaluation": 1, "warehouse": 1}
        instance.event_log_storage.set_concurrency_slots("evaluation", 4)
    use_home(Settings())
    with dg.DagsterInstance.get() as instance:
        limits = {pool.name: pool.limit for pool in instance.event_log_storage.get_pool_limits()}
        assert limits == {"evaluation": 4, "warehouse": 1}


def _open_home(home, start):
    start.wait(60)
    use_home(Settings(home=home))
    with dg.DagsterInstance.get() as instance:
        instance.get_runs_count()


def test_commands_that_start_together_on_a_new_home_do_not_spoil_its_databases(tmp_path):
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(3)
    openers = [context.Process(target=_open_home, args=(tmp_path, start)) for _ in range(3)]
    for opener in openers:
        opener.start()
    for opener in openers:
        opener.join(120)
    assert [opener.exitcode for opener in openers] == [0, 0, 0]
