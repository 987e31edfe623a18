"""`embedllm lake`: upkeep of the lake."""

from __future__ import annotations

from pathlib import Path

import typer

from .terminal import open_results, out

lake_app = typer.Typer(no_args_is_help=True, help="Upkeep of the lake.")


@lake_app.command("compact")
def compact() -> None:
    """Make few large files of many small ones, and remove what nobody has needed for a day (weekly, by itself)."""
    from .console import Console

    lake = open_results().lake
    with Console() as console:
        lake.compact(console.progress)
    out.print(f"{lake.address} is compact.", soft_wrap=True, highlight=False)


@lake_app.command("migrate")
def migrate() -> None:
    """Bring over a lake of the layout before this one; any other command does it by itself."""
    out.print(f"{open_results().lake.address} is of today's layout.", soft_wrap=True, highlight=False)


def migrate_if_needed(home: Path) -> None:
    """Says in one sentence what it did, if anything."""
    folder = home / "lake"
    if (folder / "questions" / "_delta_log").exists():  # of today's layout, as most are: nothing need be loaded
        return
    from warehouse.lake.migrate import is_of_files, migrate

    if not is_of_files(folder):
        return
    from pipelines.local.instance import exclusive

    from .console import Console

    with exclusive(home), Console() as console:
        kept = migrate(folder, console.progress)
    if kept:
        text = f"The lake has a new layout; the files of the old one are kept in {kept}, which can be deleted."
        out.print(text, soft_wrap=True, highlight=False)
