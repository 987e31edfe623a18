"""Damage found, set aside and made good; small files made large ones, and what nobody needs removed.

What went missing is made again: answers are asked or imported again, tables of later stages computed again. Nothing is
deleted: a file that cannot be read is moved to `damaged/` in the lake.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote

import pyarrow as pa

from warehouse.errors import CorruptFileError, WarehouseError
from warehouse.lake.answers import answers_digest
from warehouse.lake.events import Event, new_id

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from warehouse.lake.lake import Lake

__all__ = ["KEPT", "Damage", "compact", "find_damage", "mend"]

DAMAGED = "damaged"
COMPACTIONS = "compactions"
"""The table whose only row says until when a compaction may be at work."""
_LONGEST = timedelta(hours=1)
_NO_QUESTIONS = "The questions that they answer could not be read any more."
_LOST = "They could not be read any more."
KEPT = timedelta(days=1)  # readers may still be at files that were replaced, writers at answers that have no event yet

Kind = Literal["log", "file", "answers", "superseded answers", "onboarding answers", "questions"]
_REMEDIES: dict[Kind, str] = {
    "log": "it is moved aside where it is the last entry; if it is not, move the table's folder away and import or "
    "evaluate again",
    "file": "it is moved aside, and what it held is made again",
    "answers": "the model is asked again (imported answers: import them again)",
    "superseded answers": "these earlier answers are lost",
    "onboarding answers": "the model is asked again",
    "questions": "the answers to these questions are kept as superseded, and the benchmark is asked again (an imported "
    "one: import it again)",
}


@dataclass(frozen=True)
class Damage:
    """Something of the lake that is not as it was written."""

    where: str
    kind: Kind
    what: str  # it held, in words
    reason: str

    @property
    def remedy(self) -> str:
        return _REMEDIES[self.kind]

    def __str__(self) -> str:
        return f"{self.where} ({self.what}) cannot be read ({self.reason}): {self.remedy}"


def find_damage(lake: Lake, *, thoroughly: bool = True) -> list[Damage]:
    """What cannot be read. Thoroughly, every file is read whole, and answers are held against their digests; else it is
    only seen that all files are there and as long as they were."""
    found = [damage for name in lake.tables.names() for damage in _damaged_files(lake, name, thoroughly)]
    if found:
        return found  # what else is missing shows once they are set aside
    return [*_missing_questions(lake), *(_missing_answers(lake) if thoroughly else ())]


def _damaged_files(lake: Lake, name: str, thoroughly: bool) -> Iterator[Damage]:
    try:
        table = lake.tables.table(name)
    except CorruptFileError as error:
        yield Damage(_last_entry(lake, name), "log", f"log of the table {name}", error.reason)
        return
    for path, size in _files(table) if table else ():
        where = f"{lake.tables.at(name)}/{path}"
        try:
            if lake.tables.on_disk and (length := _length(Path(where))) != size:
                raise CorruptFileError(where, f"it has {length} of {size} bytes" if length else "it is not there")
            if thoroughly:
                lake.tables.read_file(name, path)
        except CorruptFileError as error:
            yield Damage(where, "file", f"rows of the table {name}", error.reason)


def _files(table: DeltaTable) -> list[tuple[str, int]]:
    """Of a table's data: paths below its folder, and lengths in bytes."""
    actions = pa.table(table.get_add_actions(flatten=True)).select(["path", "size_bytes"])
    return [(unquote(row["path"]), row["size_bytes"]) for row in actions.to_pylist()]


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _last_entry(lake: Lake, name: str) -> str:
    from pyarrow.fs import FileSelector

    log = f"{name}/_delta_log"
    entries = [found.path for found in lake.tables.files().get_file_info(FileSelector(log))]
    return lake.tables.at(max((entry for entry in entries if entry.endswith(".json")), default=log))


def _missing_questions(lake: Lake) -> Iterator[Damage]:
    for benchmark in sorted(_benchmarks(lake)):
        try:
            known = lake.questions_of(benchmark)
            reason = "there are none" if known is None else None
        except CorruptFileError as error:
            reason = error.reason
        if reason:
            yield Damage(lake.tables.at("questions"), "questions", f"the questions of {benchmark}", reason)


def _benchmarks(lake: Lake) -> set[str]:
    in_force = lake.now()
    return {benchmark for benchmark, _ in [*in_force.answers, *in_force.onboarding]} | in_force.questions.keys()


def _missing_answers(lake: Lake) -> Iterator[Damage]:
    for kind, event, reason in _faults(lake):
        what = f"{kind} of {event.model} to {event.benchmark}"
        yield Damage(lake.tables.at("responses"), kind, what, reason)


def _faults(lake: Lake) -> Iterator[tuple[Kind, Event, str]]:
    """Answers that are not as they were written, and why."""
    by_benchmark: dict[str, list[tuple[Kind, Event]]] = {}
    for kind, event in _sets(lake):
        by_benchmark.setdefault(event.benchmark, []).append((kind, event))
    for _, sets in sorted(by_benchmark.items()):
        found = lake.rows_of_each([event for _, event in sets])
        for (kind, event), (_, rows) in zip(sets, found, strict=True):
            if rows.num_rows != event.n:
                yield kind, event, f"of {event.n} answers {rows.num_rows} are there"
            elif answers_digest(rows)[0] != event.digest:
                yield kind, event, "they are not those that were written"


def _sets(lake: Lake) -> list[tuple[Kind, Event]]:
    """All answers of which the lake knows."""
    in_force = lake.now()
    aside = [event for sets in in_force.superseded.values() for event in sets.values()]
    return [
        *(("answers", event) for event in in_force.answers.values()),
        *(("onboarding answers", event) for event in in_force.onboarding.values()),
        *(("superseded answers", event) for event in aside),
    ]


def mend(lake: Lake, *, thoroughly: bool = False) -> list[Damage]:
    """Sets aside what cannot be read, so that it counts as missing and is made again; what that was."""
    found = find_damage(lake, thoroughly=thoroughly)
    for damage in found:
        if damage.kind in ("log", "file"):
            _move_aside(lake, damage.where)
    for name in lake.tables.names() if found else ():
        lake.tables.forget(name)
        if table := lake.tables.table(name):
            table.repair()
    if found:
        _give_up(lake)
    return found


def _give_up(lake: Lake) -> None:
    """Events that say what is not there any more."""
    without = [damage for damage in find_damage(lake) if damage.kind == "questions"]
    lost = {damage.what.removeprefix("the questions of ") for damage in without}
    faults = {event.event_id for _, event, _ in _faults(lake)}
    with lake.together() as writing:
        for kind, event in _sets(lake):
            if event.event_id in faults:
                writing.add(event.again("dropped", _LOST))
            elif event.benchmark in lost and kind != "superseded answers":
                writing.add(event.again("superseded" if kind == "answers" else "dropped", _NO_QUESTIONS))
        for benchmark in sorted(lost):
            writing.add(Event("withdrawn", benchmark, reason=_LOST))


def _move_aside(lake: Lake, address: str) -> None:
    """To `damaged/`, under its path in the lake; what lies there already stays."""
    from pyarrow.fs import FileType

    files, path = lake.tables.files(), address.removeprefix(f"{lake.address}/")
    if files.get_file_info(path).type is not FileType.File:
        return
    number, free = 1, f"{DAMAGED}/{path}"
    while files.get_file_info(free).type is not FileType.NotFound:
        number += 1
        free = f"{DAMAGED}/{path}.{number}"
    files.move(path, free)


def compact(lake: Lake, *, kept: timedelta = KEPT, progress: Callable[[int, int, str], None] | None = None) -> None:
    """Makes few large files of many small ones, and removes what is older than `kept` and no longer needed: rows that
    no event speaks of, files that were replaced, entries of logs. Raises WarehouseError where another does so now."""
    with _alone(lake):
        names = lake.tables.names()
        for number, name in enumerate(names):
            if progress:
                progress(number, len(names), f"compacting {name}")
            table = lake.tables.table(name)
            if table is None:
                continue
            if name in ("responses", "questions") and (stray := _stray(lake, name, kept)):
                table.delete(f"evaluation_id IN ({', '.join(repr(one) for one in stray)})")
            table.optimize.compact()
            table.create_checkpoint()
            hours = int(kept.total_seconds() // 3600)
            table.vacuum(hours, dry_run=False, enforce_retention_duration=False)
            table.cleanup_metadata()
            lake.tables.forget(name)


@contextmanager
def _alone(lake: Lake) -> Iterator[None]:
    """Two compactions of a table at once would both succeed, and double its rows: delta-rs does not see that the first
    has removed what the second reads, as it sees of everything else that writes."""
    from deltalake import DeltaTable, write_deltalake
    from deltalake.exceptions import DeltaError

    address, now = lake.tables.at(COMPACTIONS), datetime.now(UTC)
    busy = WarehouseError(f"{lake.address} is being compacted by another process; try again in an hour")
    try:
        write_deltalake(address, pa.table({"until": [now]}), mode="ignore")  # unless there is one already
        table = DeltaTable(address)
        if table.to_pyarrow_table()["until"][0].as_py() > now:
            raise busy
        write_deltalake(table, pa.table({"until": [now + _LONGEST]}), mode="overwrite")
    except DeltaError as error:  # another came first
        raise busy from error
    try:
        yield
    finally:
        write_deltalake(address, pa.table({"until": [now]}), mode="overwrite")


def _stray(lake: Lake, name: str, kept: timedelta) -> list[str]:
    """Ids of rows of which no event speaks, or none any more."""
    rows = lake.tables.read(name, ["evaluation_id"])
    ids = set(rows["evaluation_id"].unique().to_pylist()) if rows else set()
    in_force = lake.now()
    if name == "questions":
        known = {one for batches in in_force.questions.values() for one in batches}
    else:
        known = {event.evaluation_id for _, event in _sets(lake)}
    oldest = new_id(datetime.now(UTC) - kept)[:14]
    return sorted(one for one in ids - known if one[:14] < oldest)
