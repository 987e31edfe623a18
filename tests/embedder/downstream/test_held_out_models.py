import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import RidgeCV

from embedder.downstream.held_out_models import SPLITS, Splits, Target, accuracies, answered_enough, predict_held_out


@given(st.integers(8, 120), st.integers(0, 3))
@settings(max_examples=20)
def test_splits_hold_out_three_in_ten_and_everyone_is_somewhere(models, seed):
    splits = Splits.draw(models, seed=seed)
    everyone = np.sort(np.hstack([splits.trained, splits.held_out]), axis=1)
    assert (everyone == np.arange(models)).all()
    assert splits.held_out.shape == (SPLITS, max(3, round(0.3 * models)))
    np.testing.assert_array_equal(splits.held_out, Splits.draw(models, seed=seed).held_out)
    assert len(np.unique(np.sort(splits.held_out, axis=1), axis=0)) > 40  # of 56 there are, at the least


@pytest.mark.parametrize(("models", "features"), [(40, 5), (12, 30), (20, 1)])
def test_ridge_predicts_as_scikit_learn_does(models, features):
    rng = np.random.default_rng(models)
    x = rng.standard_normal((models, features)) * rng.uniform(0.1, 3, features)
    y = np.column_stack([x[:, 0] + 0.3 * rng.standard_normal(models), rng.standard_normal(models)])
    splits = Splits.draw(models, seed=0)
    predicted = predict_held_out(x, y, splits)
    for split in range(10):
        trained, held_out = splits.trained[split], splits.held_out[split]
        scale = np.linalg.svd(x[trained] - x[trained].mean(axis=0), compute_uv=False)[0] ** 2
        for column in range(2):
            model = RidgeCV(scale * 10.0 ** np.arange(-6, 2.5, 0.5)).fit(x[trained], y[trained, column])
            np.testing.assert_allclose(predicted[split, :, column], model.predict(x[held_out]), atol=1e-8)


def test_features_that_tell_nothing_leave_the_mean():
    y = np.arange(10.0)[:, None]
    splits = Splits.draw(10, seed=0)
    expected = np.broadcast_to(y[splits.trained].mean(axis=1)[:, None], (SPLITS, 3, 1))
    np.testing.assert_allclose(predict_held_out(np.ones((10, 2)), y, splits), expected)


def test_what_a_line_tells_is_told():
    x = np.linspace(0, 1, 12)[:, None]
    splits = Splits.draw(12, seed=1)
    predicted = predict_held_out(x, 0.2 + 0.5 * x, splits)
    np.testing.assert_allclose(predicted, (0.2 + 0.5 * x)[splits.held_out], atol=1e-5)


def test_accuracies_are_over_what_was_asked(make_matrix):
    matrix = make_matrix([[1, None, 0], [0, None, None], [1, None, 0]], splits=["train"] * 3)
    np.testing.assert_allclose(accuracies(matrix), [2 / 3, np.nan, 0])


@pytest.mark.parametrize(
    ("questions", "answers", "enough"), [(30, 20, True), (30, 19, False), (5, 5, True), (5, 4, False)]
)
def test_enough_answers_are_twenty_or_all(make_matrix, questions, answers, enough):
    matrix = make_matrix([[1.0]] * answers + [[None]] * (questions - answers), splits=["train"] * questions)
    assert answered_enough(matrix).tolist() == [enough]


def test_models_come_by_name_whatever_their_order():
    target = Target.of(("d", "a", "c", "b"), np.array([0.4, 0.1, 0.3, 0.2]), np.array([1, 1, 0, 1], bool), seed=0)
    assert target.columns.tolist() == [1, 3, 0]
    assert target.accuracy.tolist() == [0.1, 0.2, 0.4]
