"""What runs by itself as soon as something changes, as long as the daemon runs (docs/operate.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import dagster as dg

from assets.collection.zoo import fetch_zoo
from assets.inputs.external import find_changed
from assets.inputs.partitions import MODELS
from assets.inputs.workspace import Workspace
from harness.registry import Registry, RegistryError
from pipelines.instance import compare_partitions, end_lost_runs, find_who_works, limit_pools, reload_definitions
from pipelines.jobs import evaluate, refresh

from .plan import Request, find_runs, plan

__all__ = ["build_sensors", "open_to_work", "run_request"]

look_often = partial(dg.sensor, minimum_interval_seconds=15, default_status=dg.DefaultSensorStatus.RUNNING)


def build_sensors(loaded: Registry, open_workspace: Callable[[], Workspace]) -> list[dg.SensorDefinition]:
    """Return the sensors of definitions with the benchmarks of `loaded`. Each time they look, they open home and
    registry as they are then."""

    @look_often(
        description="Asks every model what it was never asked, and again what was asked under another entry: a run for "
        "each model. Keeps the partitions equal to models.yaml.",
        job=evaluate,
    )
    def evaluate_what_is_new(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        workspace = open_to_work(open_workspace, context.instance)
        if isinstance(workspace, dg.SkipReason):
            return workspace
        new, gone = compare_partitions(context.instance, (model.name for model in workspace.registry.models))
        partitions = [
            *([MODELS.build_add_request(new)] if new else []),
            *([MODELS.build_delete_request(gone)] if gone else []),  # the answers stay in the lake
        ]
        due = [request for request in plan(workspace, context.instance) if request.model]
        return _start(due, context.instance, loaded, dynamic_partitions_requests=partitions)

    @look_often(
        description="Makes again what was made from something else than what is there now, once all answers are there.",
        job=refresh,
    )
    def refresh_what_changed(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        workspace = open_to_work(open_workspace, context.instance)
        if isinstance(workspace, dg.SkipReason):
            return workspace
        due = [request for request in plan(workspace, context.instance) if not request.model]
        return _start(due, context.instance, loaded, asset_events=[*find_changed(workspace, context.instance)])

    @look_often(
        description="Ends the runs whose process is gone, and reloads the definitions when the benchmarks of the "
        "registry have changed.",
    )
    def housekeeping(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        ended = end_lost_runs(context.instance)
        try:
            registry = open_workspace().registry
        except RegistryError as error:
            return dg.SkipReason(str(error))
        if registry.benchmarks == loaded.benchmarks and registry.made_by == loaded.made_by:
            return dg.SkipReason(f"{ended or 'No'} runs had lost their process; the definitions are up to date.")
        return dg.SkipReason(reload_definitions())

    of_models = [evaluate_what_is_new] if loaded.benchmarks else []
    return [*of_models, refresh_what_changed, housekeeping]


def open_to_work(open_workspace: Callable[[], Workspace], instance: dg.DagsterInstance) -> Workspace | dg.SkipReason:
    """Return the workspace, or why nothing is started: the registry has a mistake, or somebody else does the work."""
    try:
        workspace = open_workspace()
    except RegistryError as error:
        return dg.SkipReason(str(error))
    if other := find_who_works(workspace, instance):
        return dg.SkipReason(other)
    limit_pools(instance)  # where other commands than ours have set up the instance
    fetch_zoo(workspace)
    return workspace


def run_request(request: Request, key: str) -> dg.RunRequest:
    """Return what Dagster starts once for every key."""
    return dg.RunRequest(
        run_key=key,
        asset_selection=request.assets,
        partition_key=request.model,
        tags=request.tags,
    )


def _start(
    due: Iterable[Request], instance: dg.DagsterInstance, loaded: Registry, **events: Sequence[object]
) -> dg.SensorResult:
    """Start what can begin, except for benchmarks that are not loaded yet: they will be."""
    known = {benchmark.name for benchmark in loaded.benchmarks}
    of_loaded = [request for request in due if known.issuperset(request.benchmarks)]
    waiting = [f"{one.model or f'{len(one.reasons)} assets'}: {one.waits}" for one in of_loaded if one.waits]
    ready = [request for request in of_loaded if not request.waits]
    started, earlier = [], find_runs(ready, instance)
    for request in ready:
        # After each run for the same the key is another, so that what was killed, or was undone since, starts again.
        runs = earlier[request.digest]
        newest = runs[0].run_id[:8] if runs else "first"
        started.append(run_request(request, f"{request.digest} {len(runs)} {newest}"))
    skipped = None if started else "; ".join(waiting) or "Nothing is due."
    return dg.SensorResult(run_requests=started, skip_reason=skipped, **events)  # pyright: ignore[reportArgumentType]
