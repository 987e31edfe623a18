"""Files that are not tables (embedder versions, the warehouse, the report), in a lake that others use too.

The table `blobs` holds their contents in pieces, one part per path of the home. A part is written in one commit, so
that a reader has all old files of a path or all new ones. A home with the same lake gets what was made elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from warehouse.errors import CorruptFileError
from warehouse.files import locked, replacing

from .delta import PART

if TYPE_CHECKING:
    from .lake import Lake

__all__ = ["Blobs"]

TABLE = "blobs"
_SCHEMA = pa.schema([("file", pa.string()), ("digest", pa.string()), ("piece", pa.int64()), ("content", pa.binary())])
_PIECE = 4 * 2**20  # bytes


class Blobs:
    """The files of `home` that are shared through `lake`."""

    def __init__(self, lake: Lake, home: Path) -> None:
        self.lake = lake
        self.home = home
        self._memory = home / "cache" / "blobs.json"  # what each file here was when it was last shared or fetched

    def share(self, paths: Iterable[Path]) -> None:
        """Put files, or folders with everything in them that is not hidden, where others find them."""
        seen = self._seen()
        for path in paths:
            files = _files_in(path) if path.is_dir() else [path]
            digests = {self._name(file): _digest_of(file) for file in files}
            if digests != dict(self._shared([path])):
                rows = [row for file in files for row in self._pieces(file, digests[self._name(file)])]
                self.lake.write_table(TABLE, pa.Table.from_pylist(rows, schema=_SCHEMA), self._name(path))
            seen |= {self._name(file): _state(file, digests[self._name(file)]) for file in files}
        self._remember(seen)

    def has(self, path: Path) -> bool:
        """Return whether this file or folder is shared."""
        return bool(self._shared([path]))

    def fetch(self, *paths: Path) -> None:
        """Fetch these files or folders, where they are shared and either missing here, or changed elsewhere but not
        here since they were last shared or fetched. Raises CorruptFileError for a content that is not what was shared.
        """
        shared = self._shared(paths)
        if not shared:
            return
        with locked(self.home / "cache" / ".blobs.lock"):
            seen = self._seen()
            wanted = {}
            for name, digest in shared:
                file, known = self.home / name, seen.get(name)
                ours = file.exists() and (known is None or _state(file, known["digest"]) != known)
                if not ours and (known is None or known["digest"] != digest or not file.exists()):
                    wanted[name] = digest
            if wanted:
                self._bring(paths, wanted)
                self._remember(seen | {name: _state(self.home / name, digest) for name, digest in wanted.items()})

    def _shared(self, paths: Iterable[Path]) -> list[tuple[str, str]]:
        """Return file and digest of everything that is shared of `paths`."""
        where = self._of(paths) & (pc.field("piece") == 0)
        rows = self.lake.tables.read(TABLE, ["file", "digest"], where)
        return [(row["file"], row["digest"]) for row in rows.to_pylist()] if rows else []

    def _pieces(self, file: Path, digest: str) -> Iterator[dict[str, Any]]:
        with file.open("rb") as opened:
            pieces = list(iter(lambda: opened.read(_PIECE), b"")) or [b""]
        for number, content in enumerate(pieces):
            yield {"file": self._name(file), "digest": digest, "piece": number, "content": content}

    def _bring(self, paths: Iterable[Path], digests: Mapping[str, str]) -> None:
        """Bring the files of these digests, of those that are shared of `paths`."""
        where = self._of(paths) & pc.field("file").isin([*digests])
        rows = self.lake.tables.read(TABLE, ["file", "piece", "content"], where)
        pieces: dict[str, list[bytes]] = {name: [] for name in digests}
        for row in rows.sort_by("piece").to_pylist() if rows else []:
            pieces[row["file"]].append(row["content"])
        for name in sorted(digests, key=lambda name: (name.endswith(".json"), name)):  # what says that it is whole last
            with replacing(self.home / name) as temporary:
                temporary.write_bytes(b"".join(pieces[name]))
                if _digest_of(temporary) != digests[name]:
                    raise CorruptFileError(self.lake.tables.at(TABLE), f"{name} is not what was shared")

    def _of(self, paths: Iterable[Path]) -> pc.Expression:
        return pc.field(PART).isin([self._name(path) for path in paths])

    def _name(self, path: Path) -> str:
        return path.relative_to(self.home).as_posix()

    def _seen(self) -> dict[str, dict[str, Any]]:
        return json.loads(self._memory.read_text(encoding="utf-8")) if self._memory.exists() else {}

    def _remember(self, seen: dict[str, dict[str, Any]]) -> None:
        with replacing(self._memory) as temporary:
            temporary.write_text(json.dumps(seen), encoding="utf-8")


def _files_in(folder: Path) -> list[Path]:
    found = (path for path in folder.rglob("[!.]*") if path.is_file())
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def _state(file: Path, digest: str) -> dict[str, Any]:
    status = file.stat()
    return {"digest": digest, "bytes": status.st_size, "changed": status.st_mtime_ns}


def _digest_of(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
