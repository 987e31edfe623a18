"""The workspace as a Dagster resource, whose settings show and can be changed in the launchpad."""

from __future__ import annotations

from typing import Any

import dagster as dg
from pydantic import Field

from assets.inputs.workspace import Workspace
from pipelines.processes import PROCESS, describe_process

from .settings import Settings, open_workspace

__all__ = ["WorkspaceResource"]


class WorkspaceResource(dg.ConfigurableResource[Workspace]):
    """What every asset works on. The fields are those of `Settings`: what is changed here holds for one run, and what
    is left out is as the environment has it."""

    home: str | None = Field(default=None, description="folder that holds all state")
    lake: str | None = Field(default=None, description="where the lake is, if not in the home")
    registry: str | None = Field(default=None, description="folder with models.yaml and benchmarks.yaml")
    encoder: str | None = Field(default=None, description="question encoder")
    seed: int | None = Field(default=None, description="seed of everything random")
    device: str | None = Field(default=None, description="torch device; by default the GPU where there is one")
    keep_answers: bool | None = Field(default=None, description="whether what a model said is kept with its grade")

    @classmethod
    def of(cls, settings: Settings) -> WorkspaceResource:
        """Return the resource with the values that are in force."""
        return cls(**settings.model_dump(mode="json", include=set(cls.model_fields)))

    def create_resource(self, context: dg.InitResourceContext) -> Workspace:
        """Open it in the process of a run, and tell Dagster which process that is: once it is gone, so is the run."""
        if context.instance and context.run:
            context.instance.add_run_tags(context.run.run_id, {PROCESS: describe_process()})
        given: dict[str, Any] = {name: getattr(self, name) for name in type(self).model_fields}
        workspace = open_workspace(Settings(**{name: value for name, value in given.items() if value is not None}))
        workspace.lake.tables.patient = True  # nobody waits for an answer here
        return workspace
