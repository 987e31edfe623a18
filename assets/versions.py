"""Which versions of the embedder there are, and which of them serves: lake/embedders.

Rows are in the order in which the data last asked for them, so the last one is what today's data make. It serves,
unless it was rolled back: then an earlier one does, until other data make another version.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from warehouse.lake import Lake

__all__ = ["EMBEDDERS", "last_choice", "record", "serve", "serving", "versions"]

EMBEDDERS = pa.schema(
    {
        "embedder": pa.string(),
        "method": pa.string(),
        "encoder": pa.string(),
        "created_at": pa.timestamp("us"),
        "seed": pa.int64(),
        "models": pa.int64(),
        "questions": pa.int64(),
        "dimensions": pa.int64(),
        "val_accuracy": pa.float64(),
        "val_log_loss": pa.float64(),
        "seconds": pa.float64(),
        "data_version": pa.string(),  # of the correctness matrix
        "code_version": pa.string(),
        "aligned_to": pa.string(),  # the version whose axes it took over
        "drift_distance": pa.float64(),  # from that version, see embedder.alignment.Drift
        "drift_predictions": pa.float64(),
        "serving": pa.bool_(),
        "chosen_at": pa.timestamp("us"),  # when a person last said that it is to serve
    }
)


def versions(lake: Lake) -> pa.Table:
    """Every version (EMBEDDERS); what was not recorded of older ones is null."""
    stored = lake.read_table("embedders")
    return pa.concat_tables(
        [pa.Table.from_batches([], EMBEDDERS), *([stored] if stored else [])], promote_options="permissive"
    )


def serving(lake: Lake) -> str | None:
    """The version in use; None where there is none yet."""
    return next((row["embedder"] for row in versions(lake).to_pylist() if row["serving"]), None)


def record(lake: Lake, row: Mapping[str, Any]) -> str:
    """Keeps what is known of a version (EMBEDDERS, less `serving`) as the last one. Returns the version that serves:
    this one, unless it was the last one before and was rolled back."""
    known, version = versions(lake), row["embedder"]
    as_before = known["embedder"].to_pylist()[-1:] == [version]
    chosen = (serving(lake) if as_before else None) or version
    others = known.filter(pc.field("embedder") != version)
    _write(lake, pa.concat_tables([others, pa.Table.from_pylist([dict(row)], schema=EMBEDDERS)]), chosen)
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
