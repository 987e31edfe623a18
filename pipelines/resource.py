"""The workspace as a Dagster resource, whose settings show and can be changed in the launchpad."""

from __future__ import annotations

import dagster as dg
from pydantic import Field

from assets.processes import PROCESS, describe_process
from assets.workspace import Workspace

from .settings import Settings, open_workspace

__all__ = ["WorkspaceResource"]


class WorkspaceResource(dg.ConfigurableResource[Workspace]):
    """What every asset works on. The fields are those of `Settings`; what is changed here holds for one run."""

    home: str = Field(description="folder that holds all state")
    lake: str | None = Field(default=None, description="where the lake is, if not in the home")
    registry: str | None = Field(default=None, description="folder with models.yaml and benchmarks.yaml")
    encoder: str = Field(description="question encoder")
    seed: int = Field(description="seed of everything random")
    device: str | None = Field(default=None, description="torch device; by default the GPU where there is one")
    keep_answers: bool = Field(description="whether what a model said or chose is kept with its grade")

    @classmethod
    def of(cls, settings: Settings) -> WorkspaceResource:
        return cls(
            home=str(settings.home),
            lake=settings.lake,
            registry=str(settings.registry) if settings.registry else None,
            encoder=settings.encoder,
            seed=settings.seed,
            device=settings.device,
            keep_answers=settings.keep_answers,
        )

    def create_resource(self, context: dg.InitResourceContext) -> Workspace:
        """Opens it in the process of a run, which is told to Dagster: once that is gone, so is the run."""
        if context.instance and context.run_id:
            context.instance.add_run_tags(context.run_id, {PROCESS: describe_process()})
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return open_workspace(Settings(**fields))
