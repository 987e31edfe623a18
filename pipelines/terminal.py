"""What the commands share: the home they work on, and how they print."""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
import sys
from typing import Any, TextIO

import pyarrow as pa
from rich.console import Console
from rich.table import Table

from assets.versions import serving
from assets.workspace import Workspace

from .settings import Settings, open_workspace


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


class CommandError(RuntimeError):
    """What was asked cannot be done; the message says why and what to do instead."""


def open_settings(**overrides: Any) -> Settings:
    """Settings of this command, and the home in today's layout."""
    from .cli_lake import migrate_if_needed

    settings = Settings(**overrides)
    if settings.lake is None:
        migrate_if_needed(settings.home)
    return settings


def open_home(**overrides: Any) -> tuple[Settings, Workspace]:
    """Settings and workspace of this command; `overrides` count more than the environment."""
    settings = open_settings(**overrides)
    workspace = open_workspace(settings)
    version = serving(workspace.lake) if settings.lake else None
    workspace.fetch(workspace.database, workspace.report, *([workspace.embedders / version] if version else []))
    return settings, workspace


def command() -> str:
    """How this program is called from where the user stands."""
    return "embedllm" if shutil.which("embedllm") else ".venv/bin/embedllm"


def table_of(rows: pa.Table, title: str | None = None) -> Table:
    """Rows as a table of the terminal, numbers to the right."""
    table = Table(title=title, title_justify="left")
    for number, field in enumerate(rows.schema):
        numeric = pa.types.is_floating(field.type) or pa.types.is_integer(field.type)
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
