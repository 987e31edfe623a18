"""When an asset is made by itself.

Both conditions look at the lake and the registry as they are: they see what came while the daemon was down, and a lost
cursor or event log loses nothing. The event log only says what failed. The registry is read anew at every look.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import dagster as dg
from dagster._core.events import RunFailureReason
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES
from dagster._core.storage.tags import PARTITION_NAME_TAG, RUN_FAILURE_REASON_TAG

from warehouse.files import locked

from .partitions import MODELS, MODELS_PARTITION
from .staleness import stale
from .wanted import wanted_now
from .workspace import Workspace

if TYPE_CHECKING:
    from dagster._core.asset_graph_view.asset_graph_view import AssetGraphView

__all__ = ["ask_what_is_wanted", "is_held", "refresh_once_settled", "under_way"]

ACCIDENTS = 5  # kills in a row that are not put down to the asset itself
MATRIX, ZOO = dg.AssetKey("correctness_matrix"), dg.AssetKey("zoo")

Open = Callable[[], Workspace]
AC = dg.AutomationCondition


def ask_what_is_wanted(benchmark: str, open_workspace: Open) -> Wanted:
    """Of a benchmark's partitions: models that were never asked it, or whose entry has changed since.

    One that failed is not tried again until its entry changes, the night comes, or somebody asks for it.
    """
    return Wanted(benchmark, open_workspace)


def refresh_once_settled(open_workspace: Open) -> AC[dg.AssetKey]:
    """Of an unpartitioned asset: it is out of date, and nothing it depends on is still to come.

    After a failure it waits until something upstream is made again: the same would fail the same way. What a kill cut
    off is made again at once.
    """
    changed_since = (AC.any_deps_updated() | AC.code_version_changed()).since(AC.newly_requested())
    failed = AC.execution_failed() & FailedByItself(open_workspace)
    failed_before = (failed & ~changed_since).with_label("failed, and nothing has changed since")
    waiting = AC.any_deps_match(Stale(open_workspace) & ~AC.will_be_requested()).with_label("upstream is out of date")
    return (Stale(open_workspace) & ~MoreToCome(open_workspace) & ~failed_before & ~waiting).with_label(
        "out of date, once settled"
    )


class _LooksAround(AC[dg.AssetKey]):
    """A condition on what there is, whatever was before."""

    def __init__(self, open_workspace: Open) -> None:
        self.open = open_workspace

    def holds(self, key: dg.AssetKey, look: _Look) -> bool:
        """Of an unpartitioned asset."""
        raise NotImplementedError

    def look(self, context: dg.AutomationContext[dg.AssetKey]) -> _Look:
        return _look(self.open, context.asset_graph_view)  # of which there is one a tick

    def evaluate(self, context: dg.AutomationContext[dg.AssetKey]) -> dg.AutomationResult[dg.AssetKey]:  # pyright: ignore[reportIncompatibleMethodOverride]
        holds = not context.candidate_subset.is_empty and self.holds(context.key, self.look(context))
        return dg.AutomationResult(context, context.candidate_subset if holds else context.get_empty_subset())


class Wanted(_LooksAround):
    """Models that have to answer a benchmark now."""

    def __init__(self, benchmark: str, open_workspace: Open) -> None:
        super().__init__(open_workspace)
        self.benchmark = benchmark

    @property
    def description(self) -> str:
        return "never asked, or the registry's entry has changed since; and not being asked now"

    def evaluate(self, context: dg.AutomationContext[dg.AssetKey]) -> dg.AutomationResult[dg.AssetKey]:  # pyright: ignore[reportIncompatibleMethodOverride]
        view, look = context.asset_graph_view, self.look(context)
        models = {model for model, benchmarks in look.wanted.items() if self.benchmark in benchmarks} - look.under_way
        models &= set(view.instance.get_dynamic_partitions(MODELS_PARTITION))  # the others are about to be added
        subset = view.get_subset_from_partition_keys(context.key, MODELS, models)
        return dg.AutomationResult(context, context.candidate_subset.compute_intersection(subset))


class MoreToCome(_LooksAround):
    """Something is being made already; or it is made of answers, and some are to come, or there are none."""

    @property
    def description(self) -> str:
        return "models are being asked or will be, or a refresh is under way"

    def holds(self, key: dg.AssetKey, look: _Look) -> bool:
        if None in look.under_way:
            return True
        if not look.graph.get(key).parent_keys:  # what is made of nothing need not wait for answers
            return False
        answers = look.under_way or look.wanted or ZOO in look.stale
        return bool(answers) or (key == MATRIX and not look.workspace.lake.pairs())


class FailedByItself(_LooksAround):
    """A step of the asset's last run failed; or its last runs were killed, so many that it was no accident."""

    @property
    def description(self) -> str:
        return "a step failed, or time and again the process was killed"

    def holds(self, key: dg.AssetKey, look: _Look) -> bool:
        planned = dg.EventRecordsFilter(dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED, asset_key=key)
        last = look.instance.event_log_storage.get_event_records(planned, limit=ACCIDENTS)
        killed = [_was_killed(event.run_id, look.instance) for event in last]
        return not all(killed[:1]) or (len(killed) == ACCIDENTS and all(killed))


def _was_killed(run_id: str, instance: dg.DagsterInstance) -> bool:
    run = instance.get_run_by_id(run_id)
    if run is None:  # somebody has deleted it
        return True
    step_failed = run.tags.get(RUN_FAILURE_REASON_TAG) == RunFailureReason.STEP_FAILURE.value
    return run.status is dg.DagsterRunStatus.FAILURE and not step_failed


class Stale(_LooksAround):
    """The asset was made from something else than what is there now."""

    @property
    def description(self) -> str:
        return "its code, a setting, or what it is made from is not what it was"

    def holds(self, key: dg.AssetKey, look: _Look) -> bool:
        return key in look.stale


class _Look:
    """What a tick sees. While an `embedllm` command is at work, nothing: it does what would be done here."""

    def __init__(self, open_workspace: Open, view: AssetGraphView) -> None:
        self.workspace, self.graph, self.instance = open_workspace(), view.asset_graph, view.instance
        self.held = is_held(self.workspace)
        # Before anything else: what ends in between has left its answers, or is no longer out of date.
        self.under_way = under_way(self.instance)

    @cached_property
    def wanted(self) -> dict[str, list[str]]:
        return {} if self.held else wanted_now(self.workspace)

    @cached_property
    def stale(self) -> dict[dg.AssetKey, str]:
        return {} if self.held else stale(self.workspace, self.graph)


@lru_cache(maxsize=2)  # one a sensor: they look at the same time
def _look(open_workspace: Open, view: AssetGraphView) -> _Look:
    return _Look(open_workspace, view)


def under_way(instance: dg.DagsterInstance) -> set[str | None]:
    """The models whose evaluation runs or waits in the queue, and None where anything else does."""
    runs = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED, *IN_PROGRESS_RUN_STATUSES]))
    return {run.tags.get(PARTITION_NAME_TAG) for run in runs}


def is_held(workspace: Workspace) -> bool:
    """Whether an `embedllm` command is at work on the home."""
    with locked(workspace.command_lock, wait=False) as is_free:
        return not is_free
