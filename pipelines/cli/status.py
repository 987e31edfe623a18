"""`embedllm status`: how far everything is, on one screen."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table

from pipelines.console import out, show
from pipelines.errors import CommandError

from .home import open_home, open_settings
from .interrupts import stops_at_once

if TYPE_CHECKING:
    import dagster as dg

    from assets.inputs.workspace import Workspace

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Status:
    """What there is and what is left. Evaluations are pairs of a model and a benchmark that the registry asks for."""

    home: str
    lake: str
    serving: str | None  # version of the embedder that routes
    evaluations: int
    done: int
    failed: int
    missing: int
    imported: int  # pairs whose answers were imported
    runs_queued: int
    runs_at_work: int
    runs_succeeded: int  # in the last day
    runs_failed: int  # in the last day
    evaluated_last_hour: int
    answers_last_hour: int
    estimated_end: str | None  # at the pace of the last hour, UTC; None where nothing is left or nothing moves


@stops_at_once()
def status(
    output: Annotated[Literal["table", "json"], typer.Option("--format", "-f", help="How to print it.")] = "table",
) -> None:
    """How far everything is: evaluations, runs, the pace of the last hour, and when it ends at that pace."""
    settings = open_settings()
    if settings.lake is None and not settings.home.exists():
        raise CommandError(
            f"There is no {settings.home}; `embedllm demo`, `import` or `run` makes it. Set EMBEDLLM_HOME if your home "
            "is another folder."
        )
    import dagster as dg

    from pipelines.instance import use_home

    _, workspace = open_home()
    use_home(settings)
    with dg.DagsterInstance.get() as instance:
        found = find_status(workspace, instance, datetime.now(UTC))
    if output == "json":
        out.file.write(json.dumps(asdict(found), indent=1) + "\n")
    else:
        show(_table(found))


def find_status(workspace: Workspace, instance: dg.DagsterInstance, now: datetime) -> Status:
    """Return what lake and Dagster tell; nothing is looked up elsewhere."""
    import dagster as dg

    from assets.inputs.versions import serving
    from pipelines.instance import UNFINISHED
    from warehouse.lake.events import EVALUATION

    registry, lake = workspace.registry, workspace.lake
    in_full = [model for model in registry.models if model.budget is None]
    asked = {(benchmark.name, model.name) for model in in_full for benchmark in registry.benchmarks_of(model)}
    asked -= {(row["benchmark"], row["model"]) for row in lake.not_applicable().to_pylist()}
    failed = {(row["benchmark"], row["model"]) for row in lake.failures().to_pylist()} & asked
    answers = lake.now().answers
    done = asked & answers.keys() - failed
    recent = [
        event for event in answers.values() if event.source == EVALUATION and event.recorded_at > now - HOUR and event.n
    ]
    left = len(asked) - len(done)
    end = now + HOUR * left / len(recent) if left and recent else None

    def count(statuses: list[dg.DagsterRunStatus], since: datetime | None = None) -> int:
        return instance.get_runs_count(dg.RunsFilter(statuses=statuses, updated_after=since))

    queued = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED]
    return Status(
        home=str(workspace.home),
        lake=str(lake.address),
        serving=serving(lake),
        evaluations=len(asked),
        done=len(done),
        failed=len(failed),
        missing=left - len(failed),
        imported=sum(event.source != EVALUATION for event in answers.values()),
        runs_queued=count(queued),
        runs_at_work=count([status for status in UNFINISHED if status not in queued]),
        runs_succeeded=count([dg.DagsterRunStatus.SUCCESS], now - DAY),
        runs_failed=count([dg.DagsterRunStatus.FAILURE], now - DAY),
        evaluated_last_hour=len(recent),
        answers_last_hour=sum(event.n or 0 for event in recent),
        estimated_end=end.strftime("%Y-%m-%d %H:%M") if end else None,
    )


def _table(found: Status) -> Table:
    table = Table(show_header=False)
    more = f", and {found.imported:,} imported" if found.imported else ""
    left = found.missing + found.failed
    table.add_row("home", found.home)
    table.add_row("lake", found.lake)
    table.add_row("serving embedder", found.serving or "none yet")
    table.add_row("evaluations", f"{found.done:,} of {found.evaluations:,} done{more}")
    table.add_row("left", f"{found.missing:,} missing, {found.failed:,} failed" if left else "nothing")
    table.add_row("runs", f"{found.runs_queued:,} in the queue, {found.runs_at_work:,} at work")
    table.add_row("runs of the last day", f"{found.runs_succeeded:,} succeeded, {found.runs_failed:,} failed")
    table.add_row(
        "last hour", f"{found.evaluated_last_hour:,} evaluations, {found.answers_last_hour / 60:,.1f} answers a minute"
    )
    if left:
        table.add_row("end at this pace", f"{found.estimated_end} UTC" if found.estimated_end else "nothing moves")
    return table
