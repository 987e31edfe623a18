"""Published results, read into a scratch database and checked; nothing is used before all of it holds.

Prompts, most of what a file holds, are read twice but not kept: first a hash a row, then a text a question.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from warehouse.database import literal, open_database, script
from warehouse.errors import ImportRefused, first_line
from warehouse.questions import SPLITS
from warehouse.sources import Source, checked_file, columns_of, scan

__all__ = ["MODEL_NAME", "Answers", "Published", "open_scratch", "read_published"]

NEEDED = ("prompt_id", "label", "model_name", "category", "prompt")
MEMORY = "500MB"  # of DuckDB's buffers; the process with all its libraries stays under 1 GB
EXAMPLES = 3

MODEL_NAME = "CASE WHEN contains(model_name, '/') THEN model_name ELSE regexp_replace(model_name, '__', '/') END"
"""SQL: published names write `/` as `__`; the first is restored, and none in a name that has a `/`."""

_FILE = 10**12  # `spot` = file number * _FILE + row: where a row stands, in one number


@dataclass(frozen=True)
class Answers:
    """All answers of one model to one benchmark."""

    model: str
    questions: npt.NDArray[np.int64]  # (n,), ascending row numbers of `Published.questions_of`
    correct: npt.NDArray[np.bool_]  # (n,)


class Published:
    """Checked results. Questions are numbered in the order of prompt_id, by value where all are numbers."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self.models, self.questions, self.rows, self.duplicates = connection.sql("""
            SELECT (SELECT count(*) FROM model), (SELECT count(*) FROM prompt),
                count(*), sum(copies - 1)::BIGINT
            FROM graded
        """).fetchall()[0]

    def assign(self, benchmark_of: Callable[[str], str]) -> list[str]:
        """Puts every category into its benchmark; returns the benchmarks."""
        categories = self._connection.sql("SELECT DISTINCT category FROM prompt ORDER BY ALL").fetchall()
        pairs = [(category, benchmark_of(category)) for (category,) in categories]
        self._connection.execute("CREATE TABLE covered (category VARCHAR, benchmark VARCHAR)")
        self._connection.executemany("INSERT INTO covered VALUES (?, ?)", pairs)
        self._connection.execute("""
            CREATE TABLE place AS
            SELECT prompt, benchmark, row_number() OVER (PARTITION BY benchmark ORDER BY prompt) - 1 AS place
            FROM prompt
            JOIN covered USING (category)
        """)
        return sorted({benchmark for _, benchmark in pairs})

    def questions_of(self, benchmark: str) -> pa.Table:
        """category, doc_id, text, split (null: not given); ordered by prompt_id."""
        return self._connection.sql(f"""
            SELECT category, doc_id, text, split
            FROM prompt
            JOIN text USING (prompt)
            JOIN place USING (prompt)
            WHERE benchmark = {literal(benchmark)}
            ORDER BY place
        """).to_arrow_table()

    def answers_of(self, benchmark: str) -> Iterator[Answers]:
        """The answers to one benchmark, model by model."""
        rows = self._connection.sql(f"""
            SELECT model, place, lowest = 1 AS correct
            FROM graded
            JOIN place USING (prompt)
            WHERE benchmark = {literal(benchmark)}
            ORDER BY model, place
        """).fetchnumpy()
        models = self._connection.sql("SELECT model_name FROM model ORDER BY model").fetchall()
        starts = np.flatnonzero(np.diff(rows["model"], prepend=-1))
        for start, end in zip(starts, [*starts[1:], len(rows["model"])], strict=True):
            (name,) = models[rows["model"][start]]
            yield Answers(name, rows["place"][start:end], rows["correct"][start:end])


def open_scratch(folder: Path) -> duckdb.DuckDBPyConnection:
    """A database on disk, for what does not fit into memory."""
    folder.mkdir(parents=True)
    return open_database(folder / "scratch.duckdb", memory_limit=MEMORY, temp_directory=str(folder / "spill"))


def read_published(connection: duckdb.DuckDBPyConnection, source: Source, split_table: Path | None = None) -> Published:
    """Reads and checks `source`. `split_table` holds over what files, by name or column, say of splits.

    Raises ImportRefused with everything that is wrong.
    """
    reader = _Reader(connection, source, split_table)
    reader.load_rows()
    reader.check_rows()
    reader.number_prompts()
    reader.check_prompts()
    if split_table:
        reader.take_splits(split_table)
    reader.grade()
    if reader.problems:
        raise ImportRefused(source.name, reader.problems)
    reader.load_texts()
    return Published(connection)


class _Reader:
    """The steps of `read_published`; each fills tables of the scratch database or notes what is wrong."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, source: Source, split_table: Path | None) -> None:
        self.connection = connection
        self.files = source.files
        self.columns = [columns_of(connection, file.path, NEEDED) for file in source.files]
        by_file = source.files[0].split is not None
        self.split_by_file = by_file and not split_table
        self.split_by_column = "split" in self.columns[0] and not by_file and not split_table
        self.checked = (*NEEDED, "split") if self.split_by_column else NEEDED
        self.problems: list[str] = []

    def load_rows(self) -> None:
        self.connection.execute(script("import_raw"))
        for number, (file, columns) in enumerate(zip(self.files, self.columns, strict=True)):
            split = "nullif(split, '')" if self.split_by_column else "NULL"
            if self.split_by_file:
                split = literal(file.split)
            insert = f"""
                INSERT INTO raw
                SELECT {number} * {_FILE} + _row, nullif(prompt_id, ''), nullif(label, ''),
                    nullif({MODEL_NAME}, ''), nullif(category, ''),
                    CASE WHEN prompt <> '' THEN hash(prompt) END, {split}
                FROM {scan(file.path, columns, self.checked)}
            """
            self._read(file.path, insert)
        if self._rows("SELECT count(*) FROM raw") == [(0,)]:
            self.problems.append("it has no rows")

    def check_rows(self) -> None:
        for column in self.checked:
            self._note_rows(f"{column} is missing", f"{column} IS NULL")
        is_label = "coalesce(TRY_CAST(label AS DOUBLE) IN (0, 1), false)"
        self._note_rows("the label is neither 0 nor 1", f"label IS NOT NULL AND NOT {is_label}", "label")
        if self.split_by_column:
            self._note_rows(f"the split is none of {', '.join(SPLITS)}", f"split NOT IN {SPLITS}", "split")

    def number_prompts(self) -> None:
        self.connection.execute(script("import_prompts"))

    def check_prompts(self) -> None:
        for column, what in (("prompt", "texts"), ("category", "categories"), ("split", "splits")):
            found = self._rows(f"""
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
            examples = [f"{prompt_id} in {self._where(spots)}" for prompt_id, spots in found[:EXAMPLES]]
            self._note(f"{len(found)} prompt_id with two {what}", len(found), examples)

    def take_splits(self, table: Path) -> None:
        """Fills prompt.split from a table of prompt_id and split."""
        needed = ("prompt_id", "split")
        columns = columns_of(self.connection, checked_file(table), needed)
        self._read(table, f"CREATE TABLE given AS FROM {scan(table, columns, needed)}")
        repeated = "SELECT prompt_id FROM given GROUP BY prompt_id HAVING count(*) > 1"
        for what, condition in (
            ("without prompt_id", "coalesce(prompt_id, '') = ''"),
            (f"whose split is none of {', '.join(SPLITS)}", f"coalesce(split, '') NOT IN {SPLITS}"),
            ("whose prompt_id stands there twice", f"prompt_id IN ({repeated})"),
        ):
            rows = [str(row) for (row,) in self._rows(f"SELECT _row FROM given WHERE {condition} ORDER BY _row")]
            self._note(f"{table.name} has {len(rows)} rows {what}: rows", len(rows), rows[:EXAMPLES])
        absent = self._rows("SELECT prompt_id FROM prompt ANTI JOIN given USING (prompt_id) ORDER BY prompt")
        examples = [prompt_id for (prompt_id,) in absent[:EXAMPLES]]
        self._note(f"{table.name} lacks {len(absent)} prompt_id of the results", len(absent), examples)
        if not self.problems:
            self.connection.execute(
                "UPDATE prompt SET split = given.split FROM given WHERE given.prompt_id = prompt.prompt_id"
            )

    def grade(self) -> None:
        self.connection.execute(script("import_graded"))
        ((count,),) = self._rows("SELECT count(*) FROM graded WHERE lowest <> highest")
        if count:
            found = self._rows(script("import_contradictions"))
            examples = [f"{prompt_id} and {model} in {self._where(spots)}" for prompt_id, model, spots in found]
            self._note(f"{count} pairs of prompt_id and model_name with both labels", count, examples)

    def load_texts(self) -> None:
        self.connection.execute("CREATE TABLE text (prompt BIGINT, text VARCHAR)")
        for number, (file, columns) in enumerate(zip(self.files, self.columns, strict=True)):
            insert = f"""
                INSERT INTO text
                SELECT prompt.prompt, rows.prompt
                FROM {scan(file.path, columns, ["prompt"])} rows
                JOIN prompt ON first = {number} * {_FILE} + _row
            """
            self._read(file.path, insert)

    # --- helpers

    def _rows(self, sql: str) -> list[tuple]:
        return self.connection.sql(sql).fetchall()

    def _read(self, path: Path, sql: str) -> None:
        try:
            self.connection.execute(sql)
        except duckdb.Error as error:
            raise ImportRefused(path, [f"it cannot be read ({_reason(error)})"]) from error

    def _note_rows(self, what: str, condition: str, shown: str = "NULL") -> None:
        ((count,),) = self._rows(f"SELECT count(*) FROM raw WHERE {condition}")
        found = self._rows(f"SELECT spot, {shown} FROM raw WHERE {condition} ORDER BY spot LIMIT {EXAMPLES}")
        examples = [self._where([spot]) + (f": '{value}'" if value else "") for spot, value in found]
        self._note(f"{what} in {count} rows", count, examples)

    def _note(self, what: str, count: int, examples: list[str]) -> None:
        if count:
            more = ", …" if count > len(examples) else ""
            self.problems.append(f"{what} ({', '.join(examples)}{more})")

    def _where(self, spots: list[int]) -> str:
        """Rows as a user counts them: 1 is the first below the header."""
        if len(self.files) == 1:
            rows = " and ".join(str(spot % _FILE) for spot in spots)
            return f"row{'s' if len(spots) > 1 else ''} {rows}"
        return " and ".join(f"{self.files[spot // _FILE].path.name} row {spot % _FILE}" for spot in spots)


def _reason(error: duckdb.Error) -> str:
    """DuckDB's message without its advice, which is about options of DuckDB."""
    said = str(error).split("Possible ")[0]
    return " ".join(said.split()) or first_line(error)
