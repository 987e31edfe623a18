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
    for _, table in reader.read(recognised, Choices(**choices), notes):
        assert set(table.column_names) <= set(ANSWER_ROWS.names)
        answers += table.to_pylist()
    return answers, notes
