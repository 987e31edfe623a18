"""`embedllm benchmarks`: which benchmarks the registry has, and whether lm-eval knows their tasks."""

from __future__ import annotations

import typer
from rich.table import Column, Table

from pipelines.console import out, say, show

from .home import open_home

benchmarks_app = typer.Typer(no_args_is_help=True, help="The benchmarks of the registry in force.")


@benchmarks_app.command("list")
def list_benchmarks() -> None:
    """Every benchmark, its lm-eval tasks, and how many models have answered it."""
    _, workspace = open_home()
    done = workspace.lake.pairs()
    table = Table(Column("benchmark", no_wrap=True), "tasks", "metric", "filter", "models that answered")
    for benchmark in workspace.registry.benchmarks:
        answered = sum(name == benchmark.name for name, _ in done)
        table.add_row(benchmark.name, ", ".join(benchmark.tasks), benchmark.metric, benchmark.filter, str(answered))
    show(table)


@benchmarks_app.command("check")
def check_benchmarks() -> None:
    """Look every task up in lm-eval's index, before any model is loaded."""
    from harness.tasks import TaskIndex

    _, workspace = open_home()
    with out.status("reading lm-eval's task index"):
        TaskIndex(workspace.registry.tasks_dir).check(workspace.registry.benchmarks)
    say(f"All tasks of {len(workspace.registry.benchmarks)} benchmarks are known to lm-eval.")
