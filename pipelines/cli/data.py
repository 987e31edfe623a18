"""Rows out, and upkeep of the lake: `embedllm sql` and `lake`."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import typer

from pipelines.console import Console, out, say, table_of, write_csv
from pipelines.errors import CommandError

from .home import open_results
from .interrupts import stops_at_once

lake_app = typer.Typer(no_args_is_help=True, help="Upkeep of the lake.")


@stops_at_once()
def sql(
    statement: Annotated[str, typer.Argument(help="One DuckDB query, in quotes.")],
    output: Annotated[
        Literal["table", "csv", "json"], typer.Option("--format", "-f", help="How to print the rows.")
    ] = "table",
) -> None:
    """Query the warehouse. Tables: models, benchmarks, questions, responses, leaderboard, forecasts, predictions, …"""
    import duckdb

    from warehouse.database.read import query

    try:
        rows = query(open_results().database, statement)
    except duckdb.Error as error:
        raise CommandError(f"the query failed: {error}") from error
    if output == "table":
        out.print(table_of(rows))
    elif output == "csv":
        write_csv(rows, out.file)
    else:
        out.file.write(json.dumps(rows.to_pylist(), default=str, ensure_ascii=False, indent=1) + "\n")


@lake_app.command("compact")
def compact() -> None:
    """Make few large files of many small ones, and remove what nobody has needed for a day (weekly, by itself)."""
    lake = open_results().lake
    with Console() as console:
        lake.compact(console.progress)
    say(f"{lake.address} is compact.")


@lake_app.command("migrate")
def migrate() -> None:
    """Bring over a lake of the layout before this one; any other command does it by itself."""
    say(f"{open_results().lake.address} is of today's layout.")
