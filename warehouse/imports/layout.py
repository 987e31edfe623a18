"""Results in the layout of EmbedLLM's authors: tables with a row an answer.

Prompts make up most of a file. They are read twice but not kept: first a hash per row, then a text per question.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from warehouse.database.connect import identifier, literal
from warehouse.errors import ImportRefused
from warehouse.lake.questions import SPLITS

from .problems import FILE
from .published import KNOWN, Results
from .sources import Source
from .tables import EXAMPLES, NEEDED, ImportedTable

__all__ = ["MODEL_NAME", "read_layout"]

MODEL_NAME = "CASE WHEN contains(model_name, '/') THEN model_name ELSE regexp_replace(model_name, '__', '/') END"
"""SQL: published names write `/` as `__`; the first one is restored, unless the name has a `/`."""

_NUMBER = """
    CASE lower(trim(label))
        WHEN 'true' THEN 1
        WHEN 'false' THEN 0
        ELSE CASE WHEN isfinite(TRY_CAST(label AS DOUBLE)) THEN TRY_CAST(label AS DOUBLE) END
    END
"""
"""SQL: what a published label says, as a number; null where it says nothing."""

_OTHER_TABLES = (
    "; of a table with other columns say which they are: --map prompt=…,model_name=…,label=… for a row an answer, "
    "--question and --model-columns for a row a question"
)

_USAGE_COLUMNS = {
    "tokens_in": ("tokens_in", "prompt_tokens"),
    "tokens_out": ("tokens_out", "completion_tokens"),
    "cost": ("cost",),
}
"""By column of warehouse.lake.answers.USAGE: the names that it may have in a file, of which the first one counts."""


_EXPORTED = {
    "doc_id": "doc_id::BIGINT",
    "target": "target",
    "answer": "answer",
    "latency_s": "latency_s::DOUBLE",
}
"""SQL: what only our own exports have, in columns that mean something else in other people's tables."""


def read_layout(
    connection: duckdb.DuckDBPyConnection,
    scratch: Path,
    source: Source,
    split_table: Path | None = None,
    threshold: float | None = None,
) -> Results:
    """Read the rows of `source` into the scratch database and check them; `scratch` is a folder for copies.

    `split_table` overrides what files, by name or column, say about splits. Labels from `threshold` on are right;
    without one they must be 0 or 1. Raises ImportRefused where tables cannot be read.
    """
    tables = _Tables(connection, scratch, source, split_table, threshold)
    tables.load_rows()
    tables.check_rows()
    tables.number_prompts()
    if split_table:
        tables.take_splits(split_table)
    return tables


def _usage_columns(table: ImportedTable) -> dict[str, str]:
    """Return the table's own name of each column of USAGE that it has."""
    found = {
        name: [column for column in columns if column in table.columns] for name, columns in _USAGE_COLUMNS.items()
    }
    return {name: columns[0] for name, columns in found.items() if columns}


def _usage_sql(name: str, column: str) -> str:
    """Return SQL that reads text as a number, or as a fault where it is none. NaN means nothing."""
    said = f"nullif(nullif(lower(trim({identifier(column)})), ''), 'nan')"
    number = f"TRY_CAST({said} AS DOUBLE)"
    whole = "" if name == "cost" else f" AND {number} = trunc({number}) AND {number} < 1e15"
    holds = f"({number} >= 0 AND isfinite({number}){whole})"
    fault = f"CASE WHEN {said} IS NOT NULL AND {holds} IS NOT TRUE THEN {identifier(column)} END"
    return f", CASE WHEN {holds} THEN {number} END AS {name}, {fault} AS {name}_fault"


class _Tables(Results):
    """The steps of `read_layout`; each fills tables of the scratch database or notes what is wrong."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        scratch: Path,
        source: Source,
        split_table: Path | None,
        threshold: float | None,
    ) -> None:
        super().__init__(connection, [file.path.name for file in source.files])
        self.files = source.files
        self.scratch = scratch
        self.threshold = threshold
        self.scored = threshold is not None
        self.tables = [ImportedTable(connection, file.path, scratch) for file in source.files]
        by_file = source.files[0].split is not None
        with_split = [table.path.name for table in self.tables if "split" in table.columns]
        self.split_by_file = by_file and not split_table
        self.split_by_column = bool(with_split) and not by_file and not split_table
        without_split = [table.path.name for table in self.tables if table.path.name not in with_split]
        if self.split_by_column and without_split:
            more = f" and {len(without_split) - 1} more files" if len(without_split) > 1 else ""
            problem = f"{with_split[0]} has a column split, but not {without_split[0]}{more}"
            raise ImportRefused(source.name, [f"{problem}; add it, or give a split table with --split"])
        self.checked = (*NEEDED, "split") if self.split_by_column else NEEDED
        self.usage_columns = [_usage_columns(table) for table in self.tables]
        for table, columns in zip(self.tables, self.usage_columns, strict=True):
            table.require([*self.checked, *columns.values()], _OTHER_TABLES)
        self.known = [name for name in _USAGE_COLUMNS if any(name in columns for columns in self.usage_columns)]
        self.is_export = all(table.is_export for table in self.tables)
        if self.is_export:  # it has all that there is to know
            self.known, self.scored = [*KNOWN], True

    def load_rows(self) -> None:
        whole = f"CASE {_NUMBER} WHEN 1 THEN true WHEN 0 THEN false END"
        right = whole if self.threshold is None else f"{_NUMBER} >= {self.threshold}"
        score, model_name = ("score::DOUBLE", "model_name") if self.is_export else (_NUMBER, MODEL_NAME)
        for number, (file, table) in enumerate(zip(self.files, self.tables, strict=True)):
            split = "nullif(split, '')" if self.split_by_column else "NULL"
            if self.split_by_file:
                split = literal(file.split)
            usage = self.usage_columns[number]
            exported = "".join(f", {sql} AS {name}" for name, sql in _EXPORTED.items()) if self.is_export else ""
            insert = f"""
                INSERT INTO raw BY NAME
                SELECT {number} * {FILE} + _row AS spot, nullif(prompt_id, '') AS prompt_id,
                    nullif(label, '') AS label, {score} AS score, {right} AS correct,
                    nullif({model_name}, '') AS model_name,
                    nullif(category, '') AS category, CASE WHEN prompt <> '' THEN hash(prompt) END AS prompt,
                    {split} AS split{"".join(_usage_sql(name, column) for name, column in usage.items())}{exported}
            """
            wanted = [*self.checked, *usage.values(), *(("score", *_EXPORTED) if self.is_export else ())]
            table.execute(wanted, f"{insert} FROM {{}}".format)
        if self.rows("SELECT count(*) FROM raw") == [(0,)]:
            self.problems.append("it has no rows")

    def check_rows(self) -> None:
        for column in self.checked:
            self.note_rows(f"{column} is missing", f"{column} IS NULL")
        self.note_rows("the label is none of 0, 1, true, false", "label IS NOT NULL AND correct IS NULL", "label")
        if self.rows("SELECT 1 FROM raw WHERE correct IS NULL AND score IS NOT NULL LIMIT 1"):
            self.problems.append("say with --threshold from which number on an answer is right")
        if self.split_by_column:
            self.note_rows(f"the split is none of {', '.join(SPLITS)}", f"split NOT IN {SPLITS}", "split")
        for name in (name for name in _USAGE_COLUMNS if name in self.known):
            called = " or ".join(sorted({columns[name] for columns in self.usage_columns if name in columns}))
            number = "number from 0 on" if name == "cost" else "whole number from 0 on"
            self.note_rows(f"{called} is no {number}", f"{name}_fault IS NOT NULL", f"{name}_fault")

    def take_splits(self, table: Path) -> None:
        """Fill prompt.split from a table of prompt_id and split."""
        needed = ("prompt_id", "split")
        splits = ImportedTable(self.connection, table, self.scratch)
        splits.require(needed)
        splits.execute(needed, "CREATE TABLE given AS FROM {}".format)
        repeated = "SELECT prompt_id FROM given GROUP BY prompt_id HAVING count(*) > 1"
        for what, condition in (
            ("without prompt_id", "coalesce(prompt_id, '') = ''"),
            (f"whose split is none of {', '.join(SPLITS)}", f"coalesce(split, '') NOT IN {SPLITS}"),
            ("whose prompt_id is there twice", f"prompt_id IN ({repeated})"),
        ):
            rows = [str(row) for (row,) in self.rows(f"SELECT _row FROM given WHERE {condition} ORDER BY _row")]
            self.note(f"{table.name} has {len(rows)} rows {what}: rows", len(rows), rows[:EXAMPLES])
        absent = self.rows("SELECT prompt_id FROM prompt ANTI JOIN given USING (prompt_id) ORDER BY prompt")
        examples = [prompt_id for (prompt_id,) in absent[:EXAMPLES]]
        self.note(f"{table.name} lacks {len(absent)} prompt_id of the results", len(absent), examples)
        if not self.problems:
            self.connection.execute(
                "UPDATE prompt SET split = given.split FROM given WHERE given.prompt_id = prompt.prompt_id"
            )

    def load_texts(self) -> None:
        self.connection.execute("CREATE TABLE text (prompt BIGINT, text VARCHAR)")
        for number, table in enumerate(self.tables):
            insert = f"""
                INSERT INTO text
                SELECT prompt.prompt, rows.prompt
                FROM {{}} rows
                JOIN prompt ON first = {number} * {FILE} + _row
            """
            table.execute(["prompt"], insert.format)
