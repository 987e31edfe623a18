"""Rows out, and upkeep of the lake: `embedllm sql`, `tables`, `describe` and `lake`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pipelines.console import Console, out, say, show, table_of, write_csv
from pipelines.errors import CommandError

from .home import open_results
from .interrupts import stops_at_once

if TYPE_CHECKING:
    import pyarrow as pa

OUTPUT = Annotated[Literal["table", "csv", "json"], typer.Option("--format", "-f", help="How to print the rows.")]

lake_app = typer.Typer(no_args_is_help=True, help="Upkeep of the lake.")


@stops_at_once()
def sql(
    statement: Annotated[str, typer.Argument(help="DuckDB queries, in quotes; several are parted by semicolons.")],
    output: OUTPUT = "table",
) -> None:
    """Query the warehouse. `embedllm tables` lists what there is, and `embedllm describe TABLE` its columns."""
    import duckdb

    from warehouse.database.read import query_each

    try:
        found = query_each(open_results().database, statement)
    except duckdb.Error as error:
        raise CommandError(f"the query failed: {error}") from error
    if output != "table" and len(found) > 1:
        raise CommandError(f"{output} holds the rows of one query, and these are {len(found)}: give them one by one.")
    for rows in found:
        _print(rows, output)


@stops_at_once()
def list_tables(output: OUTPUT = "table") -> None:
    """What the warehouse has: every table and view, how many rows a table has, and what a row is."""
    from warehouse.database import read

    _print(read.list_tables(open_results().database), output)


@stops_at_once()
def describe(
    table: Annotated[str, typer.Argument(help="A table or a view of the warehouse.", show_default=False)],
    output: OUTPUT = "table",
) -> None:
    """What the columns of a table of the warehouse mean."""
    from warehouse.database.read import describe_table

    _print(describe_table(open_results().database, table), output)


def _print(rows: pa.Table, output: str) -> None:
    if output == "table":
        show(table_of(rows))
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
