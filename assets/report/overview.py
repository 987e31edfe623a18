"""The report's head, its first and its last section: what it is about, what was answered, and what failed."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.metadata import distribution
from typing import Any

from assets.figures.sections import Section
from assets.figures.style import parameters
from assets.inputs.workspace import Workspace
from warehouse.database.connect import identifier, literal
from warehouse.database.read import query

MOST_BENCHMARKS = 40  # that have a column
FAILURES = """
    SELECT model, benchmark, kind, reason FROM failures
    SEMI JOIN models USING (model) SEMI JOIN benchmarks USING (benchmark)  -- not of what is no longer registered
    ORDER BY model, benchmark LIMIT 500"""


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


def origin(workspace: Workspace) -> dict[str, str]:
    """Return what the report was made from, by what it is called."""
    (info,) = _rows(workspace, "SELECT published_at FROM warehouse_info")
    versions = _rows(workspace, "SELECT embedder, created_at, models, questions FROM embedders WHERE serving")
    described = {
        "Data of": f"{info['published_at']:%Y-%m-%d %H:%M} UTC",
        "Home": str(workspace.home),
        "Registry": str(workspace.registry.folder),
    }
    for row in versions:
        trained = f" of {row['created_at']:%Y-%m-%d %H:%M} UTC" if row["created_at"] else ""
        counts = f"{row['models'] or 0:,} models and {row['questions'] or 0:,} questions"
        described["Embedder"] = f"{row['embedder']}{trained}, trained on {counts}"
    return described | {"Program": _describe_program()}


def _describe_program() -> str:
    """Return which version of the program this is, and of which commit, where the installation says so."""
    installed = distribution("embedllm")
    source = json.loads(installed.read_text("direct_url.json") or "{}")
    commit = source.get("vcs_info", {}).get("commit_id")
    return f"embedllm {installed.version}" + (f", commit {commit}" if commit else "")


def add_models(answers: Section, workspace: Workspace) -> Section:
    """Return the section on the answers with every model of the published warehouse, the best first."""
    benchmarks = [row["benchmark"] for row in _rows(workspace, "SELECT DISTINCT benchmark FROM questions ORDER BY ALL")]
    shown = benchmarks if len(benchmarks) <= MOST_BENCHMARKS else []
    each = "".join(
        f", any_value(accuracy) FILTER (benchmark = {literal(name)}) AS {identifier(name)}" for name in shown
    )
    rows = _rows(
        workspace,
        f"""SELECT model, any_value(family) AS family, any_value(size_b) AS parameters,
            any_value(n) FILTER (benchmark = 'all') AS n, any_value(accuracy) FILTER (benchmark = 'all') AS accuracy,
            any_value(ci_low) FILTER (benchmark = 'all') AS ci_low,
            any_value(ci_high) FILTER (benchmark = 'all') AS ci_high{each}
        FROM leaderboard LEFT JOIN models USING (model) GROUP BY model ORDER BY accuracy DESC, model""",
    )
    for row in rows:
        row["parameters"] = row["parameters"] and parameters(row["parameters"])
    return replace(answers, tables=[rows])


def failed(workspace: Workspace) -> list[Section]:
    """Return a section on what could not be evaluated, where there is any."""
    found = _rows(workspace, FAILURES)
    if not found:
        return []
    return [Section("What could not be evaluated", "These count as not asked, never as wrong.", tables=[found])]


def _rows(workspace: Workspace, sql: str) -> list[dict[str, Any]]:
    return query(workspace.database, sql).to_pylist()
