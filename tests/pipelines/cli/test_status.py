"""`embedllm status`, as a user types it."""

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pyarrow as pa

from harness.registry import load_registry
from pipelines.cli.status import find_status
from warehouse.lake import Lake

QUESTIONS = pa.table(
    {"task": ["t", "t"], "doc_id": [0, 1], "text": ["a", "b"], "category": ["t", "t"], "target": [None, None]}
)
ANSWERS = pa.table({"task": ["t", "t"], "doc_id": [0, 1], "correct": [True, False], "score": [1.0, 0.0]})


def test_how_far_everything_is(embedllm: Any) -> None:
    registry = load_registry(embedllm.registry, embedllm.home)
    lake = Lake(embedllm.home / "lake")
    (benchmark, *_), (done, failed, *_) = registry.benchmarks, registry.models
    lake.write_evaluation(benchmark.name, done.name, ANSWERS, QUESTIONS, {"fingerprint": "f"})
    lake.record_failure(benchmark.name, failed.name, "unreachable", "No such folder.")
    workspace = SimpleNamespace(registry=registry, lake=lake, home=embedllm.home)
    with dg.DagsterInstance.ephemeral() as instance:
        found = find_status(workspace, instance, datetime.now(UTC))  # pyright: ignore[reportArgumentType]
        later = find_status(workspace, instance, datetime.now(UTC) + timedelta(hours=2))  # pyright: ignore[reportArgumentType]
    count = len(registry.models) * len(registry.benchmarks)
    assert (found.evaluations, found.done, found.failed, found.missing) == (count, 1, 1, count - 2)
    assert (found.evaluated_last_hour, found.answers_last_hour) == (1, 2)
    assert found.estimated_end
    assert (later.evaluated_last_hour, later.estimated_end) == (0, None)


def test_a_home_that_is_not_there_is_said(embedllm: Any) -> None:
    done = embedllm.here("status")
    assert done.exit_code == 1
    assert f"There is no {embedllm.home}; `embedllm demo`" in " ".join(done.stderr.split())


def test_an_empty_home_has_everything_left(embedllm: Any) -> None:
    embedllm.home.mkdir()
    done = embedllm.here("status", "--format", "json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["done"], found["runs_at_work"], found["serving"]) == (0, 0, None)
    assert found["missing"] == found["evaluations"] > 0
    assert "nothing moves" in embedllm.here("status").output
