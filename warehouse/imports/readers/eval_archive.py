"""The archive that Inspect calls `.eval`: a zip file of JSON documents."""

from __future__ import annotations

import json
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from .fields import as_list, parse_json

__all__ = ["DAMAGED", "EvalArchive"]

_ZSTD = 93  # the method of members that Python's zipfile reads from 3.14 on only
_LOCAL_HEADER = 30  # bytes, before the name and the extra field of a member
_HEADERS = ("header.json", "_journal/start.json")  # a run that was killed has the second only
_SAMPLE = re.compile(r"samples/.+_epoch_\d+(/sample)?\.json")
_REFERENCE = re.compile(r"attachment://(\d+)")

DAMAGED = (zipfile.BadZipFile, zlib.error, pa.ArrowException, struct.error, OSError, ValueError, RuntimeError)
"""What reading an archive may raise that is damaged, encrypted (RuntimeError) or packed by another method."""


class EvalArchive:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._archive = zipfile.ZipFile(path)
        self._members = {member.filename: member for member in self._archive.infolist()}

    def __enter__(self) -> EvalArchive:
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    @property
    def is_log(self) -> bool:
        return any(name in self._members for name in _HEADERS)

    def header(self) -> Any:
        name = next(name for name in _HEADERS if name in self._members)
        return self._document(name)

    def samples(self) -> Iterator[Any]:
        for name in self._members:
            if shape := _SAMPLE.fullmatch(name):
                sample = self._document(name)
                yield self._with_attachments(name, sample) if shape[1] else sample

    def _with_attachments(self, name: str, sample: Any) -> Any:
        """Put long texts back, which samples that are split into several members refer to by number."""
        if not isinstance(sample, dict) or not _REFERENCE.search(json.dumps(sample)):
            return sample
        folder = f"{name.removesuffix('sample.json')}attachments/"
        parts = [member for member in self._members if member.startswith(folder)]
        parts.sort(key=lambda part: int(re.sub(r"\D", "", part.removeprefix(folder)) or 0))
        texts = [text for part in parts for text in as_list(self._document(part))]
        return {**sample, "attachments": {str(number): text for number, text in enumerate(texts)}}

    def _document(self, name: str) -> Any:
        member = self._members[name]
        if member.compress_type != _ZSTD:
            return parse_json(self._archive.read(member))
        with self._path.open("rb") as file:
            file.seek(member.header_offset)
            lengths = struct.unpack_from("<HH", file.read(_LOCAL_HEADER), 26)
            file.seek(sum(lengths), 1)
            packed = file.read(member.compress_size)
        data = pa.CompressedInputStream(pa.BufferReader(packed), "zstd").read()
        if zlib.crc32(data) != member.CRC:
            raise zipfile.BadZipFile(f"{name} is damaged")
        return parse_json(data)
