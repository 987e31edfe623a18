"""Files that were cut off or have a bit turned: found, named, and mended from what is whole."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.slow
def test_damage_is_named_and_mended(copy: Any, small: Any, differences: Callable[[Any, Any], list[str]]) -> None:
    database = copy.path / "warehouse.duckdb"
    answers, questions, embeddings = map(copy.a_file_of, ("responses", "questions", "question_embeddings"))
    entry = max((copy.path / "lake" / "predictions" / "_delta_log").glob("*.json"))
    for path in (answers, questions, embeddings, entry):
        _cut_off(path)
    with database.open("r+b") as file:
        file.truncate(1000)

    asked, found = copy.command.here("sql", "FROM models"), copy.command.here("check")
    assert (asked.exit_code, found.exit_code) == (1, 1)
    assert f"{database} cannot be opened" in asked.output
    assert "`embedllm run` makes it again" in asked.output
    done = copy.command("run")
    assert done.returncode == 0, done.stderr
    whats = {
        answers: "rows of the table responses",
        questions: "rows of the table questions",
        embeddings: "rows of the table question_embeddings",
        entry: "log of the table predictions",
    }
    for path, what in whats.items():
        assert f"{path} ({what}) cannot be read" in found.output
        assert f"{path} ({what}) cannot be read" in done.stderr
        assert (copy.path / "lake" / "damaged" / path.relative_to(copy.path / "lake")).exists()
    assert f"{database} is damaged (" in done.stderr

    assert copy.command.here("check").exit_code == 0
    assert copy.to_do() == []
    assert copy.leftovers() == []
    # Of the answers whose questions were gone, those that were needed to have the questions back stay aside.
    assert [found for found in differences(copy, small) if not found.startswith("superseded")] == []


def _cut_off(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


@pytest.mark.slow
def test_answers_that_are_not_those_that_were_written_are_asked_for_again(
    copy: Any, small: Any, differences: Callable[[Any, Any], list[str]]
) -> None:
    """As after a bit turned: the file is as long as it was, and no command has read it since."""
    _turn_bits(copy.a_file_of("responses"))
    found = copy.command.here("check")
    assert found.exit_code == 1
    assert "cannot be read" in found.output
    assert copy.lake.mend(thoroughly=True)
    done = copy.command("run")
    assert done.returncode == 0, done.stderr
    assert copy.command.here("check").exit_code == 0
    assert copy.to_do() == []
    assert differences(copy, small) == []


def _turn_bits(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 4] ^= 1
    file.write_bytes(content)
