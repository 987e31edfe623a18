"""Repairing damage; merging many small files into few large ones, and removing what nobody needs.

What went missing is made again: answers are asked or imported again, tables of later stages are recomputed. Nothing is
deleted: a file that cannot be read is moved to `damaged/` in the lake.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.errors import CorruptFileError, WarehouseError, first_line

from .answers import digest_answers
from .contents import Contents
from .events import Event, new_id
from .writing import Writing

if TYPE_CHECKING:
    from deltalake import DeltaTable

__all__ = ["KEPT", "Damage", "compact", "compact_events", "find_damage", "mend"]

DAMAGED = "damaged"
COMPACTIONS = "compactions"
"""The table whose only row says until when a compaction may be at work."""
_LONGEST = timedelta(hours=1)
_NO_QUESTIONS = "The questions that they answer could not be read any more."
_LOST = "They could not be read any more."
KEPT = timedelta(days=1)  # readers may still use files that were replaced, and writers answers that have no event yet

Together = Callable[[], AbstractContextManager[Writing]]
"""`Lake.together`."""

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
    """A part of the lake that is not as it was written."""

    where: str
    kind: Kind
    what: str  # what it held, in words
    reason: str

    @property
    def remedy(self) -> str:
        return _REMEDIES[self.kind]

    def __str__(self) -> str:
        return f"{self.where} ({self.what}) cannot be read ({self.reason}): {self.remedy}"


def find_damage(lake: Contents, *, thoroughly: bool = True) -> list[Damage]:
    """Return what cannot be read; `lake` ignores it from then on. Thoroughly, every file is read whole, and answers are
    compared with their digests; otherwise only whether each file is there, and as long as it was."""
    found = [damage for name in lake.tables.names() for damage in _damaged_files(lake, name, thoroughly)]
    if any(damage.kind == "log" for damage in found):
        return found  # what is in force is not known then
    lake.tables.lost |= {damage.where for damage in found}
    for benchmark, reason in _missing_questions(lake).items():
        found.append(Damage(lake.tables.at("questions"), "questions", f"the questions of {benchmark}", reason))
    for kind, event, reason in _missing_answers(lake, thoroughly):
        what = f"{kind} of {event.model} to {event.benchmark}"
        found.append(Damage(lake.tables.at("responses"), kind, what, reason))
    return found


def _damaged_files(lake: Contents, name: str, thoroughly: bool) -> Iterator[Damage]:
    try:
        files = lake.tables.files(name)
    except CorruptFileError as error:
        culprit = _culprit(lake, name) or str(error.path)
        yield Damage(culprit, "log", f"log of the table {name}", error.reason)
        return
    for path, size in zip(files["path"].to_pylist(), files["size_bytes"].to_pylist(), strict=True):
        where = f"{lake.tables.at(name)}/{path}"
        try:
            if lake.tables.on_disk and not Path(where).exists():
                raise CorruptFileError(where, "it is not there")
            if lake.tables.on_disk and (length := Path(where).stat().st_size) != size:
                raise CorruptFileError(where, f"it has {length} of {size} bytes")
            if thoroughly:
                lake.tables.read_file(name, path)
        except CorruptFileError as error:
            yield Damage(where, "file", f"rows of the table {name}", error.reason)


def _culprit(lake: Contents, name: str) -> str | None:
    """Return the address of the file that makes a log unreadable and can be left out: its last entry, a checkpoint, or
    the file that names the last one."""
    from pyarrow.fs import FileSelector

    files = lake.tables.filesystem()
    paths = sorted(found.path for found in files.get_file_info(FileSelector(f"{name}/_delta_log")))
    entries, checkpoints = ([path for path in paths if path.endswith(end)] for end in (".json", ".parquet"))
    for path in [*entries[-1:], *checkpoints]:
        try:
            with files.open_input_file(path) as file:
                if path.endswith(".parquet"):
                    pq.ParquetFile(file).read()
                else:
                    for line in file.read().decode().splitlines() or [""]:
                        json.loads(line)
        except (ValueError, pa.ArrowException, OSError):
            return lake.tables.at(path)
    hint = f"{name}/_delta_log/_last_checkpoint"
    return lake.tables.at(hint) if hint in paths else None


def _missing_questions(lake: Contents) -> dict[str, str]:
    """Return the benchmarks whose questions are not all there, and why."""
    in_force, missing = lake.now(), {}
    answered = {benchmark for benchmark, _ in [*in_force.answers, *in_force.onboarding]}
    for benchmark in sorted(answered | in_force.questions.keys()):
        try:
            if lake.questions_of(benchmark) is None:
                missing[benchmark] = "there are none"
        except CorruptFileError as error:
            missing[benchmark] = error.reason
    return missing


def _missing_answers(lake: Contents, thoroughly: bool) -> Iterator[tuple[Kind, Event, str]]:
    """Yield the answers that are not as they were written, and why."""
    counts, complete = _counts(lake), []
    for kind, event in _sets(lake):
        if (count := counts[event.evaluation_id or ""]) != event.n:
            yield kind, event, f"of {event.n} answers {count} are there"
        elif thoroughly:
            complete.append((kind, event))
    complete.sort(key=lambda one: one[1].benchmark)
    for _, group in groupby(complete, key=lambda one: one[1].benchmark):  # one by one, which takes less memory
        known = list(group)
        found = lake.rows_of_each([event for _, event in known])
        for (kind, event), (_, rows) in zip(known, found, strict=True):
            if digest_answers(rows)[0] != event.digest:
                yield kind, event, "they are not those that were written"


def _counts(lake: Contents) -> Counter[str]:
    """Count the answers by evaluation_id. Files with those of a single one need not be opened."""
    counts: Counter[str] = Counter()
    for file in lake.tables.files("responses").to_pylist():
        first, last, n = file.get("min.evaluation_id"), file.get("max.evaluation_id"), file["num_records"]
        if first is not None and first == last and n is not None:
            counts[first] += n
        else:
            ids = lake.tables.read_file("responses", file["path"], ["evaluation_id"])["evaluation_id"]
            counts.update({row["values"]: row["counts"] for row in ids.value_counts().to_pylist()})
    return counts


def _sets(lake: Contents) -> list[tuple[Kind, Event]]:
    """Return all answers that the lake knows."""
    in_force = lake.now()
    aside = [event for sets in in_force.superseded.values() for event in sets.values()]
    return [
        *(("answers", event) for event in in_force.answers.values()),
        *(("onboarding answers", event) for event in in_force.onboarding.values()),
        *(("superseded answers", event) for event in aside),
    ]


def mend(lake: Contents, together: Together, *, thoroughly: bool = False) -> list[Damage]:
    """Move away what cannot be read, so that it counts as missing and is made again; return what that was. Raises
    CorruptFileError where a log is damaged before its end."""
    if not thoroughly:
        with suppress(CorruptFileError):  # that is damage, so everything is read
            if not find_damage(Contents(lake.address), thoroughly=False):
                return []
    found = find_damage(lake)
    if not found:
        return []
    for damage in found:
        if damage.kind in ("log", "file"):
            _move_aside(lake, damage.where)
    for name in lake.tables.names():
        if table := _without_damaged_end(lake, name):
            table.repair()
    _record_losses(lake, together)
    return found


def _record_losses(lake: Contents, together: Together) -> None:
    """Write the events that give up what is not there any more."""
    without = _missing_questions(lake)
    lost = {event.event_id for _, event, _ in _missing_answers(lake, thoroughly=True)}
    with together() as writing:
        for kind, event in _sets(lake):
            if event.event_id in lost:
                writing.add(event.again("dropped", _LOST))
            elif event.benchmark in without and kind != "superseded answers":
                writing.add(event.again("superseded" if kind == "answers" else "dropped", _NO_QUESTIONS))
        for benchmark in without:
            writing.add(Event("withdrawn", benchmark, reason=_LOST))


def _without_damaged_end(lake: Contents, name: str) -> DeltaTable | None:
    """Return the table, after the end of its log was moved away where that cannot be read."""
    while True:
        lake.tables.forget(name)
        try:
            return lake.tables.table(name)
        except CorruptFileError:
            culprit = _culprit(lake, name)
            if culprit is None:
                raise
            _move_aside(lake, culprit)


def _move_aside(lake: Contents, address: str) -> None:
    """Move a file to `damaged/`, under its path in the lake; what is there already stays."""
    from pyarrow.fs import FileType

    files, path = lake.tables.filesystem(), address.removeprefix(f"{lake.address}/")
    if files.get_file_info(path).type is not FileType.File:
        return
    number, free = 1, f"{DAMAGED}/{path}"
    while files.get_file_info(free).type is not FileType.NotFound:
        number += 1
        free = f"{DAMAGED}/{path}.{number}"
    files.move(path, free)


def compact(lake: Contents, *, kept: timedelta = KEPT, progress: Callable[[int, int, str], None] | None = None) -> None:
    """Merge many small files into few large ones, and remove what is older than `kept` and no longer needed: rows
    without an event, files that were replaced, entries of logs. Raises WarehouseError where another process does so."""
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


def compact_events(lake: Contents) -> None:
    """Merge the files of the events only, which are the first to be many. Where another process does so, or it fails,
    nothing is lost: what was written before is in the lake all the same."""
    with suppress(WarehouseError), _alone(lake):
        if table := lake.tables.table("evaluations"):
            table.optimize.compact()


@contextmanager
def _alone(lake: Contents) -> Iterator[None]:
    """Keep other compactions out. Two of them at once would both succeed and double the rows: delta-rs does not notice
    that the first removes what the second reads, as it notices for everything else that writes."""
    from deltalake import DeltaTable, write_deltalake
    from deltalake.exceptions import CommitFailedError, DeltaError

    address, now, options = lake.tables.at(COMPACTIONS), datetime.now(UTC), lake.tables.options
    busy = WarehouseError(f"{lake.address} is being compacted by another process; try again in an hour")
    try:
        # Unless there is one already:
        write_deltalake(address, pa.table({"until": [now]}), mode="ignore", storage_options=options)
        table = DeltaTable(address, storage_options=options)
        if table.to_pyarrow_table()["until"][0].as_py() > now:
            raise busy
        write_deltalake(table, pa.table({"until": [now + _LONGEST]}), mode="overwrite")
    except CommitFailedError as error:  # another came first
        raise busy from error
    except (DeltaError, OSError) as error:
        raise WarehouseError(f"{lake.address} cannot be compacted ({first_line(error)})") from error
    try:
        yield
    except DeltaError as error:
        raise WarehouseError(f"{lake.address} could not be compacted ({first_line(error)})") from error
    finally:
        write_deltalake(address, pa.table({"until": [now]}), mode="overwrite", storage_options=options)


def _stray(lake: Contents, name: str, kept: timedelta) -> list[str]:
    """Return the ids of rows without an event in force."""
    rows = lake.tables.read(name, ["evaluation_id"])
    ids = set(rows["evaluation_id"].unique().to_pylist()) if rows else set()
    in_force = lake.now()
    if name == "questions":
        known = {one for batches in in_force.questions.values() for one in batches}
    else:
        known = {event.evaluation_id for _, event in _sets(lake)}
    oldest = new_id(datetime.now(UTC) - kept)[:14]
    return sorted(one for one in ids - known if one[:14] < oldest)
