"""How the report writes a table: which columns it has, and each value as people write it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from assets.figures.sections import Row
from assets.figures.style import words

LONG = 40  # letters, from which on a cell may be wrapped
MANY = 12  # rows, from which on a table has a field to filter them


class Cell(NamedTuple):
    """A value as it is written; `model` is set where it is the name of one."""

    text: str
    kind: str = ""  # of CSS: number, long or nothing
    model: str = ""


class Table(NamedTuple):
    """Rows of cells below their heads; the first cell of a row names it."""

    heads: Sequence[Cell]
    rows: Sequence[Sequence[Cell]]
    standing_out: Sequence[bool]  # a row
    caption: str

    @property
    def has_many_rows(self) -> bool:
        return len(self.rows) > MANY


def tabulate(rows: Sequence[Row], ours: str = "", caption: str = "") -> Table:
    """Return rows without the columns that hold nothing; those whose method is `ours` stand out."""
    names = [name for name in rows[0] if any(row[name] is not None for row in rows)]
    columns = [_write_column(name, [row[name] for row in rows]) for name in names]
    return Table(
        [
            Cell(words(name), column[0].kind if column[0].kind != "long" else "")
            for name, column in zip(names, columns, strict=True)
        ],
        list(zip(*columns, strict=True)),
        [bool(ours) and row.get("method") == ours for row in rows],
        caption or _name_rows(words(names[0])),
    )


def _name_rows(head: str) -> str:
    return head[:1].upper() + head[1:] if "by " in head else f"By {head}"


def rounded(number: float) -> str:
    """Return a number with three decimals, or, where it is smaller, with three digits."""
    if 0 < abs(number) < 1e-6:
        return "<0.000001" if number > 0 else ">-0.000001"
    if 0 < abs(number) < 0.001:
        return f"{number:.{2 - math.floor(math.log10(abs(number)))}f}".rstrip("0")
    return f"{number:.3f}"


def _write_column(name: str, values: Sequence[Any]) -> list[Cell]:
    known = [value for value in values if value is not None]
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in known):
        naming = name in ("model", "other", "fallback", "nearest", "added")
        values = [words(value) if name in ("method", "form") else value for value in values]
        return [_write_text(value, naming=naming) for value in values]
    write = rounded
    if all(float(value).is_integer() for value in known) and any(
        isinstance(value, int) or value > 1 for value in known
    ):
        write = "{:,.0f}".format
    elif any(abs(value) >= 100 for value in known):
        write = "{:,.1f}".format
    return [Cell("–" if value is None else write(value), "number") for value in values]


def _write_text(value: Any, *, naming: bool) -> Cell:
    if value is None:
        return Cell("–")
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return Cell(text, "long" if len(text) > LONG else "", text if naming else "")
