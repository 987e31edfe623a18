"""What Dagster loads: the asset graph of the registry in force."""

from collections.abc import Mapping

import dagster as dg

from assets.graph import build_assets, build_checks
from assets.workspace import Workspace

from .jobs import build_jobs
from .settings import Settings, open_workspace


def build_definitions(workspace: Workspace, loggers: Mapping[str, dg.LoggerDefinition] | None = None) -> dg.Definitions:
    """The whole graph over one workspace."""
    return dg.Definitions(
        assets=build_assets(workspace.registry),
        asset_checks=build_checks(),
        jobs=build_jobs(workspace.registry),
        resources={"workspace": workspace},
        loggers=loggers,
        # A run is one process: torch and lm-eval are imported once a run, not once a step.
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """What Dagster's own commands load; built when asked for, so that importing this reads no settings."""
    return build_definitions(open_workspace(Settings()))
