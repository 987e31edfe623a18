"""The demo's models, trained here."""

import dagster as dg

from assets.inputs.provenance import Made, asset
from assets.inputs.workspace import Workspace


@asset(group_name="collection", kinds={"pytorch", "huggingface"}, code_version="1", reads=["zoo_recipe"])
def zoo(workspace: Workspace) -> Made:
    """112 tiny language models, 14 families at 8 stages of training, and ten benchmarks they were never trained on."""
    from harness.zoo import build_zoo

    def progress(done: int, total: int, _: str) -> None:
        workspace.progress(done, total, "families trained")

    summary = build_zoo(workspace.zoo, seed=workspace.seed, progress=progress)
    return Made(
        metadata={
            "models": summary.models,
            "families_trained_now": len(summary.trained),
            "seconds": round(summary.seconds, 1),
            "folder": dg.MetadataValue.path(str(workspace.zoo)),
        },
        files=[workspace.zoo],
        data_version=summary.recipe,
    )


def fetch_zoo(workspace: Workspace) -> None:
    """Bring the models here, if they were trained on another machine that shares the lake."""
    from harness.zoo import is_built, update_tasks

    if workspace.lake_address and workspace.registry.made_by == "zoo":
        if not is_built(workspace.zoo, seed=workspace.seed):
            workspace.fetch(workspace.zoo)
        update_tasks(workspace.zoo, seed=workspace.seed)
