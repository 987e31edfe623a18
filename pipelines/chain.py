"""The whole chain from the command line: collect what is missing, then refresh what depends on it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import dagster as dg
from dagster_shared.error import SerializableErrorInfo

from assets.accelerators import count_accelerators
from assets.local_state import LocalState
from assets.staleness import stale
from assets.wanted import wanted
from assets.workspace import Workspace
from harness.entries import RegistryError
from warehouse.errors import WarehouseError
from warehouse.publish import TABLES, publish
from warehouse.read import is_whole

from .console import Console
from .definitions import build_definitions
from .evaluation import Outcome, evaluate_models
from .instance import CLI_TAGS, end_dead_runs, exclusive, follow_move, register_models
from .jobs import REASON, REFRESH, ZOO
from .settings import Settings

OWN = ("harness", "warehouse", "embedder", "assets")  # packages whose errors are sentences
ZOO_KEY = dg.AssetKey("zoo")


class ChainFailed(RuntimeError):
    """A stage of the chain failed; the message says which and why."""


@dataclass(frozen=True)
class ChainResult:
    """What one run of the chain did."""

    evaluated: int
    failed: tuple[str, ...]
    refreshed: bool


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
        HomeBusy: another command works on this home.
        ModelNotFound: all models to evaluate come from the hub, and it cannot be reached.
        TaskUnknown: a benchmark names a task, metric or filter that lm-eval does not have.
        ChainFailed: a stage failed; what earlier stages made stays and is not made again.
        RegistryError: `again` names a model or a benchmark that the registry does not have, or does not have it asked.
    """
    workspace = replace(workspace, progress=console.progress)
    with exclusive(settings.home), dg.DagsterInstance.get() as instance:
        end_dead_runs(instance, settings.home)
        _mend(workspace, console)
        follow_move(workspace)
        register_models(instance, (m.name for m in workspace.registry.models))
        if workspace.registry.made_by == "zoo" and (why := _stale(workspace).get(ZOO_KEY)):
            run_job(workspace, instance, console, ZOO, tags={REASON: f"zoo: {why}"})
        work = _work(workspace, console, check=check, again=again)
        found = _evaluate(work, settings, workspace, instance, console)
        refreshed = _refresh(workspace, instance, console, full=full)
        tried = {outcome.model for outcome in found}
        later = {model: todo for model, todo in _work(workspace, console).items() if model not in tried}
        if later:  # those that need an embedder first
            found += _evaluate(later, settings, workspace, instance, console)
            refreshed |= _refresh(workspace, instance, console, full=full)
    return ChainResult(len(found), tuple(o.model for o in found if not o.succeeded), refreshed)


@dataclass(frozen=True)
class _Todo:
    """What one model is to be asked, and why."""

    benchmarks: list[str]
    reason: str
    again: bool = False


def _work(
    workspace: Workspace, console: Console, *, check: bool = False, again: Again | None = None
) -> dict[str, _Todo]:
    """By model, what is wanted of it, and what is to be asked again."""
    local = LocalState(workspace, ask_hub=check)
    work = {
        model: _Todo([want.benchmark for want in wants], "; ".join(map(str, wants)))
        for model, wants in wanted(workspace, local).items()
    }
    for sentence in local.unknown:
        console.say(f"  [yellow]![/] cannot be compared: {sentence}")
    if again:
        work[again.model] = _todo_again(again, workspace)
    return work


def _todo_again(again: Again, workspace: Workspace) -> _Todo:
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
    return _Todo(benchmarks, "asked again, as was wished", again=True)


def _evaluate(
    work: Mapping[str, _Todo],
    settings: Settings,
    workspace: Workspace,
    instance: dg.DagsterInstance,
    console: Console,
) -> list[Outcome]:
    if not work:
        return []
    asked = {model: todo.benchmarks for model, todo in work.items()}
    _check_before_evaluating(workspace, asked)
    gpus = count_accelerators() if settings.device is None else 0
    workers = settings.evaluation_workers or gpus or _cpu_workers(workspace)
    reasons = {model: todo.reason for model, todo in work.items()}
    again = {model for model, todo in work.items() if todo.again}
    outcomes, known = [], workspace.lake.not_applicable().to_pylist()
    for outcome in evaluate_models(asked, workspace, instance, workers=workers, reasons=reasons, again=again):
        outcomes.append(outcome)
        console.progress(len(outcomes), len(work), "models evaluated")
    _say_not_applicable([pair for pair in workspace.lake.not_applicable().to_pylist() if pair not in known], console)
    return outcomes


def _say_not_applicable(pairs: Sequence[Mapping[str, str]], console: Console) -> None:
    """Once, when it was found out."""
    for model in dict.fromkeys(pair["model"] for pair in pairs):
        of_model = [pair for pair in pairs if pair["model"] == model]
        names = ", ".join(pair["benchmark"] for pair in of_model)
        console.say(f"  {model} is not asked {names}: {of_model[0]['reason']}")


def _check_before_evaluating(workspace: Workspace, work: Mapping[str, Sequence[str]]) -> None:
    """An unknown task or a hub out of reach ends the run here: one sentence instead of a failure a model."""
    from harness.identity import check_hub
    from harness.tasks import TaskIndex

    check_hub([workspace.registry.model(name) for name in work])
    asked = {name for benchmarks in work.values() for name in benchmarks}
    index = TaskIndex(workspace.registry.tasks_dir)
    index.check(benchmark for benchmark in workspace.registry.benchmarks if benchmark.name in asked)


def _cpu_workers(workspace: Workspace) -> int:
    """The zoo's models take a core each; of others one at a time uses all cores, and two may not fit into memory."""
    return len(os.sched_getaffinity(0)) if workspace.registry.made_by == "zoo" else 1


def run_job(
    workspace: Workspace,
    instance: dg.DagsterInstance,
    console: Console,
    job: str,
    selection: Sequence[dg.AssetKey] | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Runs `job`, or the assets of `selection` in it, in this process. Raises ChainFailed."""
    definitions = build_definitions(workspace, loggers={"console": console.stages()})
    result = definitions.resolve_job_def(job).execute_in_process(
        instance=instance,
        asset_selection=selection,
        run_config={"loggers": {"console": {}}},  # without it, Dagster logs every event
        raise_on_error=False,
        tags={**CLI_TAGS, **(tags or {})},
    )
    if not result.success:
        failure = next(e for e in result.all_events if e.is_step_failure)
        if job == REFRESH and failure.step_key != "warehouse":
            _publish_the_rest(workspace, console)
        raise ChainFailed(f"{failure.step_key} failed: {_reason(failure.step_failure_data.error)}")


def _publish_the_rest(workspace: Workspace, console: Console) -> None:
    """What was made although something else failed, for which Dagster skips the asset that publishes."""
    try:
        publish(workspace.lake, workspace.database, TABLES)
    except WarehouseError as error:
        console.say(f"  [yellow]![/] {error}")


def _reason(error: SerializableErrorInfo | None) -> str:
    """What went wrong, without how it travelled through Dagster."""
    while error and error.cause and (error.cls_name or "").startswith("Dagster"):
        error = error.cause
    if error is None:
        return "unknown reason"
    kind, _, sentence = error.message.strip().partition(": ")
    is_sentence = kind.split(".")[0] in OWN or kind.endswith(".Failure")
    return sentence if is_sentence else f"{kind}: {sentence}"


def _mend(workspace: Workspace, console: Console) -> None:
    """What cannot be read is set aside, to be made again."""
    for damage in workspace.lake.mend():
        console.say(f"  [yellow]![/] {damage}")


def _stale(workspace: Workspace, *, full: bool = False) -> dict[dg.AssetKey, str]:
    return stale(workspace, build_definitions(workspace).resolve_asset_graph(), full=full)


def _refresh(workspace: Workspace, instance: dg.DagsterInstance, console: Console, *, full: bool) -> bool:
    reasons = _stale(workspace, full=full)
    if workspace.database.exists() and not is_whole(workspace.database):
        why = "is damaged or of another version of embedllm"
        console.say(f"  [yellow]![/] {workspace.database} {why}: it is made anew from the lake")
        publish(workspace.lake, workspace.database)
    if not reasons:
        return False
    first = next(iter(reasons))
    why = f"{first.to_user_string()}: {reasons[first]}"
    run_job(workspace, instance, console, REFRESH, selection=list(reasons), tags={REASON: why})
    return True
