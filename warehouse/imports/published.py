"""Reading published results into a scratch database and checking them; nothing is used before all of it is right.

Prompts make up most of a file. They are read twice but not kept: first a hash per row, then a text per question.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from itertools import pairwise
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from warehouse.database.connect import identifier, literal, open_database, script
from warehouse.errors import ImportRefused
from warehouse.lake.questions import SPLITS

from .problems import FILE, NameFault, Problems
from .sources import Source
from .tables import EXAMPLES, NEEDED, ImportedTable

__all__ = ["MODEL_NAME", "NameFault", "Published", "open_scratch", "read_published"]

MEMORY = "500MB"  # of DuckDB's buffers; the process with all its libraries stays under 1 GB

MODEL_NAME = "CASE WHEN contains(model_name, '/') THEN model_name ELSE regexp_replace(model_name, '__', '/') END"
"""SQL: published names write `/` as `__`; the first one is restored, unless the name has a `/`."""

CORRECT = """
    CASE
        WHEN TRY_CAST(label AS DOUBLE) = 1 OR lower(trim(label)) = 'true' THEN true
        WHEN TRY_CAST(label AS DOUBLE) = 0 OR lower(trim(label)) = 'false' THEN false
    END
"""
"""SQL: what a published label says; null where it says neither."""

USAGE_COLUMNS = {
    "tokens_in": ("tokens_in", "prompt_tokens"),
    "tokens_out": ("tokens_out", "completion_tokens"),
    "cost": ("cost",),
}
"""By column of warehouse.lake.answers.USAGE: the names that it may have in a file, of which the first one counts."""

_HOLDS = {
    "majority": "CASE sign(2 * ones - copies) WHEN 1 THEN 1 WHEN -1 THEN 0 END",
    "drop": "NULL",
    "first": "first",
}
"""SQL by `on_conflict`: which of two labels of one answer holds, null for neither."""


class Published:
    """Checked results. Questions are numbered in the order of prompt_id, by value where all are numbers."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, usage: Collection[str], resolved: int) -> None:
        self._connection = connection
        self._usage = tuple(usage)
        self.resolved = resolved  # answers with two labels of which something has decided
        self.models, self.questions, self.rows, self.duplicates = connection.sql("""
            SELECT (SELECT count(*) FROM model), (SELECT count(*) FROM prompt),
                count(*), sum(copies - 1)::BIGINT
            FROM graded
        """).fetchall()[0]
        benchmarks = connection.sql("SELECT DISTINCT benchmark FROM covered ORDER BY ALL").fetchall()
        self.benchmarks: list[str] = [benchmark for (benchmark,) in benchmarks]
        connection.execute("""
            CREATE TABLE place AS
            SELECT prompt, benchmark, row_number() OVER (PARTITION BY benchmark ORDER BY prompt) - 1 AS place
            FROM prompt
            JOIN covered USING (category)
        """)

    def resplit(self) -> int:
        """Give all questions of one text the split of the one nearest to training; return how many that changes."""
        return self._connection.execute(script("import_resplit", __file__)).fetchall()[0][0]

    def questions_of(self, benchmark: str) -> pa.Table:
        """Return category, task (the same), doc_id, text, split (null: not given), ordered by prompt_id."""
        return self._connection.sql(f"""
            SELECT category, category AS task, doc_id, text, split
            FROM prompt
            JOIN text USING (prompt)
            JOIN place USING (prompt)
            WHERE benchmark = {literal(benchmark)}
            ORDER BY place
        """).to_arrow_table()

    def answers_of(self, benchmark: str) -> Iterator[tuple[str, pa.Table]]:
        """Yield the answers to one benchmark model by model: place (the row of `questions_of`, ascending), correct,
        score (the label) and what is known of USAGE."""
        rows = self._connection.sql(f"""
            SELECT model, {", ".join(["place", "lowest = 1 AS correct", "lowest::DOUBLE AS score", *self._usage])}
            FROM graded
            JOIN place USING (prompt)
            WHERE benchmark = {literal(benchmark)}
            ORDER BY model, place
        """).to_arrow_table()
        names, numbers = self.model_names(), rows["model"].to_numpy()
        starts = np.flatnonzero(np.diff(numbers, prepend=-1)).tolist()
        for start, end in pairwise([*starts, len(numbers)]):
            yield names[numbers[start]], rows.slice(start, end - start)

    def model_names(self) -> list[str]:
        return [name for (name,) in self._connection.sql("SELECT model_name FROM model ORDER BY model").fetchall()]


def open_scratch(folder: Path) -> duckdb.DuckDBPyConnection:
    """Open a database on disk, in a new folder, for what does not fit into memory."""
    folder.mkdir(parents=True)
    return open_database(folder / "scratch.duckdb", memory_limit=MEMORY, temp_directory=str(folder / "spill"))


def read_published(
    connection: duckdb.DuckDBPyConnection,
    scratch: Path,
    source: Source,
    split_table: Path | None = None,
    *,
    benchmark_of: Callable[[str], str],
    model_fault: NameFault,
    benchmark_fault: NameFault,
    on_conflict: str,
) -> Published:
    """Read and check `source`, and assign every category to its benchmark; `scratch` is a folder for copies.

    `split_table` overrides what files, by name or column, say about splits. `on_conflict`: see ingest.OnConflict.
    Raises ImportRefused with everything that is wrong.
    """
    reader = _Reader(connection, scratch, source, split_table)
    reader.load_rows()
    reader.check_rows()
    connection.execute(script("import_prompts", __file__))
    reader.check_prompts()
    if split_table:
        reader.take_splits(split_table)
    reader.grade(on_conflict)
    models = [name for (name,) in reader.rows("SELECT model_name FROM model ORDER BY model")]
    reader.note_names("model", models, model_fault, "SELECT model_name AS name, spot FROM raw")
    reader.assign_benchmarks(benchmark_of, benchmark_fault)
    if reader.problems:
        raise ImportRefused(source.name, reader.problems)
    reader.load_texts()
    return Published(connection, reader.usage, reader.resolved)


def _usage_columns(table: ImportedTable) -> dict[str, str]:
    """Return the table's own name of each column of USAGE that it has."""
    found = {name: [column for column in columns if column in table.columns] for name, columns in USAGE_COLUMNS.items()}
    return {name: columns[0] for name, columns in found.items() if columns}


def _usage_sql(name: str, column: str) -> str:
    """Return SQL that reads text as a number, or as a fault where it is none. NaN means nothing."""
    said = f"nullif(nullif(lower(trim({identifier(column)})), ''), 'nan')"
    number = f"TRY_CAST({said} AS DOUBLE)"
    whole = "" if name == "cost" else f" AND {number} = trunc({number}) AND {number} < 1e15"
    holds = f"({number} >= 0 AND isfinite({number}){whole})"
    fault = f"CASE WHEN {said} IS NOT NULL AND {holds} IS NOT TRUE THEN {identifier(column)} END"
    return f", CASE WHEN {holds} THEN {number} END AS {name}, {fault} AS {name}_fault"


class _Reader(Problems):
    """The steps of `read_published`; each fills tables of the scratch database or notes what is wrong."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, scratch: Path, source: Source, split_table: Path | None
    ) -> None:
        super().__init__(connection, source.files)
        self.scratch = scratch
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
            table.require([*self.checked, *columns.values()])
        self.usage = [name for name in USAGE_COLUMNS if any(name in columns for columns in self.usage_columns)]
        self.resolved = 0

    def load_rows(self) -> None:
        self.connection.execute(script("import_raw", __file__))
        for number, (file, table) in enumerate(zip(self.files, self.tables, strict=True)):
            split = "nullif(split, '')" if self.split_by_column else "NULL"
            if self.split_by_file:
                split = literal(file.split)
            usage = self.usage_columns[number]
            insert = f"""
                INSERT INTO raw BY NAME
                SELECT {number} * {FILE} + _row AS spot, nullif(prompt_id, '') AS prompt_id,
                    nullif(label, '') AS label, {CORRECT} AS correct, nullif({MODEL_NAME}, '') AS model_name,
                    nullif(category, '') AS category, CASE WHEN prompt <> '' THEN hash(prompt) END AS prompt,
                    {split} AS split{"".join(_usage_sql(name, column) for name, column in usage.items())}
            """
            table.execute([*self.checked, *usage.values()], f"{insert} FROM {{}}".format)
        if self.rows("SELECT count(*) FROM raw") == [(0,)]:
            self.problems.append("it has no rows")

    def check_rows(self) -> None:
        for column in self.checked:
            self.note_rows(f"{column} is missing", f"{column} IS NULL")
        self.note_rows("the label is none of 0, 1, true, false", "label IS NOT NULL AND correct IS NULL", "label")
        if self.split_by_column:
            self.note_rows(f"the split is none of {', '.join(SPLITS)}", f"split NOT IN {SPLITS}", "split")
        for name in self.usage:
            called = " or ".join(sorted({columns[name] for columns in self.usage_columns if name in columns}))
            number = "number from 0 on" if name == "cost" else "whole number from 0 on"
            self.note_rows(f"{called} is no {number}", f"{name}_fault IS NOT NULL", f"{name}_fault")

    def check_prompts(self) -> None:
        for column, what in (("prompt", "texts"), ("category", "categories"), ("split", "splits")):
            found = self.rows(f"""
                SELECT prompt_id, list_sort(list(first))[:2]
                FROM (
                    SELECT prompt_id, {column}, min(spot) AS first
                    FROM raw
                    WHERE {column} IS NOT NULL AND prompt_id IS NOT NULL
                    GROUP BY ALL
                )
                GROUP BY prompt_id
                HAVING count(*) > 1
                ORDER BY min(first)
            """)
            examples = [f"{prompt_id} in {self.where(spots)}" for prompt_id, spots in found[:EXAMPLES]]
            self.note(f"{len(found)} prompt_id with two {what}", len(found), examples)

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

    def grade(self, on_conflict: str) -> None:
        self.connection.execute(script("import_graded", __file__))
        if holds := _HOLDS.get(on_conflict):
            update = f"UPDATE graded SET lowest = {holds}, highest = {holds} WHERE lowest <> highest"
            ((self.resolved,),) = self.connection.execute(update).fetchall()
            self.connection.execute("DELETE FROM graded WHERE lowest IS NULL")
        else:
            self._note_contradictions("correct", "both labels")
        for name in self.usage:
            self._note_contradictions(name, f"two values of {name}")

    def _note_contradictions(self, column: str, what: str) -> None:
        found = self.rows(f"""
            SELECT count(*) OVER (), prompt_id, model_name,
                list_sort([arg_min(spot, ({column}, spot)), arg_max(spot, ({column}, -spot))])
            FROM raw
            WHERE {column} IS NOT NULL
            GROUP BY prompt_id, model_name
            HAVING min({column}) < max({column})
            ORDER BY min(spot)
            LIMIT {EXAMPLES}
        """)
        if found:
            examples = [f"{prompt_id} and {model} in {self.where(spots)}" for _, prompt_id, model, spots in found]
            self.note(f"{found[0][0]} pairs of prompt_id and model_name with {what}", found[0][0], examples)

    def assign_benchmarks(self, benchmark_of: Callable[[str], str], fault_of: NameFault) -> None:
        """Fill the table covered: one row per category, with its benchmark."""
        categories = self.rows("SELECT DISTINCT category FROM prompt WHERE category IS NOT NULL ORDER BY ALL")
        pairs = [(category, benchmark_of(category)) for (category,) in categories]
        self.connection.execute("CREATE TABLE covered (category VARCHAR, benchmark VARCHAR)")
        if pairs:
            self.connection.executemany("INSERT INTO covered VALUES (?, ?)", pairs)
        names = sorted({benchmark for _, benchmark in pairs})
        rows = "SELECT benchmark AS name, spot FROM raw JOIN covered USING (category)"
        if self.note_names("benchmark", names, fault_of, rows):
            self.problems.append(
                "to have a category under another benchmark name, list it in `covers` of an entry of the registry's "
                "benchmarks.yaml"
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
