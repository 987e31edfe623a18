"""Opening DuckDB, and writing SQL for it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import duckdb

__all__ = ["identifier", "literal", "open_database", "schema_digest", "script"]


def open_database(path: Path | None = None, **settings: str) -> duckdb.DuckDBPyConnection:
    """A connection to the database at `path`, or to one in memory."""
    connection = duckdb.connect(path or ":memory:", config={**settings})
    # In a process that another one spawned DuckDB takes itself for a notebook and draws bars on stdout.
    connection.execute("SET enable_progress_bar = false")
    return connection


def script(name: str) -> str:
    """The text of sql/<name>.sql."""
    return (Path(__file__).parent / "sql" / f"{name}.sql").read_text(encoding="utf-8")


def schema_digest() -> str:
    """Tells the schema of this version from others."""
    return hashlib.sha256(script("schema").encode()).hexdigest()[:16]


def literal(value: object) -> str:
    """`value` as a SQL string."""
    return "'" + str(value).replace("'", "''") + "'"


def identifier(name: str) -> str:
    """`name` as a SQL name."""
    return '"' + name.replace('"', '""') + '"'
