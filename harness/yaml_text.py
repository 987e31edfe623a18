"""A list in a YAML file that grows and shrinks as text: comments and layout of everything else stay byte for byte.

Both layouts of a list are edited, each in its own way: entries behind dashes, and entries in brackets. Whoever edits
checks that the result says what is meant: YAML can be laid out in ways that are not foreseen here.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import yaml

__all__ = ["Uneditable", "YamlList"]

COMMENT_TO_LINE_END = re.compile(r"[ \t]*(#[^\n]*)?\r?\n")
NEXT_COMMA = re.compile(r"(?:\s+#[^\n]*+|\s)*+,")  # never one inside a comment
LINE_BREAK = re.compile("[\n\r\x85\u2028\u2029]")


class _Dumper(yaml.SafeDumper):
    """Texts of several lines stay on one, in double quotes: indented, they would not come back as they were."""


def _represent_text(dumper: _Dumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if LINE_BREAK.search(text) else None)


_Dumper.add_representer(str, _represent_text)


class Uneditable(ValueError):
    """The text is laid out in a way that cannot be edited here."""


class YamlList:
    """The list `key` of the mapping that `text` is; `text` has been found valid before.

    lines: the line of each entry, counted from 1.
    """

    def __init__(self, text: str, key: str) -> None:
        # The C loader would be faster, but counts bytes.
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        with _foreseen():
            word, entries = next((k, value) for k, value in root.value if k.value == key)
            self.text = text
            self.newline = "\r\n" if "\r\n" in text else "\n"
            self.lines = [entry.start_mark.line + 1 for entry in entries.value]
            self._spans = [(entry.start_mark.index, _content_end(entry)) for entry in entries.value]
            self._start, self._end = entries.start_mark.index, entries.end_mark.index
            self._colon = text.index(":", word.end_mark.index)
            # `key: []` becomes a list of lines with its first entry.
            self._bare = not root.flow_style and text[self._colon : self._end] == ": []"
            self._in_brackets = bool(entries.flow_style)
            self._dash = word.start_mark.column + 2 if self._bare else entries.start_mark.column

    def appended(self, entry: Mapping[str, Any]) -> str:
        """The text with `entry` behind the last one."""
        if self._in_brackets and not self._bare:
            return self._appended_in_brackets(entry)
        if self._bare:
            text = self.text[: self._colon + 1] + self.text[self._end :]
            place = self._behind(text, self._colon + 1)
        else:
            text = self.text
            place = self._behind(text, self._spans[-1][1])
        lines = self.newline.join(self._lines_of(entry))
        if place == len(text) and not text.endswith("\n"):
            return f"{text}{self.newline}{lines}"
        return f"{text[:place]}{lines}{self.newline}{text[place:]}"

    def without(self, index: int) -> str:
        """The text without the entry of that index, and without comments indented as parts of it."""
        with _foreseen():
            return self._without_in_brackets(index) if self._in_brackets else self._without_lines(index)

    def _without_lines(self, index: int) -> str:
        text, (start, end) = self.text, self._spans[index]
        start, end = self._dash_line(start), self._behind(text, end)
        if end == len(text) and not text.endswith("\n"):
            start -= len(self.newline)  # the line before becomes the last, and has no end either
        if len(self._spans) > 1:
            return text[:start] + text[end:]
        behind_colon = self._colon + 1
        return f"{text[:behind_colon]} []{text[behind_colon:start]}{text[end:]}"

    def _lines_of(self, entry: Mapping[str, Any]) -> list[str]:
        fields = _written(entry, in_brackets=False).split("\n")
        return [" " * self._dash + ("  " if i else "- ") + field for i, field in enumerate(fields)]

    def _behind(self, text: str, index: int) -> int:
        """Where the line behind an entry begins that ends at `index`."""
        place = index if text[index - 1] == "\n" else _next_line(text, index)  # text in a block (|) ends with its line
        part_of_entry = re.compile(rf" {{{self._dash + 1},}}#")
        while part_of_entry.match(text, place):
            place = _next_line(text, place)
        return place

    def _dash_line(self, index: int) -> int:
        """Where the line begins whose dash begins the entry at `index`; comments may stand between."""
        dash = re.compile(rf" {{{self._dash}}}-")
        start = self.text.rindex("\n", 0, index) + 1
        while not dash.match(self.text, start):
            start = self.text.rindex("\n", 0, start - 1) + 1
        return start

    def _appended_in_brackets(self, entry: Mapping[str, Any]) -> str:
        text = self.text
        written = _written(entry, in_brackets=True)
        if not self._spans:
            place = self._start + 1
            return f"{text[:place]}{written}{text[place:]}"
        start, end = self._spans[-1]
        trailing_comma = self._comma_behind(end)
        place = end if trailing_comma is None else trailing_comma + 1
        line = text.rfind("\n", 0, start) + 1
        between = " "
        if not text[line:start].strip():  # each entry has a line of its own
            between = self.newline + text[line:start]
            if COMMENT_TO_LINE_END.match(text, place):
                place = text.index(self.newline, place)
        if trailing_comma is None:
            return f"{text[:end]},{text[end:place]}{between}{written}{text[place:]}"
        return f"{text[:place]}{between}{written},{text[place:]}"

    def _without_in_brackets(self, index: int) -> str:
        text, (start, end) = self.text, self._spans[index]
        comma = self._comma_behind(end)
        if index > 0:
            start = len(text[:start].rstrip(" \t"))
            if COMMENT_TO_LINE_END.match(text, end if comma is None else comma + 1):
                start = len(text[:start].removesuffix(self.newline))  # else a comment before would swallow what follows
        if comma is not None:
            return text[:start] + text[comma + 1 :]
        if index == 0:
            return text[:start] + text[end:]
        comma = text.index(",", self._spans[index - 1][1])
        return text[:comma] + text[comma + 1 : start] + text[end:]

    def _comma_behind(self, index: int) -> int | None:
        found = NEXT_COMMA.match(self.text, index)
        return found.end() - 1 if found else None


@contextmanager
def _foreseen() -> Iterator[None]:
    """What is looked for stands where it is looked for."""
    try:
        yield
    except (ValueError, StopIteration) as error:
        raise Uneditable("this layout of YAML was not foreseen") from error


def _written(entry: Mapping[str, Any], *, in_brackets: bool) -> str:
    layout = True if in_brackets else None  # None: a field a line, mappings and lists inside it in brackets
    text = yaml.dump(
        dict(entry), Dumper=_Dumper, default_flow_style=layout, allow_unicode=True, sort_keys=False, width=2**31
    )
    return text.rstrip("\n")


def _content_end(node: yaml.Node) -> int:
    """Behind the last character of the node; YAML itself counts comments and blank lines up to the next token."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style:
        return max(_content_end(part) for pair in node.value for part in pair)
    if isinstance(node, yaml.SequenceNode) and not node.flow_style:
        return max(_content_end(part) for part in node.value)
    return node.end_mark.index


def _next_line(text: str, index: int) -> int:
    end = text.find("\n", index)
    return len(text) if end < 0 else end + 1
