"""Which versions of the embedder there are, and which of them serves: lake/embedders.

Rows are in the order in which the data last asked for them, so the last one is what today's data make. It serves,
unless it was rolled back, or held back as not good enough: then an earlier one does, until other data make another
version that is, or somebody lets it serve.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from warehouse.lake import Lake

__all__ = ["EMBEDDERS", "record", "serve", "serving", "tell_held_back", "versions"]

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
        "verdict": pa.string(),  # what is wrong with it, see embedder.gate
        "held_back": pa.bool_(),
        "serving": pa.bool_(),
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


def record(lake: Lake, row: Mapping[str, Any], *, replace: bool = False) -> str:
    """Keeps what is known of a version (EMBEDDERS, less `serving`) as the last one. Returns the version that serves:
    this one, unless it was the last one before and does not, or is held back; with `replace`, it does in any case, as
    the one that serves cannot be used any more."""
    known, version = versions(lake), row["embedder"]
    as_before = known["embedder"].to_pylist()[-1:] == [version]
    stays = not replace and (as_before or row["held_back"])
    chosen = (serving(lake) if stays else None) or version
    others = known.filter(pc.field("embedder") != version)
    _write(lake, pa.concat_tables([others, pa.Table.from_pylist([dict(row)], schema=EMBEDDERS)]), chosen)
    return chosen


def serve(lake: Lake, version: str) -> None:
    """From now on `version`, one of `versions`, serves."""
    _write(lake, versions(lake), version)


def _write(lake: Lake, table: pa.Table, version: str) -> None:
    chosen = pa.array([name == version for name in table["embedder"].to_pylist()])
    lake.write_table("embedders", table.set_column(table.column_names.index("serving"), "serving", chosen))
