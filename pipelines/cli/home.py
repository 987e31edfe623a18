"""The home that a command works on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.console import Console, say

if TYPE_CHECKING:
    from pathlib import Path

    from assets.inputs.home import Home
    from assets.inputs.workspace import Workspace
    from pipelines.settings import Settings


def open_settings() -> Settings:
    """Return the settings of this command; a lake of the layout before this one is brought over first."""
    from pipelines.settings import Settings

    settings = Settings()
    if settings.lake is None:
        _migrate_if_needed(settings.home)
    return settings


def open_home() -> tuple[Settings, Workspace]:
    """Return the settings and the workspace of this command."""
    from pipelines.settings import open_workspace

    settings = open_settings()
    workspace = open_workspace(settings)
    _fetch(workspace)
    return settings, workspace


def open_results() -> Home:
    """Return the home of a command that only reads results: it needs no registry, and loads quickly."""
    from pipelines.settings import home_of

    home = home_of(open_settings())
    _fetch(home)
    return home


def _fetch(home: Home) -> None:
    if home.lake_address:  # else there is nothing to fetch, and nothing more to import
        from assets.inputs.versions import fetch_results

        fetch_results(home)


def _migrate_if_needed(home: Path) -> None:
    folder = home / "lake"
    if (folder / "questions" / "_delta_log").exists():  # as in most homes, for which nothing needs to be imported
        return
    from warehouse.lake.migrate import is_of_files, migrate

    if not is_of_files(folder):
        return
    from pipelines.instance import held_here

    with held_here(home), Console() as console:
        kept = migrate(folder, console.progress)
    if kept:
        say(f"The lake has a new layout; the files of the old one are kept in {kept}, which can be deleted.")
