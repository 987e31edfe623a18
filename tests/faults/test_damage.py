"""Files that were cut off or have a bit turned: found, named, and mended from what is whole."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ANSWERS = "lake/responses/benchmark=sums/model=tiny%2Fb/part.parquet"
QUESTIONS = "lake/questions/benchmark=towns/part.parquet"
EMBEDDINGS = "lake/question_embeddings/*.parquet"


@pytest.mark.slow
def test_damage_is_named_and_mended(copy: Any, small: Any, differences: Callable[[Any, Any], list[str]]) -> None:
    database = copy.path / "warehouse.duckdb"
    damaged = [next(copy.path.glob(pattern)) for pattern in (ANSWERS, QUESTIONS, EMBEDDINGS)]
    _cut_off(damaged[0])
    _cut_off(damaged[1])
    _turn_a_bit(damaged[2])
    with database.open("r+b") as file:
        file.truncate(1000)

    asked, found = copy.command.here("sql", "FROM models"), copy.command.here("check")
    assert (asked.exit_code, found.exit_code) == (1, 1)
    assert f"{database} cannot be opened" in asked.output
    assert "`embedllm run` makes it again" in asked.output
    done = copy.command("run")
    assert done.returncode == 0, done.stderr
    whats = ("answers of tiny/b to sums", "the questions of towns", "part of the table question_embeddings")
    for path, what in zip(damaged, whats, strict=True):
        assert f"{path} ({what}) cannot be read" in found.output
        assert f"{path} ({what}) cannot be read" in done.stderr
        assert (copy.path / "lake" / "damaged" / path.relative_to(copy.path / "lake")).exists()
    assert f"{database} is damaged or of another version of embedllm: it is made anew from the lake" in done.stderr

    assert copy.command.here("check").exit_code == 0
    assert copy.to_do() == []
    assert copy.leftovers() == []
    # Of the answers whose questions were gone, those that were needed to have the questions back stay aside.
    assert [found for found in differences(copy, small) if not found.startswith("superseded")] == []


def _cut_off(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def _turn_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
