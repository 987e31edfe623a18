"""The asset graph, stage by stage, and what makes each asset by itself."""

from collections.abc import Callable

import dagster as dg

from harness.entries import Registry

from .conditions import ask_what_is_wanted, refresh_once_settled
from .correctness_matrix import build_correctness_matrix
from .coverage import build_coverage
from .embedder import embedder
from .experiment import lake_tables
from .experiments import EXPERIMENTS
from .imported_results import imported_results
from .onboarding import onboarded
from .question_embeddings import question_embeddings
from .report import report
from .responses import build_responses
from .warehouse import warehouse
from .workspace import Workspace
from .zoo import zoo


def build_assets(workspace: Workspace, open_workspace: Callable[[], Workspace]) -> list[dg.AssetsDefinition]:
    """Every asset over the registry in force, in the order the chain runs; `open_workspace` opens it as it is later."""
    assets = _assets(workspace.registry)
    return [asset.map_asset_specs(lambda spec: _complete(spec, workspace, open_workspace)) for asset in assets]


def _assets(registry: Registry) -> list[dg.AssetsDefinition]:
    collection = [build_responses(registry)] if registry.benchmarks else []
    if registry.made_by == "zoo":
        collection.insert(0, zoo)
    return [
        *collection,
        imported_results,
        build_correctness_matrix(registry),
        build_coverage(registry),
        question_embeddings,
        embedder,
        onboarded,
        *EXPERIMENTS,
        warehouse,
        report,
    ]


def _complete(spec: dg.AssetSpec, workspace: Workspace, open_workspace: Callable[[], Workspace]) -> dg.AssetSpec:
    """With its condition, and with the settings that change its content as a part of its code version."""
    if spec.partitions_def:
        condition = ask_what_is_wanted(spec.key.path[-1], open_workspace)
    else:
        condition = refresh_once_settled(open_workspace)
    settings = {"question_embeddings": f", encoder {workspace.encoder}", "embedder": f", seed {workspace.seed}"}
    return spec.replace_attributes(
        automation_condition=condition,
        code_version=f"{spec.code_version}{settings.get(spec.key.to_user_string(), '')}",
    )


def build_resources(workspace: Workspace) -> dict[str, object]:
    """What the assets need."""
    return {"workspace": workspace, "lake_tables": lake_tables}
