"""Answers that were given under an earlier entry of the registry: kept aside, never mixed in.

    lake/superseded/benchmark=<b>/model=<m>/<12 hex digits>.parquet   as the response file was, and why it went
The digits are of SHA-256 over the fingerprint (over the content where there is none): one file a set of answers.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from warehouse.answers import FINGERPRINT
from warehouse.files import content_digest, metadata_of, read_metadata, read_parquet, write_parquet
from warehouse.layout import pair_folder, pair_of
from warehouse.staging import Staging

__all__ = ["SUPERSEDED", "archive_path", "stage_archive", "stage_return", "superseded_table"]

SUPERSEDED = pa.schema(
    {
        "benchmark": pa.string(),
        "model": pa.string(),
        "n": pa.int64(),
        "accuracy": pa.float64(),
        "fingerprint": pa.string(),
        "why": pa.string(),
        "superseded_at": pa.timestamp("us"),  # UTC
    }
)
_AT, _WHY = "superseded_at", "superseded_why"


def archive_path(lake: Path, benchmark: str, model: str, key: str) -> Path:
    name = hashlib.sha256(key.encode()).hexdigest()[:12]
    return lake / "superseded" / pair_folder(benchmark, model) / f"{name}.parquet"


def stage_archive(staging: Staging, part: Path, why: str) -> None:
    """Stages the answers in `part` among the superseded ones; the caller has `part` removed or replaced."""
    rows = read_parquet(part)
    metadata = metadata_of(rows.schema)
    key = metadata.get(FINGERPRINT) or content_digest(part).hex()
    known = metadata | {_AT: datetime.now(UTC).isoformat(), _WHY: why}
    target = archive_path(staging.lake, *pair_of(part), key)
    write_parquet(rows.replace_schema_metadata(known), staging.path_of(target))


def stage_return(staging: Staging, archive: Path, part: Path) -> None:
    """Stages the answers in `archive` as `part`, as they were before they were superseded."""
    rows = read_parquet(archive)
    known = {key: value for key, value in metadata_of(rows.schema).items() if key not in (_AT, _WHY)}
    write_parquet(rows.replace_schema_metadata(known), staging.path_of(part))
    staging.remove(archive)


def superseded_table(lake: Path) -> pa.Table:
    """SUPERSEDED of all pairs, by benchmark, model and time."""
    rows = [_row(path) for path in lake.glob("superseded/benchmark=*/model=*/[!.]*.parquet")]
    known = sorted((row for row in rows if row), key=lambda r: (r["benchmark"], r["model"], r["superseded_at"]))
    return pa.Table.from_pylist(known, schema=SUPERSEDED)


def _row(path: Path) -> dict[str, Any] | None:
    try:
        metadata = read_metadata(path)
    except FileNotFoundError:  # restored since it was listed
        return None
    benchmark, model = pair_of(path)
    return {
        "benchmark": benchmark,
        "model": model,
        "n": int(metadata["rows"]),
        "accuracy": float(metadata["accuracy"]),
        "fingerprint": metadata.get(FINGERPRINT),
        "why": metadata[_WHY],
        "superseded_at": datetime.fromisoformat(metadata[_AT]).replace(tzinfo=None),
    }
