"""Which assets are out of date: made from something else than what is there now.

Every materialisation in Dagster's event log carries the data versions of what it was made from, and the version of its
code. Assets that read what is no asset (the lake's answers, the registry) add a digest of it, `READ`. All of it is
compared with what is there now, so that nothing needs to be remembered from one look to the next.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from .versions import serving
from .workspace import Workspace

if TYPE_CHECKING:
    from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph, BaseAssetNode

__all__ = ["EXPENSIVE", "READ", "described", "pool", "stale", "wrote"]

READ = "embedllm/read"
"""Metadata key of a materialisation: digest of what it read that is no asset."""
FILES = "embedllm/files"
"""Metadata key of a materialisation: the files it wrote, relative to the home."""
POOL = "embedllm/pool"
"""Metadata key of an expensive asset's materialisation: how large the pool was."""
EXPENSIVE = {"embedllm/expensive": "true"}
"""Tags of assets that wait for the weekly refresh, or until the pool has grown."""
GROWN = 0.1  # share by which the models or the questions must have become more or fewer for them not to wait

_CODE, _DATA, _INPUT = "dagster/code_version", "dagster/data_version", "dagster/input_data_version/"


def stale(
    workspace: Workspace, instance: dg.DagsterInstance, graph: BaseAssetGraph[Any], *, full: bool = False
) -> dict[dg.AssetKey, str]:
    """The unpartitioned assets that are out of date, each with the reason, in the order in which they are made.

    With `full`, expensive ones do not wait.
    """
    nodes = [graph.get(key) for key in graph.toposorted_asset_keys]
    nodes = [node for node in nodes if node.is_materializable and not node.is_partitioned]
    made = _latest([node.key for node in nodes], instance)
    found: dict[dg.AssetKey, str] = {}
    for node in nodes:
        waits = not full and EXPENSIVE.items() <= node.tags.items()
        if reason := _reason(node, made, found, workspace, waits=waits):
            found[node.key] = reason
    return found


def described(asset: str, workspace: Workspace) -> dict[str, dg.MetadataValue]:
    """What the materialisation of `asset` says of what it reads beside other assets. Call it before reading."""
    return {READ: dg.MetadataValue.text(_OUTSIDE[asset](workspace))} if asset in _OUTSIDE else {}


def wrote(workspace: Workspace, *files: Path) -> dict[str, dg.MetadataValue]:
    """What a materialisation says of the `files` it wrote: once one is gone, it is out of date."""
    return {FILES: dg.MetadataValue.json([str(file.relative_to(workspace.home)) for file in files])}


def pool(workspace: Workspace) -> dict[str, dg.MetadataValue]:
    """What the materialisation of an expensive asset says of the pool."""
    return {POOL: dg.MetadataValue.json(_pool(workspace))}


def _reason(
    node: BaseAssetNode,
    made: Mapping[dg.AssetKey, dg.AssetMaterialization | None],
    found: Mapping[dg.AssetKey, str],
    workspace: Workspace,
    *,
    waits: bool,
) -> str | None:
    before, name = made[node.key], node.key.to_user_string()
    if before is None:
        return "never made"
    if (before.tags or {}).get(_CODE) != node.code_version:
        return "its code or a setting changed"
    if name in _OUTSIDE and _text(before, READ) != _OUTSIDE[name](workspace):
        return "what it reads has changed"
    if gone := [file for file in _text(before, FILES) or [] if not (workspace.home / file).exists()]:
        return f"{gone[0]} is gone"
    if waits:
        return "the pool has changed much" if _has_grown(before, workspace) else None
    for parent in sorted(node.parent_keys & made.keys()):
        if parent in found:
            return f"{parent.to_user_string()} is out of date"
        now = made[parent]
        if now and (now.tags or {}).get(_DATA) != (before.tags or {}).get(_INPUT + parent.to_user_string()):
            return f"{parent.to_user_string()} has changed"
    return None


def _latest(keys: list[dg.AssetKey], instance: dg.DagsterInstance) -> dict[dg.AssetKey, dg.AssetMaterialization | None]:
    """Of each asset, what its last materialisation said; None where it was never made."""
    entries = [record.asset_entry for record in instance.get_asset_records(keys)]
    events = {entry.asset_key: entry.last_materialization for entry in entries}
    return {key: event.asset_materialization if (event := events.get(key)) else None for key in keys}


def _text(event: dg.AssetMaterialization, key: str) -> Any:
    value = event.metadata.get(key)
    return value.value if value else None


def _has_grown(before: dg.AssetMaterialization, workspace: Workspace) -> bool:
    then, now = _text(before, POOL), _pool(workspace)
    if then is None or then["benchmarks"] != now["benchmarks"]:
        return True
    return any(abs(now[what] - then[what]) >= GROWN * then[what] for what in ("models", "questions"))


def _pool(workspace: Workspace) -> dict[str, Any]:
    pairs = workspace.lake.pairs()
    return {
        "models": len({model for _, model in pairs}),
        "benchmarks": sorted({benchmark for benchmark, _ in pairs}),
        "questions": workspace.lake.count_questions(),
    }


# --- what assets read that is no asset


def _zoo(workspace: Workspace) -> str:
    from harness.zoo import is_built

    return str(workspace.zoo_recipe()) if is_built(workspace.zoo, seed=workspace.seed) else "not built"


def _imports(workspace: Workspace) -> str:
    return _digest(sorted(source["digest"] for source in workspace.lake.imports()))


def _answers(workspace: Workspace) -> str:
    """What the registry says of a model without answers is for `coverage` alone."""
    known = {name for pair in workspace.lake.pairs() for name in pair}
    return _digest([workspace.lake.state(), [entry for name, entry in _registered(workspace) if name in known]])


def _coverage(workspace: Workspace) -> str:
    lake = workspace.lake
    return _digest([lake.failures_state(), lake.not_applicable().to_pylist(), lake.pairs(), _registered(workspace)])


def _onboarding(workspace: Workspace) -> str:
    known = {*workspace.lake.onboarded_models(), *(benchmark.name for benchmark in workspace.registry.benchmarks)}
    entries = [entry for name, entry in _registered(workspace) if name in known]
    return _digest([workspace.lake.onboarding_state(), entries])


def _registered(workspace: Workspace) -> list[tuple[str, str]]:
    """Names and entries; in which order they stand does not matter."""
    registry = workspace.registry
    return sorted((entry.name, entry.model_dump_json()) for entry in (*registry.models, *registry.benchmarks))


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _chosen(workspace: Workspace) -> str:
    return serving(workspace.lake) or "none"


_OUTSIDE: dict[str, Callable[[Workspace], str]] = {
    "zoo": _zoo,
    "imported_results": _imports,
    "correctness_matrix": _answers,
    "coverage": _coverage,
    "embedder": _chosen,
    "onboarded": _onboarding,
}
