"""Many files that reach the lake together: staged and checked, then moved; the move outlives a kill.

lake/.staging/<id>/files/...   the files under the paths that they will have in the lake
lake/.staging/<id>/READY       present: all files are whole and agreed to, so the move must be completed
lake/.staging/<id>/.lock       locked by the process that is at work on it
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from warehouse.files import locked, replacing, sync
from warehouse.layout import FAILURE

__all__ = ["Staging", "open_staging", "recover_staging"]

STAGING = ".staging"
_FILES, _READY, _LOCK = "files", "READY", ".lock"


class Staging:
    """One staging folder; `Lake.staging` opens it."""

    def __init__(self, lake: Path, folder: Path) -> None:
        self.lake = lake
        self.folder = folder
        self._removed: list[str] = []

    def path_of(self, target: Path) -> Path:
        """Where the file that shall become `target` (a path in the lake) is to be written."""
        return self.folder / _FILES / target.relative_to(self.lake)

    def remove(self, target: Path) -> None:
        """Lets `target` (a file of the lake) go when the others land."""
        self._removed.append(str(target.relative_to(self.lake)))

    def land(self) -> None:
        """Moves all staged files into the lake. The caller holds the lake's lock."""
        with replacing(self.folder / _READY) as temporary:
            temporary.write_text(json.dumps(self._removed), encoding="utf-8")
        sync(self.folder)
        _land(self.folder, self.lake)


@contextmanager
def open_staging(lake: Path) -> Iterator[Staging]:
    """A new, locked staging folder that goes with the block, unless a landing was cut short in it.

    The caller holds the lake's lock while it enters, lest a recovery take the folder for an abandoned one.
    """
    folder = lake / STAGING / uuid.uuid4().hex[:12]
    with locked(folder / _LOCK):
        try:
            yield Staging(lake, folder)
        finally:
            if not (folder / _READY).exists():
                shutil.rmtree(folder)


def recover_staging(lake: Path) -> None:
    """Completes what a killed process had made ready, removes what it had not; needs the lake's lock."""
    for folder in sorted((lake / STAGING).glob("*")):
        with locked(folder / _LOCK, wait=False) as abandoned:
            if not abandoned:
                continue
            if (folder / _READY).exists():
                _land(folder, lake)
            shutil.rmtree(folder)


def _land(folder: Path, lake: Path) -> None:
    """Can be cut off anywhere and begun again: what was moved is no longer staged."""
    files, ready = folder / _FILES, folder / _READY
    for target in json.loads(ready.read_text(encoding="utf-8")):
        (lake / target).unlink(missing_ok=True)
    for staged in sorted(path for path in files.rglob("*") if path.is_file()):
        target = lake / staged.relative_to(files)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.with_name(FAILURE).unlink(missing_ok=True)  # answers end the record of a failure
        staged.replace(target)
    ready.unlink()
