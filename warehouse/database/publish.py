"""Publishing the lake's tables as one DuckDB file, which readers can keep open while the next one takes its place."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa

from warehouse.errors import WarehouseError, first_line
from warehouse.files import locked, replacing
from warehouse.lake import Lake
from warehouse.lake.events import Event
from warehouse.lake.reading import AS_WRITTEN, rows_of

from .connect import OLDEST_CLIENT, empty_table, open_database, schema_digest, script, statements
from .read import find_fault

__all__ = ["TABLES", "publish"]

log = logging.getLogger(__name__)

_INFO = "warehouse_info"
TABLES = tuple(name for name in statements() if name != _INFO)
"""The tables that `publish` fills, in this order."""


def publish(lake: Lake, database: Path, tables: Collection[str] | None = None) -> dict[str, int]:
    """Bring `tables` (None: all) of the published file up to date with the lake; return their row counts.

    The live file is never written to. A copy of it is (or a new file, where there is none, or it is damaged or of
    another schema), and takes its place when it is complete. Raises WarehouseError where the lake is damaged.
    """
    unknown = set(tables or ()) - set(TABLES)
    if unknown:
        raise ValueError(f"no table {', '.join(sorted(unknown))}; there are {', '.join(TABLES)}")
    with locked(database.parent / ".publish.lock"), lake.still():
        try:
            with replacing(database) as draft:
                try:
                    for left in (draft, _wal(draft)):  # by a publisher that was killed
                        left.unlink(missing_ok=True)
                    wanted = TABLES if tables is None or not _copy_live(database, draft) else tables
                    counts = _write(lake, draft, [name for name in TABLES if name in wanted])
                    _wal(database).unlink(missing_ok=True)  # of somebody who wrote to the old file, not to the new one
                finally:
                    _wal(draft).unlink(missing_ok=True)
        except (duckdb.IOException, duckdb.TransactionException, duckdb.FatalException) as error:
            raise WarehouseError(
                f"{database} could not be written ({first_line(error)}); what it held before is still there: see "
                "that the disk has space, and run the command again"
            ) from error
    return counts


def _copy_live(database: Path, draft: Path) -> bool:
    """Copy the live file; False, without a draft, where all of it must be written again."""
    if not database.exists():
        return False
    if fault := find_fault(database):  # damage must not be passed on
        log.warning("%s %s: it is made again from the lake", database, fault)
        return False
    shutil.copyfile(database, draft)
    return True


def _write(lake: Lake, draft: Path, wanted: Sequence[str]) -> dict[str, int]:
    """Fill the wanted tables of `draft`: a copy of the live file, or where there is none yet, all of a new one."""
    is_new = not draft.exists()
    with open_database(draft, storage_compatibility_version=OLDEST_CLIENT) as connection:
        # FSST only pays for texts, which are written with what is small, at the end; to try it on millions of names
        # takes a tenth of the time.
        connection.execute("SET disabled_compression_methods = 'fsst'")
        connection.execute("BEGIN")  # hundreds of small statements take ten times as long one by one
        if is_new:
            _empty(connection, _INFO)
            connection.execute(f"INSERT INTO {_INFO} VALUES (?, NULL, NULL, ?)", [schema_digest(), datetime.now(UTC)])
        for name in wanted:
            _load(connection, lake, name)
        if {"questions", "responses"} & set(wanted):
            _check_questions(connection, lake)
        if is_new:
            connection.execute(script("views"))
        connection.execute(f"UPDATE {_INFO} SET published_at = ?", [datetime.now(UTC)])
        connection.execute("SET disabled_compression_methods = ''")
        connection.execute("COMMIT")
        connection.execute("CHECKPOINT")
        return {
            name: connection.sql(f"SELECT count(*) FROM {statements()[name].place}").fetchall()[0][0] for name in wanted
        }


def _empty(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    declared = statements()[name]
    if declared.view:
        connection.execute("CREATE SCHEMA IF NOT EXISTS history")
    connection.execute(f"DROP TABLE IF EXISTS {declared.place}")
    connection.execute(declared.table)
    connection.execute(declared.view)


def _replace(connection: duckdb.DuckDBPyConnection, name: str, rows: pa.Table) -> None:
    _empty(connection, name)
    if rows:
        connection.register("incoming", rows)
        connection.execute(f"INSERT INTO {statements()[name].place} BY NAME FROM incoming")


def _made_of(connection: duckdb.DuckDBPyConnection, name: str) -> str | None:
    """Return the digest of what the lake held when the table was filled."""
    return connection.execute(f"SELECT {name}_digest FROM {_INFO}").fetchall()[0][0]


def _note(connection: duckdb.DuckDBPyConnection, name: str, digest: str) -> None:
    connection.execute(f"UPDATE {_INFO} SET {name}_digest = ?", [digest])


def _check_questions(connection: duckdb.DuckDBPyConnection, lake: Lake) -> None:
    orphans = connection.sql(
        "SELECT benchmark, count(*) FROM responses ANTI JOIN questions USING (question_id) GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    if orphans:
        benchmark, count = orphans[0]
        raise WarehouseError(
            f"{count} responses to {benchmark} have no question in the lake ({lake.address}); import or evaluate the "
            "benchmark again"
        )


def _load(connection: duckdb.DuckDBPyConnection, lake: Lake, name: str) -> None:
    match name:
        case "models" | "benchmarks":
            _load_entries(connection, lake, name)
        case "questions":
            if _made_of(connection, name) != (state := lake.questions_state()):
                _replace(connection, name, lake.questions())
                _note(connection, name, state)
        case "responses":
            _load_responses(connection, lake, name)
        case "onboarding_responses":
            _empty(connection, name)
            _add_answers(connection, lake, name, [event for _, event in sorted(lake.now().onboarding.items())])
        case "evaluations" | "failures" | "imported_runs" | "superseded":
            _replace(connection, name, getattr(lake, name)())
        case _:
            _load_table(connection, lake, name)


def _load_entries(connection: duckdb.DuckDBPyConnection, lake: Lake, name: str) -> None:
    """Fill models or benchmarks: those of the registry, and those that only imports brought, with imported labels."""
    _empty(connection, name)
    key = name.removesuffix("s")
    labels = "any_value(family) AS family, any_value(size_b) AS size_b, any_value(communities) AS communities,"
    pairs = [{"benchmark": benchmark, "model": model} for benchmark, model in lake.pairs()]
    columns = empty_table("responses").select(["benchmark", "model"]).schema
    connection.register("answered", pa.Table.from_pylist(pairs, columns))
    connection.register("registered", lake.read_table(name) or empty_table(name))
    connection.register("labels", lake.labels() or empty_table("models"))
    connection.execute(f"""
        INSERT INTO {name} BY NAME
        FROM registered
        UNION ALL BY NAME
        SELECT {key}, {labels if name == "models" else ""} 'import' AS source
        FROM answered LEFT JOIN labels USING (model) ANTI JOIN registered USING ({key})
        GROUP BY {key}
        ORDER BY {key}
    """)


def _load_responses(connection: duckdb.DuckDBPyConnection, lake: Lake, name: str) -> None:
    """Add the answers of new pairs to the millions of rows that are there, unless answers that are there changed."""
    there = set()
    if made_of := _made_of(connection, name):
        there = set(connection.sql(f"SELECT DISTINCT benchmark, model FROM {name}").fetchall())
    if made_of != lake.answers_state(there):
        _empty(connection, name)
        there = set()
    answers = lake.now().answers
    _add_answers(connection, lake, name, [answers[pair] for pair in lake.pairs() if pair not in there])
    _note(connection, name, lake.answers_state(answers))


def _add_answers(connection: duckdb.DuckDBPyConnection, lake: Lake, name: str, events: Sequence[Event]) -> None:
    if not events:
        return
    columns = ", ".join(empty_table(name).column_names)
    with rows_of(connection, lake.tables, "responses", events) as rows:
        connection.execute(f"INSERT INTO {name} BY NAME SELECT {columns} {rows} {AS_WRITTEN}")


def _load_table(connection: duckdb.DuckDBPyConnection, lake: Lake, name: str) -> None:
    """Fill a table of a later stage with the lake's table of the same name."""
    table = lake.read_table(name) or empty_table(name)
    if unknown := set(table.column_names) - set(empty_table(name).column_names):
        raise ValueError(f"lake/{name} has columns that schema.sql does not: {', '.join(sorted(unknown))}")
    _replace(connection, name, table)
    if "embedding" in table.column_names:
        declared = statements()[name]
        lengths = connection.sql(f"SELECT DISTINCT len(embedding) FROM {declared.place}").fetchall()
        if len(lengths) == 1:
            connection.execute(f"ALTER TABLE {declared.place} ALTER embedding TYPE FLOAT[{lengths[0][0]}]")
            connection.execute(declared.view)


def _wal(database: Path) -> Path:
    return database.with_name(f"{database.name}.wal")
