"""What a reader makes of files, as plain values."""

from pathlib import Path
from typing import Any

import pytest

from warehouse.imports.readers.reader import ANSWER_ROWS, Choices, LogFile, Notes, Reader

FORMATS = Path(__file__).parents[5] / "shared" / "formats"  # real files, which are not part of the repository

real_files = pytest.mark.skipif(not FORMATS.is_dir(), reason="../shared/formats is not there")


def read(reader: Reader, source: Path, **choices: Any) -> tuple[list[dict[str, Any]], Notes]:
    """Return the answers of all files below a folder, or of one file, and what the reader noted."""
    paths = sorted(path for path in source.rglob("*") if path.is_file()) if source.is_dir() else [source]
    base = source if source.is_dir() else source.parent
    files = [LogFile(path, path.relative_to(base).as_posix()) for path in paths]
    recognised = [file for file in files if reader.recognises(file)]
    notes = Notes()
    answers = []
    chosen = Choices(**choices)
    for _, table in reader.read(recognised, chosen, notes):
        assert set(table.column_names) <= set(ANSWER_ROWS.names)
        answers += table.to_pylist()
    return as_imported(answers, notes, chosen)


def as_imported(answers: list[dict[str, Any]], notes: Notes, choices: Choices) -> tuple[list[dict[str, Any]], Notes]:
    """Return what an import makes of it: where a choice is missing, it is refused."""
    if choices.asked:
        answers, notes.problems = [], [*choices.asked, *notes.problems]
    return answers, notes
