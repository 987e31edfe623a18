"""Opening DuckDB, writing SQL for it, and the tables of the warehouse as schema.sql declares them."""

from __future__ import annotations

import atexit
import hashlib
import re
from functools import cache
from pathlib import Path

import duckdb
import pyarrow as pa

__all__ = ["OLDEST_CLIENT", "empty_table", "identifier", "literal", "open_database", "script", "statements"]

OLDEST_CLIENT = "v1.1.0"
"""The oldest DuckDB that can open the published file, which is written in its format. It is the first that has
`query_table`, which the macro `latest` needs."""

_TABLE = re.compile(r"^CREATE TABLE (\w+) \(.+?^\);", re.MULTILINE | re.DOTALL)
_MEANING = re.compile(r"^(?:CREATE TABLE|   ) (\w+) .+ -- (.+)$", re.MULTILINE)
_COLUMN = re.compile(r"^    (?!PRIMARY KEY)(\w+) ([A-Z]+)(\[\])?", re.MULTILINE)
_ARROW_TYPES = {
    "BIGINT": pa.int64(),
    "BOOLEAN": pa.bool_(),
    "DOUBLE": pa.float64(),
    "FLOAT": pa.float32(),
    "INTEGER": pa.int32(),
    "TIMESTAMP": pa.timestamp("us"),
    "VARCHAR": pa.string(),
}


def open_database(path: Path | None = None, **settings: str) -> duckdb.DuckDBPyConnection:
    """A connection to the database at `path`, or to one in memory."""
    connection = duckdb.connect(path or ":memory:", config={**settings})
    # In a process that another one spawned, DuckDB behaves as in a notebook and draws progress bars on stdout.
    connection.execute("SET enable_progress_bar = false")
    return connection


@cache
def _memory() -> duckdb.DuckDBPyConnection:
    atexit.register(_memory.cache_clear)  # DuckDB reports on stderr what is still open when the interpreter ends
    return open_database()


def open_reader() -> duckdb.DuckDBPyConnection:
    """A connection that reads what lies elsewhere, to the only database in memory that this process keeps: to open one
    takes 12 ms. What is registered with the connection is not seen by others."""
    reader = _memory().cursor()
    reader.execute("SET enable_progress_bar = false")
    return reader


def script(name: str, module: str = __file__) -> str:
    """Return the text of <name>.sql, which lies next to the file `module`."""
    return Path(module).with_name(f"{name}.sql").read_text(encoding="utf-8")


def schema_digest() -> str:
    """Return a digest of the schema and the file format of this version."""
    content = "\n".join([OLDEST_CLIENT, script("schema"), script("views")])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


@cache
def statements() -> dict[str, str]:
    """Return the SQL that creates each table of schema.sql; the comment behind a line becomes that of its column."""
    created = {}
    for found in _TABLE.finditer(script("schema")):
        table, sql = found[1], [found[0]]
        for name, meaning in _MEANING.findall(found[0]):
            what = f"TABLE {table}" if name == table and len(sql) == 1 else f"COLUMN {table}.{name}"
            sql.append(f"COMMENT ON {what} IS {literal(meaning)};")
        created[table] = "\n".join(sql)
    return created


@cache
def empty_table(name: str) -> pa.Table:
    """A table of schema.sql without rows: its columns and their types."""
    schema = pa.schema(
        [
            (column, pa.list_(_ARROW_TYPES[kind]) if is_list else _ARROW_TYPES[kind])
            for column, kind, is_list in _COLUMN.findall(statements()[name])
        ]
    )
    return schema.empty_table()


def literal(value: object) -> str:
    """`value` as a SQL string."""
    return "'" + str(value).replace("'", "''") + "'"


def identifier(name: str) -> str:
    """`name` as a SQL name."""
    return '"' + name.replace('"', '""') + '"'
