from dataclasses import replace

import numpy as np
import pytest

from embedder.downstream.left_out import LANDMARKS, fit_without
from embedder.spectral.spectral import SpectralEmbedder


@pytest.fixture(scope="module")
def world(make_world):
    """Four benchmarks; m00 only answered b0, m01 every other question of b0, m02 nothing of it."""
    made = make_world(n=400, models=12)
    labels = made.matrix.labels.copy()
    of_b0 = made.matrix.benchmarks == "b0"
    labels[~of_b0, 0] = np.nan
    labels[np.flatnonzero(of_b0)[::2], 1] = np.nan
    labels[of_b0, 2] = np.nan
    return replace(made.matrix, labels=labels), made.questions


def test_answers_to_what_is_left_out_change_nothing(world):
    matrix, questions = world
    left_out = matrix.benchmarks == "b0"
    flipped = replace(matrix, labels=np.where(left_out[:, None], 1 - matrix.labels, matrix.labels))
    trained, again = fit_without(matrix, questions, {"b0"}), fit_without(flipped, questions, {"b0"})
    np.testing.assert_array_equal(trained.embeddings, again.embeddings)
    np.testing.assert_array_equal(trained.text, again.text)
    assert not np.array_equal(fit_without(flipped, questions, {"b1"}).embeddings, trained.embeddings)


def test_embeddings_and_texts_are_those_of_a_training_on_the_other_questions(world):
    matrix, questions = world
    for names in (["b0"], ["b0", "b2"]):
        left_out = np.isin(matrix.benchmarks, names)
        trained = fit_without(matrix, questions, names)
        others = SpectralEmbedder(landmarks=LANDMARKS).fit(matrix.rows(~left_out), questions.rows(~left_out))
        np.testing.assert_allclose(trained.embeddings, others.model_embeddings, atol=1e-4)
        probabilities, asked = others.predict_proba(questions.rows(left_out)), matrix.rows(left_out).observed
        for column in (1, 3, 11):  # the first answered half of b0
            expected = probabilities[asked[:, column], column].mean() if len(names) == 1 else np.nan
            assert trained.text[column] == pytest.approx(expected, abs=1e-4, nan_ok=True)


def test_who_answered_nothing_else_has_no_embedding_and_who_answered_nothing_no_forecast(world):
    trained = fit_without(*world, {"b0"})
    assert np.isnan(trained.embeddings[0]).all()
    assert np.isfinite(trained.embeddings[1:]).all()
    assert np.flatnonzero(np.isnan(trained.text)).tolist() == [2]


def test_nothing_is_known_without_any_other_answers(make_matrix, make_questions):
    matrix = make_matrix([[1, 0]] * 4 + [[1, 1]], splits=["train"] * 4 + ["test"], benchmarks=["a"] * 4 + ["b"])
    trained = fit_without(matrix, make_questions(np.eye(5)), {"a"})
    assert np.isnan(trained.embeddings).all()
    assert trained.embeddings.shape[0] == 2
    assert np.isnan(trained.text).all()
