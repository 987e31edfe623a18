"""The report's first and last section: what was answered, and what could not be evaluated."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from assets.figures.sections import Section
from assets.inputs.workspace import Workspace
from warehouse.database.read import query


def facts(workspace: Workspace) -> str:
    """Return in a line how much there is."""
    (row,) = _rows(
        workspace,
        "SELECT (SELECT count(*) FROM models) AS models, count(DISTINCT benchmark) AS benchmarks, "
        "count(*) AS questions, (SELECT count(*) FROM responses) AS responses FROM questions",
    )
    return (
        f"{row['models']} models, {row['benchmarks']} benchmarks, {row['questions']:,} questions, "
        f"{row['responses']:,} graded answers. Question encoder {workspace.encoder}, seed {workspace.seed}."
    )


def add_best(answers: Section, workspace: Workspace) -> Section:
    """Return the section on the answers with the best models of the published warehouse."""
    return replace(answers, tables=[_rows(workspace, answers.sql)])


def failed(workspace: Workspace) -> list[Section]:
    """Return a section on what could not be evaluated, where there is any."""
    found = _rows(
        workspace,
        "SELECT model, benchmark, kind, reason FROM failures "
        "SEMI JOIN models USING (model) SEMI JOIN benchmarks USING (benchmark) "  # not of what is no longer registered
        "ORDER BY model, benchmark LIMIT 50",
    )
    if not found:
        return []
    return [
        Section(
            "What could not be evaluated",
            "These count as not asked, never as wrong.",
            tables=[found],
        )
    ]


def _rows(workspace: Workspace, sql: str) -> list[dict[str, Any]]:
    return query(workspace.database, sql).to_pylist()
