"""What runs at a fixed time, in UTC; each can be switched off in the UI under Automation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.conditions import ZOO, is_held, under_way
from assets.partitions import responses_key
from assets.staleness import stale
from assets.wanted import Want, wanted
from assets.workspace import Workspace

from .jobs import REASON, compact_lake

if TYPE_CHECKING:
    from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph

NIGHTLY, WEEKLY, COMPACTION = "0 3 * * *", "0 4 * * 0", "0 5 * * 0"
EVERYTHING = dg.AssetSelection.all()
HELD = "An embedllm command is at work on this home."
CHECK = "weekly: are weights and tasks what they were?"

Requests = Iterator[dg.RunRequest | dg.SkipReason]


def build_schedules(open_workspace: Callable[[], Workspace]) -> list[dg.ScheduleDefinition]:
    """What the sensors leave: failures, which they do not repeat, and what is too expensive for every change."""

    @dg.schedule(
        name="nightly_retry",
        description="Asks again what is missing or failed, where its back-off is over, or makes what is out of date.",
        cron_schedule=NIGHTLY,
        execution_timezone="UTC",
        target=EVERYTHING,
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
    def nightly_retry(context: dg.ScheduleEvaluationContext) -> Requests:
        yield from _nightly(open_workspace(), context)

    @dg.schedule(
        name="weekly_full_refresh",
        description="Compares every answer with weights and tasks as they are now, and refreshes what is expensive.",
        cron_schedule=WEEKLY,
        execution_timezone="UTC",
        target=EVERYTHING,
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
    def weekly_full_refresh(context: dg.ScheduleEvaluationContext) -> Requests:
        yield from _weekly(open_workspace(), context)

    weekly_compaction = dg.ScheduleDefinition(
        name="weekly_compaction",
        description="Makes few large files of the lake's many small ones, and removes what nobody needs any more.",
        cron_schedule=COMPACTION,
        execution_timezone="UTC",
        job=compact_lake,
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
    return [nightly_retry, weekly_full_refresh, weekly_compaction]


def _nightly(workspace: Workspace, context: dg.ScheduleEvaluationContext) -> Requests:
    if is_held(workspace):
        yield dg.SkipReason(HELD)
        return
    busy, now = under_way(context.instance), context.scheduled_execution_time
    due = {model: [want for want in wants if want.is_due(now)] for model, wants in wanted(workspace).items()}
    asked = [_evaluation(model, wants, context) for model, wants in due.items() if wants and model not in busy]
    if asked:
        yield from asked  # what is made of the answers follows them
    elif busy:
        yield dg.SkipReason("What is missing or out of date is being made already.")
    elif (reasons := stale(workspace, _graph(context))) and workspace.lake.pairs():
        yield _refresh(reasons, context)
    else:
        yield dg.SkipReason("Nothing is missing, and nothing failed whose back-off is over.")


def _weekly(workspace: Workspace, context: dg.ScheduleEvaluationContext) -> Requests:
    if is_held(workspace):
        yield dg.SkipReason(HELD)
        return
    busy, now = under_way(context.instance), context.scheduled_execution_time
    reasons = stale(workspace, _graph(context), full=True)
    later = {model: {w.benchmark for w in wants if not w.is_due(now)} for model, wants in wanted(workspace).items()}
    cannot = {(pair["benchmark"], pair["model"]) for pair in workspace.lake.not_applicable().to_pylist()}
    for model in () if ZOO in reasons else workspace.registry.models:
        asked = [benchmark.name for benchmark in workspace.registry.benchmarks_of(model)]
        waiting = later.get(model.name, ())
        benchmarks = [name for name in asked if name not in waiting and (name, model.name) not in cannot]
        if benchmarks and model.name not in busy:
            yield _request(f"{model.name} asked", [responses_key(b) for b in benchmarks], CHECK, context, model.name)
    if reasons and workspace.lake.pairs():
        yield _refresh(reasons, context)


def _graph(context: dg.ScheduleEvaluationContext) -> BaseAssetGraph[Any]:
    return context.repository_def.asset_graph  # pyright: ignore[reportOptionalMemberAccess]


def _evaluation(model: str, wants: list[Want], context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    assets = [responses_key(want.benchmark) for want in wants]
    return _request(f"{model} asked", assets, "; ".join(map(str, wants)), context, model)


def _refresh(reasons: dict[dg.AssetKey, str], context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    first = [f"{key.to_user_string()}: {reason}" for key, reason in reasons.items()][:3]
    return _request("refresh", list(reasons), "; ".join(first), context)


def _request(
    what: str, assets: list[dg.AssetKey], reason: str, context: dg.ScheduleEvaluationContext, model: str | None = None
) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=f"{context.scheduled_execution_time:%Y-%m-%d %H:%M} {what}",  # once, however often the daemon starts
        asset_selection=assets,
        partition_key=model,
        tags={REASON: reason},
    )
