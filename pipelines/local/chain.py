"""The whole chain from the command line: do what the plan says is due, until nothing is."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from assets.collection.accelerators import count_accelerators
from assets.inputs.external import find_changed
from assets.inputs.local_state import LocalState
from assets.inputs.partitions import responses_key
from assets.inputs.workspace import Workspace
from harness.registry import RegistryError
from pipelines.automation.plan import LATER, PLANNED, REASON, Request, plan
from pipelines.console import Console
from pipelines.definitions import build_definitions
from pipelines.errors import CommandError
from pipelines.instance import end_dead_runs, exclusive, follow_move, register_models
from pipelines.jobs import REFRESH
from pipelines.settings import Settings
from warehouse.database.publish import TABLES, publish
from warehouse.database.read import find_fault
from warehouse.errors import WarehouseError

from .in_process import execute
from .workers import Outcome, evaluate_models

OWN = ("harness", "warehouse", "embedder", "assets")  # packages whose errors are sentences; Dagster passes on names
WHENEVER = datetime.max.replace(tzinfo=UTC)
"""What failed is tried again, however long its back-off."""


@dataclass(frozen=True)
class ChainResult:
    """What one run of the chain has done."""

    evaluated: int
    failed: tuple[str, ...]
    refreshed: bool
    later: tuple[str, ...]
    """Expensive assets that are out of date, and wait."""


@dataclass(frozen=True)
class Again:
    """A model to ask again, whatever it has answered and however little has changed; one benchmark or all of its."""

    model: str
    benchmark: str | None = None


def run_chain(
    settings: Settings,
    workspace: Workspace,
    console: Console,
    *,
    full: bool = False,
    check: bool = False,
    again: Again | None = None,
) -> ChainResult:
    """Build the zoo where the registry asks for it, evaluate what is missing, changed or failed, refresh what is out of
    date.

    With `full`, expensive experiments are refreshed as well, however little the pool has changed. With `check`, the
    hub is asked whether models and tasks there are what they were.

    Raises:
        CommandError: another command works on this home.
        ModelNotFound: all models to evaluate come from the hub, and it cannot be reached.
        TaskUnknown: a benchmark names a task, metric or filter that lm-eval does not have.
        CommandError: a stage failed; what earlier stages made stays and is not made again.
        RegistryError: `again` names a model or a benchmark that the registry does not have, or does not have it asked.
    """
    workspace = replace(workspace, progress=console.progress)
    with exclusive(settings.home), dg.DagsterInstance.get() as instance:
        end_dead_runs(instance, settings.home)
        for damage in workspace.lake.mend():
            console.warn(str(damage))
        if workspace.database.exists() and (fault := find_fault(workspace.database)):
            console.warn(f"{workspace.database} {fault}: it is made again from the lake")
            publish(workspace.lake, workspace.database)
        follow_move(workspace)
        register_models(instance, (model.name for model in workspace.registry.models))
        outcomes: dict[str, Outcome] = {}
        made: set[str] = set()  # digests of what was refreshed, which is not done twice
        local = LocalState(workspace, ask_hub=check)
        while True:
            planned = plan(workspace, instance, full=full, retry_by=WHENEVER, local=local, leave_out=outcomes)
            if not (due := _choose(planned, workspace, again=again, asked=outcomes, made=made)):
                break
            for event in find_changed(workspace, instance):
                instance.report_runless_asset_event(event)
            if due[0].model:
                found = _evaluate(due, again, settings, workspace, instance, console)
                outcomes |= {outcome.model: outcome for outcome in found}
            else:
                (request,) = due
                tags = {REASON: request.reason, PLANNED: request.digest}
                make_assets(request.assets, workspace, instance, console, tags)
                made.add(request.digest)
            for sentence in local.unknown:
                console.warn(f"cannot be compared: {sentence}")
            local = LocalState(workspace)  # elsewhere one look is enough
    failed = tuple(outcome.model for outcome in outcomes.values() if not outcome.succeeded)
    later = tuple(key.to_user_string() for one in planned if one.waits == LATER for key in one.assets)
    return ChainResult(len(outcomes), failed, bool(made), later)


def _choose(
    planned: Sequence[Request],
    workspace: Workspace,
    *,
    again: Again | None,
    asked: Collection[str],
    made: Collection[str],
) -> list[Request]:
    """Return what to do next: all models that have not been asked yet in this run, or else one refresh."""
    ready = [request for request in planned if request.waits is None and request.digest not in made]
    models = [request for request in ready if request.model]
    if again and again.model not in asked:
        models = [_ask_again(again, workspace), *(request for request in models if request.model != again.model)]
    return models or ready[:1]


def _ask_again(again: Again, workspace: Workspace) -> Request:
    model = workspace.registry.model(again.model)
    benchmarks = [benchmark.name for benchmark in workspace.registry.benchmarks_of(model)]
    if again.benchmark:
        name = workspace.registry.benchmark(again.benchmark).name
        if name not in benchmarks:
            raise RegistryError(
                f"The entry of {model.name} leaves {name} out; change its `benchmarks` or `except` first."
            )
        benchmarks = [name]
    if model.budget:  # its few answers are asked for as if there were none
        for name in benchmarks:
            workspace.lake.drop_onboarding(model.name, name)
    reasons = dict.fromkeys(map(responses_key, benchmarks), "asked again, as was wished")
    return Request(reasons, "", model.name)


def _evaluate(
    due: Sequence[Request],
    again: Again | None,
    settings: Settings,
    workspace: Workspace,
    instance: dg.DagsterInstance,
    console: Console,
) -> list[Outcome]:
    from harness.identity import check_hub
    from harness.tasks import TaskIndex

    # An unknown task or a hub out of reach ends the run here: one sentence instead of a failure for each model.
    check_hub([workspace.registry.model(request.model) for request in due if request.model])
    asked = {name for request in due for name in request.benchmarks}
    index = TaskIndex(workspace.registry.tasks_dir)
    index.check(benchmark for benchmark in workspace.registry.benchmarks if benchmark.name in asked)
    gpus = count_accelerators() if settings.device is None else 0
    # The zoo's models take a core each; of others one at a time uses all cores, and two may not fit into memory.
    cores = len(os.sched_getaffinity(0)) if workspace.registry.made_by == "zoo" else 1
    workers = settings.evaluation_workers or gpus or cores
    outcomes, known = [], workspace.lake.not_applicable().to_pylist()
    repeated = {again.model} if again else set()
    for outcome in evaluate_models(due, workspace, instance, workers=workers, again=repeated):
        outcomes.append(outcome)
        console.progress(len(outcomes), len(due), "models evaluated")
    new = [pair for pair in workspace.lake.not_applicable().to_pylist() if pair not in known]
    for model in dict.fromkeys(pair["model"] for pair in new):
        of_model = [pair for pair in new if pair["model"] == model]
        names = ", ".join(pair["benchmark"] for pair in of_model)
        console.say(f"  {model} is not asked {names}: {of_model[0]['reason']}")
    return outcomes


def make_assets(
    assets: Sequence[dg.AssetKey],
    workspace: Workspace,
    instance: dg.DagsterInstance,
    console: Console,
    tags: Mapping[str, str],
) -> None:
    """Make these assets, none of which asks a model, in this process. Raises CommandError where one fails."""
    definitions = build_definitions(workspace.registry, workspace, loggers={"console": console.stages()})
    without = {"loggers": {"console": {}}}  # without it, Dagster logs every event
    result = execute(definitions, REFRESH, instance, assets=assets, tags=tags, run_config=without)
    if not result.success:
        failure = next(e for e in result.all_events if e.is_step_failure)
        if failure.step_key != "warehouse":
            # What was made although something else failed, for which Dagster skips the asset that publishes.
            try:
                publish(workspace.lake, workspace.database, TABLES)
            except WarehouseError as error:
                console.warn(str(error))
        raise CommandError(f"{failure.step_key} failed: {_reason(failure.step_failure_data.error)}")


def _reason(error: Any) -> str:
    """Return what went wrong, without how it travelled through Dagster."""
    while error and error.cause and (error.cls_name or "").startswith("Dagster"):
        error = error.cause
    if error is None:
        return "unknown reason"
    kind, _, sentence = error.message.strip().partition(": ")
    is_sentence = kind.split(".")[0] in OWN or kind.endswith(".Failure")
    return sentence if is_sentence else f"{kind}: {sentence}"
