"""Describing what is wrong with published results, and in which rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence

import duckdb

from warehouse.database.connect import literal

from .tables import EXAMPLES

__all__ = ["FILE", "NameFault", "Problems", "group_alike"]

NAMES_SHOWN = 20  # of those that are refused

NameFault = Callable[[str], str | None]
"""Says in a sentence that begins with the quoted name why it cannot be used; None where it can."""

FILE = 10**12  # `spot` = file number * FILE + row: where a row stands, in one number


_VARIES = re.compile(r"'[^']*'|\"[^\"]*\"|\d+")


def group_alike(sentences: Sequence[str], names: Collection[str]) -> list[str]:
    """Return `sentences`, those that differ only in `names` (of files, of categories), numbers and quoted texts as the
    first of them, which says how many more there are, and whose."""
    groups: dict[str, list[tuple[str, str]]] = {}
    spaced = [name for name in names if " " in name]
    for sentence in sentences:
        words = (word.strip("(),:;.") for word in sentence.split())
        about = next((name for name in spaced if name in sentence), None)
        about = about or next((word for word in words if word in names), "")
        kind = _VARIES.sub("#", sentence.replace(about, "…") if about else sentence)
        groups.setdefault(kind, []).append((sentence, about))
    return [_first_of(group) for group in groups.values()]


def _first_of(group: Sequence[tuple[str, str]]) -> str:
    (sentence, about), *others = group
    more = list(dict.fromkeys(name for _, name in others if name and name != about))
    if not others:
        return sentence
    shown = f": {', '.join(more[:3])}{', …' if len(more) > 3 else ''}" if more else ""
    return f"{sentence} (and {len(others):,} more like this{shown})"


class Problems:
    """Finds what is wrong in the scratch database, which has the rows of files, and lists it in `problems`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, file_names: Sequence[str]) -> None:
        self.connection = connection
        self.file_names = file_names  # as messages call them
        self.problems: list[str] = []

    def rows(self, sql: str) -> list[tuple]:
        return self.connection.sql(sql).fetchall()

    def note_rows(self, what: str, condition: str, shown: str = "NULL") -> None:
        ((count,),) = self.rows(f"SELECT count(*) FROM raw WHERE {condition}")
        found = self.rows(f"SELECT spot, {shown} FROM raw WHERE {condition} ORDER BY spot LIMIT {EXAMPLES}")
        examples = [self.where([spot]) + (f": '{value}'" if value else "") for spot, value in found]
        self.note(f"{what} in {count} rows", count, examples)

    def note(self, what: str, count: int, examples: list[str]) -> None:
        if count:
            more = ", …" if count > len(examples) else ""
            self.problems.append(f"{what} ({', '.join(examples)}{more})")

    def note_names(self, kind: str, names: Collection[str], fault_of: NameFault, rows: str) -> bool:
        """Note names that cannot be used, with the rows that have them (`rows`: SQL for name and spot); return whether
        there are some."""
        faults = {name: fault for name in names if (fault := fault_of(name))}
        first_with: dict[str, str] = {}
        twins = [(first, name) for name in names if (first := first_with.setdefault(name.casefold(), name)) != name]
        places = self._find_names([*faults, *(name for pair in twins for name in pair)], rows)
        told = [f"the {kind} name {fault} ({places[name]})" for name, fault in faults.items()]
        told += [
            f"the {kind} names {first!r} ({places[first]}) and {second!r} ({places[second]}) differ in letter case "
            "only; write them alike"
            for first, second in twins
        ]
        self.problems += told[:NAMES_SHOWN]
        if len(told) > NAMES_SHOWN:
            self.problems.append(f"{len(told) - NAMES_SHOWN} more {kind} names cannot be used")
        return bool(told)

    def _find_names(self, names: Collection[str], rows: str) -> Mapping[str, str]:
        """Say in how many rows each name is, and which is the first."""
        wanted = f"[{', '.join(map(literal, names))}]"
        found = self.rows(f"SELECT name, count(*), min(spot) FROM ({rows}) WHERE name IN {wanted} GROUP BY name")
        return {
            name: f"{count} row{'s' if count > 1 else ''}, the first is {self.where([spot])}"
            for name, count, spot in found
        }

    def where(self, spots: list[int]) -> str:
        """Name rows as a user counts them: 1 is the first below the header."""
        if len(self.file_names) == 1:
            rows = " and ".join(str(spot % FILE) for spot in spots)
            return f"row{'s' if len(spots) > 1 else ''} {rows}"
        return " and ".join(f"{self.file_names[spot // FILE]} row {spot % FILE}" for spot in spots)
