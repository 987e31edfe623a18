from math import nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedder import metrics
from embedder.baselines.rates import ModelMean
from embedder.downstream.forecast import FORECASTS, NO_TEST_ANSWERS, PREDICTIONS, RELIABILITY, compare_forecasts
from embedder.predictor import Forecast
from embedder.spectral.spectral import SpectralEmbedder


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
    table, *_ = compare_forecasts(matrix, {"embedder": said(high), "majority": said(1 - high)}, "v1")
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
    found = rows(compare_forecasts(matrix, {"embedder": said(np.full((4, 2), 0.75))}, "v1")[0])
    assert found["embedder", "b"]["ci_low"] is None
    assert found["embedder", "b"]["auc"] is None
    assert found["embedder", "a"]["auc"] == 0.5
    assert found["embedder", "a"]["ci_low"] <= 2 / 3 <= found["embedder", "a"]["ci_high"]


def test_seeded(planted):
    matrix, _ = planted
    predictions = {"embedder": said(np.random.default_rng(0).random(matrix.of_split("test").labels.shape))}
    assert compare_forecasts(matrix, predictions, "v", seed=1) == compare_forecasts(matrix, predictions, "v", seed=1)


def test_no_test_answers_is_the_reason(make_matrix):
    matrix = make_matrix([[1], [None]], splits=["train", "test"])
    table, predictions, reliability = compare_forecasts(matrix, {"embedder": said([[0.5]]), "knn": said([[0.5]])}, "v")
    assert (table.schema, predictions.schema, reliability.schema) == (FORECASTS, PREDICTIONS, RELIABILITY)
    (row,) = table.to_pylist()
    assert {name: value for name, value in row.items() if value is not None} == {
        "embedder": "v",
        "method": "embedder",
        "benchmark": "all",
        "n": 0,
        "reason": NO_TEST_ANSWERS,
    }
    assert (predictions.num_rows, reliability.num_rows) == (0, 0)


def test_an_answer_without_prediction_is_refused(matrix):
    with pytest.raises(ValueError, match="not between 0 and 1"):
        compare_forecasts(matrix, {"embedder": said([[np.nan, 0.75]] * 4)}, "v1")


def test_forecasts_of_all_questions_are_not_taken_for_those_of_the_test_split(matrix):
    with pytest.raises(ValueError, match=r"of \(5, 2\) questions and models, but the split is of \(4, 2\)"):
        compare_forecasts(matrix, {"embedder": said(np.full((5, 2), 0.75))}, "v1")


def test_a_prediction_for_every_answer_with_its_interval_where_the_method_has_one(matrix):
    probabilities = [[0.5, 0.9], [0.5, 0.5], [0.2, 0.5], [0.5, 0.5]]
    deviations = np.array([[1, 0], [0.5, 1], [np.nan, 1], [1, 1]], np.float32)
    methods = {"embedder": said(probabilities, deviations), "knn": said(probabilities)}
    _, table, _ = compare_forecasts(matrix, methods, "v1")
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


def test_reliability_bins_by_hand(matrix):
    """Right answers are m00 on q00 and q01; two bins hold answers of two questions, one of one, the others none."""
    probabilities = [[0.02, 0.98], [0.98, nan], [0.04, 1.0], [0.5, 0.5]]
    *_, table = compare_forecasts(matrix, {"knn": said(np.nan_to_num(probabilities, nan=0.3))}, "v1")
    assert table.schema == RELIABILITY
    low, high = table.to_pylist()
    assert (low["embedder"], low["method"], low["bin"], low["n"]) == ("v1", "knn", 0, 2)
    assert low["probability"] == pytest.approx(0.03)
    assert (low["accuracy"], low["ci_low"], low["ci_high"]) == (0.5, 0, 1)  # q00 right, q02 wrong
    assert (high["bin"], high["n"]) == (14, 3)  # a certain forecast is of the last bin
    assert high["probability"] == pytest.approx((0.98 + 0.98 + 1) / 3)
    assert high["accuracy"] == pytest.approx(1 / 3)
    assert (high["ci_low"], high["ci_high"]) == (0, 1)


def test_no_interval_where_a_bin_is_of_one_question(matrix):
    probabilities = [[0.9, 0.9], [0.1, 0.1], [0.5, 0.5], [0.5, 0.5]]
    *_, table = compare_forecasts(matrix, {"embedder": said(probabilities)}, "v1")
    rows = {row["bin"]: row for row in table.to_pylist()}
    assert {number: row["n"] for number, row in rows.items()} == {1: 1, 7: 2, 13: 2}
    assert {row["ci_low"] for row in rows.values()} == {row["ci_high"] for row in rows.values()} == {None}


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 8))
def test_the_bins_are_those_of_the_calibration_error(make_matrix, seed, questions, models):
    rng = np.random.default_rng(seed)
    labels = np.where(rng.random((questions, models)) < 0.3, nan, rng.random((questions, models)) < 0.5)
    labels[0, 0] = 1
    matrix = make_matrix(labels, splits=["test"] * questions)
    probabilities = rng.integers(0, 16, labels.shape) / 15  # on the bins' edges
    table, _, reliability = compare_forecasts(matrix, {"embedder": said(probabilities)}, "v")
    rows = reliability.to_pylist()
    n = sum(row["n"] for row in rows)
    assert n == table["n"][0].as_py()
    ece = sum(row["n"] * abs(row["probability"] - row["accuracy"]) for row in rows) / n
    assert ece == pytest.approx(table["ece"][0].as_py(), abs=1e-9)
    for row in rows:
        assert row["n"] > 0
        assert row["ci_low"] is None or 0 <= row["ci_low"] <= row["ci_high"] <= 1


def test_intervals_of_bins_are_of_questions_not_of_answers(make_matrix):
    """A hundred models that answer alike say no more than one: 40 questions, half of them right."""
    labels = np.repeat([[1.0], [0.0]] * 20, 100, axis=1)
    matrix = make_matrix(labels, splits=["test"] * 40)
    *_, reliability = compare_forecasts(matrix, {"embedder": said(np.full(labels.shape, 0.5))}, "v")
    (row,) = reliability.to_pylist()
    low, high = metrics.bootstrap_interval(labels.sum(axis=1), np.full(40, 100), seed=0)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((low, high), abs=0.03)
    assert high - low > 0.25


def test_bins_are_the_same_whatever_methods_stand_beside(planted):
    matrix, _ = planted
    shape = matrix.of_split("test").labels.shape
    one, other = (said(np.random.default_rng(seed).random(shape)) for seed in (1, 2))
    together = compare_forecasts(matrix, {"embedder": one, "mf": other}, "v", seed=1)[2].to_pylist()
    alone = compare_forecasts(matrix, {"mf": other}, "v", seed=1)[2].to_pylist()
    assert [row for row in together if row["method"] == "mf"] == alone


def test_planted_probabilities_are_forecast(make_world):
    """The log-loss comes near that of the probabilities the answers were drawn with, and that of the rates does not."""
    world = make_world(n=2400, contrast=1.0)
    test = world.matrix.splits == "test"
    by_method = {
        "embedder": SpectralEmbedder().fit(world.matrix, world.questions).forecast(world.questions.rows(test)),
        "model_mean": ModelMean().fit(world.matrix, world.questions).forecast(world.questions.rows(test)),
    }
    table, _, _ = compare_forecasts(world.matrix, by_method, "v")
    found = {row["method"]: row["log_loss"] for row in table.to_pylist() if row["benchmark"] == "all"}
    bayes = metrics.log_loss(world.matrix.labels[test], world.probabilities[test])
    assert found["embedder"] - bayes < 0.2 * (found["model_mean"] - bayes)
