"""What runs by itself as soon as something changes, while the daemon does (docs/operate.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import dagster as dg

from assets.external import find_changed
from assets.partitions import MODELS
from assets.workspace import Workspace
from harness.entries import Registry
from pipelines.instance import end_lost_runs, find_who_works
from pipelines.jobs import evaluate, refresh
from pipelines.ui import reload_definitions

from .plan import PLANNED, REASON, Request, plan

__all__ = ["build_sensors", "run_request"]

EVERY = 10  # seconds between two looks
RUNNING = dg.DefaultSensorStatus.RUNNING


def build_sensors(loaded: Registry, open_workspace: Callable[[], Workspace]) -> list[dg.SensorDefinition]:
    """Sensors over definitions with the benchmarks of `loaded`; each look opens home and registry as they are then."""

    @dg.sensor(
        name="evaluate_what_is_new",
        description="Asks every model what it was never asked, or what its entry has changed since: a run a model. "
        "Keeps the partitions equal to models.yaml.",
        job=evaluate,
        minimum_interval_seconds=EVERY,
        default_status=RUNNING,
    )
    def evaluate_what_is_new(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        workspace = open_workspace()
        if other := find_who_works(workspace, context.instance):
            return dg.SkipReason(other)
        partitions = _change_partitions(workspace, context.instance)
        due = [request for request in plan(workspace, context.instance) if request.model]
        return _start(due, context.instance, loaded, dynamic_partitions_requests=partitions)

    @dg.sensor(
        name="refresh_what_changed",
        description="Makes anew what was made from something else than what is there now, once all answers are in.",
        job=refresh,
        minimum_interval_seconds=EVERY,
        default_status=RUNNING,
    )
    def refresh_what_changed(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        workspace = open_workspace()
        if other := find_who_works(workspace, context.instance):
            return dg.SkipReason(other)
        due = [request for request in plan(workspace, context.instance) if not request.model]
        return _start(due, context.instance, loaded, asset_events=[*find_changed(workspace, context.instance)])

    @dg.sensor(
        name="housekeeping",
        description="Ends the runs whose process is gone, and loads the definitions anew when the benchmarks of the "
        "registry are others.",
        minimum_interval_seconds=EVERY,
        default_status=RUNNING,
    )
    def housekeeping(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        ended = end_lost_runs(context.instance)
        registry = open_workspace().registry
        if registry.benchmarks == loaded.benchmarks and registry.made_by == loaded.made_by:
            return dg.SkipReason(f"{ended or 'No'} runs had lost their process; the definitions are up to date.")
        return dg.SkipReason(reload_definitions())

    of_models = [evaluate_what_is_new] if loaded.benchmarks else []
    return [*of_models, refresh_what_changed, housekeeping]


def run_request(request: Request, key: str) -> dg.RunRequest:
    """What Dagster starts once for every key."""
    return dg.RunRequest(
        run_key=key,
        asset_selection=request.assets,
        partition_key=request.model,
        tags={REASON: request.reason, PLANNED: request.digest},
    )


def _start(
    due: Iterable[Request], instance: dg.DagsterInstance, loaded: Registry, **events: Sequence[object]
) -> dg.SensorResult:
    """Starts what can begin. Of benchmarks that are not loaded yet, nothing is: they will be."""
    known = {benchmark.name for benchmark in loaded.benchmarks}
    requests = [request for request in due if known.issuperset(request.benchmarks)]
    started = [request for request in requests if request.waits is None]
    waiting = [f"{_count(request)}: {request.waits}" for request in requests if request.waits]
    runs = [run_request(request, f"{request.digest} {_count_runs(request, instance)}") for request in started]
    skipped = None if runs else "; ".join(waiting) or "Nothing is due."
    return dg.SensorResult(run_requests=runs, skip_reason=skipped, **events)  # pyright: ignore[reportArgumentType]


def _count(request: Request) -> str:
    return request.model or f"{len(request.reasons)} assets"


def _count_runs(request: Request, instance: dg.DagsterInstance) -> int:
    """What was killed, and what came out the same in between, is started again under another key."""
    return len(instance.get_run_records(dg.RunsFilter(tags={PLANNED: request.digest})))


def _change_partitions(
    workspace: Workspace, instance: dg.DagsterInstance
) -> list[dg.AddDynamicPartitionsRequest | dg.DeleteDynamicPartitionsRequest]:
    """Answers of a model that is no longer registered stay in the lake."""
    wanted = [model.name for model in workspace.registry.models]
    known = set(instance.get_dynamic_partitions(str(MODELS.name)))
    added, removed = [name for name in wanted if name not in known], sorted(known - set(wanted))
    changes = []
    if added:
        changes.append(MODELS.build_add_request(added))
    if removed:
        changes.append(MODELS.build_delete_request(removed))
    return changes
