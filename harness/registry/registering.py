"""Adds models to models.yaml and removes them; comments, order and quotes of everything else stay as they are.

Entries behind dashes come and go as whole lines, so that no other byte changes: a round trip through ruamel.yaml would
join the lines of entries that are in braces, as those of our own registries are. Lists in brackets do take that trip.
"""

import errno
import io
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from filelock import lock_descriptor
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from harness.files import write_text

from .entries import ModelEntry
from .loading import Registry, RegistryError, check_benchmarks_named, load_registry, model_entry, read_text

__all__ = ["add_model", "check_addition", "remove_model"]


def add_model(folder: Path, home: Path, entry: Mapping[str, Any]) -> ModelEntry:
    """Append `entry` to `folder`/models.yaml; texts in it may hold `{home}`, as in the file.

    Raises RegistryError, and leaves the file as it was, where the entry cannot be used, its name is taken, or the file
    is no registry, may not be written or is laid out in a way that cannot be edited.
    """
    return _add(folder, home, entry, write=True).models[-1]


def check_addition(folder: Path, home: Path, entry: Mapping[str, Any]) -> Registry:
    """Return the registry as it will be after `add_model`. Raises RegistryError where that would; writes nothing."""
    return _add(folder, home, entry, write=False)


def _add(folder: Path, home: Path, entry: Mapping[str, Any], *, write: bool) -> Registry:
    added = model_entry(entry, home)
    with _editing(folder, home) as (path, text, registry):
        check_benchmarks_named(path, [added], registry.benchmarks)
        for model in registry.models:
            if model.name.casefold() == added.name.casefold():
                raise RegistryError(
                    f"{path}: the name {model.name!r} is taken; choose another, or remove that model first."
                )
        expected = replace(registry, models=(*registry.models, added))
        _put(_with(text, entry), expected, home, write=write)
    return expected


def remove_model(folder: Path, home: Path, name: str) -> ModelEntry:
    """Take the entry `name` out of `folder`/models.yaml: its lines, and comments that are indented as parts of it.

    Raises RegistryError, and leaves the file as it was, where there is no such model, or the file is no registry, may
    not be written or is laid out in a way that cannot be edited.
    """
    with _editing(folder, home) as (_, text, registry):
        removed = registry.model(name)
        left = tuple(model for model in registry.models if model is not removed)
        _put(_without(text, registry.models.index(removed)), replace(registry, models=left), home)
    return removed


@contextmanager
def _editing(folder: Path, home: Path) -> Iterator[tuple[Path, str, Registry]]:
    """Yield models.yaml, its text and what it says. Changes take turns: of two at once, one would be lost.

    Where the text cannot be edited or not be written, the RegistryError says what to do.
    """
    load_registry(folder, home)  # says so where there is no such folder
    path, descriptor = folder / "models.yaml", os.open(folder, os.O_RDONLY)
    try:
        lock_descriptor(descriptor)
        text = read_text(path)
        if _has_crlf(text):
            text = text.replace("\r\n", "\n")
        yield path, text, load_registry(folder, home, models_text=text)
    except YAMLError:
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
    finally:
        os.close(descriptor)  # which releases the lock


def _put(draft: str, expected: Registry, home: Path, *, write: bool = True) -> None:
    """Replace models.yaml by `draft`. Raises YAMLError unless that says what is expected and nothing else."""
    try:
        is_right = load_registry(expected.folder, home, models_text=draft) == expected
    except RegistryError:
        is_right = False
    if not is_right:
        raise YAMLError
    path = (expected.folder / "models.yaml").resolve()  # a link stays a link
    path.open("r+b").close()  # a file that may not be written is not replaced either
    if write:
        write_text(path, draft.replace("\n", "\r\n") if _has_crlf(read_text(path)) else draft)


def _has_crlf(text: str) -> bool:
    """Return whether every line ends as on Windows; where only some do, each keeps its own end."""
    return 0 < text.count("\n") == text.count("\r\n")


def _with(text: str, entry: Mapping[str, Any]) -> str:
    """Return `text` with `entry` behind the last one: a field a line, lists and mappings in it in brackets."""
    style: dict[str, Any] = {"default_flow_style": None, "allow_unicode": True, "sort_keys": False, "width": 2**31}
    written = yaml.safe_dump([dict(entry)], **style)
    lines, spans = text.split("\n"), _spans(text)
    if not spans:
        return _round_trip(text, lambda document: document["models"].extend(_parser().load(written)))
    start, end = spans[-1]
    indent = lines[start].partition("-")[0]
    lines[end:end] = [indent + line for line in written.removesuffix("\n").split("\n")]
    return "\n".join(lines)


def _without(text: str, index: int) -> str:
    """Return `text` without the entry of that index."""
    lines, spans = text.split("\n"), _spans(text)
    if not spans:
        return _round_trip(text, lambda document: document["models"].pop(index))
    del lines[slice(*spans[index])]
    if len(spans) > 1:
        return "\n".join(lines)
    return _round_trip("\n".join(lines).rstrip("\n") + "\n", lambda document: document.update(models=[]))


def _spans(text: str) -> list[tuple[int, int]]:
    """Return the first line of each entry and the one behind its last, which may be a comment that is indented deeper
    than the dash; nothing where the list is empty or in brackets. Raises YAMLError where the lines cannot be told."""
    document, lines = _parser().load(text), text.split("\n")
    models = document["models"]
    if not models or models.fa.flow_style():
        return []
    first, column = models.lc.line, models.lc.col
    end = min((line for line, _ in map(document.lc.key, document) if line > first), default=len(lines))
    dash, behind = re.compile(rf" {{{column}}}-(\s|$)"), re.compile(rf"\s*$|\.\.\.| {{0,{column}}}#")
    dashes = [line for line in range(first, end) if dash.match(lines[line])]
    spans = [
        (start, 1 + max(line for line in range(start, stop) if not behind.match(lines[line])))
        for start, stop in pairwise([*dashes, end])
    ]
    if len(spans) != len(models):
        raise YAMLError
    return spans


def _round_trip(text: str, change: Callable[[Any], Any]) -> str:
    """Return `text` with its document changed. Raises YAMLError where a comment would be lost."""
    document, stream = _parser().load(text), io.StringIO()
    change(document)
    _parser().dump(document, stream)
    comments, kept = (set(re.findall(r"(?:^|\s)(#.*)", some, re.MULTILINE)) for some in (text, stream.getvalue()))
    if not comments <= kept:
        raise YAMLError
    return stream.getvalue()


def _parser() -> YAML:
    parser = YAML()
    parser.preserve_quotes, parser.width = True, 2**31
    parser.indent(sequence=4, offset=2)
    return parser
