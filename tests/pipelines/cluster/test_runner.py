"""Following the runs of a cluster: which are started again, and what a command says of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy.exc import OperationalError

from assets.inputs.partitions import responses_key
from assets.inputs.workspace import Workspace
from harness.registry import Registry
from pipelines.automation.plan import WAREHOUSE, Request
from pipelines.cluster import runner as cluster
from pipelines.cluster.runner import ClusterRunner
from pipelines.console import Console
from pipelines.errors import CommandError
from pipelines.runner import Outcome
from pipelines.settings import Settings

EVALUATION = Request({responses_key("sums"): "sums: new"}, "d1", "org/a")
REFRESH = Request({dg.AssetKey("coverage"): "never made", WAREHOUSE: "never made"}, "d2")


@dg.op
def work(context: dg.OpExecutionContext) -> None:
    if context.run.tags.get("how") == "fails":
        raise CommandError("there is no such model")


@dg.job
def some_job() -> None:
    work()


@dataclass
class FakeServer:
    """Has each run end at once, as told: succeeds, fails, is lost, is canceled, or goes on."""

    instance: dg.DagsterInstance
    ends: list[str]
    asked: list[Mapping[str, str]] = field(default_factory=list)

    def check(self) -> None:
        pass

    def submit(self, job: str, assets: Sequence[dg.AssetKey], tags: Mapping[str, str]) -> str:
        self.asked.append(tags)
        how = self.ends.pop(0)
        if how in ("succeeds", "fails"):
            done = some_job.execute_in_process(instance=self.instance, tags={**tags, "how": how}, raise_on_error=False)
            return done.run_id
        run = self.instance.create_run_for_job(some_job, tags=dict(tags))
        if how == "is lost":
            self.instance.report_run_failed(run, "Its node is gone.")
        elif how == "is canceled":
            self.instance.report_run_canceled(run)
        return run.run_id


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def runner_of(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[ClusterRunner, FakeServer]]:
    """A runner whose runs end as told, and what it was asked."""

    def make(*ends: str) -> tuple[ClusterRunner, FakeServer]:
        server = FakeServer(instance, [*ends])
        monkeypatch.setattr(cluster, "Server", lambda _: server)
        monkeypatch.setattr(cluster, "LOOK", 0)
        return ClusterRunner(Settings(home=tmp_path), share(tmp_path), instance, Console()), server

    return make


def test_a_run_that_was_lost_is_started_again(runner_of: Callable[..., Any], capfd: pytest.CaptureFixture[str]) -> None:
    runner, server = runner_of("is lost", "succeeds")
    assert runner.evaluate([EVALUATION], again={"org/a"}) == [Outcome("org/a", succeeded=True)]
    first, second = server.asked
    assert first == second
    assert {name: first[name] for name in ("embedllm/reason", "embedllm/planned", "dagster/partition")} == {
        "embedllm/reason": "sums: new",
        "embedllm/planned": "d1",
        "dagster/partition": "org/a",
    }
    assert first["embedllm/again"] == "true"
    assert "of org/a" in (said := capfd.readouterr().err)
    assert "was lost, and is started again. Its node is gone." in said


@pytest.mark.parametrize("how", ["fails", "is canceled"])
def test_a_run_that_failed_or_was_ended_is_not_started_again(runner_of: Callable[..., Any], how: str) -> None:
    runner, server = runner_of(how)
    assert runner.evaluate([EVALUATION], again=()) == [Outcome("org/a", succeeded=False)]
    assert len(server.asked) == 1


def test_a_run_that_is_always_lost_is_given_up(runner_of: Callable[..., Any]) -> None:
    runner, server = runner_of(*["is lost"] * 5)
    assert runner.evaluate([EVALUATION], again=()) == [Outcome("org/a", succeeded=False)]
    assert server.ends == []


def test_a_run_of_somebody_else_is_followed_too_and_is_left_to_the_plan_where_it_is_lost(
    runner_of: Callable[..., Any], instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, server = runner_of()
    run = instance.create_run_for_job(some_job, tags={"dagster/partition": "org/b"})
    assert runner.is_busy()
    monkeypatch.setattr(cluster.time, "sleep", lambda _: instance.report_run_failed(run, "Its node is gone."))
    assert runner.evaluate([], again=()) == []
    assert server.asked == []
    assert not runner.is_busy()


def test_a_refresh_that_fails_publishes_what_was_made_and_says_why(runner_of: Callable[..., Any]) -> None:
    runner, server = runner_of("is lost", "fails", "succeeds")
    with pytest.raises(CommandError, match=r"work failed: .*there is no such model"):
        runner.refresh(REFRESH)
    assert server.asked[-1]["embedllm/reason"] == "warehouse: never made"


def test_a_step_waits_for_a_database_that_is_away(
    runner_of: Callable[..., Any], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    away = OperationalError("SELECT 1", {}, Exception("connection refused"))
    runner, _ = runner_of()
    outcomes = [away, away, "done"]

    def step() -> object:
        if isinstance(outcome := outcomes.pop(0), Exception):
            raise outcome
        return outcome

    assert runner.attempt(step) == "done"
    assert capfd.readouterr().err.count("The database of runs is away") == 1
    monkeypatch.setattr(cluster, "PATIENCE", -1)
    outcomes.append(away)
    with pytest.raises(OperationalError):
        runner.attempt(step)


def test_without_a_lake_that_all_reach_nothing_is_started(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="EMBEDLLM_LAKE is not set"):
        ClusterRunner(Settings(home=tmp_path), replace(share(tmp_path), lake_address=None), instance, Console())


def test_a_registry_that_only_this_home_has_is_refused(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    workspace = share(tmp_path, registry=tmp_path / "home" / "registry")
    with pytest.raises(CommandError, match=r"other machines, which do not find .*registry"):
        ClusterRunner(Settings(home=tmp_path), workspace, instance, Console())


def test_without_a_web_server_the_address_is_named(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.cluster.server.STARTS_WITHIN", 0)
    settings = Settings(home=tmp_path, webserver="127.0.0.1:1")
    with pytest.raises(CommandError, match=r"No Dagster web server answers at http://127\.0\.0\.1:1: .*EMBEDLLM_WEB"):
        ClusterRunner(settings, share(tmp_path), instance, Console())


def share(folder: Path, registry: Path | None = None) -> Workspace:
    """A home with a lake and a registry that other machines reach."""
    known = Registry(folder=registry or folder / "registry", models=(), benchmarks=())
    return Workspace(folder / "home", known, lake_address=str(folder / "lake"))
