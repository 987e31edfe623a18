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

from .home import Home


def versions(lake: Lake) -> pa.Table:
    """Return every version, as in the warehouse's table `embedders`; what was not recorded of older ones is null."""
    stored = lake.read_table("embedders")
    none = empty_table("embedders")
    return pa.concat_tables([none, stored], promote_options="permissive") if stored else none


def serving(lake: Lake) -> str | None:
    """Return the version in use; None where there is none yet."""
    return next((row["embedder"] for row in versions(lake).to_pylist() if row["serving"]), None)


def fetch_results(home: Home) -> None:
    """Bring here what others who share this lake have made: the version in use, the warehouse and the report."""
    if home.lake_address:
        version = serving(home.lake)
        home.fetch(home.database, home.report, *([home.embedders / version] if version else []))


def tell_held_back(lake: Lake) -> str | None:
    """Return a sentence on why today's version is held back, and how to let it serve; None where it is not."""
    rows = versions(lake).to_pylist()
    if not rows or rows[-1]["serving"] or not rows[-1]["held_back"]:
        return None
    version, verdict = rows[-1]["embedder"], rows[-1]["verdict"]
    return (
        f"{version} is kept, but {serving(lake)} goes on serving. What is wrong with the new one: {verdict}. "
        f"`embedllm embedders serve {version}` lets it serve all the same."
    )


def version_shown(lake: Lake, among: Collection[str]) -> dict[str, Any] | None:
    """Return what is known of the version whose results are shown, of those in `among`: the serving one, or else the
    most recent; None where none of them is known. The warehouse's views of the experiments' tables show the same."""
    rows = [row for row in versions(lake).to_pylist() if row["embedder"] in among]
    return max(rows, key=lambda row: (row["serving"], str(row["created_at"] or "")), default=None)


def record(lake: Lake, row: Mapping[str, Any], *, replace: bool = False) -> str:
    """Keep what is known of a version (a row of `embedders` without `serving` and `chosen_at`) as the last one.

    Returns the version that serves: this one, unless it was the last one before and did not serve, or is held back.
    With `replace` it serves in any case, as the one that serves cannot be used any more.
    """
    known, version = versions(lake), row["embedder"]
    as_before = known["embedder"].to_pylist()[-1:] == [version]
    stays = not replace and (as_before or row["held_back"])
    chosen = (serving(lake) if stays else None) or version
    is_it = pc.field("embedder") == version
    chosen_at = next(iter(known.filter(is_it)["chosen_at"].to_pylist()), None)
    last = pa.Table.from_pylist([{**row, "chosen_at": chosen_at}], schema=known.schema)
    _write(lake, pa.concat_tables([known.filter(~is_it), last]), chosen)
    return chosen


def serve(lake: Lake, version: str) -> None:
    """Let `version`, one of `versions`, serve from now on, as a person has chosen."""
    known = versions(lake)
    chosen = known["embedder"].to_pylist().index(version)
    times = known["chosen_at"].to_pylist()
    times[chosen] = datetime.now(UTC).replace(tzinfo=None)
    column = pa.array(times, known.schema.field("chosen_at").type)
    _write(lake, known.set_column(known.column_names.index("chosen_at"), "chosen_at", column), version)


def last_choice(lake: Lake) -> str:
    """Return which version a person last chose to serve, and when; "none" where nobody ever did."""
    times = {row["chosen_at"]: row["embedder"] for row in versions(lake).to_pylist() if row["chosen_at"]}
    return f"{times[max(times)]} at {max(times).isoformat()}" if times else "none"


def _write(lake: Lake, table: pa.Table, version: str) -> None:
    chosen = pa.array([name == version for name in table["embedder"].to_pylist()])
    lake.write_table("embedders", table.set_column(table.column_names.index("serving"), "serving", chosen))
