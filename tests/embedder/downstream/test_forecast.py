import numpy as np
import pytest

from embedder.downstream.forecast import FORECASTS, PREDICTIONS, forecast
from embedder.predictor import Forecast


def said(probabilities, deviations=None):
    values = np.array(probabilities, np.float32)
    return Forecast(values, deviations, values)


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
    high = np.full((4, 2), 0.75)
    table, _ = forecast(matrix, {"embedder": said(high), "majority": said(1 - high)}, "v1")
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
    found = rows(forecast(matrix, {"embedder": said(np.full((4, 2), 0.75))}, "v1")[0])
    assert found["embedder", "b"]["ci_low"] is None
    assert found["embedder", "b"]["auc"] is None
    assert found["embedder", "a"]["auc"] == 0.5
    assert found["embedder", "a"]["ci_low"] <= 2 / 3 <= found["embedder", "a"]["ci_high"]


def test_seeded(planted):
    matrix, _ = planted
    predictions = {"embedder": said(np.random.default_rng(0).random(matrix.of_split("test").labels.shape))}
    assert forecast(matrix, predictions, "v", seed=1) == forecast(matrix, predictions, "v", seed=1)


def test_no_test_answers_no_rows(make_matrix):
    matrix = make_matrix([[1], [None]], splits=["train", "test"])
    table, predictions = forecast(matrix, {"embedder": said([[0.5]])}, "v")
    assert (table.num_rows, predictions.num_rows) == (0, 0)
    assert (table.schema, predictions.schema) == (FORECASTS, PREDICTIONS)


def test_an_answer_without_prediction_is_refused(matrix):
    with pytest.raises(ValueError, match="not between 0 and 1"):
        forecast(matrix, {"embedder": said([[np.nan, 0.75]] * 4)}, "v1")


def test_forecasts_of_all_questions_are_not_taken_for_those_of_the_test_split(matrix):
    with pytest.raises(ValueError, match=r"of \(5, 2\) questions and models, but tested are \(4, 2\)"):
        forecast(matrix, {"embedder": said(np.full((5, 2), 0.75))}, "v1")


def test_a_prediction_for_every_answer_with_its_interval_where_the_method_has_one(matrix):
    probabilities = [[0.5, 0.9], [0.5, 0.5], [0.2, 0.5], [0.5, 0.5]]
    deviations = np.array([[1, 0], [0.5, 1], [np.nan, 1], [1, 1]], np.float32)
    methods = {"embedder": said(probabilities, deviations), "knn": said(probabilities)}
    _, table = forecast(matrix, methods, "v1")
    assert table.schema == PREDICTIONS
    assert [tuple(row.values())[1:5] for row in table.to_pylist()] == [
        (method, question, model, pytest.approx(probability))
        for method in ("embedder", "knn")
        for question, model, probability in (
            ("q00", "m00", 0.5),
            ("q00", "m01", 0.9),
            ("q01", "m00", 0.5),
            ("q02", "m00", 0.2),
            ("q02", "m01", 0.5),
        )
    ]
    assert set(table["embedder"].to_pylist()) == {"v1"}
    one = 1 / (1 + np.exp(1.96))  # log-odds of 0, less 1.96 deviations of 1
    half = 1 / (1 + np.exp(0.98))
    low, high = table["low"].to_pylist(), table["high"].to_pylist()
    assert low[:3] == pytest.approx([one, 0.9, half], abs=1e-6)
    assert high[:3] == pytest.approx([1 - one, 0.9, 1 - half], abs=1e-6)
    assert (low[3], high[3]) == (None, None)  # a model without training answers
    assert low[5:] == high[5:] == [None] * 5
