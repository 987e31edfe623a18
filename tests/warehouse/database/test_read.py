from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pytest

from warehouse.database.publish import publish
from warehouse.database.read import WarehouseError, connect, find_fault, query
from warehouse.lake import Lake


def test_a_missing_warehouse_says_how_to_make_it(database: Path):
    with pytest.raises(WarehouseError, match=f"there is no {database} yet; `embedllm run` makes it"):
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


def test_a_whole_file_is_whole(lake: Lake, database: Path, evaluated: Callable[..., None]):
    assert find_fault(database)
    evaluated(lake, "b", "m", "10")
    publish(lake, database)
    before = database.read_bytes()
    assert find_fault(database) is None
    assert database.read_bytes() == before


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_not_whole(lake: Lake, database: Path, evaluated: Callable[..., None], share: float):
    evaluated(lake, "b", "m", "10")
    publish(lake, database)
    content = database.read_bytes()
    database.write_bytes(content[: int(share * len(content))])
    assert find_fault(database)


def test_a_file_with_a_bit_flipped_in_its_rows_is_not_whole(lake: Lake, database: Path):
    lake.add_question_embeddings("e", [str(n) for n in range(500)], np.random.default_rng(0).random((500, 64)))
    publish(lake, database)
    content = bytearray(database.read_bytes())
    place = len(content) - 200_000  # the embeddings are most of the file
    content[place] ^= 1
    database.write_bytes(content)
    assert find_fault(database)


def test_a_file_of_another_schema_is_not_whole(lake: Lake, database: Path):
    publish(lake, database)
    with duckdb.connect(database) as connection:
        connection.execute("UPDATE warehouse_info SET schema_digest = 'older'")
    assert find_fault(database)


def test_a_database_of_something_else_is_not_whole(tmp_path: Path):
    with duckdb.connect(tmp_path / "other.duckdb") as connection:
        connection.execute("CREATE TABLE x AS SELECT 1")
    assert find_fault(tmp_path / "other.duckdb")
