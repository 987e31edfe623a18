"""The small registry evaluated over Ray nodes into a bucket, while a node, the bucket and Postgres are taken away.

EMBEDLLM_FAULTS_SEED repeats the plan of a run that failed.
"""

import os
import random
import signal
import sys
import time
from dataclasses import dataclass
from typing import Any

import dagster as dg
import pytest

from tests.differences import found_differences

from .cluster import Cluster
from .services import wait_for

SEED = int(os.environ.get("EMBEDLLM_FAULTS_SEED", random.SystemRandom().randrange(1_000_000)))
AWAY = (4.0, 12.0)  # seconds, at least and at most
ENOUGH = 240.0  # seconds for the command; half of that on an idle machine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@dataclass(frozen=True)
class Fault:
    """Something is taken away while models are asked, or while what is made of their answers is made."""

    evaluating: bool
    pause: float  # seconds later
    what: str  # a node, the bucket or Postgres
    seconds: float  # it is away

    def __str__(self) -> str:
        during = "an evaluation" if self.evaluating else "a refresh"
        return f"{self.pause:.1f} s into {during}: {self.what} away for {self.seconds:.0f} s"

    def can_happen(self, cluster: Cluster) -> bool:
        return bool(cluster.at_work(evaluating=self.evaluating))

    def happen(self, cluster: Cluster) -> None:
        time.sleep(self.pause)
        if self.what == "a node":
            node = (cluster.at_work(evaluating=self.evaluating) or cluster.nodes)[0]
            node.kill()
            time.sleep(self.seconds)
            node.up()
            return
        service = cluster.bucket if self.what == "the bucket" else cluster.postgres
        service.down()
        time.sleep(self.seconds)
        service.up()


def _plan(chance: random.Random) -> list[Fault]:
    """A node is lost while models are asked, and another one in the refresh; the bucket is away in one of the two, and
    Postgres in the other, before that or after."""
    services = chance.sample(["the bucket", "Postgres"], 2)
    return [
        Fault(evaluating, chance.uniform(0, 2), what, chance.uniform(*AWAY))
        for evaluating, service in zip((True, False), services, strict=True)
        for what in chance.sample(["a node", service], 2)
    ]


def test_a_command_that_is_stopped_leaves_its_runs_at_work(cluster: Cluster) -> None:
    command = cluster.command.start("run")
    wait_for(lambda: cluster.at_work(evaluating=True), "an evaluation")
    command.send_signal(signal.SIGINT)
    output, _ = command.communicate(timeout=60)
    assert command.returncode == 130
    assert "stopped following; the runs go on" in output
    assert cluster.unfinished()

    done = cluster.command("run", "--cancel")
    assert done.returncode == 0, done.stderr
    assert "runs are being ended" in done.stdout
    canceled = dg.DagsterRunStatus.CANCELED
    wait_for(lambda: cluster.runs(canceled), "the runs to end")


def test_nothing_is_lost_or_doubled_whatever_is_taken_away(cluster: Cluster, small_home: Any) -> None:
    plan = _plan(random.Random(SEED))
    _say(f"EMBEDLLM_FAULTS_SEED={SEED}", *map(str, plan))
    command, began = cluster.command.start("run"), time.monotonic()
    try:
        for fault in plan:
            wait_for(lambda fault=fault: command.poll() is not None or fault.can_happen(cluster), str(fault))
            if command.poll() is None:
                fault.happen(cluster)
                _say(f"after {time.monotonic() - began:.0f} s: {fault}")
        output, _ = command.communicate(timeout=ENOUGH)
    except BaseException as error:
        command.kill()
        error.add_note("\n".join([command.communicate()[0], *cluster.describe_runs()]))
        raise
    _say(output)
    assert command.returncode == 0
    assert "3 models, 2 benchmarks, 80 questions, 240 responses" in output
    answers = "SELECT model, count(*) AS n, count(DISTINCT question_id) AS questions FROM responses GROUP BY ALL"
    assert [(row["n"], row["questions"]) for row in cluster.command.rows(answers)] == [(80, 80)] * 3
    assert cluster.command.rows("FROM failures") == []
    assert found_differences(cluster.command, small_home) == []
    assert "Nothing is due" in cluster.command("plan").stdout
    assert not list(cluster.command.home.rglob("*.tmp"))


def _say(*lines: str) -> None:
    for line in lines:
        sys.stdout.write(f"{time.strftime('%T')} {line}\n")
