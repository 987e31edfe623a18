"""Opening DuckDB, and writing SQL for it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import duckdb

__all__ = ["OLDEST_CLIENT", "identifier", "literal", "open_database", "open_draft", "schema_digest", "script"]

OLDEST_CLIENT = "v1.1.0"
"""The oldest DuckDB that opens what is published: its file format is written, whatever DuckDB writes it. The first one
that has `query_table`, which the macro `latest` needs."""


def open_database(path: Path | None = None, **settings: str) -> duckdb.DuckDBPyConnection:
    """A connection to the database at `path`, or to one in memory."""
    connection = duckdb.connect(path or ":memory:", config={**settings})
    # In a process that another one spawned DuckDB takes itself for a notebook and draws bars on stdout.
    connection.execute("SET enable_progress_bar = false")
    return connection


def open_draft(path: Path) -> duckdb.DuckDBPyConnection:
    """A connection to a database that is to be published, in the file format that OLDEST_CLIENT reads."""
    return open_database(path, storage_compatibility_version=OLDEST_CLIENT)


def script(name: str) -> str:
    """The text of sql/<name>.sql."""
    return (Path(__file__).parent / "sql" / f"{name}.sql").read_text(encoding="utf-8")


def schema_digest() -> str:
    """Tells the schema and the file format of this version from others."""
    return hashlib.sha256(f"{OLDEST_CLIENT}\n{script('schema')}".encode()).hexdigest()[:16]


def literal(value: object) -> str:
    """`value` as a SQL string."""
    return "'" + str(value).replace("'", "''") + "'"


def identifier(name: str) -> str:
    """`name` as a SQL name."""
    return '"' + name.replace('"', '""') + '"'
