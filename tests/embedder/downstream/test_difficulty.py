import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import pearsonr, spearmanr

from embedder.downstream.difficulty import DIFFICULTY, QUESTION_DIFFICULTY, bin_predictions, predict_difficulty
from embedder.metrics import bootstrap_interval
from embedder.predictor import Forecast


def said(probabilities):
    values = np.array(probabilities)
    return Forecast(values, None, values)


def rows(table):
    assert table.schema == DIFFICULTY
    return {(row["method"], row["benchmark"]): row for row in table.to_pylist()}


@pytest.fixture
def matrix(make_matrix):
    """Of benchmark "a" a quarter, of "b" a half is right in training; one test question was put to nobody."""
    return make_matrix(
        [[1, 0], [0, 0], [1, 0], [1, 1], [0, 0], [None, 1], [None, None]],
        splits=["train"] * 3 + ["test"] * 4,
        benchmarks=["a", "a", "b", "a", "a", "b", "b"],
    )


def test_by_hand(matrix):
    table, questions = predict_difficulty(
        matrix, {"embedder": said([[0.9, 0.7], [0.3, 0.1], [0.0, 0.6], [0.5, 0.5]])}, "v1"
    )
    assert questions.schema == QUESTION_DIFFICULTY
    assert [tuple(row.values()) for row in questions.to_pylist()] == [
        ("v1", "q03", "a", 2, 1.0, pytest.approx(0.8)),
        ("v1", "q04", "a", 2, 0.0, pytest.approx(0.2)),
        ("v1", "q05", "b", 1, 1.0, pytest.approx(0.6)),  # of the model that was asked
    ]
    found = rows(table)
    assert set(found) == {(m, b) for m in ("embedder", "benchmark_mean") for b in ("all", "a", "b")}
    ours, mean = found["embedder", "all"], found["benchmark_mean", "all"]
    assert (ours["n"], mean["n"]) == (3, 3)
    assert ours["mae"] == pytest.approx((0.2 + 0.2 + 0.4) / 3)
    assert ours["pearson"] == pytest.approx(pearsonr([0.8, 0.2, 0.6], [1, 0, 1]).statistic)
    assert ours["spearman"] == pytest.approx(spearmanr([0.8, 0.2, 0.6], [1, 0, 1]).statistic)
    assert mean["mae"] == pytest.approx((0.75 + 0.25 + 0.5) / 3)
    assert mean["pearson"] == pytest.approx(pearsonr([0.25, 0.25, 0.5], [1, 0, 1]).statistic)


def test_what_does_not_vary_has_no_correlation(matrix):
    found = rows(
        predict_difficulty(matrix, {"embedder": said([[0.9, 0.7], [0.3, 0.1], [0.0, 0.6], [0.5, 0.5]])}, "v")[0]
    )
    for key in (("benchmark_mean", "a"), ("embedder", "b")):
        row = found[key]
        assert (row["pearson"], row["pearson_low"], row["pearson_high"], row["spearman"]) == (None,) * 4
        assert row["mae"] is not None
        assert row["reason"] is None
    row = found["embedder", "all"]
    assert (row["pearson_low"], row["pearson_high"]) == (None, None)  # some draws of three questions do not vary


def test_a_benchmark_without_training_answers_is_expected_to_be_like_all(make_matrix):
    matrix = make_matrix([[1, 1], [0, 1], [1, 0]], splits=["train", "train", "test"], benchmarks=["a", "a", "new"])
    found = rows(predict_difficulty(matrix, {"embedder": said([[0.5, 0.5]])}, "v")[0])
    assert found["benchmark_mean", "new"]["mae"] == pytest.approx(0.25)


def test_planted_difficulty_is_foretold(make_world):
    world = make_world(n=1200, models=40)
    of_test = world.probabilities[world.matrix.splits == "test"]
    forecasts = {"embedder": said(of_test), "knn": said(1 - of_test)}
    table, questions = predict_difficulty(world.matrix, forecasts, "v")
    found = rows(table)
    ours = found["embedder", "all"]
    answers = np.array(questions["observed"])
    assert ours["pearson"] == pytest.approx(np.corrcoef(of_test.mean(axis=1), answers)[0, 1])
    assert ours["pearson_low"] < ours["pearson"] < ours["pearson_high"]
    assert ours["pearson"] > found["benchmark_mean", "all"]["pearson"]
    assert found["knn", "all"]["pearson"] == pytest.approx(-ours["pearson"])
    # With the true probabilities, only the chance of 40 answers remains: a mean absolute normal deviate.
    noise = np.sqrt((of_test * (1 - of_test)).sum(axis=1)) / 40
    assert ours["mae"] == pytest.approx(np.sqrt(2 / np.pi) * noise.mean(), rel=0.15)
    assert predict_difficulty(world.matrix, forecasts, "v", seed=1) == predict_difficulty(
        world.matrix, forecasts, "v", seed=1
    )


def test_the_interval_covers_the_correlation_it_is_of(make_world):
    """Fisher's interval, exact for normal deviates, is near."""
    world = make_world(n=2000, models=60)
    row = rows(
        predict_difficulty(world.matrix, {"embedder": said(world.probabilities[world.matrix.splits == "test"])}, "v")[0]
    )
    ours = row["embedder", "all"]
    fisher = np.tanh(np.arctanh(ours["pearson"]) + np.array([-1.96, 1.96]) / np.sqrt(ours["n"] - 3))
    assert (ours["pearson_low"], ours["pearson_high"]) == pytest.approx(fisher, abs=0.02)


def test_no_test_answers(make_matrix):
    matrix = make_matrix([[1, 0], [None, None]], splits=["train", "test"])
    table, questions = predict_difficulty(matrix, {"embedder": said([[0.5, 0.5]]), "knn": said([[0.5, 0.5]])}, "v")
    found = rows(table)
    assert {key: row["reason"] for key, row in found.items()} == {
        (method, "all"): "no test question was answered" for method in ("embedder", "knn", "benchmark_mean")
    }
    assert (questions.num_rows, questions.schema) == (0, QUESTION_DIFFICULTY)


def test_all_models_fail(make_matrix):
    matrix = make_matrix([[1, 0], [0, 0], [0, 0]], splits=["train", "test", "test"])
    row = rows(predict_difficulty(matrix, {"embedder": said([[0.5, 0.4], [0.1, 0.2]])}, "v")[0])["embedder", "all"]
    assert (row["pearson"], row["mae"]) == (None, pytest.approx(0.3))


def test_an_answer_without_prediction_is_refused(matrix):
    with pytest.raises(ValueError, match="has no probability"):
        predict_difficulty(matrix, {"embedder": said([[np.nan, 0.7]] * 4)}, "v")


def test_forecasts_of_all_questions_are_not_taken_for_those_of_the_test_split(matrix):
    with pytest.raises(ValueError, match=r"of \(7, 2\) questions and models, but the split is of \(4, 2\)"):
        predict_difficulty(matrix, {"embedder": said(np.full((7, 2), 0.5))}, "v")


def test_calibration_by_hand():
    predicted, observed = np.array([0.9, 0.1, 0.2, 0.6, 0.4]), np.array([1.0, 0.0, 0.5, 0.5, 0.25])
    assert bin_predictions(predicted, observed, bins=2, seed=4) == [
        (pytest.approx(0.7 / 3), 0.25, bootstrap_interval(np.array([0.0, 0.5, 0.25]), np.ones(3), seed=4)),
        (pytest.approx(0.75), 0.75, bootstrap_interval(np.array([0.5, 1.0]), np.ones(2), seed=4)),
    ]
    assert bin_predictions(predicted[:1], observed[:1]) == [(0.9, 1.0, None)]


@given(st.integers(1, 40).flatmap(lambda n: arrays(np.float64, (2, n), elements=st.floats(0, 1))))
def test_calibration_loses_no_question(values):
    predicted, observed = values
    bins = bin_predictions(predicted, observed)
    assert len(bins) == min(10, len(predicted))
    assert [mean for mean, _, _ in bins] == pytest.approx(sorted(mean for mean, _, _ in bins))
    if len(predicted) % len(bins) == 0:
        assert np.mean([found for _, found, _ in bins]) == pytest.approx(observed.mean())
