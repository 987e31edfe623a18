"""Published results in, rows out, and upkeep of the lake: `embedllm import`, `sql` and `lake`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pipelines.console import Console, out, say, table_of, write_csv
from pipelines.errors import CommandError

from .home import open_home, open_results
from .interrupts import stops_at_once

if TYPE_CHECKING:
    from collections.abc import Mapping

OFTEN = 0.1  # share of questions that lack what they speak of: complete multiple-choice questions have .001

lake_app = typer.Typer(no_args_is_help=True, help="Upkeep of the lake.")


@stops_at_once("an import is all or nothing, the same command does what is missing")
def import_(
    source: Annotated[
        str, typer.Argument(help="CSV or Parquet file, folder of parts or of train/val/test, or hub data set id.")
    ],
    split: Annotated[Path | None, typer.Option(help="Table prompt_id, split (CSV or Parquet).")] = None,
    models: Annotated[Path | None, typer.Option(help="Table of model labels: model_name, family, size_b, …")] = None,
    on_conflict: Annotated[
        Literal["refuse", "majority", "drop", "first"],
        typer.Option(help="Of two labels for one answer: refuse, or the majority, none, the first."),
    ] = "refuse",
    resplit: Annotated[bool, typer.Option("--resplit", help="The same split for questions of the same text.")] = False,
) -> None:
    """Bring in published results (the EmbedLLM layout), all or nothing; the same file again changes nothing."""
    from harness.registry import benchmark_name_fault, model_name_fault
    from pipelines.instance import exclusive
    from warehouse.imports.ingest import import_results

    settings, workspace = open_home()
    with exclusive(settings.home), Console() as console:
        summary = import_results(
            workspace.lake,
            source,
            split=split,
            models=models,
            benchmark_of=workspace.registry.benchmark_of,
            model_fault=model_name_fault,
            benchmark_fault=benchmark_name_fault,
            on_conflict=on_conflict,
            resplit=resplit,
            progress=console.progress,
        )
    say(
        f"{'Imported' if summary.changed else 'Nothing new in'} {source}: {summary.rows:,} answers of "
        f"{summary.models} models to {summary.questions:,} questions in {summary.benchmarks} benchmarks.\n"
        + ("Next: `embedllm run`" if summary.changed else "The lake holds them all already; nothing has changed.")
    )
    if summary.resolved:
        say(f"{summary.resolved:,} answers had two labels; decided by --on-conflict {on_conflict}.")
    if summary.resplit:
        say(f"{summary.resplit:,} questions got the split of another with the same text.")
    _warn_of_lacking(summary.lacking)


def _warn_of_lacking(lacking: Mapping[str, tuple[int, int]]) -> None:
    """Warn where a benchmark's questions often lack what they speak of; most such questions do not show it."""
    often = {name: counts for name, counts in lacking.items() if counts[0] >= OFTEN * counts[1]}
    if not often:
        return
    names = sorted(often, key=lambda name: -often[name][0] / often[name][1])
    several = f" and {len(names) - 3} more benchmarks" if len(names) > 3 else ""
    found, asked = (sum(counts) for counts in zip(*often.values(), strict=True))
    say(
        f"Warning: {found / asked:.0%} of the {asked:,} questions of {', '.join(names[:3])}{several} ask to choose "
        "among options, or speak of a picture, that their text does not show. Put all that the models were shown into "
        "the column prompt: forecasts are better for it (docs/import.md)."
    )


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
