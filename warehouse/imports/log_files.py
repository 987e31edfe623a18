"""The files of a source, whatever it is: folders are walked, patterns matched, archives unpacked."""

from __future__ import annotations

import bz2
import filecmp
import glob
import gzip
import hashlib
import lzma
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import pyarrow as pa

from warehouse.errors import ImportRefused, first_line

from .readers.reader import LogFile, Notes, whole_characters
from .sources import Place, find_place, is_utf8

__all__ = ["Places", "find_files", "find_places"]

_PATTERN = "*?["
_DEEPEST = 3  # archives within archives; deeper ones are left as they are

_ENCRYPTED = 1  # flag of a member of a zip file

_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
"""How a file is compressed, by its first bytes."""

_DAMAGED = (OSError, EOFError, zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, zlib.error)


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
            matches = sorted(glob.iglob(pattern, recursive=True))  # noqa: PTH207 a Path has no ** at any place
            if not matches:
                raise ImportRefused(source, ["no file matches this pattern"])
            names.append(pattern)
            places += [find_place(match) for match in matches]
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


def find_files(places: Places, scratch: Path, notes: Notes) -> list[LogFile]:
    """Return every file of `places`, without hidden ones, in the order of their paths; what is compressed is unpacked
    into the folder `scratch`. What cannot be opened is noted as left out.

    Raises ImportRefused where an archive is damaged, or has two different files of one name.
    """
    unpacked = _Unpacked(scratch, notes)
    found: dict[str, LogFile] = {}
    for place in places.places:
        for file in _walk(place, unpacked, notes):
            other = found.setdefault(file.name, file)
            if other.path != file.path and not filecmp.cmp(other.path, file.path, shallow=False):
                raise ImportRefused(file.name, ["it is there twice, with different contents; remove one of them"])
    return [found[name] for name in sorted(found)]


def _walk(place: Place, unpacked: _Unpacked, notes: Notes) -> Iterator[LogFile]:
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
            file = LogFile(path, f"{place.name}/{path.relative_to(place.path).as_posix()}")
            if name.startswith("."):
                continue
            if not path.is_file():
                notes.leave_out(file, "links that lead to no file, sockets and the like")
            elif not is_utf8(file.name):
                notes.leave_out(file, "files whose names, or those of their folders, are not UTF-8")
            else:
                yield from unpacked.files_of(file)


class _Unpacked:
    """Files that were compressed or in archives, as numbered files of a folder: names in archives are no paths."""

    def __init__(self, folder: Path, notes: Notes) -> None:
        self._folder = folder
        self._notes = notes
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
                for inner in self._members_of_zip(file):
                    yield from self.files_of(inner, depth + 1)
            elif not start.startswith(b"\0") and tarfile.is_tarfile(file.path):  # zeros count as an empty archive
                for inner in self._members_of_tar(file):
                    yield from self.files_of(inner, depth + 1)
            else:
                yield file
        except _DAMAGED as error:
            raise ImportRefused(
                file.name, [f"it cannot be unpacked ({first_line(error)}); get it once more"]
            ) from error
        except NotImplementedError as error:  # packed by a method that Python does not know
            raise ImportRefused(
                file.name, [f"it cannot be unpacked here ({first_line(error)}); unpack it, and import the folder"]
            ) from error

    def _members_of_zip(self, file: LogFile) -> Iterator[LogFile]:
        with zipfile.ZipFile(file.path) as archive:
            for member in archive.infolist():
                name = _name_within(member.filename.replace("\\", "/"))
                if not member.is_dir() and not _is_hidden(name):
                    if member.flag_bits & _ENCRYPTED:
                        raise ImportRefused(file.name, [f"{name} in it is encrypted; unpack it, and import the folder"])
                    with archive.open(member) as content:
                        inner = self._copy(content, f"{file.name}/{name}")
                    yield inner

    def _members_of_tar(self, file: LogFile) -> Iterator[LogFile]:
        with tarfile.open(file.path) as archive:
            for member in archive:
                name = _name_within(member.name)
                if member.isdir() or _is_hidden(name):
                    continue
                try:
                    content = archive.extractfile(member)
                except KeyError:  # a link to what is not in the archive
                    content = None
                if content is None:
                    inner = LogFile(file.path, f"{file.name}/{name}")
                    self._notes.leave_out(inner, "links that lead to no file, sockets and the like")
                else:
                    yield self._copy(content, f"{file.name}/{name}")

    def _copy(self, content: IO[bytes], name: str) -> LogFile:
        self._count += 1
        path = self._folder / f"{self._count}"
        with path.open("wb") as target:
            shutil.copyfileobj(content, target, 2**20)
        return LogFile(path, whole_characters(name))


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


def _name_within(name: str) -> str:
    """Return the name of a member below its archive: `tar cf logs.tar .` calls it ./logs/…, others /logs/…"""
    return "/".join(part for part in name.split("/") if part not in ("", ".", ".."))


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _without_ending(name: str) -> str:
    stem, _, ending = name.rpartition(".")
    if ending.lower() == "tgz":
        return f"{stem}.tar"
    return stem if stem and ending.lower() in ("gz", "bz2", "xz", "zst", "zstd") else name
