"""Opening DuckDB, writing SQL for it, and the tables of the warehouse as schema.sql declares them."""

from __future__ import annotations

import atexit
import hashlib
import re
import threading
from functools import cache
from pathlib import Path

import duckdb
import pyarrow as pa

__all__ = [
    "OLDEST_CLIENT",
    "empty_table",
    "identifier",
    "literal",
    "open_database",
    "open_draft",
    "open_reader",
    "schema_digest",
    "script",
    "statements",
]

OLDEST_CLIENT = "v1.1.0"
"""The oldest DuckDB that opens what is published: its file format is written, whatever DuckDB writes it. The first one
that has `query_table`, which the macro `latest` needs."""

_creating = threading.Lock()
_TABLE = re.compile(r"^CREATE TABLE (\w+) \(.+?^\);", re.MULTILINE | re.DOTALL)
_MEANING = re.compile(r"^(?:CREATE TABLE|   ) (\w+) .+ -- (.+)$", re.MULTILINE)


def open_database(path: Path | None = None, **settings: str) -> duckdb.DuckDBPyConnection:
    """A connection to the database at `path`, or to one in memory."""
    connection = duckdb.connect(path or ":memory:", config={**settings})
    # In a process that another one spawned DuckDB takes itself for a notebook and draws bars on stdout.
    connection.execute("SET enable_progress_bar = false")
    return connection


@cache
def _memory() -> duckdb.DuckDBPyConnection:
    atexit.register(_memory.cache_clear)  # what is alive when the interpreter ends, DuckDB reports on stderr
    return open_database()


def open_reader() -> duckdb.DuckDBPyConnection:
    """A connection that reads what lies elsewhere: to the one database in memory that this process has, as opening one
    takes 12 ms. What is registered with it no other sees."""
    scratch = _memory().cursor()
    scratch.execute("SET enable_progress_bar = false")
    return scratch


def open_draft(path: Path) -> duckdb.DuckDBPyConnection:
    """A connection to a database that is to be published, in the file format that OLDEST_CLIENT reads."""
    return open_database(path, storage_compatibility_version=OLDEST_CLIENT)


def script(name: str, module: str = __file__) -> str:
    """The text of <name>.sql, which lies next to that module's file."""
    return Path(module).with_name(f"{name}.sql").read_text(encoding="utf-8")


def schema_digest() -> str:
    """Tells the schema and the file format of this version from others."""
    content = "\n".join([OLDEST_CLIENT, script("schema"), script("views")])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


@cache
def statements() -> dict[str, str]:
    """By table of schema.sql the SQL that creates it. What stands behind its lines there becomes its comments."""
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
    """A table of the warehouse without its rows: its columns and their types."""
    with _creating, open_reader() as connection:  # of two threads that create the same table one would fail
        connection.execute(f"BEGIN; {statements()[name]}")
        rows = connection.sql(f"FROM {name}").to_arrow_table()
        connection.execute("ROLLBACK")
    return rows


def literal(value: object) -> str:
    """`value` as a SQL string."""
    return "'" + str(value).replace("'", "''") + "'"


def identifier(name: str) -> str:
    """`name` as a SQL name."""
    return '"' + name.replace('"', '""') + '"'
