"""Every figure of `forecasts` follows from `predictions` and `responses`, as a user can see in SQL."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from assets.embedding.embedder import embedder
from assets.evaluation.forecasts import describe, forecasts
from assets.figures.sections import read_sections
from assets.inputs.workspace import Workspace
from embedder.downstream.forecast import FORECASTS, RELIABILITY
from embedder.metrics import bootstrap_interval
from warehouse.database.read import query

METHODS = {"embedder", "mf", "knn", "model_benchmark_mean", "model_mean", "majority"}

# The AUC is the share of pairs of a right and a wrong answer in which the right one has the higher probability.
RECOMPUTED = """
WITH told AS (
    SELECT method, benchmark, probability::DOUBLE AS p, correct::INT AS y
    FROM predictions JOIN responses USING (question_id, model)
), everywhere AS (
    FROM told UNION ALL SELECT method, 'all', p, y FROM told
), ranked AS (
    SELECT *, rank() OVER below + (count(*) OVER ties - 1) / 2 AS place, least(floor(p * 15), 14) AS bin
    FROM everywhere
    WINDOW below AS (PARTITION BY method, benchmark ORDER BY p), ties AS (PARTITION BY method, benchmark, p)
), bins AS (
    SELECT method, benchmark, abs(sum(p - y)) AS gap FROM ranked GROUP BY method, benchmark, bin
), calibrated AS (
    SELECT method, benchmark, sum(gap) AS gap FROM bins GROUP BY ALL
)
SELECT method, benchmark, count(*) AS n, avg(((p >= 0.5) = (y = 1))::INT) AS accuracy,
    CASE WHEN sum(y) BETWEEN 1 AND count(*) - 1
        THEN (sum(place * y) - sum(y) * (sum(y) + 1) / 2) / (sum(y) * sum(1 - y)) END AS auc,
    -avg(ln(greatest(least(if(y = 1, p, 1 - p), 1 - 1e-6), 1e-6))) AS log_loss,
    avg((p - y) ** 2) AS brier, any_value(gap) / count(*) AS ece
FROM ranked JOIN calibrated USING (method, benchmark)
GROUP BY ALL ORDER BY ALL
"""
HITS = """
SELECT count(*) FILTER ((probability >= 0.5) = correct) AS hits, count(*) AS asked
FROM predictions p JOIN responses r USING (question_id, model)
WHERE method = '{method}' AND '{benchmark}' IN (benchmark, 'all')
GROUP BY benchmark, question_id ORDER BY benchmark, question_id
"""


@pytest.fixture
def evaluated(fill: Callable[..., Workspace], guess: Callable[[], None]) -> Workspace:
    return fill("forecasts", guess, embedder, forecasts)


def test_all_is_recomputed_from_single_predictions(evaluated: Workspace) -> None:
    columns = "method, benchmark, n, accuracy, auc, log_loss, brier, ece"
    recorded = query(evaluated.database, f"SELECT {columns} FROM forecasts ORDER BY ALL").to_pylist()
    assert {row["method"] for row in recorded} == METHODS
    assert {row["benchmark"] for row in recorded} == {"all", "sums", "trees"}
    recomputed = query(evaluated.database, RECOMPUTED).to_pylist()
    assert recomputed == [pytest.approx(row, abs=1e-6) for row in recorded]


def test_so_are_the_intervals_question_by_question(evaluated: Workspace) -> None:
    for row in query(evaluated.database, "FROM forecasts").to_pylist():
        hits = query(evaluated.database, HITS.format(**row)).to_pydict()
        interval = bootstrap_interval(np.array(hits["hits"]), np.array(hits["asked"]), seed=evaluated.seed)
        assert interval == pytest.approx((row["ci_low"], row["ci_high"]), abs=1e-6)


def test_what_stands_beside_a_prediction(evaluated: Workspace) -> None:
    """The version that serves; of test questions only, and of every answer to one; intervals where there are any."""
    rows = query(
        evaluated.database,
        "SELECT p.method, serving, count(*) = (SELECT count(*) FROM responses JOIN questions USING (question_id) "
        "WHERE split = 'test') AS complete, bool_and(split = 'test') AS test_only, "
        "bool_and(low < probability AND probability < high) AS inside, count(low) = count(high) AS both "
        "FROM predictions p JOIN embedders USING (embedder) JOIN questions USING (question_id) GROUP BY ALL",
    ).to_pylist()
    told = {row.pop("method"): row for row in rows}
    expected = {"serving": True, "complete": True, "test_only": True, "both": True}
    assert told == {name: expected | {"inside": True if name == "embedder" else None} for name in METHODS}


def test_only_the_serving_versions_predictions_are_kept(
    evaluated: Workspace, answer: Callable[..., None], materialize: Callable[..., dict[str, Any]]
) -> None:
    answer("sums", "yew", "10" * 60)
    version = materialize(embedder)["version"]
    materialize(forecasts)
    versions = "SELECT DISTINCT embedder FROM {} ORDER BY embedder"
    assert query(evaluated.database, versions.format("predictions")).to_pylist() == [{"embedder": version}]
    assert query(evaluated.database, versions.format("history.forecasts")).num_rows == 2
    assert query(evaluated.database, versions.format("forecasts")).to_pylist() == [{"embedder": version}]


BINS = """
WITH told AS (
    SELECT method, probability::DOUBLE AS p, correct::INT AS y
    FROM predictions JOIN responses USING (question_id, model)
)
SELECT method, least(floor(p * 15), 14)::INT AS bin, count(*) AS n, avg(p) AS probability, avg(y) AS accuracy
FROM told GROUP BY ALL ORDER BY ALL
"""
OF_A_BIN = """
SELECT count(*) FILTER (correct) AS hits, count(*) AS asked
FROM predictions JOIN responses USING (question_id, model)
WHERE method = '{method}' AND least(floor(probability::DOUBLE * 15), 14) = {bin}
GROUP BY question_id
"""


def test_so_is_the_reliability(evaluated: Workspace) -> None:
    columns = "method, bin, n, probability, accuracy"
    recorded = query(evaluated.database, f"SELECT {columns} FROM reliability ORDER BY ALL").to_pylist()
    assert {row["method"] for row in recorded} == METHODS
    assert query(evaluated.database, BINS).to_pylist() == [pytest.approx(row, abs=1e-6) for row in recorded]


def test_intervals_of_the_bins(evaluated: Workspace) -> None:
    """As of a bootstrap of the bin's questions alone, but for the draw."""
    for row in query(evaluated.database, "FROM reliability").to_pylist():
        found = query(evaluated.database, OF_A_BIN.format(**row)).to_pydict()
        interval = bootstrap_interval(np.array(found["hits"]), np.array(found["asked"]), seed=1)
        if interval is None:
            assert (row["ci_low"], row["ci_high"]) == (None, None)
        elif len(found["hits"]) >= 10:
            assert interval == pytest.approx((row["ci_low"], row["ci_high"]), abs=0.05)


@pytest.mark.parametrize(
    ("ours", "said"),
    [
        (0.912, "91.2% of the time, 21.2 percentage points more than the best of the baselines, knn, with 70.0%"),
        (0.7, "70.0% of the time, as often as the best of the baselines, knn, with 70.0%"),
        (0.6, "60.0% of the time, 10.0 percentage points less than the best of the baselines, knn, with 70.0%"),
    ],
)
def test_the_section_says_who_wins(ours: float, said: str) -> None:
    accuracy = dict.fromkeys(METHODS, 0.5) | {"knn": 0.7, "embedder": ours}
    rows = [
        {"method": method, "benchmark": "all", "n": 10, "accuracy": share, "log_loss": 0.5, "brier": 0.2, "ece": 0.1}
        for method, share in accuracy.items()
    ]
    bins = [{"method": method, "bin": 7, "n": 10, "probability": 0.5, "accuracy": 0.5} for method in METHODS]
    shown = describe(pa.Table.from_pylist(rows, schema=FORECASTS), pa.Table.from_pylist(bins, schema=RELIABILITY))
    assert said in shown.says
    assert len(shown.pictures) == 2


def test_the_queries_of_the_section_have_rows(evaluated: Workspace) -> None:
    for statement in read_sections(evaluated.lake)["forecasts"].sql.split(";")[:-1]:
        assert query(evaluated.database, statement).num_rows


def test_without_test_answers_the_section_gives_the_reason() -> None:
    row = {"method": "embedder", "benchmark": "all", "n": 0, "reason": "no test question"}
    shown = describe(pa.Table.from_pylist([row], schema=FORECASTS), RELIABILITY.empty_table())
    assert shown.says == "Not possible here: no test question."
