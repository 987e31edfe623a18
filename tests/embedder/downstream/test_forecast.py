import numpy as np
import pytest

from embedder.downstream.forecast import FORECASTS, forecast


@pytest.fixture
def matrix(make_matrix):
    """Four test questions of two benchmarks and a training question; one test question was put to nobody."""
    return make_matrix(
        [[1, 0], [1, None], [0, 0], [None, None], [1, 1]],
        splits=["test", "test", "test", "test", "train"],
        benchmarks=["a", "a", "b", "b", "c"],
    )


def rows(table):
    return {(row["method"], row["benchmark"]): row for row in table.to_pylist()}


def test_test_cells_only_by_benchmark_and_all(matrix):
    high = np.full((5, 2), 0.75)
    table = forecast(matrix, {"embedder": high, "majority": 1 - high}, "v1")
    assert table.schema == FORECASTS
    found = rows(table)
    assert list(found) == [(m, b) for m in ("embedder", "majority") for b in ("all", "a", "b")]
    assert found["embedder", "all"]["n"] == 5
    assert found["embedder", "all"]["accuracy"] == pytest.approx(2 / 5)
    assert found["embedder", "a"]["n"] == 3
    assert found["embedder", "a"]["accuracy"] == pytest.approx(2 / 3)
    assert found["embedder", "b"]["accuracy"] == 0
    assert found["majority", "b"]["accuracy"] == 1
    assert found["embedder", "all"]["brier"] == pytest.approx((2 * 0.0625 + 3 * 0.5625) / 5)
    assert found["embedder", "all"]["ece"] == pytest.approx(0.75 - 2 / 5)
    assert {row["embedder"] for row in found.values()} == {"v1"}


def test_no_interval_below_two_questions_no_auc_of_one_class(matrix):
    found = rows(forecast(matrix, {"embedder": np.full((5, 2), 0.75)}, "v1"))
    assert found["embedder", "b"]["ci_low"] is None
    assert found["embedder", "b"]["auc"] is None
    assert found["embedder", "a"]["auc"] == 0.5
    assert found["embedder", "a"]["ci_low"] <= 2 / 3 <= found["embedder", "a"]["ci_high"]


def test_seeded(planted):
    matrix, _ = planted
    predictions = {"embedder": np.random.default_rng(0).random(matrix.labels.shape)}
    assert forecast(matrix, predictions, "v", seed=1) == forecast(matrix, predictions, "v", seed=1)


def test_no_test_answers_no_rows(make_matrix):
    matrix = make_matrix([[1], [None]], splits=["train", "test"])
    assert forecast(matrix, {"embedder": np.full((2, 1), 0.5)}, "v").num_rows == 0


def test_an_answer_without_prediction_is_refused(matrix):
    predictions = np.full((5, 2), 0.75)
    predictions[0, 0] = np.nan
    with pytest.raises(ValueError, match="not between 0 and 1"):
        forecast(matrix, {"embedder": predictions}, "v1")
