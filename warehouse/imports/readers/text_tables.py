"""Tables of a source as text: CSV, Parquet and JSON lines, whatever their names and endings."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.database.connect import identifier, literal, open_database
from warehouse.errors import ImportRefused, first_line
from warehouse.imports.csv_rows import LONGEST_LINE, read_header
from warehouse.imports.tables import DAMAGED_PARQUET, ImportedTable

from .reader import LogFile, Refusal

__all__ = ["TextTable", "grade_of", "header_of", "is_no_grade", "open_table", "stripped", "text_of"]

_MEMORY = "200MB"  # of DuckDB's buffers, next to those of the scratch database
_BATCH = 20_000  # rows that are handed on together
_BATCH_BYTES = 128 * 2**20  # of texts, if all were as long as the longest
_PARQUET = b"PAR1"
_BOM = b"\xef\xbb\xbf"


def stripped(text: str) -> str:
    """Return SQL of a text without the spaces and line breaks around it."""
    return f"trim({text}, chr(32) || chr(9) || chr(10) || chr(13))"


def grade_of(text: str) -> str:
    """Return SQL of a grade as text, as a number; null where it is none."""
    return f"CASE lower({stripped(text)}) WHEN 'true' THEN 1 WHEN 'false' THEN 0 ELSE TRY_CAST({text} AS DOUBLE) END"


def is_no_grade(number: str, threshold: float | None) -> str:
    """Return SQL that is true where a text that is not empty is no grade; infinite and NaN mean that there is none."""
    holds = f"({number}) IS NOT NULL" if threshold is not None else f"({number}) IN (0, 1) OR NOT isfinite({number})"
    return f"NOT coalesce({holds}, false)"


def header_of(file: LogFile) -> list[str]:
    """Return the columns of a CSV or Parquet file; none where it is neither. It may be any file."""
    head = file.head.removeprefix(_BOM).lstrip(b"\r\n")
    if not head.startswith(_PARQUET) and (not head or head[:1] in b"{[" or b"\0" in head or b"," not in head):
        return []
    try:
        names = pq.read_schema(file.path).names if head.startswith(_PARQUET) else read_header(file.path)
    except (ImportRefused, *DAMAGED_PARQUET):
        return []
    return [name for name in names if name.strip()]


class TextTable:
    """An open table. `columns` are its names, but for those without one."""

    def __init__(self, file: LogFile, connection: duckdb.DuckDBPyConnection, scratch: Path) -> None:
        self.file = file
        self.connection = connection
        self._table: ImportedTable | None = None
        self.mixed: set[str] = set()  # columns of JSON that hold other things than one kind of value
        head = file.head.removeprefix(_BOM).lstrip()
        if not head:
            raise Refusal(f"{file.name} is empty; get it once more, or leave it out")
        if head[:1] in b"{[":
            self.columns = self._read_json_columns()
        else:
            suffix = ".parquet" if head.startswith(_PARQUET) else ".csv"
            try:
                self._table = ImportedTable(connection, file.path, scratch, suffix)
            except ImportRefused as refused:
                raise Refusal(f"{file.name}: {'; '.join(refused.problems)}") from None
            self.columns = self._table.columns

    def load(self, wanted: Collection[str], name: str) -> None:
        """Create the table `name` of `_row`, 1 for the first row of data, and the `wanted` columns as text.

        Raises Refusal where a column is not there, or a row cannot be read.
        """
        if missing := [column for column in wanted if column not in self.columns]:
            has = ", ".join(self.columns[:40]) or "no columns"
            raise Refusal(f"{self.file.name} has no column {', '.join(missing)}; it has {has}")
        twins: dict[str, str] = {}
        for column in wanted:
            if (other := twins.setdefault(column.casefold(), column)) != column:
                raise Refusal(
                    f"{self.file.name}: the columns {other} and {column} differ in letter case only; rename one"
                )
        create = f"CREATE OR REPLACE TABLE {name} AS FROM {{}}"
        try:
            if self._table is not None:
                self._table.require(wanted)
                self._table.execute(wanted, create.format)
                return
            types = ", ".join(f"{literal(column)}: 'VARCHAR'" for column in wanted)
            rows = f"(SELECT row_number() OVER () AS _row, * FROM {self._json(f', columns = {{{types}}}')})"
            self.connection.execute(create.format(rows))
        except ImportRefused as refused:
            raise Refusal(f"{self.file.name}: {'; '.join(refused.problems)}") from None
        except duckdb.Error as error:
            raise self._damaged(error) from None

    def rows(self, sql: str) -> list[tuple]:
        return self.connection.execute(sql).fetchall()

    def batches(self, sql: str, text: str, name: str) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a query in batches that are small enough for memory, though each has the column `text` of
        the table `name`."""
        ((length,),) = self.rows(f"SELECT coalesce(max(strlen({identifier(text)})), 0) FROM {name}")
        size = max(1, min(_BATCH, _BATCH_BYTES // (length + 1)))
        yield from cast("pa.RecordBatchReader", self.connection.sql(sql).to_arrow_reader(size))

    def _json(self, options: str) -> str:
        return f"read_json({literal(self.file.path)}, format = 'auto', maximum_object_size = {LONGEST_LINE}{options})"

    def _read_json_columns(self) -> list[str]:
        kinds = ", maximum_depth = 1, map_inference_threshold = -1, sample_size = 20480"
        try:
            found = self.connection.sql(f"FROM {self._json(kinds)} LIMIT 0")
        except duckdb.Error as error:
            raise self._damaged(error) from None
        self.mixed = {name for name, kind in zip(found.columns, found.types, strict=True) if str(kind) == "JSON"}
        return [] if found.columns == ["json"] else found.columns

    def _damaged(self, error: Exception) -> Refusal:
        said = first_line(error).replace(str(self.file.path), self.file.name).split(" Try ")[0]
        return Refusal(f"{self.file.name} cannot be read ({said}); it may be cut off: get it once more")


@contextmanager
def open_table(file: LogFile) -> Iterator[TextTable]:
    """Open a table, with a database on disk for what does not fit into memory. Raises Refusal."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        database = open_database(scratch / "rows.duckdb", memory_limit=_MEMORY, temp_directory=str(scratch / "spill"))
        with database as connection:
            yield TextTable(file, connection, scratch)


def text_of(column: str) -> str:
    """Return SQL of a text, null where it is empty."""
    return f"nullif({identifier(column)}, '')"
