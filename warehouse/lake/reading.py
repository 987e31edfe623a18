"""Reading answers and questions from the lake's files with DuckDB, without holding millions of rows in Python."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import duckdb
import pyarrow as pa

from warehouse.database.connect import literal
from warehouse.errors import CorruptFileError

from .delta import DeltaTables
from .events import Event

__all__ = ["AS_WRITTEN", "rows_of"]

AS_WRITTEN = "ORDER BY number, file_index, file_row_number"
"""SQL: rows in the order of their events, and within an event as they were written."""


@contextmanager
def rows_of(
    connection: duckdb.DuckDBPyConnection, tables: DeltaTables, name: str, events: Sequence[Event]
) -> Iterator[str]:
    """Yield `FROM …`, SQL for the table's rows of these events, each with the `model` of its event and its `number` in
    `events`. Raises CorruptFileError where they are not all there, or cannot be read within the block."""
    paths = _paths_with(tables, name, [event.evaluation_id or "" for event in events])
    files = ", ".join(literal(file) for file in tables.local_files(name, paths))
    found = f"read_parquet([{files}], file_row_number = true)" if paths else "(SELECT '' AS evaluation_id LIMIT 0)"
    rows = f"FROM {found} JOIN sought USING (evaluation_id)"
    sought = {
        "evaluation_id": pa.array([event.evaluation_id for event in events], pa.string()),
        "model": pa.array([event.model for event in events], pa.string()),
        "number": pa.array(range(len(events)), pa.int32()),
    }
    connection.register("sought", pa.table(sought))
    try:
        counts = dict(connection.execute(f"SELECT number, count(*) {rows} GROUP BY number").fetchall())
        _check_whole(tables.at(name), events, [counts.get(number, 0) for number in range(len(events))])
        yield rows
    except duckdb.Error:
        for path in paths:
            tables.read_file(name, path)  # names the one that cannot be read, if that is the cause
        raise


def _check_whole(address: str, events: Sequence[Event], counts: Sequence[int]) -> None:
    """Raise CorruptFileError where an event has more or fewer rows than it says."""
    for event, count in zip(events, counts, strict=True):
        if count != event.n:
            alike = [number for number, other in enumerate(events) if other.pair == event.pair]
            expected, found = (sum(events[number].n or 0 for number in alike), sum(counts[number] for number in alike))
            what = f"answers of {event.model} to" if event.model else "entries on questions of"
            raise CorruptFileError(address, f"of {expected} {what} {event.benchmark} {found} are there")


def _paths_with(tables: DeltaTables, name: str, ids: Sequence[str]) -> list[str]:
    """Return the files that may have rows of these evaluations according to the log, always in the same order."""
    ids, paths = sorted(ids), []
    for file in tables.files(name).to_pylist():
        first, last = file.get("min.evaluation_id"), file.get("max.evaluation_id")
        at = bisect_left(ids, first or "")
        if at < len(ids) and (last is None or ids[at] <= last):
            paths.append(file["path"])
    return sorted(paths)
