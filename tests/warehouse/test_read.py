from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from warehouse.lake import Lake
from warehouse.publish import publish
from warehouse.read import WarehouseError, connect, query


def test_a_missing_warehouse_says_how_to_make_it(database: Path):
    with pytest.raises(WarehouseError, match=f"there is no {database} yet; run `embedllm run`"):
        query(database, "SELECT 1")


def test_a_file_that_is_no_database_says_so(tmp_path: Path):
    path = tmp_path / "warehouse.duckdb"
    path.write_text("hello")
    with pytest.raises(WarehouseError, match=r"cannot be opened.*delete it"):
        connect(path)


def test_nothing_can_be_written(lake: Lake, database: Path):
    publish(lake, database)
    with connect(database) as connection, pytest.raises(duckdb.Error, match="read-only"):
        connection.execute("DELETE FROM models")


def test_a_faulty_query_is_duckdbs_to_explain(lake: Lake, database: Path):
    publish(lake, database)
    with pytest.raises(duckdb.Error, match="nonsense"):
        query(database, "FROM nonsense")


def test_a_new_connection_sees_the_new_file_while_the_old_one_is_open(
    lake: Lake, tmp_path: Path, evaluated: Callable[..., None]
):
    database = tmp_path / "it's here" / "warehouse.duckdb"
    publish(lake, database)
    with connect(database) as old:
        evaluated(lake, "b", "m", "1")
        publish(lake, database)
        assert old.sql("SELECT count(*) FROM responses").fetchall() == [(0,)]
        assert query(database, "SELECT count(*) AS n FROM responses").to_pylist() == [{"n": 1}]
