"""A home: where everything in it lies, and the settings that change what is made of it. Imports no Dagster."""

from __future__ import annotations

import json
from dataclasses import KW_ONLY, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from warehouse.lake import Lake

COMMAND_LOCK = ".lock"
"""In the home; held while an `embedllm` command works on it that makes something."""


@dataclass(frozen=True)
class Home:
    """What is needed to read what was made; `Workspace` adds the registry, which says what is to be made."""

    home: Path
    _: KW_ONLY
    encoder: str = "static"
    seed: int = 0
    device: str | None = None
    keep_answers: bool = True
    lake_address: str | None = None

    @property
    def lake(self) -> Lake:
        return _lake(self.lake_address or str(self.home / "lake"))

    def share(self, *files: Path) -> None:
        """Put files or folders of the home where others with this lake find them, if it lies elsewhere."""
        if self.lake_address:
            from warehouse.lake import Blobs

            Blobs(self.lake, self.home).share(files)

    def fetch(self, *files: Path) -> None:
        """Bring files or folders of the home that others with this lake have made, where they are newer."""
        if self.lake_address:
            from warehouse.lake import Blobs

            Blobs(self.lake, self.home).fetch(*files)

    def has(self, file: Path) -> bool:
        """Return whether a file or folder of the home is there, or can be fetched."""
        if file.exists() or not self.lake_address:
            return file.exists()
        from warehouse.lake import Blobs

        return Blobs(self.lake, self.home).has(file)

    @property
    def command_lock(self) -> Path:
        return self.home / COMMAND_LOCK

    @property
    def database(self) -> Path:
        return self.home / "warehouse.duckdb"

    @property
    def embedders(self) -> Path:
        return self.home / "embedders"

    @property
    def cache(self) -> Path:
        return self.home / "cache"

    @property
    def zoo(self) -> Path:
        return self.home / "zoo"

    def zoo_recipe(self) -> str | None:
        """Return a digest of what decides the zoo's weights; None where it is not built."""
        manifest = self.zoo / "manifest.json"
        return _recipe(manifest, manifest.stat().st_mtime_ns) if manifest.exists() else None

    @property
    def report(self) -> Path:
        return self.home / "reports" / "report.html"


@lru_cache(maxsize=1)
def _recipe(manifest: Path, _: int) -> str:
    return json.loads(manifest.read_text(encoding="utf-8"))["recipe"]


@lru_cache(maxsize=8)
def _lake(address: str) -> Lake:
    from warehouse.lake import Lake

    return Lake(address)  # the same one for the whole process, as it remembers what is in force
