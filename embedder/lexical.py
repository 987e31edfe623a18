"""What a question looks like, as numbers: length, digits, options, formulas, code, negation, what is asked for.

A sentence embedding says what a question is about; how hard it is for a model often shows in its form. The form here is
that of the question itself (`question_text.py`), not of the prompt around it. Features come unscaled: who uses them
standardises them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import log1p, nan

import numpy as np

from .question_text import QuestionText, read_question

__all__ = ["LEXICAL_FEATURES", "lexical_features"]

_NEGATIONS = frozenset(
    ("not", "no", "never", "except", "neither", "nor", "without", "least", "false", "incorrect", "cannot")
)
_AMOUNTS = frozenset(("many", "much", "long", "far", "fast", "old", "often"))
_ASKS = {
    "asks_which": frozenset(("which",)),
    "asks_what": frozenset(("what",)),
    "asks_who_when_where": frozenset(("who", "whom", "whose", "when", "where")),
    "asks_why_how": frozenset(("why", "how")),
    "asks_to_compute": frozenset(
        ("calculate", "compute", "determine", "estimate", "evaluate", "find", "prove", "simplify", "solve")
    ),
}
_BETWEEN_WORDS = str.maketrans(dict.fromkeys('.,;:?!()"', " "))
_BLANKS = ("__", "....")
_STATEMENTS = ("statement 1", "statement i ", "statement i:", " ii. ", " ii) ", "(ii)")
_CODE = ("def ", "print(", "#include", "==", "):", ");", "{ ")
_COMPOUND = (" and b", " and c", " and d", "i and ii", "both")
_ENDINGS = "?.:!"  # people who type leave the mark out: then how the question ends is not known
_NUMBER_STARTS = frozenset("0123456789-+$€£.")

# Classes of characters, counted for all texts in one pass.
_CHARACTERS = {
    "digits": "0123456789",
    "capitals": "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "dollars": "$",
    "backslashes": "\\",
    "equation_signs": "=^_{}",
    "operators": "+-*/<>|",
    "parentheses": "()[]",
    "question_marks": "?",
    "stops": ".;:!",
    "commas": ",",
    "quotes": "\"'`",
    "spaces": " ",
}
_CLASSES = (*_CHARACTERS, "other_ascii", "not_ascii")
_CLASS_OF = np.full(129, _CLASSES.index("other_ascii"))  # the class of each ASCII character; the last is for all others
_CLASS_OF[128] = _CLASSES.index("not_ascii")
for _number, _members in enumerate(_CHARACTERS.values()):
    _CLASS_OF[[ord(member) for member in _members]] = _number
_DIGITS, _CAPITALS, _SPACES, _NOT_ASCII, _QUESTION_MARKS = map(
    _CLASSES.index, ("digits", "capitals", "spaces", "not_ascii", "question_marks")
)
_SIGNS = ("digits", "dollars", "backslashes", "equation_signs", "operators", "parentheses", "stops", "commas", "quotes")
_SIGN_CLASSES = [_CLASSES.index(name) for name in _SIGNS]

_WORD_FEATURES = (
    *("negations", "asks_amount", *_ASKS, "blank", "statements", "code", "ends_as_question", "ends_as_sentence"),
)
_OPTION_FEATURES = (
    *("options", "numeric_options"),
    *("none_of", "all_of", "compound_options", "repeated_options", "option_code"),
)
LEXICAL_FEATURES = (
    *("characters", "words", "numbers", "question_marks", *_SIGNS),
    *("word_length", "digit_share", "not_ascii_share", *_WORD_FEATURES, *_OPTION_FEATURES),
    *("option_length", "option_length_spread", "option_digit_share", "option_not_ascii_share"),
    *("whole_characters", "whole_words", *(f"whole_{name}" for name in _SIGNS), "whole_digit_share", "capital_share"),
)


def lexical_features(texts: Sequence[str] | np.ndarray) -> np.ndarray:
    """(n, L) float32 features of `texts`, named by `LEXICAL_FEATURES`. Counts and lengths are log(1 + x);
    those of the "whole" are of the question and its options. What a text does not show is NaN, not known rather than
    nothing: its options, the mark at its end, or, in one without any, capitals."""
    questions = [read_question(text) for text in texts]
    n = len(questions)
    described = [(*_describe_words(question.stem), *_describe_options(question)) for question in questions]
    pieces = [question.stem for question in questions] + [" ".join(question.options) for question in questions]
    counts, numbers = _count(pieces)  # of the stems, then of the options
    stem, option = counts[:n], counts[n:]
    whole = stem + option
    stem_length, option_length, whole_length = (np.maximum(part.sum(1), 1) for part in (stem, option, whole))
    words = stem[:, _SPACES] + 1
    shown = np.asarray(option.any(1))
    return np.concatenate(
        [
            np.log1p(
                np.column_stack([stem.sum(1), words, numbers[:n], stem[:, _QUESTION_MARKS], stem[:, _SIGN_CLASSES]])
            ),
            np.column_stack(
                [(stem.sum(1) - stem[:, _SPACES]) / words, (stem[:, [_DIGITS, _NOT_ASCII]].T / stem_length).T]
            ),
            np.array(described, float).reshape(n, len(_WORD_FEATURES) + len(_OPTION_FEATURES)),
            np.log1p(_option_lengths(questions)),
            _where(shown, (option[:, [_DIGITS, _NOT_ASCII]].T / option_length).T),
            _where(
                shown,
                np.log1p(np.column_stack([whole.sum(1), words + option[:, _SPACES] + 1, whole[:, _SIGN_CLASSES]])),
            ),
            _where(shown, (whole[:, _DIGITS] / whole_length)[:, None]),
            _where(np.asarray(whole[:, _CAPITALS] > 0), (whole[:, _CAPITALS] / whole_length)[:, None]),
        ],
        axis=1,
        dtype=np.float32,
        casting="same_kind",
    )


def _where(shown: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """`columns` (n, c) with NaN where a text does not show (n,) what they are of."""
    columns[~shown] = nan
    return columns


def _count(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """(n, classes) how many characters of each class every text has; (n,) how many numbers, such as 7 or 1,000.5."""
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    row = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    classes = _CLASS_OF[np.minimum(codes, 128)]
    counts = np.bincount(row * len(_CLASSES) + classes, minlength=len(texts) * len(_CLASSES))
    digit = classes == _DIGITS
    mark = (codes == ord(".")) | (codes == ord(","))
    starts = digit.copy()
    starts[1:] &= ~(digit[:-1] & (row[1:] == row[:-1]))
    starts[2:] &= ~(mark[1:-1] & digit[:-2] & (row[2:] == row[:-2]))
    return counts.reshape(len(texts), len(_CLASSES)), np.bincount(row[starts], minlength=len(texts))


def _describe_words(stem: str) -> tuple[float, ...]:
    text = stem.lower()
    words = text.translate(_BETWEEN_WORDS).split()
    distinct = set(words)
    amount = "how" in distinct and any(a == "how" and b in _AMOUNTS for a, b in pairwise(words))
    return (
        log1p(sum(words.count(word) for word in distinct & _NEGATIONS) + text.count("n't")),
        amount,
        *(not distinct.isdisjoint(members) for members in _ASKS.values()),
        any(blank in text for blank in _BLANKS),
        any(mark in text for mark in _STATEMENTS),
        log1p(sum(map(text.count, _CODE))),
        *((text[-1] == "?", text[-1] in ".:") if text and text[-1] in _ENDINGS else (nan, nan)),
    )


def _describe_options(question: QuestionText) -> tuple[float, ...]:
    options = question.options
    if not options:
        return (nan,) * len(_OPTION_FEATURES)
    together = "\n".join(options).lower()
    return (
        len(options) / 10,
        sum(option[:1] in _NUMBER_STARTS for option in options) / len(options),
        "none of" in together,
        "all of" in together,
        any(mark in together for mark in _COMPOUND),
        len(set(options)) < len(options),
        log1p(sum(map(together.count, _CODE))),
    )


def _option_lengths(questions: list[QuestionText]) -> np.ndarray:
    """(n, 2): the mean length of each question's options and their standard deviation, NaN where there are none."""
    lengths = np.array([len(option) for question in questions for option in question.options], float)
    count = np.array([len(question.options) for question in questions], int)
    row = np.repeat(np.arange(len(questions)), count)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(row, lengths, len(questions)) / count
        spread = np.sqrt(np.bincount(row, np.square(lengths - mean[row]), len(questions)) / count)
    return np.column_stack([mean, spread])
