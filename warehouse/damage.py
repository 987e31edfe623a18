"""Files of the lake that cannot be read: found by reading everything whole, moved aside, never deleted.

What went missing by that is made again: answers are asked again, tables of later stages computed again. A benchmark's
questions are not: they come back with the next answers, and until then its answers are no use.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from warehouse.answers import RESPONSE_PART, SOURCES, USAGE
from warehouse.errors import CorruptFileError
from warehouse.failures import read_failure
from warehouse.files import metadata_of, read_parquet, replacing
from warehouse.layout import FAILURE, decoded, pair_of, pairs_in, questions_file
from warehouse.questions import QUESTION_PART

__all__ = ["NO_QUESTIONS", "Damage", "DamageKind", "find_damage", "find_new_damage", "move_aside"]

DAMAGED = "damaged"
_WHOLE = ".whole.json"
"""In the lake: inode, size and time of change of the files that were whole."""
NO_QUESTIONS = "The questions that they answer could not be read any more."

DamageKind = Literal["answers", "superseded answers", "onboarding answers", "questions", "failure", "table"]

_KINDS: dict[str, DamageKind] = {
    "responses": "answers",
    "superseded": "superseded answers",
    "onboarding": "onboarding answers",
    "questions": "questions",
}
_REMEDIES: dict[DamageKind, str] = {
    "answers": "it is moved aside, and the model is asked again (imported answers: import them again)",
    "superseded answers": "it is moved aside; these earlier answers are lost",
    "onboarding answers": "it is moved aside, and the model is asked again",
    "questions": "it is moved aside, the answers to these questions are kept as superseded, and the benchmark is "
    "asked again (an imported one: import it again)",
    "failure": "it is moved aside, and the model is asked again",
    "table": "it is moved aside, and made again (of an import: import again)",
}
_METADATA = {"benchmark", "model", "rows", "accuracy", SOURCES}


@dataclass(frozen=True)
class Damage:
    """A file of the lake that is not as it was written."""

    path: Path
    kind: DamageKind
    what: str  # what it held, in words
    reason: str

    @property
    def remedy(self) -> str:
        return _REMEDIES[self.kind]

    def __str__(self) -> str:
        return f"{self.path} ({self.what}) cannot be read ({self.reason}): {self.remedy}"


def find_damage(lake: Path) -> list[Damage]:
    """Every file of the lake that is damaged, and questions that are gone although there are answers to them."""
    return [*_damages(lake, _files(lake)), *_missing_questions(lake)]


def find_new_damage(lake: Path) -> list[Damage]:
    """As `find_damage`, but what was whole when this was last called is only read again if it has changed since.

    The caller holds the lake's lock.
    """
    memory = lake / _WHOLE
    known, versions = _remembered(memory), {path: _version(path) for path in _files(lake)}
    found = _damages(lake, [path for path, version in versions.items() if known.get(_name(lake, path)) != version])
    damaged = {damage.path for damage in found}
    whole = {_name(lake, path): version for path, version in versions.items() if path not in damaged}
    if whole != known:
        with replacing(memory) as temporary:
            temporary.write_text(json.dumps(whole), encoding="utf-8")
    return [*found, *_missing_questions(lake)]


def _damages(lake: Path, files: Iterable[Path]) -> list[Damage]:
    with ThreadPoolExecutor() as pool:
        return [damage for damage in pool.map(lambda path: _damage(lake, path), files) if damage]


def _name(lake: Path, path: Path) -> str:
    return str(path.relative_to(lake))


def _version(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_ino, status.st_size, status.st_mtime_ns]


def _remembered(memory: Path) -> dict[str, list[int]]:
    try:
        return json.loads(memory.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # then everything is read
        return {}


def move_aside(lake: Path, path: Path) -> None:
    """Moves a file of the lake to lake/damaged, under its path there; what lies there already stays."""
    target = lake / DAMAGED / path.relative_to(lake)
    target.parent.mkdir(parents=True, exist_ok=True)
    number, free = 1, target
    while free.exists():
        number += 1
        free = target.with_name(f"{target.name}.{number}")
    path.replace(free)


def _files(lake: Path) -> Iterator[Path]:
    for path in sorted(lake.rglob("*")):
        parts = path.relative_to(lake).parts
        if parts[0] != DAMAGED and not any(part.startswith(".") for part in parts) and path.is_file():
            yield path


def _damage(lake: Path, path: Path) -> Damage | None:
    read = _check_failure if path.name == FAILURE else _CHECKS.get(path.relative_to(lake).parts[0], read_parquet)
    try:
        read(path)
    except CorruptFileError as error:
        kind, what = _described(lake, path)
        return Damage(path, kind, what, error.reason)
    except FileNotFoundError:  # superseded since it was listed
        return None
    return None


def _described(lake: Path, path: Path) -> tuple[DamageKind, str]:
    top = path.relative_to(lake).parts[0]
    if path.name == FAILURE:
        benchmark, model = pair_of(path)
        return "failure", f"why {model} failed on {benchmark}"
    kind = _KINDS.get(top, "table")
    if kind == "table":
        return kind, f"part of the table {top}"
    if kind == "questions":
        return kind, f"the questions of {decoded(path.parent)}"
    benchmark, model = pair_of(path)
    return kind, f"{kind} of {model} to {benchmark}"


def _missing_questions(lake: Path) -> Iterator[Damage]:
    pairs = pairs_in(lake / "responses") + pairs_in(lake / "onboarding")
    for benchmark in sorted({benchmark for benchmark, _ in pairs}):
        path = questions_file(lake, benchmark)
        if not path.exists():
            yield Damage(path, "questions", f"the questions of {benchmark}", "there is no such file")


def _check_answers(path: Path) -> None:
    table = read_parquet(path)
    needed = [name for name in table.column_names if name not in USAGE.names]
    if needed != RESPONSE_PART.names or not metadata_of(table.schema).keys() >= _METADATA:
        raise CorruptFileError(path, "it holds something else")


def _check_questions(path: Path) -> None:
    if read_parquet(path).column_names != QUESTION_PART.names:
        raise CorruptFileError(path, "it holds something else")


def _check_failure(path: Path) -> None:
    read_failure(path)


_CHECKS: dict[str, Callable[[Path], object]] = {
    "responses": _check_answers,
    "superseded": _check_answers,
    "onboarding": _check_answers,
    "questions": _check_questions,
}
