"""Fields of logs as values that are safe to hand on: JSON documents, texts, numbers, chat messages, options."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any, Literal

import pyarrow as pa

from .reader import Answer, LogFile, Notes, Refusal, tables_of

__all__ = [
    "as_answer",
    "as_dict",
    "as_list",
    "as_text",
    "as_whole",
    "finite",
    "grade_of_repeats",
    "hand_on",
    "mean_of",
    "measured",
    "nested_too_deeply",
    "read_json",
    "settings_of",
    "text_of_messages",
    "text_of_target",
    "text_of_turns",
    "user_turns",
    "with_options",
]

_ANSWER_LENGTH = 1000  # characters of an answer that are kept, as of our own evaluations
_TOO_LARGE = 2**63


def read_json(file: LogFile) -> Any:
    """Return the JSON document in a file. Raises Refusal where it is damaged or cut off."""
    data = file.path.read_bytes()
    if not data.strip():
        raise Refusal(f"{file.name} is empty; copy it again, or leave it out")
    try:
        return parse_json(data)
    except ValueError as error:
        raise Refusal(f"{file.name} is no whole JSON document ({error}); it may be cut off: copy it again") from None


def parse_json(data: bytes) -> Any:
    """Return the JSON document in UTF-8. Raises ValueError, one line long, where it is damaged."""
    try:
        return json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start + 1} is no UTF-8") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def as_dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def as_text(value: object) -> str:
    """Return a text or a number as text; "" for anything else."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def as_answer(value: object) -> str | None:
    """Return what a model said, at most 1,000 characters of it, or None."""
    text = as_text(value).strip()
    return (text if len(text) <= _ANSWER_LENGTH else f"{text[: _ANSWER_LENGTH - 1]}…") or None


def as_whole(value: object) -> int | None:
    """Return a count or an index, also one as text or as a float; None for anything else."""
    if isinstance(value, str) and value.isdecimal() and len(value) < 19:
        value = int(value)
    number = finite(value)
    return int(number) if number is not None and number == int(number) and 0 <= number < _TOO_LARGE else None


def finite(value: object) -> float | None:
    """Return a number, unless it is infinite, not a number or larger than any measurement."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < _TOO_LARGE and math.isfinite(value) else None


def measured(value: object) -> float | None:
    """Return what something took: a finite number from 0 on, or None."""
    number = finite(value)
    return number if number is not None and number >= 0 else None


def text_of_target(values: Iterable[object]) -> str | None:
    """Return the right answer, or a JSON list of several; None where there is none."""
    targets = [text for value in values if (text := as_text(value).strip())]
    return targets[0] if len(targets) == 1 else json.dumps(targets, ensure_ascii=False) if targets else None


def user_turns(messages: Sequence[object]) -> str:
    """Return the text of the user's turns in a chat, a blank line between two."""
    return text_of_messages(messages, ("user", "human"))


def text_of_messages(messages: Sequence[object], roles: Sequence[str]) -> str:
    """Return the text of some roles' turns in a chat, a blank line between two."""
    turns = [message for message in map(as_dict, messages) if as_text(message.get("role")).lower() in roles]
    return "\n\n".join(filter(None, (_content(turn.get("content", turn.get("prompt"))) for turn in turns)))


def text_of_turns(question: object) -> str:
    """Return the user's turns of a question: a text, messages, or several turns of messages."""
    if isinstance(question, str):
        return question
    messages = [one for turn in as_list(question) for one in (turn if isinstance(turn, list) else [turn])]
    return text_of_messages(messages, ("user", "system"))


def _content(content: object) -> str:
    """Return the text of a turn, which may consist of parts; other parts than text are named."""
    if not isinstance(content, list):
        return as_text(content)
    parts = map(as_dict, content)
    return "\n".join(as_text(part["text"]) if "text" in part else f"[{as_text(part.get('type'))}]" for part in parts)


def with_options(text: str, options: Sequence[str]) -> str:
    """Return a question with its options appended, one a line, unless it shows all of them."""
    options = [option.strip() for option in options]
    if all(_shows(text, option) for option in options):
        return text
    lettered = [f"{_letter(number)}. {option}" for number, option in enumerate(options)]
    return "\n".join([text.rstrip(), *lettered])


def _letter(number: int) -> str:
    return chr(ord("A") + number) if number < 26 else str(number + 1)


def _shows(text: str, option: str) -> bool:
    """Whether the option stands in the text as words of its own ("no" is not in "know")."""
    at = text.find(option)
    while at >= 0:
        before, after = text[at - 1 : at], text[at + len(option) : at + len(option) + 1]
        if not (option[:1].isalnum() and before.isalnum()) and not (option[-1:].isalnum() and after.isalnum()):
            return True
        at = text.find(option, at + 1)
    return False


Repeats = Literal["majority", "first", "last", "all_correct", "any_correct"]


def grade_of_repeats(grades: Sequence[tuple[bool, float]], how: Repeats) -> tuple[bool, float] | None:
    """Return (right or not, score) of a question that was asked several times, the score being the mean unless one
    time alone counts. None for a tie."""
    if how in ("first", "last"):
        return grades[0 if how == "first" else -1]
    right = sum(correct for correct, _ in grades)
    if how == "majority" and 2 * right == len(grades):
        return None
    correct = {"majority": 2 * right > len(grades), "all_correct": right == len(grades), "any_correct": right > 0}
    return correct[how], fmean(score for _, score in grades)


def hand_on(file: LogFile, answers: Iterable[Answer], notes: Notes) -> Iterator[tuple[LogFile, pa.Table]]:
    """Yield the answers of a file in tables; a Refusal ends it, and is noted."""
    try:
        for table in tables_of(answers):
            yield file, table
    except Refusal as problem:
        notes.refuse(str(problem))
    except RecursionError:
        notes.refuse(nested_too_deeply(file))


def nested_too_deeply(file: LogFile) -> str:
    return f"{file.name} has lists or objects that are nested too deeply to be read; remove them"


def mean_of(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def settings_of(source: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return the settings of those names that a log gives, as JSON values."""
    return {name: source[name] for name in names if source.get(name) not in (None, "", [], {})}
