"""What Dagster loads: the asset graph of the registry in force, and what runs it by itself."""

from collections.abc import Mapping

import dagster as dg

from assets.inputs.external import external_assets
from assets.inputs.workspace import Workspace
from assets.matrix.checks import build_checks
from harness.registry import Registry
from pipelines.automation.schedules import build_schedules
from pipelines.automation.sensors import build_sensors

from .graph import build_assets, build_resources
from .jobs import build_jobs
from .resource import WorkspaceResource
from .settings import Settings, open_workspace, registry_in_force


def build_definitions(
    registry: Registry,
    workspace: WorkspaceResource | Workspace,
    loggers: Mapping[str, dg.LoggerDefinition] | None = None,
) -> dg.Definitions:
    """Return the whole graph over the benchmarks of one registry."""
    return dg.Definitions(
        assets=[*build_assets(registry), *external_assets()],
        asset_checks=build_checks(),
        jobs=build_jobs(registry),
        sensors=build_sensors(registry, _open),
        schedules=build_schedules(_open),
        resources=build_resources(workspace),
        loggers=loggers,
        # A run is one process: torch and lm-eval are imported once a run, not once a step.
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """Return what Dagster's own commands load; built when it is asked for, so that importing this reads no settings."""
    settings = Settings()
    return build_definitions(registry_in_force(settings), WorkspaceResource.of(settings))


def _open() -> Workspace:
    return open_workspace(Settings())
