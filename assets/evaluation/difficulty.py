"""How hard unseen questions are, foretold and found."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from assets.embedding.serving import Serving
from assets.figures.difficulty import difficulty_map
from assets.figures.sections import Picture, Section, refused, rows

from .experiment import Result, experiment

TITLE = "How hard is a new question?"


def tabulate_difficulty(serving: Serving, seed: int) -> Result:
    """A row is how well a method foretells the share of models that answer a test question right;
    `question_difficulty` has every question."""
    from embedder.downstream.difficulty import predict_difficulty

    by_method = {"embedder": serving.test_forecast, "knn": serving.knn_test_forecast}
    table, questions = predict_difficulty(serving.matrix, by_method, serving.version, seed=seed)
    overall = [row for row in table.to_pylist() if row["benchmark"] == "all" and row["pearson"] is not None]
    return Result(
        {"difficulty": table, "question_difficulty": questions},
        describe(table, questions, seed),
        {f"pearson_{row['method']}": round(row["pearson"], 4) for row in overall},
    )


difficulty = experiment(
    tabulate_difficulty, name="difficulty", kinds={"scipy"}, code_version="2", latest_only=["question_difficulty"]
)


def describe(difficulty: pa.Table, question_difficulty: pa.Table, seed: int) -> Section:
    """Return the report's section on these tables."""
    overall = rows(
        {"difficulty": difficulty},
        "SELECT method, n, pearson, pearson_low, pearson_high, spearman, mae, reason FROM difficulty "
        "WHERE benchmark = 'all' ORDER BY pearson DESC, method",
    )
    if reason := refused(TITLE, overall):
        return reason
    questions = question_difficulty.sort_by("question_id")
    predicted, observed = (questions[name].to_numpy() for name in ("predicted", "observed"))
    by_benchmark = rows(
        {"difficulty": difficulty},
        "SELECT benchmark, any_value(n) AS n, any_value(pearson) FILTER (method = 'embedder') AS pearson_embedder, "
        "any_value(pearson) FILTER (method = 'knn') AS pearson_knn, "
        + ", ".join(
            f"any_value(mae) FILTER (method = '{method}') AS mae_{method}"
            for method in ("embedder", "knn", "benchmark_mean")
        )
        + " FROM difficulty WHERE benchmark <> 'all' GROUP BY benchmark ORDER BY benchmark",
    )
    return Section(
        TITLE,
        _says({row["method"]: row for row in overall}),
        [
            Picture(
                difficulty_map(predicted, observed, seed=seed),
                "share of right answers to test questions, observed against predicted",
            )
        ],
        [overall, by_benchmark],
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
