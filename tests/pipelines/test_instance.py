"""The home's lock and its partitions."""

import multiprocessing
import threading
from contextlib import ExitStack
from pathlib import Path

import dagster as dg
import pytest

from assets.partitions import MODELS_PARTITION
from assets.workspace import COMMAND_LOCK
from pipelines.instance import (
    LAUNCHED_BY,
    UI_LOCK,
    HomeBusy,
    end_dead_runs,
    end_dead_runs_of_ui,
    exclusive,
    register_models,
    use_home,
)
from pipelines.settings import Settings
from warehouse.files import locked


def _hold(home, held, release):
    with exclusive(home):
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
            pytest.raises(HomeBusy, match=rf"in use by another embedllm command \(process {holder.pid}\)"),
            exclusive(tmp_path),
        ):
            pass
    finally:
        release.set()
        holder.join()
    with exclusive(tmp_path):  # free again
        pass


def test_a_killed_command_leaves_the_home_free(tmp_path):
    context = multiprocessing.get_context("spawn")
    held, never = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(tmp_path, held, never))
    holder.start()
    assert held.wait(30)
    holder.kill()
    holder.join()
    with exclusive(tmp_path):
        pass


def test_a_look_at_the_lock_is_waited_for(tmp_path):
    """As the UI takes it for a moment to see whether a command is at work."""
    looking = ExitStack()
    looking.enter_context(locked(tmp_path / COMMAND_LOCK))
    threading.Timer(0.2, looking.close).start()
    with exclusive(tmp_path):
        pass


def test_partitions_follow_the_registry():
    with dg.DagsterInstance.ephemeral() as instance:
        register_models(instance, ["a", "org/b"])
        register_models(instance, ["org/b", "c"])
        assert sorted(instance.get_dynamic_partitions(MODELS_PARTITION)) == ["c", "org/b"]


def test_runs_of_killed_processes_are_ended(tmp_path: Path):
    with dg.DagsterInstance.ephemeral() as instance:
        runs = [
            instance.create_run_for_job(_nothing, tags=tags, status=dg.DagsterRunStatus.STARTED)
            for tags in ({LAUNCHED_BY: "cli"}, {})
        ]
        assert end_dead_runs(instance, tmp_path) == 2
        assert {instance.get_run_by_id(run.run_id).status for run in runs} == {dg.DagsterRunStatus.FAILURE}


def test_a_new_ui_ends_the_runs_of_the_one_before_and_no_commands(tmp_path: Path):
    with dg.DagsterInstance.ephemeral() as instance:
        of_command, of_ui = (
            instance.create_run_for_job(_nothing, tags=tags, status=dg.DagsterRunStatus.STARTED)
            for tags in ({LAUNCHED_BY: "cli"}, {})
        )
        end_dead_runs_of_ui(instance)
        assert instance.get_run_by_id(of_ui.run_id).status == dg.DagsterRunStatus.FAILURE
        assert instance.get_run_by_id(of_command.run_id).status == dg.DagsterRunStatus.STARTED


def test_runs_of_a_ui_at_work_are_not_disturbed(tmp_path: Path):
    with dg.DagsterInstance.ephemeral() as instance, locked(tmp_path / UI_LOCK):
        run = instance.create_run_for_job(_nothing, status=dg.DagsterRunStatus.STARTED)
        with pytest.raises(HomeBusy, match="The UI has 1 runs at work"):
            end_dead_runs(instance, tmp_path)
        assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.STARTED


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
