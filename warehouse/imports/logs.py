"""Logs of evaluations: each file goes to the reader of its format, and all answers into the scratch database."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from string import Template

import duckdb
import pyarrow as pa

from warehouse.database.connect import literal, script

from .problems import FILE, group_alike
from .published import KNOWN, Results
from .readers.described import described_as
from .readers.reader import ANSWER_ROWS, Choices, LogFile, Notes, Reader, Refusal

__all__ = ["Progress", "claim_files", "count_by_reason", "read_logs"]

Progress = Callable[[int, int, str], None]
"""Is called with (done, total, what)."""

_ROWS = 50_000  # that are inserted together
_BYTES = 64 * 2**20
_LONGEST_ANSWER = 1000  # characters that are kept of what a model said, as of our own evaluations
_SHOWN = 60  # characters of a question in a message


def claim_files(
    files: Iterable[LogFile], readers: Sequence[Reader], choices: Choices
) -> tuple[dict[Reader, list[LogFile]], list[LogFile]]:
    """Return which files each of `readers` takes, and which nobody does. Tables that the user describes go first; then
    the readers are asked in turn."""
    claimed: dict[Reader, list[LogFile]] = {}
    others = []
    for file in files:
        described = described_as(file, choices)
        meant = (reader for reader in readers if reader.format == described)
        reader = next(meant, None) or next((reader for reader in readers if reader.recognises(file)), None)
        if reader is None:
            others.append(file)
        else:
            claimed.setdefault(reader, []).append(file)
    return claimed, others


def read_logs(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[LogFile],
    claimed: Mapping[Reader, Sequence[LogFile]],
    choices: Choices,
    notes: Notes,
    progress: Progress,
) -> Results:
    """Let each reader read its files into the scratch database. What is wrong is in the result's `problems`."""
    choices = replace(choices, asked={})
    logs = _Logs(connection, files, keep_answers=choices.keep_answers)
    logs.formats = sorted({reader.format for reader in claimed})
    seen: set[str] = set()
    for reader, own in claimed.items():
        try:
            for file, table in reader.read(own, choices, notes):
                logs.add(file, table, reader.format)
                seen.add(file.name)
                progress(len(seen), len(files), "files read")
        except Refusal as refusal:
            notes.refuse(str(refusal))
        except RecursionError:
            names = ", ".join(file.name for file in own[:3])
            notes.refuse(f"one of {len(own)} files ({names}, …) has lists that are nested too deeply; remove them")
    if len(seen) < len(files):  # results of whole runs, and whatever else has no answers of its own
        progress(len(files), len(files), "files read")
    logs.flush()
    logs.runs = notes.runs
    names = {*(file.name for file in files), *choices.asked.values()}
    logs.problems += group_alike([*choices.asked, *notes.problems], names)
    for file, count in logs.number_repeated_texts():
        notes.leave_out(file, "answers to one of several questions of the same text; no id tells which", count)
    logs.number_prompts()
    if not logs.problems and logs.rows("SELECT count(*) FROM raw") == [(0,)]:
        reasons = "; ".join(f"{reason}: {count}" for reason, count in count_by_reason(notes.left_out).items())
        logs.problems.append(f"it has no graded answers{f' (left out: {reasons})' if reasons else ''}")
    return logs


def count_by_reason(left_out: Mapping[tuple[str, str], int]) -> dict[str, int]:
    """Return what was left out (by file and reason) by reason."""
    counts: dict[str, int] = {}
    for (_, reason), count in sorted(left_out.items()):
        counts[reason] = counts.get(reason, 0) + count
    return counts


class _Logs(Results):
    """Answers of logs. A question is known by its category and text, and by its id where several have that text."""

    scored = True
    prompt_word = "question"

    def __init__(self, connection: duckdb.DuckDBPyConnection, files: Sequence[LogFile], *, keep_answers: bool) -> None:
        super().__init__(connection, [file.name for file in files])
        self._files = files
        self._number = {file.name: number for number, file in enumerate(files)}
        self._keep_answers = keep_answers
        self._waiting: list[pa.Table] = []
        self._known: set[str] = set()
        connection.execute("CREATE TABLE log_text (id VARCHAR, text VARCHAR)")

    def add(self, file: LogFile, table: pa.Table, file_format: str) -> None:
        """Add a table of ANSWER_ROWS that a reader of `file_format` has made."""
        if not self._keep_answers and "answer" in table.column_names:
            table = table.drop_columns("answer")
        columns = [
            table[field.name].cast(field.type)
            if field.name in table.column_names
            else pa.nulls(table.num_rows, field.type)
            for field in ANSWER_ROWS
        ]
        rows = pa.table(columns, schema=ANSWER_ROWS)
        self._known |= {name for name in KNOWN if rows[name].null_count < rows.num_rows}
        number = pa.repeat(pa.scalar(self._number[file.name], pa.int64()), rows.num_rows)
        name = pa.repeat(pa.scalar(file_format), rows.num_rows)
        self._waiting.append(rows.append_column("file", number).append_column("format", name))
        if sum(t.num_rows for t in self._waiting) >= _ROWS or sum(t.nbytes for t in self._waiting) >= _BYTES:
            self.flush()

    def flush(self) -> None:
        """Insert what is waiting, each text once."""
        if not self._waiting:
            return
        rows = pa.concat_tables(self._waiting)  # noqa: F841 DuckDB finds it by its name
        self._waiting = []
        self.connection.execute(f"""
            CREATE OR REPLACE TEMP TABLE batch AS
            SELECT file * {FILE} + row AS spot, md5(category || chr(0) || text) AS prompt_id, * EXCLUDE (file, row)
            FROM rows
        """)
        self.connection.execute("""
            INSERT INTO log_text
            SELECT prompt_id, any_value(text)
            FROM batch
            WHERE prompt_id NOT IN (SELECT id FROM log_text)
            GROUP BY prompt_id
        """)
        self.connection.execute(f"""
            INSERT INTO raw BY NAME
            SELECT * EXCLUDE (text, model)
                REPLACE (left(answer, {_LONGEST_ANSWER}) AS answer, coalesce(item, doc_id::VARCHAR) AS item),
                model AS model_name, hash(text) AS prompt
            FROM batch
        """)
        self.known = sorted(self._known, key=list(KNOWN).index)

    def number_repeated_texts(self) -> list[tuple[LogFile, int]]:
        """Tell apart questions of the same text by their ids; return the files with answers to such questions that
        cannot be told apart, which are dropped, and how many these are."""
        several = f"SELECT 1 FROM raw GROUP BY spot // {FILE}, prompt_id HAVING min(item) <> max(item) LIMIT 1"
        if not self.rows(several):
            return []
        found = self.connection.execute(Template(script("import_repeats", __file__)).substitute(file=FILE)).fetchall()
        return [(self._files[number], count) for number, count in found]

    def load_texts(self) -> None:
        self.connection.execute("""
            CREATE TABLE text AS
            SELECT prompt, text
            FROM prompt
            JOIN log_text ON id = split_part(prompt_id, '#', 1)
        """)

    def name_prompt(self, prompt_id: str, spots: list[int], model: str | None = None) -> str:
        ((category, text),) = self.rows(f"""
            SELECT category, text
            FROM raw
            JOIN log_text ON id = split_part(prompt_id, '#', 1)
            WHERE prompt_id = {literal(prompt_id)}
            LIMIT 1
        """)
        text = " ".join(text.split())
        text = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
        return f"{category}, {text!r}{f' and {model}' if model else ''} in {self.where(spots)}"
