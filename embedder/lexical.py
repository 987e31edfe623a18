"""What a question looks like, as numbers: length, digits, options, formulas, code, negation, what is asked for.

A sentence embedding says what a question is about, and cuts long texts off; how hard it is for a model often shows
in its form. All features are general properties of a text, in any format of question. They come unscaled: who uses them
standardises them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from math import log1p

import numpy as np

__all__ = ["LEXICAL_FEATURES", "lexical_features"]

# An option: "A. …", "(b) …", "3) …" or "- …" on a line of its own. One alone is no choice.
_OPTION = re.compile(r"^[ \t]*(?:\(?(?:[A-Za-z]|\d{1,2})[.):]|[-*•])[ \t]+(\S.*)$", re.MULTILINE)
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_STARTS_WITH_NUMBER = re.compile(r"[-+$€£]?\.?\d")
_COMPOUND = re.compile(r"\b[A-J] and [A-J]\b|\bI and II\b|\b[Bb]oth\b")
_STATEMENTS = re.compile(r"[Ss]tatement (?:1|I)\b|(?<!\w)(?:II|ii)[.)]")
_FORMULA = re.compile(r"\$[^$\n]+\$|\\[a-zA-Z]+|\\[(\[]")
_NAME = re.compile(r"[a-z,] [A-Z][a-z]+")
_QUANTITY = re.compile(r"\d\s?(?:%|°|(?:[kcm]?m|[km]?g|m?l|mol|k?J|k?Pa|atm|k?V|m?A|Hz|s|hours?|years?)\b)")

_NEGATIONS = {"not", "no", "never", "except", "neither", "nor", "without", "least", "false", "incorrect", "cannot"}
_BLANKS = ("__", "....")
_CODE = ("def ", "    return", "\nimport ", "#include", "print(", "==", ";\n", "{\n")
_CENTURIES = {"10", "11", "12", "13", "14", "15", "16", "17", "18", "19", "20"}
_AMOUNTS = {"many", "much", "long", "far", "fast", "old", "often"}
_ASKS = {
    "asks_which": {"which"},
    "asks_what": {"what"},
    "asks_who_when_where": {"who", "whom", "whose", "when", "where"},
    "asks_why_how": {"why", "how"},
    "asks_to_compute": {
        "calculate",
        "compute",
        "determine",
        "estimate",
        "evaluate",
        "find",
        "prove",
        "simplify",
        "solve",
    },
}

# Classes of characters, counted in one pass.
_CHARACTERS = {
    "digits": "0123456789",
    "capitals": "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "newlines": "\n",
    "dollars": "$",
    "backslashes": "\\",
    "equation_signs": "=^_{}",
    "operators": "+-*/<>|",
    "parentheses": "()[]",
    "question_marks": "?",
    "stops": ".;:!",
    "commas": ",",
    "quotes": "\"'`",
    "spaces": " \t\r",
}
_CLASSES = (*_CHARACTERS, "other_ascii", "not_ascii")
_CLASS_OF = np.full(129, _CLASSES.index("other_ascii"))  # the class of each ASCII character; the last is for all others
_CLASS_OF[128] = _CLASSES.index("not_ascii")
for _number, _members in enumerate(_CHARACTERS.values()):
    _CLASS_OF[[ord(member) for member in _members]] = _number


def lexical_features(texts: Sequence[str] | np.ndarray) -> np.ndarray:
    """(n, L) float32 features of `texts`, named by `LEXICAL_FEATURES`. Counts and lengths are log(1 + x)."""
    rows = [list(_describe(text).values()) for text in texts]
    return np.array(rows, np.float32).reshape(len(rows), len(LEXICAL_FEATURES))


def _describe(text: str) -> dict[str, float]:
    text = text.replace("\r\n", "\n").replace("’", "'")  # a text is the same on every system and keyboard
    found = list(_OPTION.finditer(text))
    if len(found) < 2:
        found = []
    stem = text[: found[0].start()] if found else text
    return _characters(text) | _words(text, stem) | _options([match[1] for match in found]) | _form(text, stem)


def _characters(text: str) -> dict[str, float]:
    """How long the text is, and of what characters."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    counts = np.bincount(_CLASS_OF[np.minimum(codes, 128)], minlength=len(_CLASSES)).tolist()
    count = dict(zip(_CLASSES, counts, strict=True))
    length = max(len(text), 1)
    return {
        "characters": log1p(len(text)),
        "digit_share": count["digits"] / length,
        "capital_share": count["capitals"] / length,
        "not_ascii_share": count["not_ascii"] / length,
        **{name: log1p(count[name]) for name in _CHARACTERS if name not in ("capitals", "spaces")},
    }


def _words(text: str, stem: str) -> dict[str, float]:
    """The words, and what they ask for."""
    words = text.split()
    asking = _WORD.findall(stem.lower())
    distinct = set(asking)
    amount = "how" in distinct and any(a == "how" and b in _AMOUNTS for a, b in pairwise(asking))
    return {
        "words": log1p(len(words)),
        "word_length": sum(map(len, words)) / max(len(words), 1),
        "distinct_word_share": len(set(words)) / max(len(words), 1),
        "negations": log1p(sum(map(_NEGATIONS.__contains__, asking)) + stem.count("n't")),
        "asks_amount": float(amount),
        **{name: float(not distinct.isdisjoint(members)) for name, members in _ASKS.items()},
    }


def _options(options: list[str]) -> dict[str, float]:
    lengths = [len(option) for option in options]
    n = max(len(options), 1)
    mean = sum(lengths) / n
    spread = (sum((length - mean) ** 2 for length in lengths) / n) ** 0.5
    together = "\n".join(options).lower()
    return {
        "options": len(options) / 10,
        "has_options": float(bool(options)),
        "option_length": log1p(mean),
        "option_length_spread": log1p(spread),
        "numeric_options": sum(bool(_STARTS_WITH_NUMBER.match(option)) for option in options) / n,
        "none_of": float("none of" in together),
        "all_of": float("all of" in together),
        "compound_options": float(any(map(_COMPOUND.search, options))),
        "repeated_options": float(len(set(options)) < len(options)),
    }


def _form(text: str, stem: str) -> dict[str, float]:
    numbers = _NUMBER.findall(stem)
    ending = stem.rstrip()[-1:]
    return {
        "stem_characters": log1p(len(stem)),
        "numbers": log1p(len(numbers)),
        "longest_number": log1p(max(map(len, numbers), default=0)),
        "blank": float(any(blank in stem for blank in _BLANKS)),
        "statements": float(bool(_STATEMENTS.search(stem))),
        "code": log1p(sum(map(text.count, _CODE))),
        "formulas": log1p(len(_FORMULA.findall(text))),
        "names": log1p(len(_NAME.findall(stem))),
        "years": log1p(sum(len(number) == 4 and number[:2] in _CENTURIES for number in numbers)),
        "quantities": log1p(len(_QUANTITY.findall(text))),
        "ends_as_question": float(ending == "?"),
        "ends_as_sentence": float(ending in (".", ":")),
    }


LEXICAL_FEATURES = tuple(_describe(""))
