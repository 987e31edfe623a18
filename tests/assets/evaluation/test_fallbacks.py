"""The figures of `fallbacks` follow from `routes`, `responses` and `model_similarity`, as a user can see in SQL."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from assets.embedding.embedder import embedder
from assets.embedding.question_embeddings import question_embeddings
from assets.embedding.serving import load_serving
from assets.evaluation.fallbacks import fallbacks, lost_points
from assets.evaluation.routing import routing
from assets.figures.sections import read_sections
from assets.inputs.workspace import Workspace
from assets.matrix.correctness_matrix import build_correctness_matrix
from embedder.metrics import bootstrap_interval
from warehouse.database.read import query

# Shares on the train split are drawn to the overall share as if by five more answers.
RECOMPUTED = """
WITH rates AS (
    SELECT model, (sum(correct::INT) + 5 * any_value(overall)) / (count(*) + 5) AS rate
    FROM responses JOIN questions USING (question_id),
        (SELECT avg(correct::INT) AS overall FROM responses JOIN questions USING (question_id) WHERE split = 'train')
    WHERE split = 'train' GROUP BY model
), outages AS (
    SELECT r.model, r.question_id, r.correct::INT AS before, o.correct::INT AS after, distance, rate
    FROM routes r
    JOIN responses o ON o.question_id = r.question_id AND o.model <> r.model
    JOIN model_similarity s ON s.model = r.model AND s.other = o.model
    JOIN rates ON rates.model = o.model
    WHERE method = 'router'
), replaced AS (
    SELECT model, question_id, any_value(before) AS before, arg_min(after, distance) AS nearest,
        arg_max(after, rate) AS best_single, avg(after) AS random
    FROM outages GROUP BY ALL
), unpivoted AS (
    UNPIVOT (SELECT model, before, nearest::DOUBLE AS nearest, best_single::DOUBLE AS best_single, random FROM replaced)
    ON nearest, best_single, random INTO NAME method VALUE after
)
SELECT coalesce(model, 'all') AS model, method, count(*) AS n, avg(before) AS accuracy_before, avg(after) AS accuracy,
    avg(before - after) AS loss
FROM unpivoted GROUP BY GROUPING SETS ((model, method), (method)) ORDER BY ALL
"""


@pytest.fixture
def evaluated(
    workspace: Workspace, answer: Callable[..., None], encoder: Any, materialize: Callable[..., dict[str, Any]]
) -> Workspace:
    """Four models that are right by chance, one of them not asked every question."""
    rng = np.random.default_rng(4)
    rates = {"sums": (0.4, 0.5, 0.9, 0.6), "trees": (0.5, 0.9, 0.3, 0.6)}
    for benchmark, questions in (("sums", 120), ("trees", 150)):
        for model, share in zip(("ash", "elm", "oak", "yew"), rates[benchmark], strict=True):
            grades = "".join("1" if number < share else "0" for number in rng.random(questions))
            answer(benchmark, model, grades[:-60] + "-" * 60 if model == "ash" else grades)
    materialize(build_correctness_matrix(workspace.registry), question_embeddings, embedder, routing, fallbacks)
    return workspace


def test_every_figure_is_recomputed(evaluated: Workspace) -> None:
    _assert_recomputed_from_routes_and_answers(evaluated)
    _assert_next_choice_recomputed_question_by_question(evaluated)
    _assert_section_says_what_the_table_does(evaluated)


def _assert_recomputed_from_routes_and_answers(evaluated: Workspace) -> None:
    columns = "model, method, n, accuracy_before, accuracy, loss"
    recorded = query(
        evaluated.database, f"SELECT {columns} FROM fallbacks WHERE method <> 'reroute' ORDER BY ALL"
    ).to_pylist()
    assert len(recorded) >= 9  # all and at least two models, each in three ways
    recomputed = query(evaluated.database, RECOMPUTED).to_pylist()
    assert recomputed == [pytest.approx(row, abs=1e-6) for row in recorded]


def _assert_next_choice_recomputed_question_by_question(evaluated: Workspace) -> None:
    served = load_serving(evaluated)
    scores = served.embedder.routing_scores(served.test_questions)
    before, after = [], []
    for labels, ranked in zip(served.matrix.of_split("test").labels, np.argsort(-scores, axis=1), strict=True):
        first, second = [model for model in ranked if not np.isnan(labels[model])][:2]
        before.append(labels[first])
        after.append(labels[second])
    (row,) = query(evaluated.database, "FROM fallbacks WHERE model = 'all' AND method = 'reroute'").to_pylist()
    lost, right = np.subtract(before, after, dtype=float), np.array(after, float)
    assert (row["accuracy"], row["loss"]) == pytest.approx((right.mean(), lost.mean()), abs=1e-6)
    for values, ends in ((right, ("ci_low", "ci_high")), (lost, ("loss_low", "loss_high"))):
        interval = bootstrap_interval(values, np.ones(len(values)), seed=evaluated.seed)
        assert interval == pytest.approx([row[end] for end in ends], abs=1e-6)


def _assert_section_says_what_the_table_does(evaluated: Workspace) -> None:
    shown = read_sections(evaluated.lake)["fallbacks"]
    found = {row["method"]: row for row in shown.tables[0]}
    assert f"{found['reroute']['accuracy']:.1%} would be answered right by the router's next choice" in shown.says
    assert f"{found['nearest']['accuracy']:.1%} by the model with the nearest embedding" in shown.says
    assert {row["n"] for row in shown.tables[0]} == {sum(row["n"] for row in shown.tables[1])}
    assert shown.pictures[0].uri.startswith("data:image/png;base64,")
    assert query(evaluated.database, shown.sql).num_rows == len(shown.tables[1])


def test_a_loss_without_interval_is_drawn() -> None:
    row = {"method": "nearest", "accuracy_before": 1.0, "loss": 0.0, "loss_low": None, "loss_high": None}
    assert lost_points([row]).uri.startswith("data:image/png;base64,")
