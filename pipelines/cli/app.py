"""`embedllm`: every command, and how a command ends that goes wrong."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from pipelines.console import as_typed, say
from pipelines.errors import explain

from .ask import report, route
from .benchmarks import benchmarks_app
from .data import describe, lake_app, list_tables, sql
from .embedders import embedders_app
from .export import export
from .imports import import_, imports_app
from .interrupts import leave_if_unread
from .models import models_app
from .onboard import onboard
from .run import check, demo, run, show_plan, ui
from .serve import serve
from .status import status


class _Commands(TyperGroup):
    """Errors that a user can mend end in one sentence, not in a traceback."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        os.environ["PYTHONSAFEPATH"] = "1"  # worker processes, too, import nothing that lies where the user stands
        try:
            return super().main(*arguments, **options)
        finally:
            try:
                if sys.stdout:
                    sys.stdout.flush()
            except BrokenPipeError:
                leave_if_unread()

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            leave_if_unread()
            raise
        except Exception as error:
            if (sentence := explain(error)) is None:
                raise
            typer.secho(f"embedllm: {as_typed(sentence)}", err=True, fg=typer.colors.RED)
        raise typer.Exit(1)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        say(f"embedllm {version('embedllm')}")
        raise typer.Exit


app = typer.Typer(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    help="Embeddings of language models, learnt from which benchmark questions they answer right. "
    "All state lies in $EMBEDLLM_HOME (default ./data).",
)


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Say the version, and exit.")
    ] = False,
) -> None:
    pass


COMMANDS = {
    "demo": demo,
    "import": import_,
    "export": export,
    "run": run,
    "plan": show_plan,
    "status": status,
    "route": route,
    "serve": serve,
    "onboard": onboard,
    "sql": sql,
    "tables": list_tables,
    "describe": describe,
    "report": report,
    "check": check,
    "ui": ui,
}
GROUPS = {
    "models": models_app,
    "benchmarks": benchmarks_app,
    "imports": imports_app,
    "embedders": embedders_app,
    "lake": lake_app,
}
for name, function in COMMANDS.items():
    app.command(name)(function)
for name, group in GROUPS.items():
    app.add_typer(group, name=name)
