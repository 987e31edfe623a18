"""From the files of a source to rows in the scratch database: tables of EmbedLLM's layout, or logs by their readers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb

from warehouse.errors import ImportRefused

from .layout import read_layout
from .log_files import Places, find_files
from .logs import Progress, claim_files, read_logs
from .published import Results
from .readers import all_readers
from .readers.reader import Choices, Notes, Reader
from .sources import find_source, has_tables, holds_layout

__all__ = ["read_results"]

LAYOUT = "embedllm"
"""The format of tables in the layout of EmbedLLM's authors."""


def read_results(
    scratch: duckdb.DuckDBPyConnection,
    folder: Path,
    places: Places,
    file_format: str | None,
    readers: Sequence[Reader] | None,
    choices: Choices,
    split: Path | None,
    notes: Notes,
    tell: Progress,
) -> tuple[Results, Sequence[Path]]:
    """Return what the scratch database now holds, and the files that were read. `folder`: for copies."""
    first, *others = places.places
    offered = _readers_of(file_format, all_readers() if readers is None else readers, places.name)
    is_layout = file_format == LAYOUT or (
        file_format is None and readers is None and any(map(holds_layout, places.places))
    )
    if is_layout and others:
        raise ImportRefused(places.name, ["it has tables with a row an answer among other sources; import each alone"])
    files = [] if is_layout else find_files(places, folder, notes)
    claimed = claim_files(files, offered, notes)
    if is_layout or (file_format is None and not claimed and not others and has_tables(first)):
        tables = find_source(first)
        return read_layout(scratch, folder, tables, split, choices.threshold), [file.path for file in tables.files]
    if split:
        raise ImportRefused(places.name, ["--split is for tables with a prompt_id; logs have none"])
    if not claimed and file_format and files:
        notes.left_out.clear()
        claimed = {offered[0]: files}
    if not claimed:
        formats = ", ".join([LAYOUT, *dict.fromkeys(reader.format for reader in offered)])
        found = f"none of its files ({len(files)}) is of a known format: {formats}"
        raise ImportRefused(places.name, [found if files else "it has no files, without hidden ones"])
    inputs = [file.path for own in claimed.values() for file in own]
    return read_logs(scratch, files, claimed, choices, notes, tell), inputs


def _readers_of(file_format: str | None, readers: Sequence[Reader], source: str) -> list[Reader]:
    """Return those of `readers` that read a format (None: any). Raises ImportRefused where none does."""
    found = [reader for reader in readers if file_format in (None, reader.format)]
    if not found and file_format != LAYOUT:
        formats = ", ".join([LAYOUT, *dict.fromkeys(reader.format for reader in readers)])
        raise ImportRefused(source, [f"there is no format {file_format}; choose one of {formats}"])
    return found
