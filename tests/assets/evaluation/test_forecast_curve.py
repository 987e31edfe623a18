"""The curve ends where `forecasts` is, and its section says what it shows, whoever wins."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from assets.embedding.embedder import embedder
from assets.evaluation.forecast_curve import METHODS, describe, forecast_curve
from assets.evaluation.forecasts import forecasts
from assets.figures.sections import read_sections
from assets.inputs.workspace import Workspace
from embedder.downstream.forecast_curve import FORECAST_CURVE
from warehouse.database.read import query


@pytest.fixture
def evaluated(fill: Callable[..., Workspace], guess: Callable[[], None]) -> Workspace:
    """With more than 100 training questions."""
    return fill("forecast curve", guess, embedder, forecast_curve)


def test_the_last_point_is_that_of_forecasts(evaluated: Workspace, materialize: Callable[..., dict[str, Any]]) -> None:
    materialize(forecasts)
    columns = "method, n, accuracy, ci_low, ci_high, log_loss"
    curve = query(
        evaluated.database,
        f"SELECT {columns} FROM forecast_curve "
        "WHERE questions = (SELECT count(*) FROM questions WHERE split = 'train') ORDER BY method",
    ).to_pylist()
    whole = query(
        evaluated.database,
        f"SELECT {columns} FROM forecasts WHERE benchmark = 'all' AND method <> 'majority' ORDER BY method",
    ).to_pylist()
    assert {row["method"] for row in curve} == set(METHODS)
    assert curve == [pytest.approx(row, abs=1e-6) for row in whole]


def test_all_methods_in_every_draw(evaluated: Workspace) -> None:
    rows = query(
        evaluated.database,
        "SELECT questions, draw, list(method ORDER BY method) AS methods FROM forecast_curve GROUP BY ALL",
    ).to_pylist()
    assert all(row["methods"] == sorted(METHODS) for row in rows)
    assert sorted((row["questions"], row["draw"]) for row in rows)[:5] == [(100, draw) for draw in range(5)]
    assert len(rows) == 6


def test_the_section_has_pictures_tables_and_sql(evaluated: Workspace) -> None:
    shown = read_sections(evaluated.lake)["forecast_curve"]
    assert len(shown.pictures) == 2
    accuracy, loss, paper = shown.tables
    by_hand = query(
        evaluated.database,
        "SELECT avg(accuracy) AS accuracy, avg(log_loss) AS loss FROM forecast_curve "
        "WHERE questions = 100 AND method = 'model_benchmark_mean'",
    ).to_pylist()[0]
    assert accuracy[0]["model benchmark mean"] == pytest.approx(by_hand["accuracy"])
    assert loss[0]["model benchmark mean"] == pytest.approx(by_hand["loss"])
    assert [row["draws"] for row in accuracy] == [5, 1]
    assert paper[0] == {"paper's accuracy by training questions": 1000, "mf": 0.6443, "knn": 0.6372}
    assert query(evaluated.database, shown.sql.removesuffix(";")).num_rows == 2 * len(METHODS)


def curve_of(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([{"draw": 0} | row for row in rows], schema=FORECAST_CURVE)


def test_the_sentence_is_true_whoever_wins() -> None:
    """The best baseline is knn, 60% with any number of questions."""
    others = {**dict.fromkeys(METHODS, 0.4), "knn": 0.6}
    knn = "and the best of the baselines, knn, 60.0%, which the embedder"
    for ours, said in (
        (
            {100: 0.5, 250: 0.65, 300: 0.7},
            f"70.0% of the answers right (with 100, 50.0%), {knn} reaches with 250 of them.",
        ),
        (
            {100: 0.5, 250: 0.55, 300: 0.6},
            f"60.0% of the answers right (with 100, 50.0%), {knn} reaches with all of them.",
        ),
        ({100: 0.5, 300: 0.55}, f"55.0% of the answers right (with 100, 50.0%), {knn} misses with all of them."),
        (
            {80: 0.7},
            f"With all 80 training questions the embedder forecasts 70.0% of the answers right, {knn} reaches with all",
        ),
    ):
        rows = [
            {"method": method, "questions": n, "accuracy": accuracy if method == "embedder" else others[method]}
            for n, accuracy in ours.items()
            for method in METHODS
        ]
        shown = describe(curve_of([{"n": 10, "log_loss": 0.5} | row for row in rows]))
        assert said in shown.says
        assert len(shown.pictures) == 2  # without a single interval


def test_the_reason_why_there_is_no_curve() -> None:
    reason = {"method": "embedder", "questions": 80, "reason": "no test question has an answer"}
    assert describe(curve_of([reason])).says == "Not possible here: no test question has an answer."
