"""A section of the report: rendered once, by the asset that made its table, which shows it in the UI as well.

Sections are kept in lake/sections, a part an asset, or a part a version where an asset is not made for every version.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import dagster as dg
import pyarrow as pa

from assets.inputs.provenance import Part
from assets.inputs.versions import version_shown
from warehouse.database.connect import open_database
from warehouse.lake import Lake

from .drawing import Drawing
from .style import markdown, words

SECTIONS = "sections"
"""Name of the lake's table."""
# The section is compressed JSON, as Delta writes the least and the greatest of all texts, in full, into its log.
_SCHEMA = pa.schema({"asset": pa.string(), "embedder": pa.string(), "section": pa.binary()})

Row = dict[str, Any]


@dataclass(frozen=True)
class Picture:
    """A figure as a data URI, for the UI, and what it shows for those who cannot see it.

    `svg` is the same figure as markup, which the report takes: its text is text, and pointing at marks tells more.
    """

    uri: str
    alt: str
    svg: str = ""

    @classmethod
    def of(cls, drawing: Drawing, alt: str, svg: str = "") -> Self:
        """Return a drawing with what it shows; `svg` takes the place of its own."""
        return cls(drawing.uri, alt, svg or drawing.svg)


@dataclass(frozen=True)
class Section:
    """One result: a sentence that says what it shows, pictures, tables, and where to query more."""

    title: str
    says: str
    pictures: Sequence[Picture] = ()
    tables: Sequence[Sequence[Row]] = ()
    sql: str = ""
    ours: str = ""  # method whose rows stand out


def rows(tables: Mapping[str, pa.Table], sql: str) -> list[Row]:
    """Return the rows of a query of `tables`, which it knows by their names."""
    with open_database() as connection:
        for name, table in tables.items():
            connection.register(name, table)
        return connection.sql(sql).to_arrow_table().to_pylist()


def columns(found: Sequence[Row], *names: str) -> list[Row]:
    """Return the rows with these columns only."""
    return [{name: row[name] for name in names} for row in found]


def pivot(measure: str, *methods: str, prefix: str = "") -> str:
    """Return SQL for a column a method with its `measure`, named after the method, in a query that groups rows."""
    return ", ".join(f"any_value({measure}) FILTER (method = '{method}') AS {prefix}{method}" for method in methods)


def side_by_side(by_method: Mapping[str, Sequence[Row]], measure: str, heads: Mapping[str, str]) -> list[Row]:
    """Return a row for each of the rows that all methods have in the same order, with a column a method.

    The columns before them are `heads`: by title, the column of the first method's row that they show.
    """
    return [
        {title: found[0][column] for title, column in heads.items()}
        | {words(row["method"]): row[measure] for row in found}
        for found in zip(*by_method.values(), strict=True)
    ]


def tell_interval(low: float | None, high: float | None, spec: str = ".1%") -> str:
    """Return " (95% interval … to …)"; nothing where there is no interval, or both its ends read the same."""
    if low is None or high is None or format(low, spec) == format(high, spec):
        return ""
    return f" (95% interval {low:{spec}} to {high:{spec}})"


def refused(title: str, found: Sequence[Mapping[str, Any]]) -> Section | None:
    """Return the section of an experiment whose rows have nothing but the reason why there is no result; None where
    there is one."""
    if any(row["reason"] is None for row in found):
        return None
    return Section(title, "Not possible here: " + "; ".join(sorted({row["reason"] for row in found})) + ".")


def section_metadata(section: Section) -> dict[str, dg.MetadataValue]:
    """Return what the UI shows of a section: what it says, its pictures, and the query."""
    metadata: dict[str, dg.MetadataValue] = {"says": dg.MetadataValue.text(section.says)}
    for number, picture in enumerate(section.pictures):
        metadata["picture" if not number else f"picture_{number + 1}"] = dg.MetadataValue.md(markdown(picture.uri))
    if section.sql:
        metadata["sql"] = dg.MetadataValue.md(f"```sql\n{section.sql}\n```")
    return metadata


def section_part(asset: str, section: Section | None, *, version: str | None = None, every: bool = True) -> Part:
    """Return what keeps the section on what `asset` made, of a `version` of the embedder if it is on one; without a
    section, there is nothing to say. It replaces those of earlier versions, unless the asset is not made for `every`
    version."""
    found = []
    if section:
        packed = zlib.compress(json.dumps(asdict(section)).encode())
        found.append({"asset": asset, "embedder": version, "section": packed})
    return Part(SECTIONS, pa.Table.from_pylist(found, schema=_SCHEMA), asset if every else f"{asset}-{version}")


def read_sections(lake: Lake) -> dict[str, Section]:
    """Return by asset the section on the serving embedder; where there is none, the most recent one, which says how old
    it is."""
    stored = lake.read_table(SECTIONS)
    kept: dict[str, dict[str | None, bytes]] = {}
    for row in stored.to_pylist() if stored else ():
        kept.setdefault(row["asset"], {})[row["embedder"]] = row["section"]
    found = {}
    for asset, by_version in kept.items():
        version = version_shown(lake, [name for name in by_version if name is not None])
        packed = by_version.get(version["embedder"] if version else None)
        if packed is None:  # on versions that nothing is known of
            continue
        known = json.loads(zlib.decompress(packed))
        section = Section(**known | {"pictures": [Picture(**picture) for picture in known["pictures"]]})
        if version and not version["serving"]:
            when = f"As of {version['created_at']:%Y-%m-%d %H:%M} UTC, when there were {version['models']:,} models. "
            section = replace(section, says=when + section.says)
        found[asset] = section
    return found
