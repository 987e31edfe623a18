"""A section of the report, which the asset that made its table shows in the UI as well."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from warehouse.read import query

from .figures.style import markdown
from .workspace import Workspace


@dataclass(frozen=True)
class Picture:
    """A figure as a data URI, and what it shows for those who cannot see it.

    `svg` is the same figure as SVG markup, where pointing at its marks shows more: the report takes it instead.
    """

    uri: str
    alt: str
    svg: str = ""


@dataclass(frozen=True)
class Section:
    """One result: a sentence that says what it shows, pictures, tables, and where to query more."""

    title: str
    says: str
    pictures: list[Picture] = field(default_factory=list)
    tables: list[list[dict[str, Any]]] = field(default_factory=list)
    sql: str = ""
    ours: str = ""  # method whose rows stand out


def rows(workspace: Workspace, sql: str) -> list[dict[str, Any]]:
    """Of a query of the published warehouse."""
    return query(workspace.database, sql).to_pylist()


def of_serving(workspace: Workspace, table: str, columns: str = "*", rest: str = "") -> list[dict[str, Any]]:
    """Rows of one of the experiments' tables, of the serving embedder only; `rest` is SQL from WHERE on.

    Columns are those of the experiment's table, without `embedder`.
    """
    serving = f"(SELECT * EXCLUDE (embedder) FROM {table} SEMI JOIN serving USING (embedder))"
    return rows(workspace, f"SELECT {columns} FROM {serving} {rest}")


def latest(workspace: Workspace, table: str, columns: str = "*", rest: str = "") -> list[dict[str, Any]]:
    """As `of_serving`, of an experiment that is not repeated with every refresh: where the serving embedder has none,
    of the most recent one that has."""
    return rows(workspace, f"SELECT {columns} FROM (SELECT * EXCLUDE (embedder) FROM latest('{table}')) {rest}")


def as_of(workspace: Workspace, table: str) -> str:
    """A sentence on when and of how many models the rows of `latest` are; empty where they are of the serving
    embedder."""
    found = rows(
        workspace,
        f"SELECT created_at, models FROM embedders WHERE NOT serving AND embedder IN (SELECT embedder "
        f"FROM latest('{table}'))",
    )
    return "".join(
        f"As of {row['created_at']:%Y-%m-%d %H:%M} UTC, when there were {row['models']:,} models. " for row in found
    )


def refused(title: str, found: list[dict[str, Any]]) -> Section | None:
    """The section of an experiment that has nothing but the reason why it has no result; None where it has one."""
    if any(row["reason"] is None for row in found):
        return None
    reasons = sorted({row["reason"] for row in found})
    return Section(title, "Not possible here: " + "; ".join(reasons or ["not evaluated yet"]) + ".")


def shown(section: Section) -> dict[str, dg.MetadataValue]:
    """What the UI shows of a section: what it says, its pictures, and the query."""
    metadata: dict[str, dg.MetadataValue] = {"says": dg.MetadataValue.text(section.says)}
    for number, picture in enumerate(section.pictures):
        metadata["picture" if not number else f"picture_{number + 1}"] = dg.MetadataValue.md(markdown(picture.uri))
    if section.sql:
        metadata["sql"] = dg.MetadataValue.md(f"```sql\n{section.sql}\n```")
    return metadata
