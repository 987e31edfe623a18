"""What the commands share: the home they work on, and how they print."""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
import sys
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    import pyarrow as pa

    from assets.inputs.home import Home
    from assets.inputs.workspace import Workspace
    from pipelines.settings import Settings


class _Output(Console):
    """Standard output."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))  # `embedllm` ends in its own way


WIDE = 10_000  # columns, where no terminal cuts what is printed
# Names and questions are shown as they are.
out = _Output(
    highlight=False,
    markup=False,
    width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDE,
)


def open_settings() -> Settings:
    """Settings of this command, and the home in today's layout."""
    from pipelines.settings import Settings

    from .lake import migrate_if_needed

    settings = Settings()
    if settings.lake is None:
        migrate_if_needed(settings.home)
    return settings


def open_home() -> tuple[Settings, Workspace]:
    """Settings and workspace of this command."""
    from pipelines.settings import open_workspace

    settings = open_settings()
    workspace = open_workspace(settings)
    _fetch(workspace)
    return settings, workspace


def open_results() -> Home:
    """The home of a command that reads what was made: it needs no registry, and loads quickly."""
    from pipelines.settings import home_of

    home = home_of(open_settings())
    _fetch(home)
    return home


def _fetch(home: Home) -> None:
    """What others with this lake have made."""
    if home.lake_address:
        from assets.inputs.versions import serving

        version = serving(home.lake)
        home.fetch(home.database, home.report, *([home.embedders / version] if version else []))


def command() -> str:
    """How this program is called from where the user stands."""
    return "embedllm" if shutil.which("embedllm") else ".venv/bin/embedllm"


def table_of(rows: pa.Table, title: str | None = None) -> Table:
    """Rows as a table of the terminal, numbers to the right."""
    import pyarrow.types as types

    table = Table(title=title, title_justify="left")
    for number, field in enumerate(rows.schema):
        numeric = types.is_floating(field.type) or types.is_integer(field.type)
        # A row's name stays whole where the terminal is narrow.
        table.add_column(field.name, justify="right" if numeric else "left", no_wrap=number == 0)
    for row in rows.to_pylist():
        table.add_row(*(cell(value) for value in row.values()))
    return table


def write_csv(rows: pa.Table, file: TextIO) -> None:
    """Rows as CSV with a header: null is empty, a list or a struct is JSON."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(rows.column_names)
    for batch in rows.to_batches(max_chunksize=10_000):
        writer.writerows([_csv_cell(value) for value in row.values()] for row in batch.to_pylist())


def _csv_cell(value: object) -> object:
    return json.dumps(value, default=str, ensure_ascii=False) if isinstance(value, list | dict) else value


def cell(value: object) -> str:
    """A value as a table of the terminal shows it."""
    if value is None:
        return "NULL"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
