"""The files of a source, whatever it is: folders are walked, patterns matched, archives unpacked."""

from __future__ import annotations

import bz2
import glob
import gzip
import hashlib
import lzma
import os
import shutil
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import pyarrow as pa

from warehouse.errors import ImportRefused, first_line

from .readers.reader import LogFile
from .sources import Place, find_place

__all__ = ["Places", "find_files", "find_places"]

_PATTERN = "*?["
_DEEPEST = 3  # archives within archives; deeper ones are left as they are

_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
"""How a file is compressed, by its first bytes."""

_DAMAGED = (OSError, EOFError, zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, NotImplementedError, RuntimeError)


@dataclass(frozen=True)
class Places:
    """What a user names in one command."""

    name: str  # the same for a later import of the same sources
    places: tuple[Place, ...]


def find_places(sources: Sequence[str]) -> Places:
    """Return where `sources` lie: files, folders, patterns (logs/*.jsonl) or hub data set ids. Raises ImportRefused."""
    if not sources:
        raise ImportRefused("Nothing", ["give a file, a folder or a hub data set id"])
    names, places = [], []
    for source in sources:
        pattern = str(Path(source).expanduser().absolute())
        if any(sign in source for sign in _PATTERN) and not Path(source).expanduser().exists():
            matches = [Path(match).resolve() for match in sorted(glob.iglob(pattern, recursive=True))]  # noqa: PTH207 a Path has no ** at any place
            if not matches:
                raise ImportRefused(source, ["no file matches this pattern"])
            names.append(pattern)
            places += [Place(str(match), match) for match in matches]
        else:
            place = find_place(source)
            names.append(place.name)
            places.append(place)
    if len(names) == 1:
        return Places(names[0], tuple(places))
    digest = hashlib.sha256("\0".join(sorted(names)).encode()).hexdigest()[:8]
    return Places(f"{_common_folder(names)} ({len(names)} sources, {digest})", tuple(places))


def _common_folder(names: Sequence[str]) -> str:
    try:
        return os.path.commonpath(names)
    except ValueError:  # paths and hub ids
        return ", ".join(sorted(names)[:2])


def find_files(places: Places, scratch: Path) -> list[LogFile]:
    """Return every file of `places`, without hidden ones, in the order of their paths; what is compressed is unpacked
    into the folder `scratch`. Raises ImportRefused where an archive is damaged."""
    unpacked = _Unpacked(scratch)
    found = {file.name: file for place in places.places for file in _walk(place, unpacked)}
    return [found[name] for name in sorted(found)]


def _walk(place: Place, unpacked: _Unpacked) -> Iterator[LogFile]:
    if place.path.is_file():
        yield from unpacked.files_of(LogFile(place.path, place.name))
        return
    for folder, folders, names in os.walk(place.path):
        if "_delta_log" in folders:  # a table of a lake, such as ours in a home
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            if name.startswith(".") or not path.is_file():
                continue
            inner = path.relative_to(place.path).as_posix()
            yield from unpacked.files_of(LogFile(path, f"{place.name}/{inner}"))


class _Unpacked:
    """Files that were compressed or in archives, as numbered files of a folder: names in archives are no paths."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def files_of(self, file: LogFile, depth: int = 0) -> Iterator[LogFile]:
        """Yield the file itself, or what is in it."""
        with file.path.open("rb") as stream:
            start = stream.read(6)
        method = next((method for magic, method in _MAGIC.items() if start.startswith(magic)), None)
        try:
            if depth == _DEEPEST:
                yield file
            elif method is not None:
                with _open_compressed(file.path, method) as content:
                    inner = self._copy(content, _without_ending(file.name))
                yield from self.files_of(inner, depth + 1)
            elif start.startswith(b"PK\x03\x04") and not _is_one_log(file.path):
                with zipfile.ZipFile(file.path) as archive:
                    for member in archive.infolist():
                        if not member.is_dir() and not _is_hidden(member.filename):
                            with archive.open(member) as content:
                                inner = self._copy(content, f"{file.name}/{member.filename}")
                            yield from self.files_of(inner, depth + 1)
            elif tarfile.is_tarfile(file.path):
                with tarfile.open(file.path) as archive:
                    for member in archive:
                        is_shown = member.isfile() and not _is_hidden(member.name)
                        if is_shown and (content := archive.extractfile(member)):
                            yield from self.files_of(self._copy(content, f"{file.name}/{member.name}"), depth + 1)
            else:
                yield file
        except _DAMAGED as error:
            raise ImportRefused(
                file.name, [f"it cannot be unpacked ({first_line(error)}); get it once more"]
            ) from error

    def _copy(self, content: IO[bytes], name: str) -> LogFile:
        self._count += 1
        path = self._folder / f"{self._count}"
        with path.open("wb") as target:
            shutil.copyfileobj(content, target, 2**20)
        return LogFile(path, name)


def _open_compressed(path: Path, method: str) -> IO[bytes]:
    match method:
        case "gzip":
            return cast("IO[bytes]", gzip.open(path))
        case "bz2":
            return bz2.open(path)
        case "xz":
            return lzma.open(path)
        case _:
            return pa.input_stream(str(path), compression=method)


def _is_one_log(path: Path) -> bool:
    """Return whether a zip file is one log of Inspect, which its reader opens itself."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    return "header.json" in names or any(name.startswith("_journal/") for name in names)


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _without_ending(name: str) -> str:
    stem, _, ending = name.rpartition(".")
    if ending.lower() == "tgz":
        return f"{stem}.tar"
    return stem if stem and ending.lower() in ("gz", "bz2", "xz", "zst", "zstd") else name
