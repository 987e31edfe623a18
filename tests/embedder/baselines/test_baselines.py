import numpy as np

from embedder.baselines.knn import KNN
from embedder.baselines.rates import Majority, ModelBenchmarkMean, ModelMean, benchmark_rates, model_rates

ONE_HOT = np.eye(4)


def test_majority_is_the_share_of_right_training_answers(make_matrix, make_questions):
    matrix = make_matrix([[1, 1], [0, None], [0, 0]], splits=["train", "train", "test"])
    fitted = Majority().fit(matrix, make_questions(ONE_HOT[:3]))
    np.testing.assert_allclose(fitted.predict_proba(make_questions(ONE_HOT[:1])), [[2 / 3, 2 / 3]], rtol=1e-6)


def test_rates_are_drawn_to_the_overall_rate_as_by_five_answers(make_matrix):
    matrix = make_matrix([[1, 0, None], [1, 0, None]], splits=["train", "train"])
    np.testing.assert_allclose(model_rates(matrix), [4.5 / 7, 2.5 / 7, 0.5])


def test_with_many_answers_the_prior_hardly_counts(make_matrix):
    matrix = make_matrix([[1, 0]] * 995, splits=["train"] * 995)
    np.testing.assert_allclose(model_rates(matrix), [997.5 / 1000, 2.5 / 1000])


def test_benchmark_rates_are_drawn_to_the_models_rate(make_matrix):
    matrix = make_matrix([[1], [1], [0]], splits=["train"] * 3, benchmarks=["b", "a", "b"])
    names, rates = benchmark_rates(matrix, prior_answers=1)
    rate = (2 + 5 * 2 / 3) / 8
    assert names.tolist() == ["a", "b"]
    np.testing.assert_allclose(rates, [[(1 + rate) / 2], [(1 + rate) / 3]])


def test_benchmark_never_seen_gives_the_models_rate(make_matrix, make_questions):
    matrix = make_matrix([[1, 0], [1, 0]], splits=["train", "train"])
    fitted = ModelBenchmarkMean().fit(matrix, make_questions(ONE_HOT[:2]))
    elsewhere = fitted.predict_proba(make_questions(ONE_HOT[:1], benchmarks=["new"]))
    np.testing.assert_allclose(elsewhere, [model_rates(matrix)], rtol=1e-6)
    np.testing.assert_allclose(
        ModelMean().fit(matrix, make_questions(ONE_HOT[:2])).predict_proba(make_questions(ONE_HOT[:1])), elsewhere
    )


def test_knn_votes_by_the_neighbours_that_were_asked(make_matrix, make_questions):
    """Nearest two of [1, .9, .1, 0] are the first two; of these the second model was asked one."""
    matrix = make_matrix([[1, None], [0, 1], [0, 0], [0, None]], splits=["train"] * 4)
    fitted = KNN(k_unvalidated=2).fit(matrix, make_questions(ONE_HOT))
    query = [[1, 0.9, 0.1, 0]]
    np.testing.assert_allclose(fitted.predict_proba(make_questions(query)), [[0.5, 1.0]])


def test_knn_falls_back_to_the_models_rate_where_no_neighbour_was_asked(make_matrix, make_questions):
    matrix = make_matrix([[1, None], [0, 1], [0, 0], [0, None]], splits=["train"] * 4)
    fitted = KNN(k_unvalidated=1).fit(matrix, make_questions(ONE_HOT))
    np.testing.assert_allclose(
        fitted.predict_proba(make_questions(ONE_HOT[:1])), [[1.0, model_rates(matrix)[1]]], rtol=1e-6
    )


def test_knn_chooses_k_on_validation_questions(make_matrix, make_questions):
    """The nearest neighbour of the validation question is the odd one out of its region."""
    rng = np.random.default_rng(0)
    near = np.array([1.0, 0.0]) + 0.1 * rng.standard_normal((20, 2))
    features = np.vstack([near, [[1, 0]], [[1, 0]]])
    matrix = make_matrix([[1]] * 20 + [[0], [1]], splits=["train"] * 21 + ["val"])
    assert KNN(candidates=(1, 20)).fit(matrix, make_questions(features)).k == 20


def test_knn_ignores_the_length_of_vectors(make_matrix, make_questions):
    matrix = make_matrix([[1], [0], [1], [0]], splits=["train"] * 4)
    fitted = KNN(k_unvalidated=1).fit(matrix, make_questions(ONE_HOT * [[1], [5], [9], [0.1]]))
    np.testing.assert_array_equal(fitted.predict_proba(make_questions(7 * ONE_HOT)), matrix.labels)
