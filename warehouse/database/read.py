"""Reading the published warehouse."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa

from warehouse.errors import WarehouseError, first_line

from .connect import identifier, literal, open_database, schema_digest

__all__ = ["WarehouseError", "connect", "find_fault", "query"]


def connect(database: Path) -> duckdb.DuckDBPyConnection:
    """Return a read-only connection to what is published now; later publishes do not change what it sees.

    Raises WarehouseError where nothing was published, or the file is no complete DuckDB database.
    """
    if not database.exists():
        raise WarehouseError(
            f"there is no {database} yet; `embedllm run` makes it of what was imported and evaluated, `embedllm demo` "
            "of its own models in a home of its own"
        )
    # The file is attached to a database in memory, because duckdb.connect(path) would return the file that this
    # process opened under this path before, even after another file has replaced it.
    connection = open_database()
    try:
        connection.execute(f"ATTACH {literal(database)} AS warehouse (READ_ONLY); USE warehouse")
    except duckdb.Error as error:
        connection.close()
        raise WarehouseError(
            f"{database} cannot be opened ({first_line(error)}); delete it: `embedllm run` makes it again"
        ) from error
    return connection


def query(database: Path, sql: str) -> pa.Table:
    """Return the rows of one query. Raises WarehouseError as `connect` does or where `sql` returns no rows, and
    duckdb.Error where it is faulty."""
    with connect(database) as connection:
        rows = connection.sql(sql)
        if rows is None:
            raise WarehouseError('the statement has no rows to show; write a query, e.g. "FROM leaderboard"')
        return rows.to_arrow_table()


def find_fault(database: Path) -> str | None:
    """Return why the file is not whole, as what follows its name in a sentence; None where it opens, has this version's
    schema, and all its blocks (with checksums) can be read."""
    try:
        with connect(database) as connection:
            if connection.execute("SELECT schema_digest FROM warehouse_info").fetchall() != [(schema_digest(),)]:
                return "was made by another version of embedllm"
            tables = "SELECT table_name FROM duckdb_tables() WHERE database_name = 'warehouse'"
            for (name,) in connection.execute(tables).fetchall():
                connection.execute(f"SELECT bit_xor(hash(t)) FROM {identifier(name)} t").fetchall()
    except duckdb.CatalogException:  # no warehouse_info
        return "was made by another version of embedllm, or by another program"
    except (WarehouseError, duckdb.Error) as error:
        return f"is damaged ({first_line(error.__cause__ or error)})"
    return None
