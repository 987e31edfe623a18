"""The lake's tables as one DuckDB file, which readers can hold open while the next one takes its place."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa

from warehouse.errors import WarehouseError, first_line
from warehouse.files import locked, sync
from warehouse.lake import Lake
from warehouse.lake.events import Event
from warehouse.lake.reading import AS_WRITTEN, rows_of

from .connect import empty_table, open_draft, schema_digest, script, statements
from .read import is_whole

__all__ = ["TABLES", "publish"]

log = logging.getLogger(__name__)

_INFO = "warehouse_info"
TABLES = tuple(name for name in statements() if name != _INFO)
"""The tables that `publish` fills, in the order in which it does."""


def publish(lake: Lake, database: Path, tables: Collection[str] | None = None) -> dict[str, int]:
    """Brings `tables` (None: all) of the published file up to the lake; returns their row counts.

    The live file is never written to: a copy of it is (or a new file, where there is none, or it is damaged
    or of another schema), and takes its place when it is whole.
    Raises WarehouseError where the lake is damaged.
    """
    unknown = set(tables or ()) - set(TABLES)
    if unknown:
        raise ValueError(f"no table {', '.join(sorted(unknown))}; there are {', '.join(TABLES)}")
    draft = database.with_name(f".{database.name}.draft")
    with locked(database.parent / ".publish.lock"), lake.still():
        _discard(draft)
        try:
            wanted = TABLES if tables is None or not _copied(database, draft) else tables
            counts = _write(lake, draft, [name for name in TABLES if name in wanted])
            sync(draft)
            _wal(database).unlink(missing_ok=True)  # of a stranger who wrote to the old file; not the new one's
            draft.replace(database)
        except (duckdb.IOException, duckdb.TransactionException, duckdb.FatalException) as error:
            raise WarehouseError(
                f"{database} could not be written ({first_line(error)}); what it held before is still there: see "
                "that the disk has space, and run the command again"
            ) from error
        finally:
            _discard(draft)
    return counts


def _copied(database: Path, draft: Path) -> bool:
    """Copies the live file; False, and no draft, where it must be made anew."""
    if not database.exists():
        return False
    if not is_whole(database):  # damage must not be handed on
        log.warning("%s is damaged or of another version of embedllm: it is made anew from the lake", database)
        return False
    shutil.copyfile(database, draft)
    return True


def _write(lake: Lake, draft: Path, wanted: Sequence[str]) -> dict[str, int]:
    """Fills the wanted tables of `draft`: a copy of the live file, or where there is none yet, all of a new one."""
    is_new = not draft.exists()
    with open_draft(draft) as connection:
        # FSST pays for texts alone, which are written with what is small, at the end; trying it on millions of names
        # takes a tenth of the time.
        connection.execute("SET disabled_compression_methods = 'fsst'")
        connection.execute("BEGIN")  # each of hundreds of small statements alone takes ten times as long
        if is_new:
            _empty(connection, _INFO)
            connection.execute(f"INSERT INTO {_INFO} VALUES (?, NULL, NULL, ?)", [schema_digest(), datetime.now(UTC)])
        for name in wanted:
            _LOADERS.get(name, _load_table)(connection, lake, name)
        if {"questions", "responses"} & set(wanted):
            _check_questions(connection, lake)
        if is_new:
            connection.execute(script("views"))
        connection.execute(f"UPDATE {_INFO} SET published_at = ?", [datetime.now(UTC)])
        connection.execute("SET disabled_compression_methods = ''")
        connection.execute("COMMIT")
        connection.execute("CHECKPOINT")
        return {name: connection.sql(f"SELECT count(*) FROM {name}").fetchall()[0][0] for name in wanted}


def _empty(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    connection.execute(f"DROP TABLE IF EXISTS {name}")
    connection.execute(statements()[name])


def _replace(connection: duckdb.DuckDBPyConnection, name: str, rows: pa.Table) -> None:
    _empty(connection, name)
    if rows:
        connection.register("incoming", rows)
        connection.execute(f"INSERT INTO {name} BY NAME FROM incoming")


def _made_of(connection: duckdb.DuckDBPyConnection, name: str) -> str | None:
    """Digest of what of the lake the table was made of."""
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


# --- one loader a table; the others come as they lie in lake/<table>/


def _load_models(connection: duckdb.DuckDBPyConnection, lake: Lake, name: str) -> None:
    """The registry's, and those that only imports brought, with the labels that came with these."""
    _empty(connection, name)
    connection.register("registered", lake.read_table(name) or empty_table(name))
    connection.register("answered", pa.table({"model": pa.array([model for _, model in lake.pairs()], pa.string())}))
    connection.register("labels", lake.labels() or empty_table(name))
    connection.execute("""
        INSERT INTO models BY NAME
        FROM registered
        UNION ALL BY NAME
        SELECT model, any_value(family) AS family, any_value(size_b) AS size_b,
            any_value(communities) AS communities, 'import' AS source
        FROM answered LEFT JOIN labels USING (model) ANTI JOIN registered USING (model)
        GROUP BY model
        ORDER BY model
    """)


def _load_benchmarks(connection: duckdb.DuckDBPyConnection, lake: Lake, name: str) -> None:
    """The registry's, and those that only imports brought."""
    _empty(connection, name)
    connection.register("registered", lake.read_table(name) or empty_table(name))
    benchmarks = pa.array([benchmark for benchmark, _ in lake.pairs()], pa.string())
    connection.register("answered", pa.table({"benchmark": benchmarks}))
    connection.execute("""
        INSERT INTO benchmarks BY NAME
        FROM registered
        UNION ALL BY NAME
        SELECT DISTINCT benchmark, 'import' AS source FROM answered ANTI JOIN registered USING (benchmark)
        ORDER BY benchmark
    """)


def _load_questions(connection: duckdb.DuckDBPyConnection, lake: Lake, name: str) -> None:
    if _made_of(connection, name) != (state := lake.questions_state()):
        _replace(connection, name, lake.questions())
        _note(connection, name, state)


def _load_responses(connection: duckdb.DuckDBPyConnection, lake: Lake, name: str) -> None:
    """What is there of millions of rows stays, where it is what the lake has of these pairs; only new ones are read."""
    there = set()
    if made_of := _made_of(connection, name):
        there = set(connection.sql(f"SELECT DISTINCT benchmark, model FROM {name}").fetchall())
    if made_of != lake.answers_state(there):
        _empty(connection, name)
        there = set()
    answers = lake.now().answers
    _add_answers(connection, lake, name, [answers[pair] for pair in lake.pairs() if pair not in there])
    _note(connection, name, lake.answers_state(answers))


def _load_onboarding_responses(connection: duckdb.DuckDBPyConnection, lake: Lake, name: str) -> None:
    _empty(connection, name)
    _add_answers(connection, lake, name, [event for _, event in sorted(lake.now().onboarding.items())])


def _add_answers(connection: duckdb.DuckDBPyConnection, lake: Lake, name: str, events: Sequence[Event]) -> None:
    if not events:
        return
    columns = ", ".join(empty_table(name).column_names)
    with rows_of(connection, lake.tables, "responses", events) as rows:
        connection.execute(f"INSERT INTO {name} BY NAME SELECT {columns} {rows} {AS_WRITTEN}")


def _load_table(connection: duckdb.DuckDBPyConnection, lake: Lake, name: str) -> None:
    table = lake.read_table(name) or empty_table(name)
    if unknown := set(table.column_names) - set(empty_table(name).column_names):
        raise ValueError(f"lake/{name} has columns that schema.sql does not: {', '.join(sorted(unknown))}")
    _replace(connection, name, table)
    if "embedding" in table.column_names:
        lengths = connection.sql(f"SELECT DISTINCT len(embedding) FROM {name}").fetchall()
        if len(lengths) == 1:
            connection.execute(f"ALTER TABLE {name} ALTER embedding TYPE FLOAT[{lengths[0][0]}]")


_LOADERS: dict[str, Callable[[duckdb.DuckDBPyConnection, Lake, str], None]] = {
    "models": _load_models,
    "benchmarks": _load_benchmarks,
    "questions": _load_questions,
    "responses": _load_responses,
    "onboarding_responses": _load_onboarding_responses,
    "evaluations": lambda connection, lake, name: _replace(connection, name, lake.evaluations()),
    "failures": lambda connection, lake, name: _replace(connection, name, lake.failures()),
    "superseded": lambda connection, lake, name: _replace(connection, name, lake.superseded()),
}


def _wal(database: Path) -> Path:
    return database.with_name(f"{database.name}.wal")


def _discard(draft: Path) -> None:
    draft.unlink(missing_ok=True)
    _wal(draft).unlink(missing_ok=True)
