"""The report's first and last section: what was answered, and what could not be evaluated."""

from __future__ import annotations

import numpy as np

from .figures.heatmaps import correctness_heatmap
from .inputs import correctness
from .sections import Picture, Section, rows
from .workspace import Workspace


def facts(workspace: Workspace) -> str:
    """How much there is, in a line."""
    (row,) = rows(
        workspace,
        "SELECT (SELECT count(*) FROM models) AS models, count(DISTINCT benchmark) AS benchmarks, "
        "count(*) AS questions, (SELECT count(*) FROM responses) AS responses FROM questions",
    )
    return (
        f"{row['models']} models, {row['benchmarks']} benchmarks, {row['questions']:,} questions, "
        f"{row['responses']:,} graded answers. Question encoder {workspace.encoder}, seed {workspace.seed}."
    )


def answered(workspace: Workspace) -> Section:
    """Who answered what, and who is best."""
    matrix = correctness(workspace)
    top = (
        "SELECT model, accuracy, ci_low, ci_high, n FROM leaderboard\n"
        "WHERE benchmark = 'all' ORDER BY accuracy DESC LIMIT 10"
    )
    return Section(
        "What was answered",
        f"{matrix.observed.mean():.0%} of the correctness matrix is filled; a right answer was given in "
        f"{np.nanmean(matrix.labels):.1%} of the cases. The best models, each over the questions it was asked:",
        [Picture(correctness_heatmap(matrix), "heat map of accuracy by benchmark and model")],
        [rows(workspace, top)],
        top + ";",
    )


def failed(workspace: Workspace) -> list[Section]:
    """What could not be evaluated, where there is any."""
    found = rows(
        workspace,
        "SELECT model, benchmark, kind, reason FROM failures "
        "SEMI JOIN models USING (model) SEMI JOIN benchmarks USING (benchmark) "  # not of what is no longer registered
        "ORDER BY model, benchmark LIMIT 50",
    )
    if not found:
        return []
    return [Section("What could not be evaluated", "These count as not asked, never as wrong.", tables=[found])]
