"""The whole chain from the command line: do what the plan says is due, until nothing is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import dagster as dg

from assets.inputs.external import find_changed
from assets.inputs.local_state import LocalState
from assets.inputs.partitions import responses_key
from assets.inputs.versions import fetch_results
from assets.inputs.workspace import Workspace
from harness.registry import RegistryError
from pipelines.automation.plan import LATER, Request, plan
from pipelines.cluster.runner import ClusterRunner
from pipelines.console import Console
from pipelines.instance import exclusive, follow_move, register_models, runs_elsewhere
from pipelines.local.runner import LocalRunner
from pipelines.runner import Outcome, Runner
from pipelines.settings import Settings
from warehouse.database.publish import publish
from warehouse.database.read import find_fault

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
        LakeInUse: a command elsewhere works on this lake.
        ModelNotFound: all models to evaluate come from the hub, and it cannot be reached.
        TaskUnknown: a benchmark names a task, metric or filter that lm-eval does not have.
        CommandError: a stage failed; what earlier stages made stays and is not made again.
        RegistryError: `again` names a model or a benchmark that the registry does not have, or does not have it asked.
    """
    workspace = replace(workspace, progress=console.progress)
    with exclusive(workspace), dg.DagsterInstance.get() as instance:
        make_runner = ClusterRunner if runs_elsewhere(instance) else LocalRunner
        runner = make_runner(settings, workspace, instance, console)
        for damage in workspace.lake.mend():
            console.warn(str(damage))
        if workspace.database.exists() and (fault := find_fault(workspace.database)):
            console.warn(f"{workspace.database} {fault}: it is made again from the lake")
            publish(workspace.lake, workspace.database)
            workspace.share(workspace.database)
        register_models(instance, (model.name for model in workspace.registry.models))
        chain = _Chain(workspace, instance, runner, console, full, again, LocalState(workspace, ask_hub=check))
        while runner.attempt(chain.step):
            pass
        fetch_results(workspace)
    failed = tuple(outcome.model for outcome in chain.outcomes.values() if not outcome.succeeded)
    later = tuple(key.to_user_string() for one in chain.planned if one.waits == LATER for key in one.assets)
    return ChainResult(len(chain.outcomes), failed, bool(chain.made), later)


@dataclass
class _Chain:
    """What is done, step by step, until nothing is due."""

    workspace: Workspace
    instance: dg.DagsterInstance
    runner: Runner
    console: Console
    full: bool
    again: Again | None
    local: LocalState
    planned: list[Request] = field(default_factory=list)
    outcomes: dict[str, Outcome] = field(default_factory=dict)  # by model
    made: set[str] = field(default_factory=set)  # digests of what was refreshed, which is not done twice

    def step(self) -> bool:
        """Do what is to be done next: ask all models that are due, or else make what can be made at once, or else wait
        for what others do. Return False where there is nothing."""
        workspace, instance = self.workspace, self.instance
        follow_move(workspace)
        self.planned = plan(
            workspace, instance, full=self.full, retry_by=WHENEVER, local=self.local, leave_out=self.outcomes
        )
        due = _choose(self.planned, workspace, again=self.again, asked=self.outcomes, made=self.made)
        if not due and not self.runner.is_busy():
            return False
        for event in find_changed(workspace, instance):
            instance.report_runless_asset_event(event)
        if not due:
            self._keep(self.runner.evaluate((), again=()))
        elif due[0].model:
            self._keep(_evaluate(due, self.again, self.runner, workspace, self.console))
        else:
            (request,) = due
            self.runner.refresh(request)
            self.made.add(request.digest)
        for sentence in self.local.unknown:
            self.console.warn(f"cannot be compared: {sentence}")
        self.local = LocalState(workspace)  # elsewhere one look is enough
        return True

    def _keep(self, outcomes: Sequence[Outcome]) -> None:
        self.outcomes |= {outcome.model: outcome for outcome in outcomes}


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
    runner: Runner,
    workspace: Workspace,
    console: Console,
) -> list[Outcome]:
    from harness.identity import check_hub
    from harness.tasks import TaskIndex

    # An unknown task or a hub out of reach ends the run here: one sentence instead of a failure for each model.
    check_hub([workspace.registry.model(request.model) for request in due if request.model])
    asked = {name for request in due for name in request.benchmarks}
    index = TaskIndex(workspace.registry.tasks_dir)
    index.check(benchmark for benchmark in workspace.registry.benchmarks if benchmark.name in asked)
    known = workspace.lake.not_applicable().to_pylist()
    outcomes = runner.evaluate(due, again={again.model} if again else set())
    new = [pair for pair in workspace.lake.not_applicable().to_pylist() if pair not in known]
    for model in dict.fromkeys(pair["model"] for pair in new):
        of_model = [pair for pair in new if pair["model"] == model]
        names = ", ".join(pair["benchmark"] for pair in of_model)
        console.say(f"  {model} is not asked {names}: {of_model[0]['reason']}")
    return outcomes
