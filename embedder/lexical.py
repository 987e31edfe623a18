"""Describe the form of a question by numbers: length, digits, options, formulas, code, negation, what is asked for.

A sentence embedding says what a question is about; how hard it is for a model often shows in its form. The form is that
of the question itself (`question_text.py`), not of the prompt around it. Features are not scaled: the methods that use
them standardise them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import log1p, nan, sqrt

import numpy as np

from .question_text import read_question

__all__ = ["LEXICAL_FEATURES", "lexical_features"]


def _words(text: str) -> frozenset[bytes]:
    return frozenset(text.encode().split())


_NEGATIONS = _words("not no never except neither nor without least false incorrect cannot")
_AMOUNTS = _words("many much long far fast old often")
_ASKS = {
    "asks_which": _words("which"),
    "asks_what": _words("what"),
    "asks_who_when_where": _words("who whom whose when where"),
    "asks_why_how": _words("why how"),
    "asks_to_compute": _words("calculate compute determine estimate evaluate find prove simplify solve"),
}
_TELLING = _NEGATIONS.union(*_ASKS.values())
_BETWEEN_WORDS = bytes.maketrans(b'.,;:?!()"', b" " * 9)
_STATEMENTS = ("statement 1", "statement i ", "statement i:", " ii. ", " ii) ", "(ii)")
_CODE = ("def ", "print(", "#include", "==", "):", ");", "{ ")
_COMPOUND = (" and b", " and c", " and d", "i and ii", "both")
_ENDINGS = "?.:!"  # people who type leave the mark out: then it is not known how the question ends
_NUMBER_STARTS = frozenset("0123456789-+$€£.")

# Classes of characters, counted for all texts in one pass.
_SIGNS = {
    "digits": "0123456789",
    "dollars": "$",
    "backslashes": "\\",
    "equation_signs": "=^_{}",
    "operators": "+-*/<>|",
    "parentheses": "()[]",
    "stops": ".;:!",
    "commas": ",",
    "quotes": "\"'`",
}
_CHARACTERS = {**_SIGNS, "question_marks": "?", "capitals": "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "spaces": " "}
_CLASSES = (*_CHARACTERS, "not_ascii", "other_ascii")
# The class of each ASCII character; the last is for all others.
_CLASS_OF = np.full(129, _CLASSES.index("other_ascii"), np.uint8)
_CLASS_OF[128] = _CLASSES.index("not_ascii")
for _number, _members in enumerate(_CHARACTERS.values()):
    _CLASS_OF[[ord(member) for member in _members]] = _number
_DIGITS, _QUESTION_MARKS, _CAPITALS, _SPACES, _NOT_ASCII = map(
    _CLASSES.index, ("digits", "question_marks", "capitals", "spaces", "not_ascii")
)

_OF_WORDS = ("negations", "asks_amount", *_ASKS, "blank", "statements", "code", "ends_as_question", "ends_as_sentence")
_OF_OPTIONS = (
    *("options", "numeric_options", "none_of", "all_of", "compound_options", "repeated_options", "option_code"),
    *("option_length", "option_length_spread"),
)
LEXICAL_FEATURES = (
    *("characters", "words", "numbers", "question_marks", *_SIGNS),
    *("whole_characters", "whole_words", *(f"whole_{name}" for name in _SIGNS)),
    *("word_length", "digit_share", "not_ascii_share", "option_digit_share", "option_not_ascii_share"),
    *("whole_digit_share", "capital_share", *_OF_WORDS, *_OF_OPTIONS),
)


def lexical_features(texts: Sequence[str] | np.ndarray) -> np.ndarray:
    """(n, L) float32 features of `texts`, named by `LEXICAL_FEATURES`. Counts and lengths are log(1 + x);
    those of the "whole" are of the question and its options. What a text does not show is NaN, as unknown: its
    options, the mark at its end, or, in one without any, capitals."""
    questions = [read_question(text) for text in texts]
    n = len(questions)
    described = [_describe_words(question.stem) + _describe_options(question.options) for question in questions]
    pieces = [question.stem for question in questions] + [" ".join(question.options) for question in questions]
    counts, numbers = _count(pieces)  # of the stems, then of the options
    lengths = counts.sum(0)
    stem, length = counts[:, :n], np.maximum(lengths[:n], 1)
    option, option_length = counts[:, n:], np.where(lengths[n:], lengths[n:], nan)
    together = stem + option
    whole = together + (option_length - option_length)  # NaN for the same questions
    capitals = np.where(together[_CAPITALS], together[_CAPITALS], nan)
    features = np.concatenate(
        [
            np.log1p(
                np.concatenate(
                    [
                        *([lengths[:n], stem[_SPACES] + 1, numbers[:n], stem[_QUESTION_MARKS]], stem[: len(_SIGNS)]),
                        *([lengths[:n] + option_length, whole[_SPACES] + 2], whole[: len(_SIGNS)]),
                    ]
                )
            ),
            [(lengths[:n] - stem[_SPACES]) / (stem[_SPACES] + 1)],
            stem[[_DIGITS, _NOT_ASCII]] / length,
            option[[_DIGITS, _NOT_ASCII]] / option_length,
            [whole[_DIGITS] / (length + option_length), capitals / np.maximum(lengths[:n] + lengths[n:], 1)],
            np.array(described, float).reshape(n, len(_OF_WORDS) + len(_OF_OPTIONS)).T,
        ],
        dtype=np.float32,
        casting="same_kind",
    )
    return np.ascontiguousarray(features.T)


def _count(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """(classes, n) how many characters of each class every text has; (n,) how many numbers, such as 7 or 1,000.5."""
    together = "".join(texts)
    if together.isascii():
        codes = np.frombuffer(together.encode(), np.uint8)
    else:
        codes = np.minimum(np.frombuffer(together.encode("utf-32-le", "surrogatepass"), np.uint32), 128)
    classes = _CLASS_OF[codes]
    row = np.repeat(np.arange(len(texts), dtype=np.int32), [len(text) for text in texts])
    counts = np.bincount(row * len(_CLASSES) + classes, minlength=len(_CLASSES) * len(texts))
    digits = np.flatnonzero(classes == _DIGITS)
    follows = np.zeros(len(digits), bool)  # a digit, or one and a mark, of the same text
    after = np.diff(digits)
    between = codes[digits[1:] - 1]
    follows[1:] = (after == 1) | ((after == 2) & ((between == ord(".")) | (between == ord(","))))
    follows[1:] &= row[digits[1:]] == row[digits[:-1]]
    return counts.reshape(len(texts), len(_CLASSES)).T, np.bincount(row[digits[~follows]], minlength=len(texts))


def _describe_words(stem: str) -> tuple[float, ...]:
    text = stem.lower()
    words = text.encode("utf-8", "surrogatepass").translate(_BETWEEN_WORDS).split()
    telling = _TELLING.intersection(words)
    return (
        log1p(sum([words.count(word) for word in telling & _NEGATIONS]) + text.count("n't")),
        b"how" in telling and any(a == b"how" and b in _AMOUNTS for a, b in pairwise(words)),
        *[not telling.isdisjoint(members) for members in _ASKS.values()],
        "__" in text or "...." in text,
        _has_any(text, _STATEMENTS),
        log1p(_count_code(text)),
        *((text[-1] == "?", text[-1] in ".:") if text and text[-1] in _ENDINGS else (nan, nan)),
    )


def _describe_options(options: tuple[str, ...]) -> tuple[float, ...]:
    if not options:
        return (nan,) * len(_OF_OPTIONS)
    text = "\n".join(options).lower()
    count, lengths = len(options), [len(option) for option in options]
    mean = sum(lengths) / count
    return (
        count / 10,
        sum([option[:1] in _NUMBER_STARTS for option in options]) / count,
        "none of" in text,
        "all of" in text,
        _has_any(text, _COMPOUND),
        len(set(options)) < count,
        log1p(_count_code(text)),
        log1p(mean),
        log1p(sqrt(sum([(length - mean) ** 2 for length in lengths]) / count)),
    )


def _has_any(text: str, marks: tuple[str, ...]) -> bool:
    for mark in marks:  # noqa: SIM110 - any() of a generator takes twice the time
        if mark in text:
            return True
    return False


def _count_code(text: str) -> int:
    return sum([text.count(mark) for mark in _CODE])
