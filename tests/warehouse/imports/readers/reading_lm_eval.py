"""Files in, answers and notes out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from warehouse.imports.readers.lm_eval import LmEval
from warehouse.imports.readers.reader import ANSWER_ROWS, Choices, LogFile, Notes


def log_files(*paths: Path) -> list[LogFile]:
    """Every file of `paths`, folders walked, as the import names them."""
    found = [path for root in paths for path in (sorted(root.rglob("*")) if root.is_dir() else [root])]
    return [LogFile(path, path.as_posix()) for path in found if path.is_file()]


def read(*paths: Path, files: Sequence[LogFile] | None = None, **choices: Any) -> tuple[list[dict[str, Any]], Notes]:
    reader, notes = LmEval(), Notes()
    recognised = [file for file in files or log_files(*paths) if reader.recognises(file)]
    tables = [table for _, table in reader.read(recognised, Choices(**choices), notes)]
    assert all(table.schema == ANSWER_ROWS for table in tables)
    return [row for table in tables for row in table.to_pylist()], notes
