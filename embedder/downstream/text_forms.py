"""The same question in other forms: without its options, on one line, in a chat message, as people type it.

Every form is a function of the text alone: where it has a choice, the text's digest decides, so that a text always
comes out the same. A text without what a form changes (options, a cue, capitals) comes back as it was. Options are
found by separate rules: with those of `question_text.py`, which is tested here, only what it can read would be
rewritten.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

__all__ = ["AS_ASKED", "EXAMPLES", "FORMS", "NONSENSE", "digest", "rewrite", "write_nonsense"]

_T = TypeVar("_T")

AS_ASKED = "as_asked"
EXAMPLES = 3  # questions that precede one in the form few_shot

# "A. …", "(b) …", "3) …" or "- …" at the start of a line.
_LABEL = re.compile(r"^([ \t]*)(\(?([A-Za-z]|\d{1,2})[.):]|[-*•])[ \t]+(?=\S)", re.MULTILINE)
_HEADING = re.compile(r"^[ \t]*(?:answer )?(?:options|choices)[ \t]*:\s*\Z", re.IGNORECASE | re.MULTILINE)
_CUE = re.compile(
    r"^[ \t]*(?:(?:the )?(?:best |final )?answer(?: is)?|question|options|choices|answer choices)[ \t]*:[ \t]*",
    re.IGNORECASE | re.MULTILINE,
)
_ANSWER = re.compile(r"^[ \t]*answer[ \t]*:[ \t]*$", re.IGNORECASE | re.MULTILINE)
_END_OF_OPTION = re.compile(r"\n[ \t]*(?:\n|(?:the )?(?:best |final )?answer(?: is)?[ \t]*:)", re.IGNORECASE)

_ROMAN = ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x")
_GREETINGS = (
    "Hi! Could you help me with this one?",
    "Hello, I have a question for you.",
    "Good morning, please answer the following for me:",
    "hey, quick question",
)
_SYSTEM = (
    "You are a helpful assistant.",
    "You are a careful expert. Think step by step, then give the final answer.",
    "Answer briefly and correctly.",
)
_FULL_WIDTH = str.maketrans({"?": "？", "!": "！", ",": "，", ":": "：", ";": "；", "(": "（", ")": "）", "'": "’"})
_WITHIN_NUMBER = re.compile(r"(?<=\d)，(?=\d)")
_QUOTED = re.compile(r'"([^"\n]*)"')
_FULL_STOP = re.compile(r"(?<=\w\w)\.(?=\s|$)")


class _Options(NamedTuple):
    """Where the options of a text stand, with the heading before them, and the label of each."""

    start: int
    end: int
    labels: list[re.Match[str]]


def _find_options(text: str) -> _Options | None:
    """The last two or more lines that are labelled in turn, to the end of the last one: an empty line or a cue for the
    answer."""
    found = list(_LABEL.finditer(text))
    first = len(found) - 1
    while first > 0 and _follows(found[first - 1], found[first]):
        first -= 1
    labels = found[first:]
    if len(labels) < 2:
        return None
    heading = _HEADING.search(text, 0, labels[0].start())
    end = _END_OF_OPTION.search(text, labels[-1].end())
    return _Options((heading or labels[0]).start(), end.start() if end else len(text), labels)


def _follows(one: re.Match[str], other: re.Match[str]) -> bool:
    """Whether the second label is the next one: B after A, 3 after 2, a bullet after the same bullet."""
    before, after = one[3], other[3]
    if before is None or after is None:
        return one[2] == other[2]
    if before.isdigit() or after.isdigit():
        return before.isdigit() and after.isdigit() and int(after) == int(before) + 1
    return ord(after) == ord(before) + 1


def _drop_options(text: str) -> str:
    options = _find_options(text)
    return text if options is None else (text[: options.start].rstrip() + text[options.end :]).strip() or text


def _relabel_options(text: str, label: Callable[[int], str]) -> str:
    """The options labelled by `label` of their number, from 0."""
    options = _find_options(text)
    if options is None:
        return text
    pieces, at = [], 0
    for number, found in enumerate(options.labels):
        pieces += [text[at : found.start(2)], label(number)]
        at = found.end(2)
    return "".join(pieces) + text[at:]


def _drop_cues(text: str) -> str:
    """Without what says which part follows, such as "Question:", "Options:" and "Answer:", and without empty lines that
    this leaves."""
    kept = _CUE.sub("", text)
    return text if kept == text else "\n".join(line for line in kept.split("\n") if line.strip()) or text


def _join_lines(text: str) -> str:
    return " ".join(text.split())


def _wrap_in_messages(text: str) -> str:
    messages = [{"role": "system", "content": _pick(_SYSTEM, text)}, {"role": "user", "content": text}]
    return json.dumps(messages, ensure_ascii=False)


def _translate_punctuation(text: str) -> str:
    """As a keyboard for Chinese types it: full-width marks and curly quotes; numbers stay."""
    quoted = _QUOTED.sub("“\\1”", _FULL_STOP.sub("。", text))
    return _WITHIN_NUMBER.sub(",", quoted.translate(_FULL_WIDTH))


def _type_it(text: str) -> str:
    """As people type it: the bare question, lower-cased, on one line, without a mark at its end."""
    return _join_lines(_drop_cues(_drop_options(text))).lower().rstrip(" ?.:") or text


_REWRITES: Mapping[str, Callable[[str], str]] = {
    AS_ASKED: lambda text: text,
    "no_options": _drop_options,
    "roman_labels": lambda text: _relabel_options(
        text, lambda number: f"({_ROMAN[number] if number < len(_ROMAN) else number + 1})"
    ),
    "digit_labels": lambda text: _relabel_options(text, lambda number: f"{number + 1})"),
    "no_cues": _drop_cues,
    "one_line": _join_lines,
    "lower_case": str.lower,
    "typed": _type_it,
    "full_width": _translate_punctuation,
    "greeting": lambda text: f"{_pick(_GREETINGS, text)}\n\n{text}",
    "chat_messages": _wrap_in_messages,
}
FORMS = (*_REWRITES, "few_shot")
"""Names of the forms; the first leaves a text as it is."""


def rewrite(form: str, text: str, examples: Sequence[str] = ()) -> str:
    """`text` in one of `FORMS`. `few_shot` puts `examples` before it, texts of other questions, each with an answer.

    Raises KeyError where there is no such form.
    """
    return "\n\n".join([*map(_answer, examples), text]) if form == "few_shot" else _REWRITES[form](text)


def _answer(example: str) -> str:
    """Return a question with some answer to it, right or wrong: only the encoder reads it."""
    options = _find_options(example)
    if options is None:
        answer = str(digest(example) % 100)
    else:
        label = _pick(options.labels, example)
        answer = label[3] or example[label.end() :].split("\n")[0]
    if options is not None and _ANSWER.search(example[: options.start]):  # the options were appended to the prompt
        example = _drop_options(example)
    return f"{_ANSWER.sub('', example).rstrip()}\nAnswer: {answer}"


NONSENSE = ("nonsense_keys", "nonsense_short", "nonsense_words")
"""Kinds of text that are no question at all."""

_KEYS = ("asdf", "qwerty", "jkl", "fdsa", "xcvb", "poiu", "hjkl", "wert", "zxc", "lkjh", "asd", "uiop")
_SHORT = ("?", "...", " ", "-", "ok", "hi", "test", "1", ".", "no", "\n", "!!", "a", "yes", "hmm", "x", "()", "0")
_WORDS = (
    *("river", "lamp", "orange", "seldom", "bridge", "carpet", "under", "violin", "quickly", "stone", "paper"),
    *("winter", "laugh", "button", "green", "corner", "salt", "ladder", "honest", "cloud", "pencil", "drift"),
    *("copper", "morning", "sleep", "garden", "velvet", "often", "mirror", "north", "barrel", "whisper", "glass"),
)


def write_nonsense(kind: str, count: int) -> list[str]:
    """`count` distinct texts of one of the kinds in `NONSENSE`, always the same ones; of short ones there are no more
    than 18.

    Raises ValueError where there is no such kind.
    """
    if kind not in NONSENSE:
        raise ValueError(f"there is no nonsense of the kind {kind!r}; there is {', '.join(NONSENSE)}")
    if kind == "nonsense_short":
        return list(_SHORT[:count])
    pool, least, most, between = (_KEYS, 1, 3, "") if kind == "nonsense_keys" else (_WORDS, 5, 14, " ")
    rng = np.random.default_rng(0)
    found: dict[str, None] = {"asdf": None} if kind == "nonsense_keys" else {}
    while len(found) < count:
        found[between.join(rng.choice(pool, rng.integers(least, most + 1)))] = None
    return list(found)


def _pick(choices: Sequence[_T], text: str) -> _T:
    """One of them, by the text's digest."""
    return choices[digest(text) % len(choices)]


def digest(text: str) -> int:
    """A number of 64 bits that is the same on every machine, and another one for every text."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8])
