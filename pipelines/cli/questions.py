"""The questions that a user gives a command: one in quotes, or a file of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import typer

from pipelines.errors import CommandError

__all__ = ["read_file", "read_one"]

STANDARD_INPUT = "-"
_NAMES = ("question", "prompt", "text")  # of a column with questions, the first that is there


def read_one(question: str) -> list[str]:
    """Return the one question. Raises CommandError where there is none, or it is no text."""
    return _checked([question.strip()], "the question")


def read_file(file: str, column: str | None) -> list[str]:
    """Return the questions of a file: of a text each line, of JSON lines and Parquet a column.

    `file` is a path, or - for standard input, which holds JSON lines if there is a `column`. Raises CommandError, or
    BadParameter where it cannot be read.
    """
    suffix = Path(file).suffix.lower()
    source = "standard input" if file == STANDARD_INPUT else file
    if suffix in (".csv", ".tsv"):
        raise typer.BadParameter(
            f"{file} is a table; give JSON lines (.jsonl), Parquet, or a text with a question a line"
        )
    if suffix in (".parquet", ".pq"):
        return _checked(_read_parquet(Path(file), column), source)
    try:
        raw = sys.stdin.buffer.read() if file == STANDARD_INPUT else Path(file).read_bytes()
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CommandError(f"{source} is not UTF-8 text ({error.reason}); convert it first.") from error
    except OSError as error:
        raise typer.BadParameter(f"{source} cannot be read ({error.strerror}); correct the path") from error
    if suffix in (".jsonl", ".ndjson") or column is not None:
        return _checked(_read_json_lines(text, column, source), source)
    return _checked([line.strip() for line in text.splitlines() if line.strip()], source)


def _read_json_lines(text: str, column: str | None, source: str) -> list[str]:
    """Return a question a line, which may hold line breaks; a line is a text or an object with one."""
    questions = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            said = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CommandError(f"{source}, line {number}: no JSON ({error}); mend that line.") from error
        if isinstance(said, dict):
            name = _choose(list(said), column, f"{source}, line {number}")
            said = said[name]
        if not isinstance(said, str) or not said.strip():
            raise CommandError(f"{source}, line {number}: the question is {said!r:.60}, but must be text.")
        questions.append(said)
    return questions


def _read_parquet(file: Path, column: str | None) -> list[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        name = _choose(pq.read_schema(file).names, column, str(file))
        questions = pq.read_table(file, columns=[name])[name].to_pylist()
    except (OSError, pa.ArrowInvalid) as error:
        raise CommandError(f"{file} cannot be read ({error}); correct the path or the file.") from error
    for row, question in enumerate(questions, start=1):
        if not isinstance(question, str) or not question.strip():
            raise CommandError(f"{file}, row {row}: {name} is {question!r:.60}, but must be text.")
    return questions


def _choose(columns: list[str], column: str | None, source: str) -> str:
    """Return which column holds the questions."""
    names = [name for name in ([column] if column else _NAMES) if name in columns]
    if names:
        return names[0]
    wanted = repr(column) if column else "question, prompt or text"
    raise CommandError(f"{source} has no column {wanted}, only {', '.join(columns)}; name one with --column.")


def _checked(questions: list[str], source: str) -> list[str]:
    try:
        "".join(questions).encode()  # an argument that was no UTF-8 is decoded into surrogates
    except UnicodeEncodeError as error:
        raise CommandError(f"{source} is not UTF-8 text ({error.reason}); convert it first.") from error
    if not any(questions):
        raise CommandError(f"{source} is empty; write at least one question.")
    return questions
