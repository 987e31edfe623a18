"""What the table of failures says, once models come and go."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyarrow as pa

from assets.inputs.workspace import Workspace
from assets.matrix.coverage import build_coverage
from warehouse.database.read import query
from warehouse.lake import NOT_APPLICABLE


def test_failures_of_what_left_the_registry_are_forgotten(
    workspace: Workspace, materialize: Callable[..., dict[str, Any]]
) -> None:
    lake = workspace.lake
    for model in ("elm", "ash"):  # ash is not registered
        lake.record_failure("sums", model, "out_of_memory", "too large")
    lake.record_failure("plants", "elm", "task_unknown", "no such task")
    lake.record_failure("trees", "ash", NOT_APPLICABLE, "a chat server")
    materialize(build_coverage(workspace.registry))
    tables = "SELECT benchmark, model FROM failures UNION ALL SELECT benchmark, model FROM not_applicable"
    assert query(workspace.database, tables).to_pylist() == [{"benchmark": "sums", "model": "elm"}]
    assert query(workspace.database, "SELECT DISTINCT model FROM coverage ORDER BY model").to_pydict() == {
        "model": ["elm", "org/oak"]
    }


def test_where_no_registry_is_in_force_nothing_is_forgotten(
    workspace: Workspace, materialize: Callable[..., dict[str, Any]]
) -> None:
    workspace.lake.record_failure("sums", "elm", "out_of_memory", "too large")
    none = replace(workspace.registry, models=(), benchmarks=())
    object.__setattr__(workspace, "registry", none)
    materialize(build_coverage(none))
    assert workspace.lake.failures().num_rows == 1


def test_the_counts_in_the_ui_are_those_of_the_view(
    workspace: Workspace, answer: Callable[..., None], materialize: Callable[..., dict[str, Any]]
) -> None:
    answer("sums", "elm", "10")
    lake, metadata = workspace.lake, {"fingerprint": "f"}
    answers = pa.table({"task": ["trees"], "doc_id": [0], "correct": [True], "score": [1.0]})
    questions = pa.table({"task": ["trees"], "doc_id": [0], "text": ["an oak?"], "category": ["trees"]})
    lake.write_onboarding("trees", "org/oak", answers, questions, metadata)
    lake.record_failure("trees", "elm", "out_of_memory", "too large")
    shown = materialize(build_coverage(workspace.registry))
    counts = query(workspace.database, "SELECT status, count(*) AS n FROM coverage GROUP BY status ORDER BY status")
    assert counts.to_pylist() == [
        {"status": "done", "n": 1},
        {"status": "failed", "n": 1},
        {"status": "onboarded", "n": 2},  # of sums, no question was chosen
    ]
    assert {row["status"]: shown.get(row["status"]) for row in counts.to_pylist()} == {
        "done": 1,
        "failed": 1,
        "onboarded": 2,
    }
