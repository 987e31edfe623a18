"""Adds models to models.yaml and removes them, leaving comments and layout of everything else as they are."""

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.yaml_text import Uneditable, YamlList

from .entries import ModelEntry
from .loading import Registry, RegistryError, check_benchmarks_named, load_registry, model_entry, read_text

__all__ = ["add_model", "check_addition", "remove_model"]

MODELS_FILE = "models.yaml"


def add_model(folder: Path, home: Path, entry: Mapping[str, Any]) -> ModelEntry:
    """Append `entry` to `folder`/models.yaml; texts in it may hold `{home}`, as in the file.

    Raises RegistryError, and leaves the file as it was, where the entry cannot be used, its name is taken, or the file
    is no registry, may not be written or is laid out in a way that cannot be edited.
    """
    with _locked(folder, home), _edited(folder):
        draft, expected = _with_model(folder, home, entry)
        _replace(draft, expected, home)
    return expected.models[-1]


def check_addition(folder: Path, home: Path, entry: Mapping[str, Any]) -> Registry:
    """The registry as it will be after `add_model`, for work to be done before. Writes nothing.

    Raises RegistryError where `add_model` would.
    """
    with _edited(folder):
        draft, expected = _with_model(folder, home, entry)
        _check_draft(draft, expected, home)
    return expected


def _with_model(folder: Path, home: Path, entry: Mapping[str, Any]) -> tuple[str, Registry]:
    """The text of models.yaml with `entry` behind the others, and what it should say."""
    added = model_entry(entry, home)
    text = read_text(folder / MODELS_FILE)
    registry = load_registry(folder, home, models_text=text)
    check_benchmarks_named(folder / MODELS_FILE, [added], registry.benchmarks)
    models = YamlList(text, "models")
    for model, line in zip(registry.models, models.lines, strict=True):
        if model.name.casefold() == added.name.casefold():
            raise RegistryError(
                f"{folder / MODELS_FILE}, line {line}: the name {model.name!r} is taken; "
                "choose another, or remove that model first."
            )
    return models.appended(entry), replace(registry, models=(*registry.models, added))


def remove_model(folder: Path, home: Path, name: str) -> ModelEntry:
    """Take the entry `name` out of `folder`/models.yaml: its lines, and comments indented as parts of it.

    Raises RegistryError, and leaves the file as it was, where there is no such model, or the file is no registry, may
    not be written or is laid out in a way that cannot be edited.
    """
    with _locked(folder, home):
        text = read_text(folder / MODELS_FILE)
        registry = load_registry(folder, home, models_text=text)
        removed = registry.model(name)
        left = tuple(model for model in registry.models if model is not removed)
        with _edited(folder):
            draft = YamlList(text, "models").without(registry.models.index(removed))
            _replace(draft, replace(registry, models=left), home)
    return removed


@contextmanager
def _locked(folder: Path, home: Path) -> Iterator[None]:
    """One change at a time: of two, the later would write the file without the earlier's entry."""
    if not folder.is_dir():
        load_registry(folder, home)  # says so
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _edited(folder: Path) -> Iterator[None]:
    """What goes wrong with the text or with writing it, as a sentence."""
    path = folder / MODELS_FILE
    try:
        yield
    except Uneditable:
        raise RegistryError(
            f"{path} is laid out in a way that cannot be edited without touching other entries; "
            "edit the file by hand (docs/registry.md)."
        ) from None
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise RegistryError(
            f"{path} may not be written ({error.strerror}); copy the folder {folder}, "
            "set EMBEDLLM_REGISTRY to the copy, and try again."
        ) from error


def _check_draft(draft: str, expected: Registry, home: Path) -> Path:
    """Where `draft` may be written to, if it says what is expected and nothing else."""
    try:
        meant = load_registry(expected.folder, home, models_text=draft) == expected
    except RegistryError:
        meant = False
    if not meant:
        raise Uneditable("the draft says something else")
    path = (expected.folder / MODELS_FILE).resolve()  # a link stays a link
    path.open("r+b").close()  # a file that may not be written is not replaced either
    return path


def _replace(draft: str, expected: Registry, home: Path) -> None:
    """Put `draft` in the place of models.yaml, in one step, if it says what is expected and nothing else."""
    path = _check_draft(draft, expected, home)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as scratch:
        written = Path(scratch) / path.name
        with written.open("wb") as file:
            file.write(draft.encode())
            file.flush()
            os.fsync(file.fileno())
        shutil.copymode(path, written)
        written.replace(path)
