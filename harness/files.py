"""Files and folders that are either whole or not there."""

import os
import shutil
import threading
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text` in one step: a reader, or a rerun after a crash, never sees half of it.

    The permissions of a file that was there stay.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def move_folder(source: Path, target: Path) -> None:
    """Put the finished folder `source` in the place of `target`, its files safely on disk first."""
    for path in source.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    if target.exists():
        shutil.rmtree(target)
    source.replace(target)
