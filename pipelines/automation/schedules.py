"""What runs at a fixed time, in UTC; each can be switched off in the UI under Automation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import dagster as dg

from assets.inputs.workspace import Workspace
from pipelines.jobs import catch_up, compact_lake

from .plan import plan
from .sensors import open_to_work, run_request

NIGHTLY, WEEKLY, COMPACTION = "0 3 * * *", "0 4 * * 0", "0 5 * * 0"
RUNNING = dg.DefaultScheduleStatus.RUNNING
at_a_fixed_time = partial(dg.schedule, execution_timezone="UTC", job=catch_up, default_status=RUNNING)

Requests = Iterator[dg.RunRequest | dg.SkipReason]


def build_schedules(open_workspace: Callable[[], Workspace]) -> list[dg.ScheduleDefinition]:
    """Return what does the rest of the work: sensors neither repeat failures nor start what is too expensive."""

    @at_a_fixed_time(
        description="Asks what is missing or may be tried again after a failure, and makes what is out of date.",
        cron_schedule=NIGHTLY,
    )
    def nightly_retry(context: dg.ScheduleEvaluationContext) -> Requests:
        return _start(open_workspace, context)

    @at_a_fixed_time(
        description="Compares every answer with weights and tasks as they are now, and refreshes what is expensive.",
        cron_schedule=WEEKLY,
    )
    def weekly_full_refresh(context: dg.ScheduleEvaluationContext) -> Requests:
        return _start(open_workspace, context, weekly=True)

    weekly_compaction = dg.ScheduleDefinition(
        name="weekly_compaction",
        description="Makes few large files of the lake's many small ones, and removes what nobody needs any more.",
        cron_schedule=COMPACTION,
        execution_timezone="UTC",
        job=compact_lake,
        default_status=RUNNING,
    )
    return [nightly_retry, weekly_full_refresh, weekly_compaction]


def _start(
    open_workspace: Callable[[], Workspace], context: dg.ScheduleEvaluationContext, *, weekly: bool = False
) -> Requests:
    workspace, at = open_to_work(open_workspace, context.instance), context.scheduled_execution_time
    if isinstance(workspace, dg.SkipReason):
        yield workspace
        return
    due = plan(workspace, context.instance, full=weekly, compare=weekly, retry_by=at)
    ready = [request for request in due if request.waits is None]
    for request in ready:  # once a night, however often the daemon starts
        yield run_request(request, f"{at:%Y-%m-%d %H:%M} {f'{request.model} asked' if request.model else 'refresh'}")
    if not ready:
        yield dg.SkipReason("; ".join(request.waits for request in due if request.waits) or "Nothing is due.")
