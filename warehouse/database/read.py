"""Reading the published warehouse."""

from __future__ import annotations

import difflib
from pathlib import Path

import duckdb
import pyarrow as pa

from warehouse.errors import WarehouseError, first_line

from .connect import identifier, literal, open_database, schema_digest

_NAME = "CASE schema_name WHEN 'main' THEN table_name ELSE schema_name || '.' || table_name END AS name"
__all__ = ["WarehouseError", "connect", "describe_table", "find_fault", "list_tables", "query", "query_each"]


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


def query_each(database: Path, sql: str) -> list[pa.Table]:
    """Return the rows of each statement that has rows. Raises as `query` does."""
    with connect(database) as connection:
        found = [connection.sql(statement) for statement in connection.extract_statements(sql)]
        if not any(rows is not None for rows in found):
            raise WarehouseError('the statement has no rows to show; write a query, e.g. "FROM leaderboard"')
        return [rows.to_arrow_table() for rows in found if rows is not None]


def list_tables(database: Path) -> pa.Table:
    """Return the name, how many rows, and the meaning of each table and view, in the order of names. Rows of views that
    are computed from all answers are not counted (None)."""
    found = query(
        database,
        f"SELECT {_NAME}, estimated_size AS rows, comment AS meaning FROM duckdb_tables() "
        "WHERE database_name = 'warehouse' UNION ALL SELECT view_name, NULL, comment FROM duckdb_views() "
        "WHERE database_name = 'warehouse' AND NOT internal ORDER BY name",
    ).to_pylist()
    shown = [row for row in found if any(other["name"] == f"history.{row['name']}" for other in found)]
    if shown:
        counts = ", ".join(
            f"(SELECT count(*) FROM {identifier(row['name'])}) AS {identifier(row['name'])}" for row in shown
        )
        (count,) = query(database, f"SELECT {counts}").to_pylist()
        for row in shown:
            row["rows"] = count[row["name"]]
    return pa.Table.from_pylist(found)


def describe_table(database: Path, name: str) -> pa.Table:
    """Return the name, the type and the meaning of each column of a table or a view.

    Raises WarehouseError where there is none of that name.
    """
    columns = query(
        database,
        "SELECT column_name AS column, data_type AS type, comment AS meaning FROM duckdb_columns() "
        f"WHERE database_name = 'warehouse' AND {_NAME.partition(' AS ')[0]} = {literal(name)} ORDER BY column_index",
    )
    if not columns:
        known = list_tables(database)["name"].to_pylist()
        near = difflib.get_close_matches(name, known, n=1)
        meant = f"did you mean {near[0]}?" if near else "`embedllm tables` lists them"
        raise WarehouseError(f"the warehouse has no table {name}; {meant}")
    return columns


def find_fault(database: Path) -> str | None:
    """Return why the file is not whole, as what follows its name in a sentence; None where it opens, has this version's
    schema, and all its blocks (with checksums) can be read."""
    try:
        with connect(database) as connection:
            if connection.execute("SELECT schema_digest FROM warehouse_info").fetchall() != [(schema_digest(),)]:
                return "was made by another version of embedllm"
            tables = "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = 'warehouse'"
            for schema, name in connection.execute(tables).fetchall():
                place = f"{identifier(schema)}.{identifier(name)}"
                connection.execute(f"SELECT bit_xor(hash(t)) FROM {place} t").fetchall()
    except duckdb.CatalogException:  # no warehouse_info
        return "was made by another version of embedllm, or by another program"
    except (WarehouseError, duckdb.Error) as error:
        return f"is damaged ({first_line(error.__cause__ or error)})"
    return None
