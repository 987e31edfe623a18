"""The whole chain from the command line: collect what is missing, then refresh what depends on it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import dagster as dg

from assets.responses import pending
from assets.workspace import Workspace
from harness.zoo import is_built

from .console import Console
from .definitions import build_definitions
from .evaluation import evaluate_models
from .instance import CLI_TAGS, end_dead_runs, exclusive, register_models
from .jobs import REFRESH, ZOO
from .settings import Settings

INPUTS = "embedllm/inputs"


class ChainFailed(RuntimeError):
    """A stage of the chain failed; the message says which and why."""


@dataclass(frozen=True)
class ChainResult:
    """What one run of the chain did."""

    evaluated: int
    failed: tuple[str, ...]
    refreshed: bool


def run_chain(settings: Settings, workspace: Workspace, console: Console) -> ChainResult:
    """Build the zoo where the registry asks for it, evaluate what is missing, refresh what changed.

    Raises:
        HomeBusy: another command works on this home.
        ModelNotFound: all models to evaluate come from the hub, and it cannot be reached.
        TaskUnknown: a benchmark names a task, metric or filter that lm-eval does not have.
        ChainFailed: a stage failed; what earlier stages made stays and is not made again.
    """
    workspace = replace(workspace, progress=console.progress)
    with exclusive(settings.home), dg.DagsterInstance.get() as instance:
        end_dead_runs(instance)
        workspace.lake.recover()
        register_models(instance, (m.name for m in workspace.registry.models))
        if workspace.registry.made_by == "zoo" and not is_built(workspace.zoo, seed=workspace.seed):
            _run(workspace, instance, console, ZOO)
        work = pending(workspace)
        outcomes = []
        if work:
            _check_before_evaluating(workspace, work)
            devices = accelerators() if settings.device is None else []
            workers = settings.evaluation_workers or len(devices) or _cpu_workers(workspace)
            for outcome in evaluate_models(work, workspace, instance, workers=workers, devices=devices):
                outcomes.append(outcome)
                console.progress(len(outcomes), len(work), "models evaluated")
        refreshed = _refresh(workspace, instance, console)
    return ChainResult(len(work), tuple(o.model for o in outcomes if not o.succeeded), refreshed)


def _check_before_evaluating(workspace: Workspace, work: Mapping[str, Sequence[str]]) -> None:
    """An unknown task or a hub out of reach ends the run here: one sentence instead of a failure a model."""
    from harness.identity import check_hub
    from harness.tasks import TaskIndex

    check_hub([workspace.registry.model(name) for name in work])
    asked = {name for benchmarks in work.values() for name in benchmarks}
    index = TaskIndex(workspace.registry.tasks_dir)
    index.check(benchmark for benchmark in workspace.registry.benchmarks if benchmark.name in asked)


def accelerators() -> list[str]:
    """torch's names of the GPUs here: one model is evaluated on each."""
    import torch

    return [f"cuda:{number}" for number in range(torch.cuda.device_count())]


def _cpu_workers(workspace: Workspace) -> int:
    """The zoo's models take a core each; of others one at a time uses all cores, and two may not fit into memory."""
    return len(os.sched_getaffinity(0)) if workspace.registry.made_by == "zoo" else 1


def _run(
    workspace: Workspace,
    instance: dg.DagsterInstance,
    console: Console,
    job: str,
    tags: Mapping[str, str] | None = None,
) -> None:
    definitions = build_definitions(workspace, loggers={"console": console.stages()})
    result = definitions.resolve_job_def(job).execute_in_process(
        instance=instance,
        run_config={"loggers": {"console": {}}},  # without it, Dagster logs every event
        raise_on_error=False,
        tags={**CLI_TAGS, **(tags or {})},
    )
    if not result.success:
        failure = next(e for e in result.all_events if e.is_step_failure)
        error = failure.step_failure_data.error
        while error and error.cause:  # the innermost cause is what went wrong, the rest is how it travelled
            error = error.cause
        raise ChainFailed(f"{failure.step_key} failed: {error.message.strip() if error else 'unknown reason'}")


def _refresh(workspace: Workspace, instance: dg.DagsterInstance, console: Console) -> bool:
    inputs = _inputs(workspace)
    latest = instance.get_runs(dg.RunsFilter(job_name=REFRESH, statuses=[dg.DagsterRunStatus.SUCCESS]), limit=1)
    # A run that the UI repeats carries the tags of the first one, whatever it read.
    holds = any(run.tags.get(INPUTS) == inputs and run.parent_run_id is None for run in latest)
    if workspace.database.exists() and workspace.report.exists() and holds:
        return False
    _run(workspace, instance, console, REFRESH, tags={INPUTS: inputs})
    return True


def _inputs(workspace: Workspace) -> str:
    """Digest of everything the refresh reads: answers, registry, settings and the code versions of its assets."""
    graph = build_definitions(workspace).resolve_asset_graph()
    parts = {
        "lake": workspace.lake.state(),
        "models": [m.model_dump_json() for m in workspace.registry.models],
        "benchmarks": [b.model_dump_json() for b in workspace.registry.benchmarks],
        "settings": [workspace.encoder, workspace.seed],
        "code": {key.to_user_string(): graph.get(key).code_version for key in graph.materializable_asset_keys},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
