"""Files in, answers and notes out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.warehouse.imports.readers.reading_logs import as_imported
from warehouse.imports.readers.lm_eval import LmEval
from warehouse.imports.readers.reader import ANSWER_ROWS, Choices, LogFile, Notes


def log_files(*paths: Path) -> list[LogFile]:
    """Every file of `paths`, folders walked, as the import names them."""
    found = [path for root in paths for path in (sorted(root.rglob("*")) if root.is_dir() else [root])]
    return [LogFile(path, path.as_posix()) for path in found if path.is_file()]


def read(*paths: Path, files: Sequence[LogFile] | None = None, **choices: Any) -> tuple[list[dict[str, Any]], Notes]:
    reader, notes, chosen = LmEval(), Notes(), Choices(**choices)
    recognised = [file for file in files or log_files(*paths) if reader.recognises(file)]
    tables = [table for _, table in reader.read(recognised, chosen, notes)]
    assert all(table.schema == ANSWER_ROWS for table in tables)
    return as_imported([row for table in tables for row in table.to_pylist()], notes, chosen)
