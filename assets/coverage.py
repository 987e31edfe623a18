"""What is evaluated, what is missing, what failed and why: for people; nothing is computed from it."""

from __future__ import annotations

import dagster as dg

from harness.entries import Registry
from warehouse.publish import publish
from warehouse.read import query

from .correctness_matrix import record_registry
from .entries import asked_by
from .partitions import responses_key
from .provenance import Made, asset
from .workspace import Workspace

PUBLISHED = ("models", "benchmarks", "failures", "not_applicable", "evaluations", "superseded")


def build_coverage(registry: Registry) -> dg.AssetsDefinition:
    """It depends on what the correctness matrix depends on."""

    @asset(
        deps=[dg.AssetKey("imported_results"), *(responses_key(b.name) for b in registry.benchmarks)],
        reads=["evaluations"],
        group_name="warehouse",
        kinds={"duckdb"},
        owners=["team:embedllm"],
        code_version="1",
        pool="warehouse",
    )
    def coverage(workspace: Workspace) -> Made:
        """A row is a model and a benchmark: done and how well, missing, failed and why, not applicable, or answered
        under an earlier entry only."""
        _forget_unregistered(workspace)
        record_registry(workspace)
        publish(workspace.lake, workspace.database, PUBLISHED)
        counts = query(
            workspace.database, "SELECT status, count(*) AS pairs FROM coverage GROUP BY ALL ORDER BY status"
        )
        statuses = dict(zip(*counts.to_pydict().values(), strict=True))
        return Made(metadata=statuses)

    return coverage


def _forget_unregistered(workspace: Workspace) -> None:
    """A failure of what the registry does not ask for is not tried again: should it be asked once more, that is new."""
    lake, is_asked = workspace.lake, asked_by(workspace.registry)
    with lake.together():
        for row in (*lake.failures().to_pylist(), *lake.not_applicable().to_pylist()):
            if not is_asked(row["benchmark"], row["model"]):
                lake.forget_failure(row["benchmark"], row["model"])
