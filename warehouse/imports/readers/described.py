"""Tables that the user describes: `--question` and `--model-columns`, or `--map`."""

from __future__ import annotations

import json
import re

from .reader import Choices, LogFile
from .text_tables import header_of
from .wide_tables import question_of

__all__ = ["columns_of", "described_as", "format_described"]

_KEY = re.compile(r'"((?:[^"\\]|\\.)*)"\s*:')


def format_described(choices: Choices) -> str | None:
    """Return of which format the tables are that the user describes; None where they describe none."""
    return "wide" if question_of(choices) else "long" if choices.columns else None


def described_as(file: LogFile, choices: Choices) -> str | None:
    """Return the format of a file whose columns are those that the user describes; None for any other file."""
    described = format_described(choices)
    if described is None:
        return None
    names = columns_of(file)
    if described == "wide":
        fits = question_of(choices) in names and (not choices.model_columns or set(choices.model_columns) & names)
    else:
        fits = names.issuperset(choices.columns.values()) and ("label" in choices.columns or "label" in names)
    return described if fits else None


def columns_of(file: LogFile) -> set[str]:
    """Return the columns of a CSV or Parquet table, or the fields of the first object of JSON; none of other files."""
    start = file.head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start[:1] not in (b"{", b"["):
        return set(header_of(file))
    text = start.decode(errors="ignore").lstrip("[ \t\r\n")
    try:
        first, _ = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):  # longer than what was read
        return set(_KEY.findall(text))
    return set(first) if isinstance(first, dict) else set()
