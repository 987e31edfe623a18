"""A CSV or Parquet file that people bring, read as text by DuckDB."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.database.connect import identifier, literal
from warehouse.errors import ImportRefused, first_line

from .csv_rows import LONGEST_LINE, copy_rows, is_regular, read_header

__all__ = [
    "DAMAGED_PARQUET",
    "EXAMPLES",
    "IS_EXPORT",
    "NEEDED",
    "SUFFIXES",
    "ImportedTable",
    "checked_file",
    "holds_results",
]

IS_EXPORT = "embedllm_export"
"""In the metadata of a Parquet file: it was written by `embedllm export`."""

SUFFIXES = (".csv", ".parquet")  # in capitals, too
NEEDED = ("prompt_id", "label", "model_name", "category", "prompt")
EXAMPLES = 3  # rows that a message shows
DAMAGED_PARQUET = (pa.ArrowException, OSError, UnicodeDecodeError)
"""What reading the schema of a Parquet file may raise; the last one, where a name in it is not UTF-8."""

_BUFFER = 2 * LONGEST_LINE  # DuckDB's own choice, 16 lines of the longest kind, would take more than its memory
_NESTED = ("list", "array", "struct", "map", "union", "variant")
_ROW_NUMBER = "file_row_number"
_NO_HIVE = "hive_partitioning = false"  # else a folder like model=m would be a column


def checked_file(path: Path) -> Path:
    """Return `path`, if it is a CSV or Parquet file that is not empty. Raises ImportRefused."""
    if not path.is_file():
        raise ImportRefused(path, ["there is no such file"])
    if path.suffix.lower() not in SUFFIXES:
        raise ImportRefused(path, [f"it ends in {path.suffix or 'nothing'}; it must be a .csv or .parquet file"])
    if path.stat().st_size == 0:
        raise ImportRefused(path, ["it is empty"])
    return path


def holds_results(path: Path) -> bool:
    """Return whether a CSV or Parquet file has the columns of published results."""
    try:
        names = read_header(path) if path.suffix.lower() == ".csv" else pq.read_schema(path).names
    except (ImportRefused, *DAMAGED_PARQUET):
        return False
    return set(NEEDED) <= set(names)


class ImportedTable:
    """A file, and the SQL that reads it. `scratch` is a folder for the copy of a CSV file that needs one. `suffix` is
    one of SUFFIXES, where the file's name does not tell it.

    Raises ImportRefused where the file cannot be read, or has two columns of one name. CSV columns without a name,
    such as the index that pandas writes, are left out.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, path: Path, scratch: Path, suffix: str | None = None
    ) -> None:
        self.path = path if suffix else checked_file(path)
        self._connection = connection
        self._scratch = scratch
        self._is_csv = (suffix or path.suffix.lower()) == ".csv"
        self._row = "row_number() OVER ()"
        self.is_export = False
        self._kinds: dict[str, str] = {}  # of nested Parquet columns, which cannot be read as text
        names = self._open_csv() if self._is_csv else self._open_parquet()
        if len(set(names)) < len(names):
            raise ImportRefused(path, [f"a column stands twice: {', '.join(names)}"])

    @property
    def columns(self) -> list[str]:
        return list(self._texts)

    def require(self, needed: Collection[str], remedy: str = "") -> None:
        """Raises ImportRefused where the table lacks some of the columns, or they hold no single values; `remedy` says
        what to do about missing ones."""
        missing = [name for name in needed if name not in self._texts]
        if missing:
            has = ", ".join(self._texts) or "no columns"
            hint = (
                "; columns must be separated by commas" if len(self._texts) == 1 and re.search(r"[;\t|]", has) else ""
            )
            raise ImportRefused(
                self.path, [f"the columns {', '.join(missing)} are missing; it has {has}{hint}{remedy}"]
            )
        nested = [
            f"the column {name} is {self._kinds[name]}, but must hold text" for name in needed if self._kinds.get(name)
        ]
        if nested:
            raise ImportRefused(self.path, nested)

    def execute(self, wanted: Collection[str], statement: Callable[[str], str]) -> duckdb.DuckDBPyConnection:
        """Execute the statement that `statement` makes of the rows, a SQL relation.

        The relation has `_row`, 1 for the first row of data, and the `wanted` columns as text.
        Raises ImportRefused, with the row and the cause as far as they can be found, where a row cannot be read.
        """
        texts = ", ".join(f"{self._texts[name]} AS {identifier(name)}" for name in wanted)
        try:
            return self._connection.execute(statement(f"(SELECT {self._row} AS _row, {texts} FROM {self._relation})"))
        except duckdb.Error as error:
            if self._is_csv and not self._copied:
                self._copy_csv()
                return self.execute(wanted, statement)
            faults = [] if self._is_csv else _find_undecodable(self.path, wanted)
            raise ImportRefused(self.path, faults or [_unreadable(error)]) from error

    # --- CSV

    def _open_csv(self) -> list[str]:
        try:
            header = read_header(self.path)
            regular = is_regular(self.path)
        except OSError as error:
            raise ImportRefused(self.path, [_unreadable(error)]) from error
        # Columns are numbered: names may be missing, and DuckDB does not distinguish upper and lower case.
        self._texts = {name: f"c{number}" for number, name in enumerate(header) if name.strip()}
        self._copied = False
        # The format is given, not guessed: a guess would depend on the first rows.
        types = ", ".join(f"'c{number}': 'VARCHAR'" for number in range(len(header)))
        self._relation = f"""read_csv({literal(self.path)}, auto_detect = false, header = true, delim = ',',
            quote = '"', escape = '"', max_line_size = {LONGEST_LINE}, buffer_size = {_BUFFER},
            columns = {{{types}}})"""
        if not regular:
            self._copy_csv()
        return [name for name in header if name.strip()]

    def _copy_csv(self) -> None:
        """Copy the rows, which must all be whole, and read them from the copy from now on."""
        copy = Path(tempfile.mkdtemp(dir=self._scratch)) / "rows.parquet"
        copy_rows(self.path, copy)
        self._read_from_parquet(copy)
        self._copied = True

    # --- Parquet

    def _open_parquet(self) -> list[str]:
        try:
            found = self._connection.sql(f"FROM read_parquet({literal(self.path)}, {_NO_HIVE}) LIMIT 0")
            schema = pq.read_schema(self.path)
            names, columns = schema.names, found.columns
        except (duckdb.Error, RuntimeError, *DAMAGED_PARQUET) as error:  # RuntimeError: DuckDB's, for odd names
            raise ImportRefused(self.path, [_unreadable(error)]) from error
        self.is_export = IS_EXPORT.encode() in (schema.metadata or {})
        # DuckDB renames a column that differs from another in letter case only.
        self._texts = {}
        for name, read_as, kind in zip(names, columns, found.types, strict=True):
            self._texts[name] = _as_text(identifier(read_as), str(kind))
            if kind.id in _NESTED:
                shown = str(kind) if len(str(kind)) <= 60 else f"{str(kind)[:57]}..."
                self._kinds[name] = f"a {'list' if kind.id == 'array' else kind.id} ({shown})"
        if _ROW_NUMBER in columns:
            self._relation = f"read_parquet({literal(self.path)}, {_NO_HIVE})"
        else:
            self._read_from_parquet(self.path)
        return names

    def _read_from_parquet(self, path: Path) -> None:
        self._relation = f"read_parquet({literal(path)}, {_NO_HIVE}, {_ROW_NUMBER} = true)"
        self._row = f"{_ROW_NUMBER} + 1"


def _as_text(column: str, kind: str) -> str:
    if kind == "BLOB":
        return f"decode({column})"
    if kind in ("DOUBLE", "FLOAT"):  # pandas makes floats of whole numbers where some are missing
        whole = f"isfinite({column}) AND {column} = trunc({column}) AND abs({column}) < 1e15"
        return f"CASE WHEN {whole} THEN {column}::BIGINT::VARCHAR ELSE {column}::VARCHAR END"
    if kind == "BLOB[]":
        return f"list_transform({column}, lambda value: decode(value))::VARCHAR"
    return f"{column}::VARCHAR"


def _find_undecodable(path: Path, columns: Iterable[str]) -> list[str]:
    """Return which `columns` of a Parquet file hold bytes that are not UTF-8, and in which rows (1 is the first)."""
    faults = []
    for column in columns:
        rows, start = [], 1
        with suppress(pa.ArrowException, OSError):
            for batch in pq.ParquetFile(path).iter_batches(batch_size=10_000, columns=[column]):
                values = batch.column(0)
                if pa.types.is_dictionary(values.type):
                    values = values.dictionary_decode()
                if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
                    values = values.cast(pa.large_binary())
                for row, value in enumerate(values.to_pylist(), start):
                    if isinstance(value, bytes) and value.decode(errors="ignore").encode() != value:
                        rows.append(f"row {row}")
                start += len(values)
        if rows:
            more = ", …" if len(rows) > EXAMPLES else ""
            faults.append(f"{column} is not UTF-8 in {len(rows)} rows ({', '.join(rows[:EXAMPLES])}{more})")
    return faults


def _unreadable(error: Exception) -> str:
    """Return DuckDB's message without its advice, which is about options of DuckDB."""
    said = " ".join(str(error).split("Possible ")[0].split()) if isinstance(error, duckdb.Error) else ""
    return f"it cannot be read ({said or first_line(error)})"
