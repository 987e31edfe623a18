"""Where published results come from: a file, a folder with train/val/test, or a data set of the hub."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import duckdb

from warehouse.database import identifier, literal
from warehouse.errors import ImportRefused, first_line
from warehouse.questions import SPLITS

__all__ = ["ResultFile", "Source", "columns_of", "digest_of", "find_source", "scan"]

SUFFIXES = (".csv", ".parquet")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_LONGEST_LINE = 8 * 2**20  # bytes; DuckDB's own limit is 2 MB
_BUFFER = 2 * _LONGEST_LINE  # DuckDB's own choice, 16 lines of the longest kind, would take more than its memory


@dataclass(frozen=True)
class ResultFile:
    path: Path
    split: str | None = None  # of all its questions; None where the file does not say by its name


@dataclass(frozen=True)
class Source:
    name: str  # the same for a later import of the same thing: absolute path or hub id
    files: tuple[ResultFile, ...]


def find_source(source: str) -> Source:
    """The files of `source`, which are downloaded where it is a hub data set id. Raises ImportRefused."""
    path = Path(source).expanduser()
    if path.is_dir():
        return Source(str(path.resolve()), _split_files(path, source))
    if path.is_file():
        return Source(str(path.resolve()), (ResultFile(checked_file(path)),))
    if _HUB_ID.fullmatch(source) and path.suffix not in SUFFIXES:
        return Source(source, _split_files(_download(source), source))
    raise ImportRefused(source, ["there is no such file or folder, and it is no hub data set id (owner/name)"])


def checked_file(path: Path) -> Path:
    """`path`, if it is a CSV or Parquet file that is not empty."""
    if not path.is_file():
        raise ImportRefused(path, ["there is no such file"])
    if path.suffix not in SUFFIXES:
        raise ImportRefused(path, [f"it ends in {path.suffix or 'nothing'}; it must be a .csv or .parquet file"])
    if path.stat().st_size == 0:
        raise ImportRefused(path, ["it is empty"])
    return path


def _split_files(folder: Path, source: str) -> tuple[ResultFile, ...]:
    files, problems = [], []
    for split in SPLITS:
        found = [path for suffix in SUFFIXES if (path := folder / f"{split}{suffix}").is_file()]
        if len(found) == 1:
            files.append(ResultFile(checked_file(found[0]), split))
        else:
            problems.append(f"it has {'two files' if found else 'no file'} {split}.csv or {split}.parquet")
    if problems:
        problems.append("a folder needs one of each; a single file can be imported by its own path")
        raise ImportRefused(source, problems)
    return tuple(files)


def _download(hub_id: str) -> Path:
    from httpx2 import HTTPError
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HFValidationError

    wanted = [f"{split}{suffix}" for split in SPLITS for suffix in SUFFIXES]
    try:
        return Path(snapshot_download(hub_id, repo_type="dataset", allow_patterns=wanted))
    except (OSError, HTTPError, HFValidationError) as error:
        problem = (
            f"it is no local file or folder, and as a data set it could not be downloaded from "
            f"{constants.ENDPOINT} ({first_line(error)}); check the name, the network and, for a gated or "
            f"private data set, HF_TOKEN"
        )
        raise ImportRefused(hub_id, [problem]) from error


def columns_of(connection: duckdb.DuckDBPyConnection, path: Path, needed: Collection[str]) -> list[str]:
    """The file's columns. Raises ImportRefused where it cannot be read or lacks some of `needed`."""
    try:
        if path.suffix == ".csv":
            with path.open("rb") as file:
                columns = next(csv.reader([file.readline(_LONGEST_LINE).decode("utf-8-sig")]), [])
        else:
            columns = connection.sql(f"FROM read_parquet({literal(path)}) LIMIT 0").columns
    except (duckdb.Error, OSError, UnicodeDecodeError, csv.Error) as error:
        raise ImportRefused(path, [f"it cannot be read ({first_line(error)})"]) from error
    missing = [name for name in needed if name not in columns]
    if missing:
        raise ImportRefused(
            path,
            [f"the columns {', '.join(missing)} are missing; it has {', '.join(columns) or 'no columns'}"],
        )
    if len(set(columns)) < len(columns):
        raise ImportRefused(path, [f"a column stands twice: {', '.join(columns)}"])
    return columns


def scan(path: Path, columns: Iterable[str], wanted: Iterable[str]) -> str:
    """A SQL relation: `_row`, 1 for the first row of data, and the `wanted` of the file's columns as text."""
    texts = ", ".join(f"{identifier(name)}::VARCHAR AS {identifier(name)}" for name in wanted)
    if path.suffix == ".parquet":
        rows = f"read_parquet({literal(path)}, file_row_number = true)"
        return f"(SELECT file_row_number + 1 AS _row, {texts} FROM {rows})"
    # The format is said, not guessed: a guess would depend on what stands in the first rows.
    types = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in columns)
    rows = f"""read_csv({literal(path)}, auto_detect = false, header = true, delim = ',', quote = '"',
        escape = '"', max_line_size = {_LONGEST_LINE}, buffer_size = {_BUFFER},
        columns = {{{types}}})"""
    return f"(SELECT row_number() OVER () AS _row, {texts} FROM {rows})"


def digest_of(paths: Iterable[Path]) -> str:
    """SHA-256 over the contents of files."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
