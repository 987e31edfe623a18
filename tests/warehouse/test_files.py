"""Disks that are full and homes that are read-only: nothing half-written, and the file is named."""

import errno
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from deltalake import write_deltalake

from warehouse.database.publish import publish
from warehouse.database.read import query
from warehouse.lake import Lake

LIMITED = """
import resource, sys
from pathlib import Path
import pyarrow as pa
from warehouse.errors import WarehouseError
from warehouse.lake import Lake
from warehouse.database.publish import publish
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
except WarehouseError as error:
    print(error)
"""
PUBLISH = """
try:
    publish(lake, home / "warehouse.duckdb")
except WarehouseError as error:
    print(error)
"""

Python = Callable[..., subprocess.CompletedProcess[str]]


def test_an_evaluation_that_finds_the_disk_full_leaves_the_lake_as_it_was(
    lake: Lake, database: Path, evaluated: Callable[..., None], versions_of, python: Python
):
    evaluated(lake, "b", "m", "10")
    before = versions_of(lake)
    result = python(LIMITED + EVALUATE, database.parent, 4096)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"{lake.address}/questions cannot be written (")
    assert "File too large" in result.stdout
    assert versions_of(lake) == before


def test_a_publish_that_finds_the_disk_full_leaves_what_was_published(
    lake: Lake, database: Path, evaluated: Callable[..., None], python: Python
):
    evaluated(lake, "b", "m", "10")
    publish(lake, database)
    evaluated(lake, "b", "n", "10")
    before = database.read_bytes()
    result = python(LIMITED + PUBLISH, database.parent, 100_000)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"{database} could not be written (")
    assert "see that the disk has space" in result.stdout
    assert database.read_bytes() == before
    assert [path.name for path in database.parent.glob(".warehouse*")] == []
    publish(lake, database)
    assert query(database, "SELECT count(*) AS n FROM models").to_pylist() == [{"n": 2}]


@pytest.mark.parametrize("moment", [1, 2, 3])
def test_every_step_of_a_change_can_fail(lake: Lake, evaluated, monkeypatch: pytest.MonkeyPatch, moment: int):
    evaluated(lake, "b", "m", "10", fingerprint="old")
    lake.record_failure("b", "m", "failed", "why")
    before = lake.state(), lake.failures(), lake.superseded(), lake.response_metadata("b", "m")
    steps = 0

    def fail(*arguments: Any, **options: Any) -> None:
        nonlocal steps
        steps += 1
        if steps == moment:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_deltalake(*arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr("deltalake.write_deltalake", fail)
        with pytest.raises(OSError, match="No space left on device"):
            evaluated(lake, "b", "m", "111", fingerprint="new")
    for seen in (lake, Lake(lake.address)):
        assert (seen.state(), seen.failures(), seen.superseded(), seen.response_metadata("b", "m")) == before
    evaluated(lake, "b", "m", "111", fingerprint="new")
    assert lake.superseded()["fingerprint"].to_pylist() == ["old"]
    assert lake.responses().num_rows == lake.count_questions() == 3


def test_a_lake_that_may_not_be_written_to_can_be_read(lake: Lake, evaluated, monkeypatch: pytest.MonkeyPatch):
    evaluated(lake, "b", "m", "10")

    def refuse(path: object, *arguments: object, **options: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    for name in ("mkdir", "open", "replace", "unlink"):
        monkeypatch.setattr(Path, name, refuse)
    monkeypatch.setattr("deltalake.write_deltalake", refuse)
    lake = Lake(lake.address)
    assert lake.responses().num_rows == 2
    assert lake.superseded().num_rows == 0
    assert lake.check() == lake.mend() == []
    with pytest.raises(OSError, match="Read-only file system"):
        evaluated(lake, "b", "m", "11")
