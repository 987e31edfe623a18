"""From the files of a source to rows in the scratch database: tables of EmbedLLM's layout, or logs by their readers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath

import duckdb

from warehouse.errors import ImportRefused

from .layout import read_layout
from .log_files import Places, find_files
from .logs import Progress, claim_files, read_logs
from .published import Results
from .readers import all_readers
from .readers.described import columns_of, format_described
from .readers.reader import Choices, LogFile, Notes, Reader
from .sources import find_source, has_tables, holds_layout
from .tables import SUFFIXES

__all__ = ["read_results"]

LAYOUT = "embedllm"
"""The format of tables in the layout of EmbedLLM's authors."""

_SHOWN = 10  # tables that a message names, and columns of each


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
    described = format_described(choices)
    is_open = file_format is None and described is None  # nothing says which format it is
    is_layout = file_format == LAYOUT or (is_open and readers is None and any(map(holds_layout, places.places)))
    if is_layout and others:
        raise ImportRefused(places.name, ["it has tables with a row an answer among other sources; import each alone"])
    files = [] if is_layout and (first.path.is_file() or file_format) else find_files(places, folder, notes)
    claimed, unknown = claim_files(files, offered, choices)
    if is_layout or (is_open and not claimed and not others and has_tables(first)):
        tables = find_source(first)
        paths = [file.path for file in tables.files]
        _refuse_mixture(places.name, paths, claimed)
        notes.left_out.clear()
        return read_layout(scratch, folder, tables, split, choices.threshold), paths
    if split:
        raise ImportRefused(places.name, ["--split is for tables with a prompt_id; logs have none"])
    claimed = claimed or _as_told(file_format, choices, offered, unknown)
    if not claimed:
        raise ImportRefused(places.name, [_why_nothing_is_read(files, unknown, offered)])
    if described is not None and all(reader.format != described for reader in claimed):
        options = "--question and --model-columns" if described == "wide" else "--map"
        notes.remark(f"no file has the columns that {options} name.")
    read = {file.name for own in claimed.values() for file in own}
    _note_unknown([file for file in unknown if file.name not in read], notes)
    inputs = [file.path for own in claimed.values() for file in own]
    return read_logs(scratch, files, claimed, choices, notes, tell), inputs


def _readers_of(file_format: str | None, readers: Sequence[Reader], source: str) -> list[Reader]:
    """Return those of `readers` that read a format (None: any). Raises ImportRefused where none does."""
    found = [reader for reader in readers if file_format in (None, reader.format)]
    if not found and file_format != LAYOUT:
        formats = ", ".join([LAYOUT, *dict.fromkeys(reader.format for reader in readers)])
        raise ImportRefused(source, [f"there is no format {file_format}; choose one of {formats}"])
    return found


def _refuse_mixture(source: str, tables: Sequence[Path], claimed: Mapping[Reader, Sequence[LogFile]]) -> None:
    """Raise ImportRefused where a folder has other results than the tables of the layout, which nobody would read."""
    others = [file.name for own in claimed.values() for file in own if file.path not in tables]
    if others:
        names = [", ".join(some[:3]) + (", …" if len(some) > 3 else "") for some in (list(map(str, tables)), others)]
        raise ImportRefused(
            source,
            [
                f"it has tables with a row an answer ({names[0]}) and {len(others):,} files of other formats "
                f"({names[1]}); import each kind alone, by its own path, or the tables with --format {LAYOUT}"
            ],
        )


def _as_told(
    file_format: str | None, choices: Choices, offered: Sequence[Reader], files: Sequence[LogFile]
) -> dict[Reader, list[LogFile]]:
    """Return the files as the user says what they are, where no reader recognises them; that reader says what it
    misses."""
    if not files:
        return {}
    if file_format:
        return {offered[0]: list(files)}
    meant = next((reader for reader in offered if reader.format == format_described(choices)), None)
    tables = [file for file in files if columns_of(file)]
    return {meant: tables} if meant and tables else {}


def _why_nothing_is_read(files: Sequence[LogFile], unknown: Sequence[LogFile], offered: Sequence[Reader]) -> str:
    if tables := [file for file in unknown if _is_table(file)]:
        return _name_tables(tables)
    formats = ", ".join([LAYOUT, *dict.fromkeys(reader.format for reader in offered)])
    return (
        f"none of its files ({len(files)}) is of a known format: {formats}"
        if files
        else "it has no files, without hidden ones"
    )


def _note_unknown(unknown: Sequence[LogFile], notes: Notes) -> None:
    tables = []
    for file in unknown:
        if _is_table(file):
            tables.append(file)
            notes.leave_out(file, "tables whose columns are not known")
        else:
            notes.leave_out(file, "files of no known format")
    if tables:
        notes.remark(f"left out are {_name_tables(tables)}")


def _is_table(file: LogFile) -> bool:
    return PurePath(file.name).suffix.lower() in SUFFIXES and bool(columns_of(file))


def _name_tables(tables: Sequence[LogFile]) -> str:
    named = []
    for file in tables[:_SHOWN]:
        columns = sorted(columns_of(file))
        named.append(f"{file.name} ({', '.join(columns[:_SHOWN])}{', …' if len(columns) > _SHOWN else ''})")
    more = f" and {len(tables) - _SHOWN:,} more" if len(tables) > _SHOWN else ""
    return (
        f"tables whose columns are not known: {', '.join(named)}{more}; say which they are: --map "
        "prompt=…,model_name=…,label=… for a row an answer, --question and --model-columns for a row a question; "
        f"tables of the layout {LAYOUT} are imported alone"
    )
