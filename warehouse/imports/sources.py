"""Where results come from: a file, a folder, or a data set of the hub; and the tables of the layout in it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from warehouse.errors import ImportRefused, first_line
from warehouse.lake.questions import SPLITS

from .readers.reader import whole_characters
from .tables import SUFFIXES, checked_file, holds_results

__all__ = [
    "Place",
    "ResultFile",
    "Source",
    "digest_of",
    "find_place",
    "find_source",
    "has_tables",
    "holds_layout",
    "is_utf8",
]

ENDINGS = (*SUFFIXES, ".json", ".jsonl", ".gz", ".zip", ".tar", ".tgz", ".bz2", ".xz", ".zst", ".eval")
"""Of names that are meant to be files, and no data sets of the hub."""

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_WORDS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_SPLIT_FILE = re.compile(
    rf"(?P<word>{'|'.join(_WORDS)})([-_.](?P<number>\d+)(-of-(?P<total>\d+)(-[0-9a-f]+)?)?)?", re.IGNORECASE
)
"""The name, without its ending, of a file with all or part of a split: train, validation-00000-of-00004."""

_ONE_OF_MANY = re.compile(r"(?P<name>.*)-(?P<number>\d+)-of-(?P<total>\d+)(-[0-9a-f]+)?")


@dataclass(frozen=True)
class ResultFile:
    path: Path
    split: str | None = None  # of all its questions; None where the file does not say by its name


@dataclass(frozen=True)
class Source:
    name: str  # the absolute path or the hub id, the same for a later import of the same thing
    files: tuple[ResultFile, ...]


@dataclass(frozen=True)
class Place:
    """Where one of the sources that a user names lies on this disk."""

    name: str  # the absolute path or the hub id, the same for a later import of the same thing
    path: Path  # a file or a folder


def find_place(source: str) -> Place:
    """Return where `source` lies, which is downloaded where it is a hub data set id. Raises ImportRefused."""
    if not source.strip():
        raise ImportRefused("The empty name", ["give a file, a folder or a hub data set id"])
    path = Path(source).expanduser()
    if not is_utf8(str(path.absolute())):
        raise ImportRefused(source, ["a name in its path is not UTF-8; rename the file or folder"])
    if path.exists():
        return Place(str(path.resolve()), path.resolve())
    if _HUB_ID.fullmatch(source) and path.suffix.lower() not in ENDINGS:
        return Place(source, _download(source))
    raise ImportRefused(source, ["there is no such file or folder, and it is no hub data set id (owner/name)"])


def holds_layout(place: Place) -> bool:
    """Return whether a file, or one that lies where `find_source` looks for tables, has the columns of the layout."""
    if place.path.is_file():
        return place.path.suffix.lower() in SUFFIXES and holds_results(place.path)
    return any(holds_results(path) for path in _tables_near(place.path))


def has_tables(place: Place) -> bool:
    """Return whether a file is a table, or a folder has some where `find_source` looks for them."""
    return bool(place.path.suffix.lower() in SUFFIXES if place.path.is_file() else _tables_near(place.path))


def find_source(place: Place) -> Source:
    """Return the tables of `place`. Raises ImportRefused."""
    if place.path.is_dir():
        return Source(place.name, _files_in(place.path, place.name))
    return Source(place.name, (ResultFile(checked_file(place.path)),))


def _files_in(folder: Path, source: str) -> tuple[ResultFile, ...]:
    """Return the tables of a folder by name: those of each split in turn where their names say splits, else all."""
    tables = _tables_near(folder)
    if not tables:
        raise ImportRefused(source, ["it has no .csv or .parquet file, neither directly nor in its folder data"])
    names = {path: match for path in tables if (match := _SPLIT_FILE.fullmatch(path.stem))}
    if names:
        odd = [str(path.relative_to(folder)) for path in tables if path not in names and holds_results(path)]
        if odd:
            problem = f"the names of its files say splits ({next(iter(names)).name}), but not those of {', '.join(odd)}"
            raise ImportRefused(source, [f"{problem}; rename them, or import them by their own path"])
        files = _order_by_split(names, folder, source) if _say_splits(names.values()) else list(map(ResultFile, names))
    else:
        if tables[0].parent != tables[-1].parent:
            places = f"{tables[0].relative_to(folder)} and {tables[-1].relative_to(folder)}"
            raise ImportRefused(source, [f"it has tables in two places ({places}); import one folder by its own path"])
        files = [ResultFile(path) for path in tables]
    _refuse_missing_parts([file.path for file in files], source)
    return tuple(ResultFile(checked_file(file.path), file.split) for file in files)


def _tables_near(folder: Path) -> list[Path]:
    return [*_tables_in(folder), *_tables_in(folder / "data")]


def _tables_in(folder: Path) -> list[Path]:
    """Return the CSV and Parquet files of a folder by name, without hidden ones (a dot, or an underscore in Spark)."""
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.is_dir()]
    tables = sorted(path for path in found if not path.name.startswith((".", "_")))
    if odd := [path.name for path in tables if not is_utf8(path.name)]:
        raise ImportRefused(folder, [f"the name of {whole_characters(odd[0])} is not UTF-8; rename it"])
    if lost := [path.name for path in tables if not path.exists()]:
        raise ImportRefused(folder, [f"{', '.join(lost)} leads to a file that is not there; restore or remove it"])
    return tables


def _say_splits(names: Iterable[re.Match[str]]) -> bool:
    """Return whether names say splits: a hub calls the parts of a data set without splits train-00000-of-00004, too."""
    return any(_WORDS[name["word"].lower()] != "train" or name["total"] is None for name in names)


def _order_by_split(names: Mapping[Path, re.Match[str]], folder: Path, source: str) -> list[ResultFile]:
    files, problems = [], []
    for split in SPLITS:
        forms: dict[tuple[object, ...], Path] = {}  # the first file of each
        for path, match in names.items():
            word, is_part = match["word"].lower(), match["number"] is not None
            if _WORDS[word] == split:
                forms.setdefault((path.parent, path.suffix.lower(), word, is_part, match["total"]), path)
                files.append(ResultFile(path, split))
        if not forms:
            problems.append(f"it has no file {split}.csv or {split}.parquet")
        elif len(forms) > 1:
            first, second = (str(path.relative_to(folder)) for path in list(forms.values())[:2])
            problems.append(f"it has two files {first} or {second}")
    if problems:
        problems.append(
            "a folder with splits needs one file of each, or parts of it such as train-00000-of-00002.parquet; "
            "a single file can be imported by its own path"
        )
        raise ImportRefused(source, problems)
    return files


def _refuse_missing_parts(paths: Iterable[Path], source: str) -> None:
    """Raise ImportRefused where names such as train-00001-of-00004 imply files that are not there."""
    found: dict[tuple[str, str], set[int]] = {}
    for path in paths:
        if match := _ONE_OF_MANY.fullmatch(path.stem):
            found.setdefault((match["name"], match["total"]), set()).add(int(match["number"]))
    problems = [
        f"of the {total} parts of {name} only {len(numbers)} are there"
        for (name, total), numbers in found.items()
        if len(numbers) < int(total)
    ]
    if problems:
        raise ImportRefused(source, problems)


def is_utf8(name: str) -> bool:
    """Return whether a name of this disk is text; Python keeps other bytes as lone surrogates."""
    return name == whole_characters(name)


def _download(hub_id: str) -> Path:
    """Download the tables of the layout, by their names; where there are none, everything that may be a log."""
    from httpx2 import HTTPError
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HFValidationError

    stems = [*_WORDS, *(f"{word}-*" for word in _WORDS), "part-*"]
    endings = [*SUFFIXES, *map(str.upper, SUFFIXES)]
    wanted = [f"{place}{stem}{ending}" for place in ("", "data/") for stem in stems for ending in endings]
    try:
        folder = Path(snapshot_download(hub_id, repo_type="dataset", allow_patterns=wanted))
        if not any(path.is_file() for path in folder.rglob("*")):
            logs = [f"**{ending}" for ending in ENDINGS]
            folder = Path(snapshot_download(hub_id, repo_type="dataset", allow_patterns=logs))
        return folder
    except (OSError, HTTPError, HFValidationError) as error:
        problem = (
            f"it is no local file or folder, and as a data set it could not be downloaded from "
            f"{constants.ENDPOINT} ({first_line(error)}); check the name, the network and, for a gated or "
            "private data set, HF_TOKEN"
        )
        raise ImportRefused(hub_id, [problem]) from error


def digest_of(paths: Iterable[Path]) -> str:
    """Return a SHA-256 over the contents of files."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
