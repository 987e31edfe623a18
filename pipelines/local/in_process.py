"""Runs of the command line, which are executed in its own process and shown in the UI as all others are.

The one file that uses what Dagster keeps for itself, in place of `JobDefinition.execute_in_process`: by that, a run
belongs to no code location, and the timeline and the pages of jobs leave it out. What is private here:

    InMemoryJob, execute_run                              until execute_in_process takes the run, or where it belongs
    RegisteredCodeLocationOrigin, RemoteRepositoryOrigin  until there is a public name for a code location
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin

from pipelines.instance import LAUNCHED_BY, LOCATION, REPOSITORY
from pipelines.processes import PROCESS, describe_process


def execute(
    definitions: dg.Definitions,
    job: str,
    instance: dg.DagsterInstance,
    *,
    assets: Sequence[dg.AssetKey],
    tags: Mapping[str, str],
    run_config: Mapping[str, Any],
    partition: str | None = None,
) -> dg.JobExecutionResult:
    """Execute one run of `job` on some of its assets in this process; no exception leaves it, whatever happens."""
    chosen = definitions.resolve_job_def(job).get_subset(asset_selection=frozenset(assets))
    origin = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(LOCATION), REPOSITORY)
    own = {
        LAUNCHED_BY: "cli",
        PROCESS: describe_process(),
        ".dagster/repository": origin.get_label(),  # by this the UI finds a job's runs
        **({"dagster/partition": partition} if partition else {}),
    }
    run = instance.create_run_for_job(
        chosen,
        run_config=run_config,
        tags={**own, **tags},
        asset_selection=frozenset(assets),
        remote_job_origin=origin.get_job_origin(job),
    )
    return execute_run(InMemoryJob(chosen), run, instance)
