"""What is evaluated, what is missing, what failed and why: for people; nothing is computed from it."""

from __future__ import annotations

from collections import Counter
from itertools import product

import dagster as dg
import pyarrow as pa

from assets.inputs.entries import asked_by
from assets.inputs.partitions import responses_key
from assets.inputs.provenance import Made, asset
from assets.inputs.table_metadata import table_metadata
from assets.inputs.workspace import Workspace
from harness.registry import Registry

from .correctness_matrix import record_registry


def build_coverage(registry: Registry) -> dg.AssetsDefinition:
    """Return the asset; it depends on what the correctness matrix depends on."""

    @asset(
        deps=[dg.AssetKey("imported_results"), *(responses_key(b.name) for b in registry.benchmarks)],
        reads=["evaluations"],
        group_name="matrix",
        kinds={"deltalake"},
        code_version="1",
    )
    def coverage(workspace: Workspace) -> Made:
        """A row is a model and a benchmark: done and how well, missing, failed and why, not applicable, or answered
        under an earlier entry only."""
        lake, is_asked = workspace.lake, asked_by(workspace.registry)
        with lake.together():  # failures of what the registry no longer asks for: should it ask again, that is new
            for row in (*lake.failures().to_pylist(), *lake.not_applicable().to_pylist()):
                if not is_asked(row["benchmark"], row["model"]):
                    lake.forget_failure(row["benchmark"], row["model"])
        record_registry(workspace)
        statuses = _count_statuses(workspace)
        return Made(metadata={**table_metadata("coverage", statuses.total()), **statuses})

    return coverage


def _count_statuses(workspace: Workspace) -> Counter[str]:
    """Return how many pairs have which status in the warehouse's view `coverage`."""
    lake, registry = workspace.lake, workspace.registry
    done = lake.pairs()
    benchmarks = {entry.name for entry in registry.benchmarks} | {benchmark for benchmark, _ in done}
    models = {entry.name for entry in registry.models} | {model for _, model in done}
    status = dict.fromkeys(product(benchmarks, models), "missing")
    for name, pairs in (  # of two that hold, the later one counts
        ("onboarded", set(product(benchmarks, lake.onboarded_models()))),
        ("superseded", _pairs(lake.superseded())),
        ("onboarded", _pairs(lake.onboarding_responses())),
        ("not_applicable", _pairs(lake.read_table("not_applicable"))),
        ("done", set(done)),
        ("failed", _pairs(lake.failures())),
    ):
        status |= dict.fromkeys(pairs & status.keys(), name)
    return Counter(sorted(status.values()))


def _pairs(rows: pa.Table | None) -> set[tuple[str, str]]:
    if rows is None:
        return set()
    names = rows.select(["benchmark", "model"]).cast(pa.schema({"benchmark": pa.string(), "model": pa.string()}))
    return set(zip(*names.group_by(names.column_names).aggregate([]).to_pydict().values(), strict=True))
