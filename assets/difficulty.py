"""How hard unseen questions are, foretold and found."""

from __future__ import annotations

from typing import Any

import numpy as np

from .figures.difficulty import difficulty_map
from .provenance import Made
from .recording import experiment, record
from .sections import Picture, Section, of_serving, refused
from .serving import load_serving
from .workspace import Workspace

TITLE = "How hard is a new question?"


@experiment(kinds={"scipy"}, code_version="1")
def difficulty(workspace: Workspace) -> Made:
    """A row is how well a method foretells the share of models that answer a test question right;
    `question_difficulty` has every question."""
    from embedder.downstream.difficulty import difficulty as foretold

    served = load_serving(workspace)
    by_method = {"embedder": served.test_forecast, "knn": served.knn_test_forecast}
    table, questions = foretold(served.matrix, by_method, served.version, seed=workspace.seed)
    overall = [row for row in table.to_pylist() if row["benchmark"] == "all" and row["pearson"] is not None]
    return record(
        workspace,
        served.version,
        {"difficulty": table, "question_difficulty": questions},
        {f"pearson_{row['method']}": round(row["pearson"], 4) for row in overall},
        section,
        latest_only=["question_difficulty"],
    )


def section(workspace: Workspace) -> Section:
    """Of the report."""
    rows = of_serving(
        workspace,
        "difficulty",
        "method, n, pearson, pearson_low, pearson_high, spearman, mae, reason",
        "WHERE benchmark = 'all' ORDER BY pearson DESC, method",
    )
    if reason := refused(TITLE, rows):
        return reason
    questions = of_serving(workspace, "question_difficulty", "predicted, observed", "ORDER BY question_id")
    predicted, observed = (np.array([row[name] for row in questions]) for name in ("predicted", "observed"))
    by_benchmark = of_serving(
        workspace,
        "difficulty",
        "benchmark, any_value(n) AS n, any_value(pearson) FILTER (method = 'embedder') AS pearson_embedder, "
        "any_value(pearson) FILTER (method = 'knn') AS pearson_knn, "
        + ", ".join(
            f"any_value(mae) FILTER (method = '{method}') AS mae_{method}"
            for method in ("embedder", "knn", "benchmark_mean")
        ),
        "WHERE benchmark <> 'all' GROUP BY benchmark ORDER BY benchmark",
    )
    return Section(
        TITLE,
        _says({row["method"]: row for row in rows}),
        [
            Picture(
                difficulty_map(predicted, observed, seed=workspace.seed),
                "share of right answers to test questions, observed against predicted",
            )
        ],
        [rows, by_benchmark],
        "SELECT benchmark, predicted, observed, n, text FROM question_difficulty JOIN questions USING (question_id, "
        "benchmark)\nORDER BY predicted LIMIT 5;",
        "embedder",
    )


def _says(rows: dict[str, dict[str, Any]]) -> str:
    ours = rows["embedder"]
    names = {"embedder": "the embedder", "knn": "KNN", "benchmark_mean": "the mean of its benchmark"}
    told = [
        f"{name} {rows[method]['pearson']:.2f}"
        + (
            f" (95% interval {rows[method]['pearson_low']:.2f} to {rows[method]['pearson_high']:.2f})"
            if rows[method]["pearson_low"] is not None
            else ""
        )
        for method, name in names.items()
        if rows[method]["pearson"] is not None
    ]
    correlation = (
        f"Correlation with it, by what foretells it: {', '.join(told)}. "
        if told
        else "It does not vary, so nothing can correlate with it. "
    )
    return (
        f"Before any model is asked, the embedder foretells the share of models that will answer each of {ours['n']:,} "
        f"test questions right, and is off by {100 * ours['mae']:.1f} points on average. {correlation}".strip()
    )
