"""Finding questions whose text lacks what it mentions: options or pictures."""

from __future__ import annotations

import re

__all__ = ["lacks_what_it_speaks_of"]

_CHOICES = r"(?:options?|choices?|answers?|alternatives?|statements?)"
_ASKS_TO_CHOOSE = re.compile(
    rf"""\b(?: which\ (?:\w+\ )?of\ these
    | (?:which|what|any|one|none|all|each|two|three)\ (?:\w+\ )?of\ (?:the|these)\ (?:following|above|{_CHOICES})
    | which\ (?:one|option|choice|answer|alternative|statement)
    | (?:choose|select|pick|mark|identify)\ (?:the|an?|one|all|from|between|among)\b [^.?!\n]{{0,40}} \b{_CHOICES}
    | (?:options|choices|alternatives)\ (?:below|above|given|listed|provided)
    | (?:following|given|listed|provided)\ (?:options|choices|alternatives|answers)
    )\b""",
    re.IGNORECASE | re.VERBOSE,
)
_SPEAKS_OF_A_PICTURE = re.compile(
    r"""\b(?: (?:in|see|from)\ (?:the|this|these)\ (?:\w+\ )? (?:figure|image|picture|diagram|screenshot|illustration)s?
    | (?:figure|image|picture|diagram|photo|graph|chart)s?\ (?:(?:shown|given)\ )? (?:above|below|shows?|depicts?)
    | (?:depicted|pictured)\ (?:above|below)
    )\b""",
    re.IGNORECASE | re.VERBOSE,
)
# Looking for plain words first halves the time.
_OF_CHOICES = ("following", "these", "above", "option", "choice", "answer", "alternative", "statement", "which")
_OF_PICTURES = ("figure", "image", "picture", "diagram", "screenshot", "illustrat", "photo", "graph", "chart", "depict")
_OPTION_LINE = re.compile(r"^[ \t]*(?:\(?(?:[A-Za-z]|\d{1,2}|[IVXivx]{1,4})[.):]|[-*•])[ \t]*\S", re.MULTILINE)
_OPTIONS_IN_A_LINE = re.compile(r"\(?\b[Aa1][.):] ?\S.*?\b[Bb2][.):] ?\S", re.DOTALL)
_LIST = re.compile(r"\[\s*['\"].*?['\"]\s*,", re.DOTALL)  # as Python and JSON write it
_PICTURE = re.compile(
    r"<(?:image|img|figure|picture)|[\[(](?:image|img|figure|picture|asy)\b|!\[|\\includegraphics"
    r"|^(?:image|picture|figure)s?:",
    re.IGNORECASE | re.MULTILINE,
)


def lacks_what_it_speaks_of(text: str) -> bool:
    """Return whether the text asks to choose among what it does not list, or mentions a picture that is not marked.

    This finds about one in six of the multiple-choice questions whose options were left out, because most do not
    mention them, and none of those that have them.
    """
    return _lacks_options(text) or _lacks_picture(text)


def _lacks_options(text: str) -> bool:
    if not _has_any(_OF_CHOICES, text) or len(_OPTION_LINE.findall(text)) > 1:
        return False
    asked = _ASKS_TO_CHOOSE.search(text)
    if asked is None or _OPTIONS_IN_A_LINE.search(text) or _LIST.search(text):
        return False
    _, *lines = text[asked.end() :].splitlines() or [""]
    _, _, named = text[asked.end() :].partition(":")  # which of these is greater: 3 or 5?
    return sum(bool(line.strip()) for line in lines) < 2 and re.search(r",| or ", named) is None


def _lacks_picture(text: str) -> bool:
    if not _has_any(_OF_PICTURES, text):
        return False
    return _SPEAKS_OF_A_PICTURE.search(text) is not None and _PICTURE.search(text) is None


def _has_any(words: tuple[str, ...], text: str) -> bool:
    lowered = text.lower()
    return any(word in lowered for word in words)
