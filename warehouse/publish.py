"""The lake's tables as one DuckDB file, which readers can hold open while the next one takes its place."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa

from warehouse.database import open_draft, schema_digest, script
from warehouse.errors import WarehouseError, first_line
from warehouse.files import locked, sync
from warehouse.lake import Lake
from warehouse.lake.answers import ANSWERS, RESPONSES
from warehouse.lake.events import Event
from warehouse.read import is_whole

__all__ = ["TABLES", "publish"]

log = logging.getLogger(__name__)


def publish(lake: Lake, database: Path, tables: Collection[str] | None = None) -> dict[str, int]:
    """Brings `tables` (None: all) of the published file up to the lake; returns their row counts.

    The live file is never written to: a copy of it is (or a new file, where there is none, or it is damaged
    or of another schema), and takes its place when it is whole.
    Raises WarehouseError where the lake is damaged.
    """
    unknown = set(tables or ()) - set(TABLES)
    if unknown:
        raise ValueError(f"no table {', '.join(sorted(unknown))}; there are {', '.join(TABLES)}")
    wanted = TABLES if tables is None else tuple(name for name in TABLES if name in tables)
    draft = database.with_name(f".{database.name}.draft")
    with locked(database.parent / ".publish.lock"), lake.still():
        _discard(draft)
        try:
            if tables is None or not _copied(database, draft):
                wanted = TABLES
            counts = _write(lake, draft, wanted)
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


def _write(lake: Lake, draft: Path, wanted: Collection[str]) -> dict[str, int]:
    with open_draft(draft) as connection:
        connection.execute(script("schema"))
        for name in wanted:
            if name != "responses" or not _can_be_added_to(connection, lake):
                connection.execute(f"DROP TABLE {name}")
        connection.execute(script("schema"))
        for name in wanted:
            # In the old file format FSST pays for texts alone; trying it on names takes a tenth of the time.
            connection.execute(f"SET disabled_compression_methods = '{'' if name == 'questions' else 'fsst'}'")
            _LOADERS.get(name, _load_table)(connection, lake, name)
        if {"questions", "responses"} & set(wanted):
            _check_questions(connection, lake)
        connection.execute("BEGIN")  # hundreds of small statements: together they take a tenth of the time
        _note(connection, lake, wanted)
        connection.execute(script("views"))
        connection.execute(script("comments"))
        connection.execute("COMMIT")
        connection.execute("CHECKPOINT")
        return {name: connection.sql(f"SELECT count(*) FROM {name}").fetchall()[0][0] for name in wanted}


def _can_be_added_to(connection: duckdb.DuckDBPyConnection, lake: Lake) -> bool:
    """Whether what `responses` holds is what the lake has of these pairs: millions of rows need not be read again."""
    noted = connection.execute("SELECT responses_digest FROM warehouse_info").fetchall()
    return noted == [(lake.answers_state(_published(connection, "responses")),)]


def _published(connection: duckdb.DuckDBPyConnection, name: str) -> set[tuple[str, str]]:
    return set(connection.execute(f"SELECT DISTINCT benchmark, model FROM {name}").fetchall())


def _note(connection: duckdb.DuckDBPyConnection, lake: Lake, wanted: Collection[str]) -> None:
    """Notes what this file is made of."""
    if "responses" in wanted:
        digest = lake.answers_state(lake.pairs())
    else:
        ((digest,),) = connection.execute("SELECT responses_digest FROM warehouse_info").fetchall()
    connection.execute("DELETE FROM warehouse_info")
    connection.execute("INSERT INTO warehouse_info VALUES (?, ?, ?)", [schema_digest(), digest, datetime.now(UTC)])


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
    answered = pa.table({"model": pa.array(sorted({model for _, model in lake.pairs()}), pa.string())})
    labels = _complete(connection, "models", lake.labels())
    registered = _complete(connection, "models", lake.read_table("models"))
    _run(connection, "load_models", answered=answered, labels=labels, registered=registered)


def _load_benchmarks(connection: duckdb.DuckDBPyConnection, lake: Lake, name: str) -> None:
    known = sorted({benchmark for benchmark, _ in lake.pairs()})
    answered = pa.table({"benchmark": pa.array(known, pa.string())})
    registered = _complete(connection, "benchmarks", lake.read_table("benchmarks"))
    _run(connection, "load_benchmarks", answered=answered, registered=registered)


def _load_questions(connection: duckdb.DuckDBPyConnection, lake: Lake, name: str) -> None:
    _insert(connection, name, lake.questions())


def _load_responses(connection: duckdb.DuckDBPyConnection, lake: Lake, name: str) -> None:
    published, answers = _published(connection, name), lake.now().answers
    _insert_answers(connection, lake, name, [answers[pair] for pair in lake.pairs() if pair not in published])


def _load_onboarding_responses(connection: duckdb.DuckDBPyConnection, lake: Lake, name: str) -> None:
    _insert_answers(connection, lake, name, list(lake.now().onboarding.values()))


def _insert_answers(connection: duckdb.DuckDBPyConnection, lake: Lake, name: str, events: Sequence[Event]) -> None:
    """Millions of rows: they go from the lake's files into the table without being held by Python."""
    columns = [column for column in _columns(connection, name) if column in ANSWERS.names]
    schema = pa.schema([*(ANSWERS.field(column) for column in columns), *map(RESPONSES.field, ("benchmark", "model"))])
    connection.register("incoming", lake.answers_reader(events, schema))
    try:
        # Which of the lake's files they are in depends on who came first.
        connection.execute(f"INSERT INTO {name} BY NAME FROM incoming ORDER BY benchmark, model, question_id")
    except duckdb.Error:
        for _ in lake.answers_reader(events, schema):  # names what cannot be read, if that is the cause
            pass
        raise
    finally:
        connection.unregister("incoming")


def _load_failures(connection: duckdb.DuckDBPyConnection, lake: Lake, name: str) -> None:
    _insert(connection, name, lake.failures())


def _load_evaluations(connection: duckdb.DuckDBPyConnection, lake: Lake, name: str) -> None:
    _insert(connection, name, lake.evaluations())


def _load_superseded(connection: duckdb.DuckDBPyConnection, lake: Lake, name: str) -> None:
    _insert(connection, name, lake.superseded())


def _load_table(connection: duckdb.DuckDBPyConnection, lake: Lake, name: str) -> None:
    table = lake.read_table(name)
    if table is None or table.num_rows == 0:
        return
    unknown = set(table.column_names) - set(_columns(connection, name))
    if unknown:
        raise ValueError(f"lake/{name} has columns that sql/schema.sql does not: {', '.join(sorted(unknown))}")
    _insert(connection, name, table)
    if "embedding" in table.column_names:
        lengths = connection.sql(f"SELECT DISTINCT len(embedding) FROM {name}").fetchall()
        if len(lengths) == 1:
            connection.execute(f"ALTER TABLE {name} ALTER embedding TYPE FLOAT[{lengths[0][0]}]")


def _insert(connection: duckdb.DuckDBPyConnection, name: str, rows: pa.Table) -> None:
    connection.register("incoming", rows)
    connection.execute(f"INSERT INTO {name} BY NAME FROM incoming")
    connection.unregister("incoming")


_LOADERS: dict[str, Callable[[duckdb.DuckDBPyConnection, Lake, str], None]] = {
    "models": _load_models,
    "benchmarks": _load_benchmarks,
    "questions": _load_questions,
    "responses": _load_responses,
    "onboarding_responses": _load_onboarding_responses,
    "evaluations": _load_evaluations,
    "failures": _load_failures,
    "superseded": _load_superseded,
}

TABLES = (
    *_LOADERS,
    "not_applicable",
    "question_embeddings",
    "embedders",
    "model_embeddings",
    "onboarded",
    "forecasts",
    "predictions",
    "reliability",
    "forecast_curve",
    "routing",
    "routes",
    "robustness",
    "cost_curve",
    "cost_summary",
    "benchmark_predictions",
    "predicted_accuracies",
    "communities",
    "probes",
    "contributions",
    "fallbacks",
    "portfolios",
    "difficulty",
    "question_difficulty",
)
"""The tables that `publish` fills, in the order in which it does."""


def _run(connection: duckdb.DuckDBPyConnection, name: str, **inputs: pa.Table) -> None:
    for table, rows in inputs.items():
        connection.register(table, rows)
    connection.execute(script(name))
    for table in inputs:
        connection.unregister(table)


def _complete(connection: duckdb.DuckDBPyConnection, name: str, table: pa.Table | None) -> pa.Table:
    """`table`, with all columns of the warehouse's `name`; what it lacks is null."""
    empty = connection.sql(f"FROM {name} LIMIT 0").to_arrow_table()
    return pa.concat_tables([empty, table], promote_options="permissive") if table else empty


def _columns(connection: duckdb.DuckDBPyConnection, name: str) -> list[str]:
    return connection.sql(f"FROM {name} LIMIT 0").columns


def _wal(database: Path) -> Path:
    return database.with_name(f"{database.name}.wal")


def _discard(draft: Path) -> None:
    draft.unlink(missing_ok=True)
    _wal(draft).unlink(missing_ok=True)
