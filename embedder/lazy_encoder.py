"""The question encoder, which is loaded only when something has to be encoded.

Importing sentence-transformers takes longer than everything else in a refresh without new questions, and such a refresh
needs only the encoder's name. The name of an encoder on disk is kept, together with what its files look like.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .encoder_files import digest_folder, local_folder, static_folder, teacher_of

if TYPE_CHECKING:
    from .encoder import Encoder
    from .static_reader import StaticReader

__all__ = ["LazyEncoder"]


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

    @property
    def static_files(self) -> Path | None:
        """The folder of a static encoder; None for another encoder."""
        teacher = teacher_of(self._asked)
        return self._distil(teacher) if teacher else None

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
        folder = self._distil(teacher) if teacher else local_folder(self._asked)
        if folder is None:  # of the hub: it knows which version is meant
            return _Described(self._load().name, self._load().dimensions)
        file = self._cache / f"encoder-{digest_folder(folder)}.json"
        try:
            return _Described(**json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):  # not there yet, or damaged
            described = _Described(self._load().name, self._load().dimensions)
            from .store import write_file  # which imports torch, loaded by now

            file.parent.mkdir(parents=True, exist_ok=True)
            write_file(file, json.dumps(described._asdict()).encode())
            return described
