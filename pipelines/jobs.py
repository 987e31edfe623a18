"""The jobs: collect answers, refresh what is made of them, and keep the lake in order."""

import dagster as dg

from assets.inputs.workspace import Workspace
from harness.registry import Registry

REFRESH = "refresh"
EVALUATE = "evaluate"


@dg.op
def compact(workspace: dg.ResourceParam[Workspace]) -> None:
    """Make few large files of many small ones, and remove what nobody needs any more."""
    workspace.lake.compact()


@dg.job(description="Upkeep of the lake: files that are many and small make every look at it slower.")
def compact_lake() -> None:
    compact()


refresh = dg.define_asset_job(
    REFRESH,
    dg.AssetSelection.all() - dg.AssetSelection.key_prefixes("responses"),
    description="Correctness matrix, embeddings, embedder, evaluations and report, from the answers in the lake.",
)
evaluate = dg.define_asset_job(
    EVALUATE, dg.AssetSelection.key_prefixes("responses"), description="Ask one model the questions of every benchmark."
)
catch_up = dg.define_asset_job(
    "catch_up",
    dg.AssetSelection.all(),
    description="What the nightly and the weekly schedule start: answers that are missing, and what is out of date.",
)


def build_jobs(registry: Registry) -> list:
    """Return `refresh` and, where the registry has benchmarks, `evaluate`, which asks one model all of them."""
    return [refresh, evaluate] if registry.benchmarks else [refresh]
