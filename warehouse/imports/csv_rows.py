"""CSV files as people write them, with any line ends; where a row is not whole, the message names it and the cause.

DuckDB reads a regular file, in which all rows end alike, quickly. Others are copied row by row to Parquet first.
"""

from __future__ import annotations

import csv
import mmap
import re
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.errors import ImportRefused

__all__ = ["LONGEST_LINE", "copy_rows", "is_regular", "read_header"]

LONGEST_LINE = 8 * 2**20  # bytes for DuckDB, whose own limit is 2 MB; characters for Python

_BATCH = 4 * 2**20  # characters that are copied together
_REGULAR_ROWS = [re.compile(rb'(?:[^"\r\n]++|"[^"]*+"|%s)*+' % end) for end in (rb"\n", rb"\r\n")]
"""All that may stand in a file, outside and inside quotes, whose rows end alike."""
_NOT_UTF8 = re.compile("[\udc80-\udcff]")  # what the error handler surrogateescape puts in the place of such bytes
_CAUSES = {
    "expected after": "a quote within a quoted field must be doubled",
    "unexpected end of data": "unterminated quote",
    "field larger": f"a field of more than {LONGEST_LINE:,} characters, perhaps because of an unterminated quote",
}
"""By what Python's reader says: what it means."""


def is_regular(path: Path) -> bool:
    """Return whether a CSV file begins with its header and every row ends in LF, or every one in CRLF.

    Quoted fields may hold any line breaks.
    """
    if path.stat().st_size == 0:
        return True
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if mapped[:4].removeprefix(BOM_UTF8).startswith((b"\n", b"\r")):
        return False
    return mapped.find(b"\r") < 0 or any(rows.fullmatch(mapped) for rows in _REGULAR_ROWS)


def read_header(path: Path) -> list[str]:
    """Return the first row of a CSV file; empty where there is none. Raises ImportRefused."""
    return next(_read_rows(path), [])


def copy_rows(path: Path, target: Path) -> None:
    """Write the rows of a CSV file to a Parquet file with text columns c0, c1, …

    Raises ImportRefused with the first row that is not whole (1 is the first below the header) and the cause.
    """
    rows = _read_rows(path)
    schema = pa.schema([(f"c{number}", pa.large_string()) for number in range(len(next(rows, [])))])
    with pq.ParquetWriter(target, schema, compression="zstd") as writer:
        for batch in _batches(rows):
            columns = [pa.array(column, pa.large_string()) for column in zip(*batch, strict=True)]
            writer.write_batch(pa.record_batch(columns, schema=schema))


def _read_rows(path: Path) -> Iterator[list[str]]:
    """Yield the header, then the rows of data; each ends in LF, CRLF or CR. Raises ImportRefused."""
    number = 0  # of the row that is being read; 0 is the header
    width = 0
    limit = csv.field_size_limit(LONGEST_LINE)
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            lines = _Lines(file)
            for row in csv.reader(lines, strict=True):
                if not row and width != 1:  # a blank line
                    continue
                width = width or len(row)
                if len(row) == width + 1 and not row[-1]:  # a comma at the end, which DuckDB takes as well
                    row.pop()
                if len(row or [""]) != width:
                    raise csv.Error(_explain_width(len(row), width, lines))
                yield row or [""]
                number += 1
    except csv.Error as error:
        cause = next((cause for said, cause in _CAUSES.items() if said in str(error)), str(error))
        where = f"row {number}" if number else "the header"
        raise ImportRefused(path, [f"it cannot be read ({where}: {cause})"]) from error
    finally:
        csv.field_size_limit(limit)


class _Lines:
    """The lines of a file that was opened with newline="", each with its line end."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.last = self.one_before = ""

    def __iter__(self) -> Iterator[str]:
        while line := self._file.readline(LONGEST_LINE):
            if len(line) == LONGEST_LINE:
                raise csv.Error(f"a line of more than {LONGEST_LINE:,} characters")
            if not line.isascii() and _NOT_UTF8.search(line):
                raise csv.Error("it is not UTF-8")
            self.one_before, self.last = self.last, line
            yield line


def _explain_width(found: int, expected: int, lines: _Lines) -> str:
    fields = f"{found} field{'s' if found > 1 else ''} instead of {expected}"
    if found > expected:
        return f"{fields}; a field that holds a comma must be quoted"
    if any(line.endswith("\r") for line in (lines.last, lines.one_before)):
        return f"{fields}; a carriage return (CR) ends a row unless its field is quoted"
    return f"{fields}; a field that holds a line break must be quoted"


def _batches(rows: Iterable[list[str]]) -> Iterator[list[list[str]]]:
    """Yield the rows in lists that are small enough for memory."""
    batch: list[list[str]] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += 50 * len(row) + sum(map(len, row))  # an empty text takes about 50 bytes, too
        if size > _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
