"""What Dagster loads: the asset graph of the registry in force, and what runs it by itself."""

from collections.abc import Callable, Mapping

import dagster as dg

from assets.checks import build_checks
from assets.graph import build_assets, build_resources
from assets.processes import end_with_parent
from assets.workspace import Workspace

from .jobs import build_jobs
from .schedules import build_schedules
from .sensors import build_sensors
from .settings import Settings, open_workspace


def build_definitions(
    workspace: Workspace,
    open_again: Callable[[], Workspace] | None = None,
    loggers: Mapping[str, dg.LoggerDefinition] | None = None,
) -> dg.Definitions:
    """The whole graph over one workspace; what runs by itself opens it anew at each look, by `open_again`."""
    again = open_again or (lambda: workspace)
    return dg.Definitions(
        assets=build_assets(workspace, again),
        asset_checks=build_checks(),
        jobs=build_jobs(workspace.registry),
        sensors=build_sensors(again),
        schedules=build_schedules(again),
        resources=build_resources(workspace),
        loggers=loggers,
        # A run is one process: torch and lm-eval are imported once a run, not once a step.
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """What Dagster's own commands load; built when asked for, so that importing this reads no settings."""
    end_with_parent()  # a run whose code server was killed would go on, unknown to the next one
    return build_definitions(_open(), _open)


def _open() -> Workspace:
    return open_workspace(Settings())
