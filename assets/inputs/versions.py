"""Which versions of the embedder there are, and which of them serves: lake/embedders.

Rows are in the order in which the data last asked for them, so the last one is what today's data make. It serves,
unless it was rolled back, or held back as not good enough: then an earlier one does, until other data make another
version that is, or somebody lets it serve.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from warehouse.database.connect import empty_table
from warehouse.lake import Lake

__all__ = ["EMBEDDERS", "last_choice", "record", "serve", "serving", "tell_held_back", "version_shown", "versions"]

EMBEDDERS = empty_table("embedders").schema


def versions(lake: Lake) -> pa.Table:
    """Every version (EMBEDDERS); what was not recorded of older ones is null."""
    stored = lake.read_table("embedders")
    return pa.concat_tables(
        [pa.Table.from_batches([], EMBEDDERS), *([stored] if stored else [])], promote_options="permissive"
    )


def serving(lake: Lake) -> str | None:
    """The version in use; None where there is none yet."""
    return next((row["embedder"] for row in versions(lake).to_pylist() if row["serving"]), None)


def tell_held_back(lake: Lake) -> str | None:
    """Where today's version is held back, a sentence on why, and how to let it serve."""
    rows = versions(lake).to_pylist()
    if not rows or rows[-1]["serving"] or not rows[-1]["held_back"]:
        return None
    version, verdict = rows[-1]["embedder"], rows[-1]["verdict"]
    return (
        f"{version} is kept, but {serving(lake)} goes on serving, as of the new one {verdict}; "
        f"`embedllm embedders serve {version}` lets it serve all the same."
    )


def version_shown(lake: Lake, among: Collection[str]) -> dict[str, Any] | None:
    """What is known of the version whose results are shown, of those in `among`: the serving one, or else the most
    recent; None where none of them is known. The warehouse's macro `latest` shows the same."""
    rows = [row for row in versions(lake).to_pylist() if row["embedder"] in among]
    return max(rows, key=lambda row: (row["serving"], str(row["created_at"] or "")), default=None)


def record(lake: Lake, row: Mapping[str, Any], *, replace: bool = False) -> str:
    """Keeps what is known of a version (EMBEDDERS, less `serving` and `chosen_at`) as the last one.

    Returns the version that serves: this one, unless it was the last one before and does not, or is held back; with
    `replace`, it does in any case, as the one that serves cannot be used any more.
    """
    known, version = versions(lake), row["embedder"]
    as_before = known["embedder"].to_pylist()[-1:] == [version]
    stays = not replace and (as_before or row["held_back"])
    chosen = (serving(lake) if stays else None) or version
    is_it = pc.field("embedder") == version
    chosen_at = next(iter(known.filter(is_it)["chosen_at"].to_pylist()), None)
    last = pa.Table.from_pylist([{**row, "chosen_at": chosen_at}], schema=EMBEDDERS)
    _write(lake, pa.concat_tables([known.filter(~is_it), last]), chosen)
    return chosen


def serve(lake: Lake, version: str) -> None:
    """From now on `version`, one of `versions`, serves: a person says so."""
    known = versions(lake)
    chosen = known["embedder"].to_pylist().index(version)
    times = known["chosen_at"].to_pylist()
    times[chosen] = datetime.now(UTC).replace(tzinfo=None)
    column = pa.array(times, EMBEDDERS.field("chosen_at").type)
    _write(lake, known.set_column(known.column_names.index("chosen_at"), "chosen_at", column), version)


def last_choice(lake: Lake) -> str:
    """Which version a person last chose to serve, and when; "none" where nobody ever did."""
    times = {row["chosen_at"]: row["embedder"] for row in versions(lake).to_pylist() if row["chosen_at"]}
    return f"{times[max(times)]} at {max(times).isoformat()}" if times else "none"


def _write(lake: Lake, table: pa.Table, version: str) -> None:
    chosen = pa.array([name == version for name in table["embedder"].to_pylist()])
    lake.write_table("embedders", table.set_column(table.column_names.index("serving"), "serving", chosen))
