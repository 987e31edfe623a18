"""What Dagster shows of a table: its columns, with what each of them means, and how many rows it has."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import dagster as dg

from warehouse.database.connect import open_database, script, statements


def table_metadata(name: str, rows: int) -> dict[str, Any]:
    """Return what is shown of a table or view of the warehouse with so many rows."""
    return {**column_schema(name), "dagster/row_count": rows}


def column_schema(name: str) -> dict[str, Any]:
    """Return what is shown of the columns of a table or view of the warehouse."""
    return {"dagster/column_schema": dg.TableSchema([dg.TableColumn(*column) for column in _read_columns()[name]])}


@lru_cache(maxsize=1)
def _read_columns() -> dict[str, list[tuple[str, str, str | None]]]:
    """Return by table the name, type and comment of each column, as users see them in `warehouse.duckdb`."""
    with open_database() as connection:
        connection.execute("BEGIN")  # hundreds of small statements
        for declared in statements().values():
            connection.execute(f"{declared.table}\n{declared.view}")
        connection.execute(script("views"))
        found = connection.execute(
            "SELECT table_name, column_name, lower(data_type), comment FROM duckdb_columns() WHERE NOT internal "
            "AND schema_name = 'main' ORDER BY table_name, column_index"
        ).fetchall()
    # Plain values: kept until the interpreter ends, Dagster's would keep DuckDB alive, which it reports on stderr.
    columns: dict[str, list[tuple[str, str, str | None]]] = {}
    for table, *column in found:
        columns.setdefault(table, []).append(tuple(column))
    return columns
