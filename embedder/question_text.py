"""Find what is asked, in whatever form: as a benchmark prints it, as people type it, as a chat sends it.

The same question may come with a greeting, after examples, as a list of messages, on one line, in full-width
punctuation, with differently labelled options or without any. `read_question` removes all of that.
"""

from __future__ import annotations

import json
import re
from itertools import pairwise
from string import ascii_lowercase, ascii_uppercase
from typing import Any, NamedTuple

__all__ = ["QuestionText", "read_question", "views"]

_PUNCTUATION = dict(zip("？！，：；（）。．、％“”„«»‘’–—\u00a0\u3000", '?!,:;()...%"""""\'\'--  ', strict=True))
_FOREIGN_MARK = re.compile(f"[{''.join(_PUNCTUATION)}]")
_LABEL = re.compile(r"^[ \t]*(?:\(?([A-Za-z]|\d{1,2}|[ivx]{2,4}|[IVX]{2,4})[.):]|[-*•])[ \t]+(?=\S)", re.MULTILINE)
_INLINE_LABEL = re.compile(r"(?<!\S)(?:\(?([A-Za-z]|\d{1,2}|[ivx]{2,4}|[IVX]{2,4})[.):]|[-*•])[ \t]+(?=\S)")


def _next_labels() -> dict[str, set[str]]:
    """Return what may follow each label: B after A, 3 after 2, iv after iii, a bullet after the same bullet."""
    following = {bullet: {bullet} for bullet in "-*•"}
    series = [[[letter] for letter in letters] for letters in (ascii_uppercase, ascii_lowercase)]
    series.append([[f"{number}", f"{number:02}"] for number in range(100)])
    series.append([[roman, roman.upper()] for roman in _ROMAN])
    for labels in series:
        for ones, others in pairwise(labels):
            for one in ones:
                following.setdefault(one, set()).update(others)
    return following


_ROMAN = ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x")
_NEXT = _next_labels()
_SECOND_LABELS = (
    *(" B. ", " B) ", " B: ", "(B)", " b. ", " b) ", "(b)", " 2. ", " 2) ", "(2)"),
    *("ii", "II", " - ", " * ", " • "),
)
_LEAST_INLINE = 3  # labels on one line: two may be anything, such as initials
_CUE = re.compile(
    r"^[ \t]*(?:question|q|(?:the )?(?:best |final |correct )?answer(?: choices| is)?|a|options|choices)[ \t]*:[ \t]*",
    re.IGNORECASE,
)
_LONGEST_CUE = 40  # characters
_LAST_CUE = re.compile(r"\b(?:(?:answer )?(?:options|choices)|answer)[ \t]*:\s*\Z", re.IGNORECASE)
_END_OF_OPTION = re.compile(r"\n[ \t]*\n|\b(?:the )?(?:best |final |correct )?answer(?: is)?[ \t]*:", re.IGNORECASE)
_EXAMPLE = re.compile(r"^[ \t]*(?:the )?(?:answer|a)(?: is)?[ \t]*:[ \t]*\S.*\n[ \t]*\n", re.IGNORECASE | re.MULTILINE)
_FORM_OF_EXAMPLE = re.compile(r"\s*(?:q|question)[ \t]*:|.*\n[ \t]*(?:answer|a)[ \t]*:\s*\Z", re.IGNORECASE | re.DOTALL)
# What only leads to a question: closed formulas, so that no question goes with them.
_GREETING = re.compile(
    r"\s*(?:"
    r"(?:hi|hello|hey|hiya|greetings|good (?:morning|afternoon|evening|day))"
    r"(?: (?:there|all|everyone|everybody|team))?[ \t]*"
    r"(?:[,.!:]\s*|\n\s*)"
    r"|dear [^\n,?]{1,40},[ \t]*\n\s*"
    r"|(?:(?:please|can you|could you|would you)(?: please)? (?:help me|answer|solve)|help me)(?: with)?"
    r"(?: (?:this|these|the following))?(?: one| ones)?(?: multiple[- ]choice)?(?: questions?| problems?)?(?: for me)?"
    r"[ \t]*(?:[.?:!]\s+|\n\s*)"
    r"|(?:i have )?(?:a |one )?(?:quick )?question(?: for you)?[ \t]*(?:[.,:!]\s+|\n\s*)"
    r"|(?:the following|these) (?:is|are) (?:a )?(?:multiple[- ]choice )?questions?[^\n?]{0,60}\n\s*"
    r"|(?:please )?answer the following (?:multiple[- ]choice )?questions?[^\n?:.]{0,40}[.:\n]\s*"
    r")",
    re.IGNORECASE,
)
_LEAST_LEFT = 8  # characters of a question once a greeting is taken off


class QuestionText(NamedTuple):
    """The question itself on one line, and its options, none where it shows none."""

    stem: str
    options: tuple[str, ...]


def read_question(text: str) -> QuestionText:
    """Return the last question asked in `text`; all of the text, on one line, where nothing is recognised."""
    asked = _last_message(text)
    if not asked.isascii():
        asked = _FOREIGN_MARK.sub(lambda mark: _PUNCTUATION[mark[0]], asked)
    asked = _after_examples(asked.replace("\r\n", "\n").replace("\r", "\n"))
    stem, options = _split_options(asked)
    stem = _without_cues(stem)
    while (found := _GREETING.match(stem)) and len(stem) - found.end() >= _LEAST_LEFT:
        stem = stem[found.end() :]
    stem = " ".join(stem.split())
    return QuestionText(stem, options) if stem else QuestionText(" ".join(asked.split()), ())


def views(text: str) -> tuple[str, ...]:
    """Return what encoders read of `text`: the question asked in it and, if it shows options, the same with these."""
    question = read_question(text)
    return (question.stem, " ".join((question.stem, *question.options))) if question.options else (question.stem,)


def _last_message(text: str) -> str:
    """Return what the user said last, where `text` is chat messages as JSON."""
    if text.lstrip("\ufeff \t\r\n")[:1] not in ("[", "{") or '"content"' not in text:
        return text
    try:
        found: Any = json.loads(text.lstrip("\ufeff"))
    except (ValueError, RecursionError):
        return text
    if isinstance(found, dict):
        found = found.get("messages") or found.get("input") or [found]
    if not isinstance(found, list) or not all(isinstance(message, dict) for message in found):
        return text
    said = [_content(message) for message in found if message.get("role", "user") == "user"]
    # JSON can hold halves of characters, which encoders do not take.
    return next((one.encode("utf-8", "replace").decode() for one in reversed(said) if one.strip()), text)


def _content(message: dict[str, Any]) -> str:
    """Return a message's text: a string, or the text among its parts."""
    content = message.get("content")
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        return "\n".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def _after_examples(text: str) -> str:
    """Return what follows examples, which end in "Answer: …" and an empty line. A single one may be part of the
    question, unless what follows has its form."""
    if "nswer" not in text and "A:" not in text and "ANSWER" not in text:
        return text
    found = list(_EXAMPLE.finditer(text))
    rest = text[found[-1].end() :] if found else ""
    is_next = rest.strip() and (len(found) > 1 or _FORM_OF_EXAMPLE.match(rest))
    return rest if is_next else text


def _split_options(text: str) -> tuple[str, tuple[str, ...]]:
    """Return what stands before the options, and these: the last labels that follow one another, each on a line of its
    own, or at least three on one line."""
    for pattern, least in ((_LABEL, 2), (_INLINE_LABEL, _LEAST_INLINE)):
        if pattern is _INLINE_LABEL and not any(second in text for second in _SECOND_LABELS):
            continue
        labels = _last_run(list(pattern.finditer(text)))
        before = text[: labels[0].start()].rstrip() if labels else ""
        if len(labels) >= least and before and (pattern is _LABEL or _starts_options(labels[0], before)):
            ends = [label.start() for label in labels[1:]] + [len(text)]
            pieces = [text[label.end() : end].strip() for label, end in zip(labels, ends, strict=True)]
            last = _END_OF_OPTION.search(pieces[-1])
            rest = pieces[-1][last.start() :] if last else ""
            pieces[-1] = pieces[-1][: last.start()].rstrip() if last else pieces[-1]
            asks = "?" in before
            if not all(pieces) or (not asks and "?" in pieces[-1]):
                continue  # the question comes after the list: it is part of it
            stem = text[: labels[0].start()] + ("" if asks else rest)
            return stem, tuple([" ".join(piece.split()) if "\n" in piece else piece for piece in pieces])
    return text, ()


def _starts_options(label: re.Match[str], before: str) -> bool:
    """Whether a label amid a line is the first of options: A, 1 or i, or a bullet after a sentence. Others may be a
    minus or the end of a sentence."""
    return before[-1] in ":?." if label[1] is None else label[1].lower() in ("a", "1", "i")


def _last_run(labels: list[re.Match[str]]) -> list[re.Match[str]]:
    """Return the last labels that follow one another."""
    names = [label[1] or label[0].strip() for label in labels]
    first = len(labels) - 1
    while first > 0 and names[first] in _NEXT.get(names[first - 1], ()):
        first -= 1
    return labels[max(first, 0) :]


def _without_cues(text: str) -> str:
    """Remove what only says which part follows, at the start of a line or at the very end."""
    if ":" not in text:
        return text
    lines = [_CUE.sub("", line, count=1) if ":" in line[:_LONGEST_CUE] else line for line in text.split("\n")]
    text = "\n".join(lines).rstrip()
    return _LAST_CUE.sub("", text) if text.endswith(":") else text
