"""How hard unseen questions are, predicted and observed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import pyarrow as pa

from assets.embedding.serving import Serving
from assets.figures.difficulty import difficulty_map
from assets.figures.sections import Picture, Section, pivot, refused, rows

from .experiment import Result, experiment, overall_figures

TITLE = "How hard is a new question?"
NAMES = {"embedder": "the embedder", "knn": "KNN", "benchmark_mean": "the mean of its benchmark"}


def tabulate_difficulty(serving: Serving, seed: int) -> Result:
    """A row is how well a method predicts the share of models that answer a test question right;
    `question_difficulty` has every question."""
    from embedder.downstream.difficulty import predict_difficulty

    by_method = {"embedder": serving.test_forecast, "knn": serving.knn_test_forecast}
    table, questions = predict_difficulty(serving.matrix, by_method, serving.version, seed=seed)
    tables = {"difficulty": table, "question_difficulty": questions}
    return Result(tables, describe(table, questions, seed), overall_figures(table, "pearson"))


difficulty = experiment(
    tabulate_difficulty, name="difficulty", kinds={"scipy"}, code_version="3", latest_only=["question_difficulty"]
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
    by_benchmark = rows(
        {"difficulty": difficulty},
        f"SELECT benchmark, any_value(n) AS n, {pivot('pearson', 'embedder', 'knn', prefix='pearson_')}, "
        f"{pivot('mae', 'embedder', 'knn', 'benchmark_mean', prefix='mae_')} "
        "FROM difficulty WHERE benchmark <> 'all' GROUP BY benchmark ORDER BY benchmark",
    )
    by_method = {row["method"]: row for row in overall}
    correlations = []
    for method, name in NAMES.items():
        row = by_method[method]
        if row["pearson"] is not None:
            correlation = f"{row['pearson']:.2f} for {name}"
            if row["pearson_low"] is not None:
                correlation += f" (95% interval {row['pearson_low']:.2f} to {row['pearson_high']:.2f})"
            correlations.append(correlation)
    correlated = "It does not vary, so nothing can correlate with it."
    if correlations:
        correlated = f"The correlation of predicted and observed shares is {', '.join(correlations)}."
    correlated += _tell_within(by_benchmark)
    questions = question_difficulty.sort_by("question_id")
    picture = difficulty_map(questions["predicted"].to_numpy(), questions["observed"].to_numpy(), seed=seed)
    return Section(
        TITLE,
        "Before any model is asked, the embedder predicts the share of models that will answer each of "
        f"{by_method['embedder']['n']:,} test questions right, and is off by "
        f"{100 * by_method['embedder']['mae']:.1f} points on average. {correlated}",
        [Picture.of(picture, "share of right answers to test questions, observed against predicted")],
        [overall, by_benchmark],
        "SELECT benchmark, predicted, observed, n, text FROM question_difficulty JOIN questions USING (question_id, "
        "benchmark)\nORDER BY predicted LIMIT 5;",
        "embedder",
    )


def _tell_within(by_benchmark: Sequence[Mapping[str, Any]]) -> str:
    """Return a sentence on how much of that is left where questions of one benchmark are compared: pooled, it is enough
    to know which benchmarks are hard."""
    within = sorted(
        (row["pearson_embedder"], row["benchmark"]) for row in by_benchmark if row["pearson_embedder"] is not None
    )
    if len(by_benchmark) < 2 or not within:
        return ""
    (least, hardest), (most, easiest) = within[0], within[-1]
    below = sum(correlation < 0.1 for correlation, _ in within)
    return (
        f" Pooled like this, it is partly about which benchmarks are hard: among the questions of one benchmark, the "
        f"embedder's correlation goes from {least:.2f} ({hardest}) to {most:.2f} ({easiest}), with a median of "
        f"{median(correlation for correlation, _ in within):.2f}; on {below} of {len(within)} it is below 0.10."
    )
