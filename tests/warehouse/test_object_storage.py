"""A lake in a bucket, over the S3 protocol: all that works on a disk works there, for many writers at once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow.fs import FileSelector

from warehouse.database.publish import publish
from warehouse.database.read import query
from warehouse.errors import WarehouseError
from warehouse.imports.ingest import import_results
from warehouse.lake import Lake

pytestmark = pytest.mark.slow  # together they take a while


def test_a_lake_in_a_bucket_keeps_what_was_written(bucket: str, evaluated: Callable[..., None]) -> None:
    lake, other = Lake(f"{bucket}/lake"), Lake(f"{bucket}/lake")
    assert lake.pairs() == []
    assert lake.check() == []
    evaluated(lake, "sums", "org/a", "110")
    assert _labels(other) == [True, True, False]  # each sees what the other writes
    evaluated(other, "sums", "org/a", "001", fingerprint="another")
    lake = Lake(f"{bucket}/lake")
    assert _labels(lake) == [False, False, True]
    assert [row["fingerprint"] for row in lake.superseded().to_pylist()] == ["f"]
    assert lake.restore("sums", "org/a", "f")
    assert _labels(lake) == [True, True, False]
    assert lake.check() == []


def test_an_import_into_a_bucket_is_published_and_compacted(
    bucket: str, published: Callable[..., Path], evaluated: Callable[..., None], database: Path
) -> None:
    lake = Lake(f"{bucket}/deep/lake")
    rows = [(0, "org__a", 1, "towns", "Where?"), (1, "org__a", 0, "towns", "Why?")]
    assert import_results(lake, str(published(rows)), benchmark_of=str).changed
    assert not import_results(lake, str(published(rows)), benchmark_of=str).changed
    for model in ("a", "b", "c"):
        evaluated(lake, "sums", model, "10")
    database.parent.mkdir()
    assert publish(lake, database)["responses"] == 8
    before = lake.state()
    lake.compact(kept=timedelta(0))
    later = Lake(lake.address)
    assert later.state() == before
    assert later.check() == []
    for name in ("questions", "responses", "evaluations"):
        table = later.tables.table(name)
        assert table is not None
        assert len(table.file_uris()) == 1
    evaluated(later, "sums", "d", "11")
    assert publish(later, database)["responses"] == 10
    assert query(database, "SELECT count(*) AS n FROM responses WHERE correct").to_pylist() == [{"n": 6}]


def test_damage_in_a_bucket_is_named_and_set_aside(bucket: str, evaluated: Callable[..., None]) -> None:
    boto3 = pytest.importorskip("boto3")
    lake = Lake(f"{bucket}/lake")
    for model in ("a", "b", "c"):
        evaluated(lake, "sums", model, "10")
    lake.write_table("forecasts", pa.table({"model": ["a"]}), "old")
    lake.write_table("forecasts", pa.table({"model": ["b"]}), "new")
    table = lake.tables.table("responses")
    assert table is not None
    gone, wrong, _ = sorted(path.removeprefix(f"{lake.address}/") for path in table.file_uris())
    entry, files = f"forecasts/_delta_log/{1:020}.json", lake.tables.filesystem()
    files.delete_file(gone)
    for path in (entry, wrong):
        boto3.client("s3").put_object(Bucket=bucket.removeprefix("s3://"), Key=f"lake/{path}", Body=b'{"add": {')

    lake = Lake(lake.address)
    assert {damage.where for damage in lake.check()} == {f"{lake.address}/{path}" for path in (entry, gone, wrong)}
    lake.mend(thoroughly=True)
    lake = Lake(lake.address)
    assert len(lake.pairs()) == 1  # the others are asked again
    assert lake.table_parts("forecasts") == ["old"]
    assert lake.check() == []
    aside = files.get_file_info(FileSelector("damaged", recursive=True))
    assert {file.path for file in aside if file.is_file} == {f"damaged/{entry}", f"damaged/{wrong}"}


WRITER = """
import sys
import pyarrow as pa
from warehouse.lake import Lake
lake, writer = Lake(sys.argv[1]), sys.argv[2]
asked = {"task": ["t", "t"], "doc_id": [0, 1]}
answers = pa.table({**asked, "correct": [True, False], "score": [1.0, 0.0]})
questions = pa.table({**asked, "text": ["a", "b"], "category": ["t", "t"]})
for number in range(int(sys.argv[3])):
    lake.write_evaluation("sums", f"{writer}/{number}", answers, questions, {"fingerprint": "f"})
"""


@pytest.mark.parametrize(("where", "writers", "each"), [("tmp_path", 4, 6), ("bucket", 3, 4)])
def test_what_many_write_at_once_is_all_there(
    where: str, writers: int, each: int, python: Callable[..., Any], request: pytest.FixtureRequest
) -> None:
    address = f"{request.getfixturevalue(where)}/lake"
    with ThreadPoolExecutor(writers) as pool:
        ended = list(pool.map(lambda writer: python(WRITER, address, writer, each), range(writers)))
    assert [done.stderr for done in ended] == [""] * writers
    lake = Lake(address)
    assert set(lake.pairs()) == {("sums", f"{writer}/{n}") for writer in range(writers) for n in range(each)}
    assert lake.responses().num_rows == 2 * writers * each
    assert lake.questions().num_rows == 2
    assert lake.check() == []


@pytest.mark.parametrize("where", ["tmp_path", "bucket"])
def test_of_two_compactions_at_once_one_is_refused(
    where: str, evaluated: Callable[..., None], request: pytest.FixtureRequest
) -> None:
    lake = Lake(f"{request.getfixturevalue(where)}/lake")
    for model in ("a", "b", "c"):
        evaluated(lake, "sums", model, "10")
    refused: list[str] = []

    def compact_too(number: int, count: int, what: str) -> None:
        with pytest.raises(WarehouseError, match="is being compacted by another process"):
            Lake(lake.address).compact()
        refused.append(what)

    lake.compact(compact_too)
    assert refused
    assert lake.responses().num_rows == 6
    lake.compact()


def test_what_others_wrote_a_moment_ago_comes_before(bucket: str, evaluated: Callable[..., None]) -> None:
    """Who looks seldom, as each look costs a request, still writes after what there is."""
    lake, other = Lake(f"{bucket}/lake"), Lake(f"{bucket}/lake")
    for number, writer in enumerate([lake, other] * 4):
        evaluated(writer, "sums", "a", "10", fingerprint=str(number))
    found = Lake(lake.address)
    assert [row["fingerprint"] for row in found.superseded().to_pylist()] == list("0123456")
    assert found.now().answers["sums", "a"].fingerprint == "7"


def _labels(lake: Lake) -> list[bool]:
    return lake.responses()["correct"].to_pylist()
