"""Migrating a lake of the previous layout, which has Parquet files in folders.

    responses/benchmark=<b>/model=<m>/part.parquet     answers; their metadata say what determined them
    responses/benchmark=<b>/model=<m>/failure.json     why the last evaluation failed
    superseded/benchmark=<b>/model=<m>/<id>.parquet    answers under an earlier entry
    onboarding/benchmark=<b>/model=<m>/part.parquet    answers to chosen questions only
    questions/benchmark=<b>/part.parquet
    <table>/<part>.parquet                             tables of later stages
Names are percent-encoded in paths.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.files import locked

from .answers import SOURCES, complete_columns
from .delta import naming_what_is_corrupt
from .events import ONBOARDING, Event
from .failures import Failure
from .lake import Lake
from .questions import QUESTION_PART, digest_rows
from .writing import Writing, done

__all__ = ["is_of_files", "migrate"]

_OWN = frozenset({"responses", "superseded", "onboarding", "questions", "imports", "imported_models", "damaged"})
_NOT_METADATA = frozenset({"benchmark", "model", "rows", "accuracy", "superseded_at", "superseded_why"})


def is_of_files(folder: Path) -> bool:
    """Return whether the lake in `folder` has the previous layout, or its migration was interrupted."""
    if not folder.exists():
        return _half_made(folder).exists() and kept_at(folder).exists()
    return any(folder.glob("questions/benchmark=*/part.parquet")) and not (folder / "questions" / "_delta_log").exists()


def kept_at(folder: Path) -> Path:
    """Return where the lake of files is kept."""
    return folder.with_name(f"{folder.name}.of-files")


def _half_made(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.migrating")


def migrate(folder: Path, progress: Callable[[int, int, str], None] | None = None) -> Path | None:
    """Convert the lake in `folder` to Delta tables; return where the old one is kept, None where nothing is to be done.

    The new one is made next to it and replaces it when it is complete: a run that is killed begins again.
    Raises CorruptFileError where a file of the old one cannot be read.
    """
    new, old = _half_made(folder), kept_at(folder)
    with locked(folder.with_name(f".{folder.name}.migration.lock")):
        if not is_of_files(folder):
            return None
        if folder.exists():
            if old.exists():
                raise FileExistsError(f"{old} exists already, with another lake of files: move it away first")
            shutil.rmtree(new, ignore_errors=True)
            _copy(folder, Lake(new), progress or (lambda done, total, what: None))
            folder.rename(old)
        new.rename(folder)
    return old


def _copy(folder: Path, lake: Lake, tell: Callable[[int, int, str], None]) -> None:
    benchmarks = sorted(
        {path.name for top in ("questions", "superseded") for path in folder.glob(f"{top}/benchmark=*")}
    )
    with lake.together() as writing:
        for number, benchmark in enumerate(benchmarks):
            tell(number, len(benchmarks), "benchmarks migrated")
            _copy_benchmark(folder, benchmark, lake, writing)
            writing.spill()
        tell(len(benchmarks), len(benchmarks), "benchmarks migrated")
        for path in sorted(folder.glob("imports/[!.]*.parquet")):
            _copy_import(path, folder / "imported_models" / path.name, lake, writing)
        for path in sorted(folder.glob("[!.]*/[!.]*.parquet")):
            if path.parent.name not in _OWN:
                lake.write_table(path.parent.name, _read(path)[0], unquote(path.stem))


def _copy_benchmark(folder: Path, name: str, lake: Lake, writing: Writing) -> None:
    benchmark = unquote(name.partition("=")[2])
    if (path := folder / "questions" / name / "part.parquet").exists():
        rows, _ = _read(path)
        rows = rows.append_column("target", pa.nulls(rows.num_rows, pa.string()))
        writing.add_questions(benchmark, rows.select(QUESTION_PART.names).cast(QUESTION_PART))
    for path in sorted(folder.glob(f"superseded/{name}/model=*/[!.]*.parquet")):
        event, rows, known = _answers(path)
        at = datetime.fromisoformat(known["superseded_at"])
        writing.add_answers(replace(event, event="superseded", reason=known["superseded_why"], recorded_at=at), rows)
    for top, source in (("onboarding", ONBOARDING), ("responses", "")):
        for path in sorted(folder.glob(f"{top}/{name}/model=*/part.parquet")):
            event, rows, _ = _answers(path, source)
            writing.add_answers(event, rows)
    for path in sorted(folder.glob(f"responses/{name}/model=*/failure.json")):
        with naming_what_is_corrupt(str(path)):
            said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        failed_at = datetime.fromisoformat(said["failed_at"]).astimezone(UTC)
        failure = Failure(said["kind"], said["reason"], said["attempts"], said.get("entry", ""), failed_at)
        lake.write_failure(benchmark, unquote(path.parent.name.partition("=")[2]), failure)


def _answers(path: Path, source: str = "") -> tuple[Event, pa.Table, dict[str, str]]:
    rows, known = _read(path)
    rows, rest = complete_columns(rows), {key: value for key, value in known.items() if key not in _NOT_METADATA}
    event = done(known["benchmark"], known["model"], rows, rest, source or json.loads(known[SOURCES])[0])
    return event, rows, known


def _copy_import(path: Path, labels: Path, lake: Lake, writing: Writing) -> None:
    [record] = _read(path)[0].to_pylist()
    source, at = record.pop("source"), record.pop("imported_at").replace(tzinfo=UTC)
    record |= {"labels_part": None, "labels_digest": None}
    if labels.exists():
        rows, _ = _read(labels)
        digest = digest_rows(rows)
        record |= {"labels_part": f"{source} {digest}", "labels_digest": digest}
        lake.write_table("imported_models", rows, record["labels_part"])
    writing.add(Event("imported", source=source, metadata=record, recorded_at=at))


def _read(path: Path) -> tuple[pa.Table, dict[str, str]]:
    """Return the rows of a Parquet file, and what its writer noted in it."""
    with naming_what_is_corrupt(str(path)):
        rows = pq.ParquetFile(path, page_checksum_verification=True).read()
    noted = {key.decode(): value.decode() for key, value in (rows.schema.metadata or {}).items()}
    return rows.replace_schema_metadata(), noted
