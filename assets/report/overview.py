"""The report's first and last section: what was answered, and what could not be evaluated."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from assets.figures.heatmaps import correctness_heatmap
from assets.figures.sections import Picture, Section
from assets.inputs.workspace import Workspace
from embedder.matrix import CorrectnessMatrix
from warehouse.database.read import query


def facts(workspace: Workspace) -> str:
    """How much there is, in a line."""
    (row,) = _rows(
        workspace,
        "SELECT (SELECT count(*) FROM models) AS models, count(DISTINCT benchmark) AS benchmarks, "
        "count(*) AS questions, (SELECT count(*) FROM responses) AS responses FROM questions",
    )
    return (
        f"{row['models']} models, {row['benchmarks']} benchmarks, {row['questions']:,} questions, "
        f"{row['responses']:,} graded answers. Question encoder {workspace.encoder}, seed {workspace.seed}."
    )


def describe_answers(matrix: CorrectnessMatrix) -> Section:
    """Return the section on who answered what, but for the best models: these the report looks up."""
    return Section(
        "What was answered",
        f"{matrix.observed.mean():.0%} of the correctness matrix is filled; a right answer was given in "
        f"{np.nanmean(matrix.labels):.1%} of the cases. The best models, each over the questions it was asked:",
        [Picture(correctness_heatmap(matrix), "heat map of accuracy by benchmark and model")],
        sql="SELECT model, accuracy, ci_low, ci_high, n FROM leaderboard\n"
        "WHERE benchmark = 'all' ORDER BY accuracy DESC, model LIMIT 10;",
    )


def add_best(answers: Section, workspace: Workspace) -> Section:
    """The section on the answers, with the best models in the published warehouse."""
    return replace(answers, tables=[_rows(workspace, answers.sql)])


def failed(workspace: Workspace) -> list[Section]:
    """What could not be evaluated, where there is any."""
    found = _rows(
        workspace,
        "SELECT model, benchmark, kind, reason FROM failures "
        "SEMI JOIN models USING (model) SEMI JOIN benchmarks USING (benchmark) "  # not of what is no longer registered
        "ORDER BY model, benchmark LIMIT 50",
    )
    if not found:
        return []
    return [Section("What could not be evaluated", "These count as not asked, never as wrong.", tables=[found])]


def _rows(workspace: Workspace, sql: str) -> list[dict[str, Any]]:
    return query(workspace.database, sql).to_pylist()
