"""`embedllm plan`: what is due, and why."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from .terminal import open_home, out


def show_plan(
    full: Annotated[bool, typer.Option("--full", help="As `run --full`: expensive experiments do not wait.")] = False,
) -> None:
    """Say what `embedllm run` would do now, and why. Nothing is started or changed."""
    import dagster as dg

    from pipelines.automation.plan import plan
    from pipelines.local.chain import WHENEVER
    from pipelines.local.instance import follow_move, use_home

    settings, workspace = open_home()
    use_home(settings)
    follow_move(workspace)
    with dg.DagsterInstance.get() as instance:
        requests = plan(workspace, instance, full=full, retry_by=WHENEVER)
    if not requests:
        out.print("Nothing is due: every answer is there and everything made of them is up to date.")
        return
    table = Table("model", "asset", "why", "waits for", title="What is due", title_justify="left")
    for request in requests:
        for key, reason in request.reasons.items():
            table.add_row(request.model or "", key.to_user_string(), reason, request.waits or "")
    out.print(table)
    if any(request.model for request in requests):
        out.print("What is made of their answers is due once they are there.", soft_wrap=True)
