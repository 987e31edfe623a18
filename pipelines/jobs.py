"""The jobs: train the demo's models, collect answers, and refresh what is made of them."""

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from assets.partitions import responses_key
from assets.workspace import Workspace
from harness.entries import Registry

REFRESH = "refresh"
EVALUATE = "evaluate"
REASON = "embedllm/reason"
"""Tag of a run: why it was started."""
ZOO = "train_zoo"  # a job must not be named as an asset is


@dg.op
def compact(workspace: dg.ResourceParam[Workspace]) -> None:
    """Makes few large files of many small ones, and removes what nobody needs any more."""
    workspace.lake.compact()


@dg.job(description="Upkeep of the lake: files that are many and small make every look at it slower.")
def compact_lake() -> None:
    compact()


def build_jobs(registry: Registry) -> list[UnresolvedAssetJobDefinition]:
    """`evaluate` runs one model on the benchmarks of the registry; `refresh` runs everything below the answers."""
    refresh = dg.define_asset_job(
        REFRESH,
        dg.AssetSelection.assets("imported_results").downstream(),
        description="Correctness matrix, embeddings, embedder, evaluations and report, from the answers in the lake.",
    )
    if not registry.benchmarks:
        return [refresh]
    evaluate = dg.define_asset_job(
        EVALUATE,
        dg.AssetSelection.assets(*(responses_key(b.name) for b in registry.benchmarks)),
        description="Ask one model the questions of every benchmark.",
    )
    if registry.made_by != "zoo":
        return [evaluate, refresh]
    zoo = dg.define_asset_job(ZOO, dg.AssetSelection.assets("zoo"), description="Train the demo's models.")
    return [zoo, evaluate, refresh]
