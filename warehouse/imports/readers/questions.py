"""The texts of questions that logs only name by an id: `--questions FILE`."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import pyarrow as pa

from warehouse.errors import ImportRefused, first_line

from .fields import text_of_turns
from .reader import LogFile, Refusal
from .text_tables import open_table, text_of

__all__ = ["read_questions"]

_IDS = ("task_id", "id", "question_id", "instance_id", "prompt_id", "item_id", "item", "sample_id", "global_index")
_TEXTS = ("prompt", "question", "text", "problem_statement", "instruct_prompt", "complete_prompt", "query", "input")
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\x28\xb5\x2f\xfd": "zstd"}


def read_questions(path: Path) -> dict[str, str]:
    """Return text by id from a table (CSV, Parquet, JSON lines, also compressed) that has a column of ids and one of
    texts. Raises ImportRefused."""
    if not path.is_file():
        raise ImportRefused(path, ["there is no such file"])
    with tempfile.TemporaryDirectory() as folder:
        try:
            return _read(LogFile(_unpacked(path, Path(folder)), path.name))
        except Refusal as refusal:
            raise ImportRefused(path, [str(refusal)]) from None
        except (OSError, EOFError) as error:
            raise ImportRefused(path, [f"it cannot be read ({first_line(error)})"]) from None


def _unpacked(path: Path, folder: Path) -> Path:
    with path.open("rb") as file:
        start = file.read(4)
    method = next((method for magic, method in _COMPRESSED.items() if start.startswith(magic)), None)
    if method is None:
        return path
    target = folder / "questions"
    with pa.input_stream(str(path), compression=method) as packed, target.open("wb") as copy:
        shutil.copyfileobj(packed, copy, 2**20)
    return target


def _read(file: LogFile) -> dict[str, str]:
    with open_table(file) as table:
        lower = {column.lower(): column for column in reversed(table.columns)}
        ids = next((lower[name] for name in _IDS if name in lower), None)
        texts = next((lower[name] for name in _TEXTS if name in lower), None)
        if ids is None or texts is None:
            lacks = f"no column of ids ({', '.join(_IDS)})" if ids is None else f"none of texts ({', '.join(_TEXTS)})"
            raise Refusal(f"it has {lacks}; its columns are {', '.join(table.columns) or 'none'}: rename one")
        table.load([ids, texts], "questions")
        rows = table.rows(f"SELECT _row, {text_of(ids)}, {text_of(texts)} FROM questions ORDER BY _row")
    found: dict[str, str] = {}
    for row, name, text in rows:
        if name is None or text is None:
            raise Refusal(f"row {row} has no {ids if name is None else texts}; fill it, or leave the row out")
        text = _text_of_chat(text)
        if found.setdefault(name, text) != text:
            raise Refusal(f"row {row} gives {name!r} another text than a row before; leave one of them out")
    if not found:
        raise Refusal("it has no rows")
    return found


def _text_of_chat(text: str) -> str:
    """Return the turns of a chat as one text, where it is a JSON list of messages, as the questions of BFCL are."""
    if not text.startswith("["):
        return text
    try:
        return text_of_turns(json.loads(text)) or text
    except (ValueError, RecursionError):
        return text
