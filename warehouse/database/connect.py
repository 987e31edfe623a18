"""Opening DuckDB, writing SQL for it, and the tables of the warehouse as schema.sql declares them."""

from __future__ import annotations

import atexit
import hashlib
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import duckdb
import pyarrow as pa

__all__ = ["OLDEST_CLIENT", "empty_table", "identifier", "literal", "open_database", "script", "statements"]

OLDEST_CLIENT = "v1.1.0"
"""The oldest DuckDB that can open the published file, which is written in its format. It is the first that has
`query_table`, which the macro `latest` needs."""

_TABLE = re.compile(r"^CREATE TABLE (history\.)?(\w+) \(.+?^\);", re.MULTILINE | re.DOTALL)
_MEANING = re.compile(r"^(?:CREATE TABLE|   ) (?:history\.)?(\w+) .+ -- (.+)$", re.MULTILINE)
_COLUMN = re.compile(r"^    (?!PRIMARY KEY)(\w+) ([A-Z]+)(\[\])?", re.MULTILINE)
# Some experiments are refreshed weekly only, so that the serving embedder may have no rows yet.
_SHOWN = """\
CREATE OR REPLACE VIEW {name} AS SELECT * FROM history.{name} WHERE embedder = (
    SELECT embedder FROM embedders WHERE embedder IN (SELECT embedder FROM history.{name})
    ORDER BY serving DESC, created_at DESC NULLS LAST LIMIT 1
);"""
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


class Declared(NamedTuple):
    """A table as schema.sql declares it."""

    place: str
    """Its name with that of its schema, `history`, where there are rows of several embedders."""
    table: str
    """The SQL that creates it."""
    view: str
    """The SQL that creates the view of its name, of the embedder that is shown; empty where there is none."""


@cache
def statements() -> dict[str, Declared]:
    """Return each table of schema.sql by its name; the comment behind a line becomes that of its column."""
    created = {}
    for found in _TABLE.finditer(script("schema")):
        history, name = found.groups()
        meanings = _MEANING.findall(found[0])
        place = f"{history or ''}{name}"
        schema = "CREATE SCHEMA IF NOT EXISTS history;\n" if history else ""
        table = f"{schema}{found[0]}\n{_comment('TABLE', place, meanings)}"
        view = f"{_SHOWN.format(name=name)}\n{_comment('VIEW', name, meanings)}" if history else ""
        created[name] = Declared(place, table, view)
    return created


def _comment(kind: str, name: str, meanings: Sequence[tuple[str, str]]) -> str:
    """Return the SQL for the comments of a table or a view, whose own meaning comes first."""
    (_, own), *columns = meanings
    comments = [f"COMMENT ON {kind} {name} IS {literal(own)};"]
    return "\n".join(
        comments + [f"COMMENT ON COLUMN {name}.{column} IS {literal(meaning)};" for column, meaning in columns]
    )


@cache
def empty_table(name: str) -> pa.Table:
    """A table of schema.sql without rows: its columns and their types."""
    schema = pa.schema(
        [
            (column, pa.list_(_ARROW_TYPES[kind]) if is_list else _ARROW_TYPES[kind])
            for column, kind, is_list in _COLUMN.findall(statements()[name].table)
        ]
    )
    return schema.empty_table()


def literal(value: object) -> str:
    """`value` as a SQL string."""
    return "'" + str(value).replace("'", "''") + "'"


def identifier(name: str) -> str:
    """`name` as a SQL name."""
    return '"' + name.replace('"', '""') + '"'
