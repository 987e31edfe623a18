"""Which assets are out of date: made from something else than what is there now.

Each asset's record in the lake (provenance.py) has the data versions of what it was made from, and the version of its
code. Of assets that read what is no asset (the lake's answers, the registry) it has a digest of that. All of it is
compared with what is there now, so that nothing needs to be remembered from one look to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from .provenance import EXPENSIVE, Provenance, describe_pool, digest, read_provenance
from .versions import serving
from .workspace import Workspace

if TYPE_CHECKING:
    from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph, BaseAssetNode

__all__ = ["digest_outside", "stale"]

GROWN = 0.1  # share by which the models or the questions must have become more or fewer for the expensive not to wait


def stale(workspace: Workspace, graph: BaseAssetGraph[Any], *, full: bool = False) -> dict[dg.AssetKey, str]:
    """The unpartitioned assets that are out of date, each with the reason, in the order in which they are made.

    With `full`, expensive ones do not wait.
    """
    nodes = [graph.get(key) for key in graph.toposorted_asset_keys]
    nodes = {node.key: node for node in nodes if node.is_materializable and not node.is_partitioned}
    made, pool = read_provenance(workspace), describe_pool(workspace)
    found: dict[dg.AssetKey, str] = {}
    for key, node in nodes.items():
        waits = not full and EXPENSIVE.items() <= node.tags.items()
        parents = () if waits else sorted(node.parent_keys & nodes.keys())
        if reason := _reason(node, parents, made, found, workspace):
            found[key] = reason
        elif waits and _has_grown(made[key.to_user_string()].pool, pool):
            found[key] = "the pool has changed much"
    return found


def digest_outside(asset: str, workspace: Workspace) -> str | None:
    """Digest of what `asset` reads that is no asset; None where that is nothing. Take it before reading."""
    return _OUTSIDE[asset](workspace) if asset in _OUTSIDE else None


def _reason(
    node: BaseAssetNode,
    parents: Collection[dg.AssetKey],
    made: Mapping[str, Provenance],
    found: Mapping[dg.AssetKey, str],
    workspace: Workspace,
) -> str | None:
    name = node.key.to_user_string()
    before = made.get(name)
    if before is None:
        return "never made"
    if before.code_version != node.code_version:
        return "its code or a setting changed"
    if before.read != digest_outside(name, workspace):
        return "what it reads has changed"
    if gone := _gone(before, workspace):
        return f"{gone} is gone"
    for parent in parents:
        if parent in found:
            return f"{parent.to_user_string()} is out of date"
        if made[parent.to_user_string()].data_version != before.inputs.get(parent.to_user_string()):
            return f"{parent.to_user_string()} has changed"
    return None


def _gone(before: Provenance, workspace: Workspace) -> str | None:
    """What an asset wrote that is not there any more."""
    for file in before.files:
        if not (workspace.home / file).exists():
            return file
    for table, parts in before.tables.items():
        if missing := set(parts) - set(workspace.lake.table_parts(table)):
            return f"part {min(missing)} of the table {table}"
    return None


def _has_grown(then: Mapping[str, Any] | None, now: Mapping[str, Any]) -> bool:
    if then is None or then["benchmarks"] != now["benchmarks"]:
        return True
    return any(abs(now[what] - then[what]) >= GROWN * then[what] for what in ("models", "questions"))


# --- what assets read that is no asset


def _zoo(workspace: Workspace) -> str:
    from harness.zoo import is_built

    return str(workspace.zoo_recipe()) if is_built(workspace.zoo, seed=workspace.seed) else "not built"


def _imports(workspace: Workspace) -> str:
    return digest(sorted(source["digest"] for source in workspace.lake.imports()))


def _answers(workspace: Workspace) -> str:
    """What the registry says of a model without answers is for `coverage` alone."""
    known = {name for pair in workspace.lake.pairs() for name in pair}
    return digest([workspace.lake.state(), [entry for name, entry in _registered(workspace) if name in known]])


def _coverage(workspace: Workspace) -> str:
    lake = workspace.lake
    return digest([lake.failures_state(), lake.not_applicable().to_pylist(), lake.pairs(), _registered(workspace)])


def _onboarding(workspace: Workspace) -> str:
    known = {*workspace.lake.onboarded_models(), *(benchmark.name for benchmark in workspace.registry.benchmarks)}
    entries = [entry for name, entry in _registered(workspace) if name in known]
    return digest([workspace.lake.onboarding_state(), entries])


def _registered(workspace: Workspace) -> list[tuple[str, str]]:
    """Names and entries as they are written; in which order they stand does not matter."""
    registry = workspace.registry
    return sorted(
        (entry.name, entry.as_written.model_dump_json()) for entry in (*registry.models, *registry.benchmarks)
    )


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
