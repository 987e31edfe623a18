"""The figures of `difficulty` follow from `question_difficulty`, and that from `predictions` and `responses`."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from assets.evaluation.difficulty import difficulty
from assets.evaluation.forecasts import forecasts
from assets.figures.difficulty import difficulty_map
from assets.figures.sections import read_sections
from assets.inputs.workspace import Workspace
from warehouse.database.read import query

Answer = Callable[..., None]
Materialize = Callable[..., dict[str, Any]]

RECOMPUTED = """
WITH questioned AS (
    SELECT method, benchmark, question_id, count(*) AS n, avg(correct::INT) AS observed,
        avg(probability::DOUBLE) AS predicted
    FROM predictions JOIN responses USING (question_id, model)
    WHERE method IN ('embedder', 'knn') GROUP BY ALL
), means AS (
    SELECT r.benchmark, avg(correct::INT) AS predicted
    FROM responses r JOIN questions USING (question_id) WHERE split = 'train' GROUP BY ALL
), told AS (
    FROM questioned UNION ALL
    SELECT 'benchmark_mean', q.benchmark, question_id, n, observed, m.predicted
    FROM questioned q JOIN means m USING (benchmark) WHERE method = 'embedder'
), ranked AS (
    SELECT *, rank() OVER p + (count(*) OVER (PARTITION BY method, predicted) - 1) / 2 AS predicted_rank,
        rank() OVER o + (count(*) OVER (PARTITION BY method, observed) - 1) / 2 AS observed_rank
    FROM told
    WINDOW p AS (PARTITION BY method ORDER BY predicted), o AS (PARTITION BY method ORDER BY observed)
)
SELECT method, count(*) AS n, corr(predicted, observed) AS pearson, corr(predicted_rank, observed_rank) AS spearman,
    avg(abs(predicted - observed)) AS mae
FROM ranked GROUP BY method ORDER BY method
"""


@pytest.fixture
def evaluated(guessed: Workspace, materialize: Materialize) -> Workspace:
    materialize(forecasts, difficulty)
    return guessed


def test_every_figure_is_recomputed(evaluated: Workspace) -> None:
    _assert_recomputed_from_single_predictions(evaluated)
    _assert_benchmarks_recomputed_from_their_questions(evaluated)
    _assert_every_answered_test_question_is_told(evaluated)
    _assert_section_says_what_the_table_does(evaluated)


def _assert_recomputed_from_single_predictions(evaluated: Workspace) -> None:
    recorded = query(
        evaluated.database,
        "SELECT method, n, pearson, spearman, mae FROM difficulty WHERE benchmark = 'all' ORDER BY method",
    ).to_pylist()
    assert [row["method"] for row in recorded] == ["benchmark_mean", "embedder", "knn"]
    assert query(evaluated.database, RECOMPUTED).to_pylist() == [pytest.approx(row, abs=1e-6) for row in recorded]


def _assert_benchmarks_recomputed_from_their_questions(evaluated: Workspace) -> None:
    columns = "benchmark, count(*) AS n, corr(predicted, observed) AS pearson, avg(abs(predicted - observed)) AS mae"
    by_question = query(
        evaluated.database, f"SELECT {columns} FROM question_difficulty GROUP BY benchmark ORDER BY benchmark"
    ).to_pylist()
    recorded = query(
        evaluated.database,
        "SELECT benchmark, n, pearson, mae FROM difficulty WHERE method = 'embedder' AND benchmark <> 'all' "
        "ORDER BY benchmark",
    ).to_pylist()
    assert len(recorded) == 2
    assert by_question == [pytest.approx(row, abs=1e-6) for row in recorded]
    within = "SELECT pearson FROM difficulty WHERE method = 'benchmark_mean' AND benchmark <> 'all'"
    assert query(evaluated.database, within).to_pydict() == {"pearson": [None, None]}


def _assert_every_answered_test_question_is_told(evaluated: Workspace) -> None:
    answered = (
        "SELECT question_id, q.benchmark, count(*) AS n, avg(correct::INT) AS observed "
        "FROM responses JOIN questions q USING (question_id) WHERE split = 'test' GROUP BY ALL ORDER BY question_id"
    )
    recorded = "SELECT question_id, benchmark, n, observed FROM question_difficulty ORDER BY question_id"
    assert query(evaluated.database, recorded).to_pylist() == [
        pytest.approx(row) for row in query(evaluated.database, answered).to_pylist()
    ]


def _assert_section_says_what_the_table_does(evaluated: Workspace) -> None:
    shown = read_sections(evaluated.lake)["difficulty"]
    ours = next(row for row in shown.tables[0] if row["method"] == "embedder")
    assert f"is off by {100 * ours['mae']:.1f} points on average" in shown.says
    correlation = f"{ours['pearson']:.2f} for the embedder (95% interval {ours['pearson_low']:.2f} to"
    assert correlation in shown.says
    assert [row["benchmark"] for row in shown.tables[1]] == ["sums", "trees"]
    assert shown.pictures[0].uri.startswith("data:image/png;base64,")
    assert query(evaluated.database, shown.sql).num_rows == 5


def test_few_questions_are_drawn() -> None:
    assert difficulty_map(np.array([0.5]), np.array([1.0]), seed=0).uri.startswith("data:image/png;base64,")
