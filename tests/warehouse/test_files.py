"""Disks that are full and homes that are read-only: nothing half-written, and the file is named."""

import errno
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from warehouse.lake import Lake
from warehouse.publish import publish
from warehouse.read import query

LIMITED = """
import resource, sys
from pathlib import Path
import pyarrow as pa
from warehouse.errors import WarehouseError
from warehouse.lake import Lake
from warehouse.publish import publish
home, limit = Path(sys.argv[1]), int(sys.argv[2])
lake = Lake(home / "lake")
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
"""
EVALUATE = """
texts = [f"question {n} " + str(hash(n * 7919)) for n in range(500)]
questions = pa.table({"task": ["t"] * 500, "doc_id": range(500), "text": texts, "category": ["t"] * 500})
answers = pa.table({"task": ["t"] * 500, "doc_id": range(500), "correct": [True] * 500, "score": [1.0] * 500})
try:
    lake.write_evaluation("big", "m", answers, questions, {"fingerprint": "new"})
except OSError as error:
    print(error.errno, error.filename)
"""
PUBLISH = """
try:
    publish(lake, home / "warehouse.duckdb")
except WarehouseError as error:
    print(error)
"""

Python = Callable[..., subprocess.CompletedProcess[str]]


def test_an_evaluation_that_finds_the_disk_full_leaves_the_lake_as_it_was(
    lake: Lake, evaluated: Callable[..., None], versions_of: Callable[[Lake], dict[str, int]], python: Python
):
    evaluated(lake, "b", "m", "10")
    before = versions_of(lake)
    result = python(LIMITED + EVALUATE, lake.address.parent, 4096)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == [str(errno.EFBIG), str(lake.questions_path("big"))]
    assert versions_of(lake) == before


def test_a_publish_that_finds_the_disk_full_leaves_what_was_published(
    lake: Lake, database: Path, evaluated: Callable[..., None], python: Python
):
    evaluated(lake, "b", "m", "10")
    publish(lake, database)
    evaluated(lake, "b", "n", "10")
    before = database.read_bytes()
    result = python(LIMITED + PUBLISH, lake.address.parent, 100_000)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"{database} could not be written (")
    assert "see that the disk has space" in result.stdout
    assert database.read_bytes() == before
    assert [path.name for path in database.parent.glob(".warehouse*")] == []
    publish(lake, database)
    assert query(database, "SELECT count(*) AS n FROM models").to_pylist() == [{"n": 2}]


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_every_step_of_a_change_can_fail(
    lake: Lake, evaluated, versions_of, monkeypatch: pytest.MonkeyPatch, step: str, number: int
):
    evaluated(lake, "b", "m", "10", fingerprint="old")
    lake.record_failure("b", "m", "failed", "why")
    before = versions_of(lake)

    def fail(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(os if step == "fsync" else Path, step, fail)
        for change in (
            lambda: evaluated(lake, "b", "m", "11", fingerprint="new"),
            lambda: lake.supersede("b", "m", "why"),
            lambda: lake.record_failure("b", "m", "failed", "again"),
        ):
            with pytest.raises(OSError, match=os.strerror(number)) as caught:
                change()
            assert caught.value.errno == number
            assert str(caught.value.filename).startswith(str(lake.address))
            assert versions_of(lake) == before
    evaluated(lake, "b", "m", "11", fingerprint="new")
    assert lake.superseded()["fingerprint"].to_pylist() == ["old"]


def test_a_lake_that_may_not_be_written_to_can_be_read(lake: Lake, evaluated, monkeypatch: pytest.MonkeyPatch):
    evaluated(lake, "b", "m", "10")

    def refuse(path: Path, *arguments: object, **options: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    for name in ("mkdir", "open", "replace", "unlink"):
        monkeypatch.setattr(Path, name, refuse)
    assert lake.responses().num_rows == 2
    assert lake.superseded().num_rows == 0
    assert lake.check() == []
    with pytest.raises(OSError, match="Read-only file system"):
        evaluated(lake, "b", "m", "11")
