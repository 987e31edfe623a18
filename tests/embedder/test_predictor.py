"""One set of demands on every predictor: the planted matrix, and everything awkward that real data bring."""

from dataclasses import replace

import numpy as np
import pytest

from embedder import metrics
from embedder.baselines.knn import KNN
from embedder.baselines.mf import MatrixFactorization
from embedder.baselines.rates import Majority, ModelBenchmarkMean, ModelMean
from embedder.matrix import CorrectnessMatrix
from embedder.predictor import Forecast, Predictor
from embedder.questions import Questions
from embedder.spectral.spectral import SpectralEmbedder


class PredictorDemands:
    """Subclasses name the predictor, and the accuracy it must reach on the planted matrix's test questions."""

    recovers: float
    tells_questions_apart = True

    def make(self) -> Predictor:
        raise NotImplementedError

    def fitted(self, data: tuple[CorrectnessMatrix, Questions], seed: int = 0) -> np.ndarray:
        """(Q, M) probabilities for all questions of `data`; whatever the data, all that is predicted is sound."""
        matrix, questions = data
        predictor = self.make().fit(matrix, questions, seed=seed)
        probabilities = predictor.predict_proba(questions)
        assert probabilities.shape == matrix.labels.shape
        assert probabilities.dtype == np.float32
        assert ((probabilities >= 0) & (probabilities <= 1)).all()
        known = matrix.observed[matrix.splits == "train"].any(axis=0)
        self.check_forecast(predictor.forecast(questions), probabilities, known)
        np.testing.assert_allclose(
            predictor.routing_scores(questions), predictor.forecast(questions).routing_scores, atol=1e-5
        )
        if (embeddings := predictor.model_embeddings) is not None:
            np.testing.assert_array_equal(np.isfinite(embeddings).all(axis=1), known)
        return probabilities

    @staticmethod
    def check_forecast(forecast: Forecast, probabilities: np.ndarray, known: np.ndarray) -> None:
        """`known` (M,): the models with training answers."""
        np.testing.assert_allclose(forecast.probabilities, probabilities, atol=1e-5)
        assert forecast.routing_scores.shape == probabilities.shape
        assert forecast.routing_scores.dtype == np.float32
        assert np.isfinite(forecast.routing_scores).all()
        if forecast.deviations is None:
            assert forecast.interval() is None
            return
        assert forecast.deviations.shape == probabilities.shape
        assert forecast.deviations.dtype == np.float32
        assert np.isnan(forecast.deviations[:, ~known]).all()
        assert (forecast.deviations[:, known] >= 0).all()
        low, high = forecast.interval()
        assert ((low <= probabilities + 1e-5) & (probabilities <= high + 1e-5))[:, known].all()

    def test_recovers_the_planted_matrix(self, planted):
        matrix, _ = planted
        test = matrix.splits == "test"
        assert metrics.accuracy(matrix.labels[test], self.fitted(planted)[test]) >= self.recovers

    def test_recovers_it_with_a_third_of_the_cells_missing(self, planted):
        matrix, questions = planted
        test = matrix.splits == "test"
        asked = np.random.default_rng(1).random(matrix.labels.shape) > 1 / 3
        holey = replace(matrix, labels=np.where(asked, matrix.labels, np.nan))
        probabilities = self.fitted((holey, questions))
        assert metrics.accuracy(matrix.labels[test], probabilities[test]) >= self.recovers - 0.03

    def test_not_asked_is_not_wrong(self, planted):
        """All labels are 1 where asked: with missing cells read as wrong, the rate would fall to a half."""
        matrix, questions = planted
        asked = np.random.default_rng(2).random(matrix.labels.shape) > 0.5
        probabilities = self.fitted((replace(matrix, labels=np.where(asked, np.float32(1), np.nan)), questions))
        assert probabilities.mean() > 0.95

    def test_never_looks_at_test_answers(self, planted):
        matrix, questions = planted
        test = matrix.splits == "test"
        flipped = replace(matrix, labels=np.where(test[:, None], 1 - matrix.labels, matrix.labels))
        np.testing.assert_array_equal(self.fitted(planted), self.fitted((flipped, questions)))

    def test_same_seed_same_bytes(self, planted):
        assert self.fitted(planted, seed=3).tobytes() == self.fitted(planted, seed=3).tobytes()

    def test_order_of_questions_hardly_matters(self, planted):
        matrix, questions = planted
        order = np.random.default_rng(3).permutation(len(questions))
        test = matrix.splits == "test"
        permuted = self.fitted((matrix.rows(order), questions.rows(order)))[np.argsort(order)]
        changed = (permuted[test] >= 0.5) != (self.fitted(planted)[test] >= 0.5)
        assert changed.mean() < 0.03

    def test_duplicated_questions(self, planted):
        matrix, questions = planted
        twice = np.repeat(np.arange(len(questions)), 2)
        probabilities = self.fitted((matrix.rows(twice), questions.rows(twice)))
        np.testing.assert_allclose(probabilities[::2], probabilities[1::2], atol=1e-6)
        test = matrix.splits == "test"
        assert metrics.accuracy(matrix.labels[test], probabilities[::2][test]) >= self.recovers - 0.02

    def test_one_model(self, planted):
        matrix, questions = planted
        alone = replace(matrix, labels=matrix.labels[:, :1], models=matrix.models[:1])
        self.fitted((alone, questions))

    def test_one_question(self, make_matrix, make_questions):
        matrix = make_matrix([[1, 0]], splits=["train"])
        self.fitted((matrix, make_questions([[1, 1, 1, 1]], benchmarks=["b"])))

    def test_half_of_the_questions_answered_by_one_model_only(self, planted):
        matrix, questions = planted
        labels = matrix.labels.copy()
        labels[::2][~self.one_model_each(len(labels[::2]))] = np.nan
        test = matrix.splits == "test"
        probabilities = self.fitted((replace(matrix, labels=labels), questions))
        assert metrics.accuracy(matrix.labels[test], probabilities[test]) >= self.recovers - 0.03

    def test_every_question_answered_by_one_model_only(self, planted):
        matrix, questions = planted
        labels = np.where(self.one_model_each(len(questions)), matrix.labels, np.nan)
        test = matrix.splits == "test"
        probabilities = self.fitted((replace(matrix, labels=labels), questions))
        assert metrics.accuracy(matrix.labels[test], probabilities[test]) >= self.recovers - 0.05

    @staticmethod
    def one_model_each(n: int) -> np.ndarray:
        """(n, 12) bool, one in each row."""
        return np.eye(12, dtype=bool)[np.random.default_rng(4).integers(0, 12, n)]

    def test_a_benchmark_that_all_fail(self, planted):
        matrix, questions = planted
        failed, test = matrix.benchmarks == "topic0", matrix.splits == "test"
        labels = np.where(failed[:, None], 0, matrix.labels).astype(np.float32)
        probabilities = self.fitted((replace(matrix, labels=labels), questions))
        assert metrics.accuracy(labels[test], probabilities[test]) >= self.recovers
        if self.tells_questions_apart:
            assert probabilities[failed & test].mean() < 0.1

    @pytest.mark.parametrize("label", [0.0, 1.0])
    def test_constant_labels(self, planted, label):
        matrix, questions = planted
        probabilities = self.fitted((replace(matrix, labels=np.full_like(matrix.labels, label)), questions))
        assert abs(probabilities - label).max() < 0.1

    def test_a_model_without_answers_gets_the_overall_rate(self, planted):
        matrix, questions = planted
        labels = matrix.labels.copy()
        labels[:, 4] = np.nan
        rate = np.nanmean(labels[matrix.splits == "train"])
        probabilities = self.fitted((replace(matrix, labels=labels), questions))
        np.testing.assert_allclose(probabilities[:, 4], rate, rtol=1e-5)

    def test_a_model_answering_only_the_validation_questions_gets_the_overall_rate(self, planted):
        matrix, questions = planted
        labels = matrix.labels.copy()
        labels[matrix.splits == "train", 4] = np.nan
        rate = np.nanmean(labels[matrix.splits == "train"])
        probabilities = self.fitted((replace(matrix, labels=labels), questions))
        np.testing.assert_allclose(probabilities[:, 4], rate, rtol=1e-5)

    def test_without_validation_questions(self, planted):
        matrix, questions = planted
        kept = matrix.splits != "val"
        test = matrix.splits[kept] == "test"
        probabilities = self.fitted((matrix.rows(kept), questions.rows(kept)))
        assert metrics.accuracy(matrix.rows(kept).labels[test], probabilities[test]) >= self.recovers - 0.05

    def test_one_validation_question(self, planted):
        matrix, questions = planted
        kept = matrix.splits != "val"
        kept[np.flatnonzero(~kept)[0]] = True
        test = matrix.splits[kept] == "test"
        probabilities = self.fitted((matrix.rows(kept), questions.rows(kept)))
        assert metrics.accuracy(matrix.rows(kept).labels[test], probabilities[test]) >= self.recovers - 0.05

    def test_one_question_is_scored_as_among_many(self, planted):
        matrix, questions = planted
        fitted = self.make().fit(matrix, questions)
        one = questions.rows(np.array([7]))
        np.testing.assert_allclose(fitted.predict_proba(one), fitted.predict_proba(questions)[7:8], atol=1e-5)
        np.testing.assert_allclose(fitted.routing_scores(one), fitted.routing_scores(questions)[7:8], atol=1e-4)

    def test_new_questions_need_no_benchmark(self, planted):
        matrix, questions = planted
        new = replace(questions, benchmarks=None).rows(matrix.splits == "test")
        probabilities = self.make().fit(matrix, questions).predict_proba(new)
        assert metrics.accuracy(matrix.of_split("test").labels, probabilities) >= self.recovers

    def test_no_question_to_predict(self, planted):
        matrix, questions = planted
        fitted = self.make().fit(matrix, questions)
        none = questions.rows(np.zeros(len(questions), bool))
        assert fitted.predict_proba(none).shape == (0, 12)
        assert fitted.forecast(none).routing_scores.shape == (0, 12)

    def test_other_encoders_vectors_are_refused(self, planted):
        matrix, questions = planted
        fitted = self.make().fit(matrix, questions)
        others = replace(questions, vectors=questions.vectors[:, :7])
        with pytest.raises(ValueError, match=r"vectors of length 8, but these are \(600, 7\)"):
            fitted.predict_proba(others)

    def test_before_fit(self, planted):
        _, questions = planted
        with pytest.raises(ValueError, match="not fitted"):
            self.make().predict_proba(questions)
        with pytest.raises(ValueError, match="not fitted"):
            self.make().routing_scores(questions)
        with pytest.raises(ValueError, match="not fitted"):
            self.make().forecast(questions)

    def test_without_training_answers(self, make_matrix, make_questions):
        matrix = make_matrix([[1, 0], [None, None]], splits=["test", "train"])
        with pytest.raises(ValueError, match="train split has no answers"):
            self.make().fit(matrix, make_questions(np.ones((2, 4))))

    def test_vectors_that_are_not_finite(self, planted):
        matrix, questions = planted
        vectors = questions.vectors.copy()
        vectors[0, 0] = np.nan
        with pytest.raises(ValueError, match="vectors of some train questions are not finite"):
            self.make().fit(matrix, replace(questions, vectors=vectors))

    def test_other_questions_than_the_matrix_has(self, planted):
        matrix, questions = planted
        with pytest.raises(ValueError, match="the matrix has 600 questions, but 599 are described"):
            self.make().fit(matrix, questions.rows(np.arange(1, 600)))


class TestMajority(PredictorDemands):
    recovers = 0.50
    tells_questions_apart = False

    def make(self) -> Predictor:
        return Majority()


class TestModelMean(PredictorDemands):
    recovers = 0.62
    tells_questions_apart = False

    def make(self) -> Predictor:
        return ModelMean()


class TestModelBenchmarkMean(PredictorDemands):
    recovers = 0.85

    def make(self) -> Predictor:
        return ModelBenchmarkMean()

    def test_new_questions_need_no_benchmark(self, planted):
        """This one does need it."""
        matrix, questions = planted
        fitted = self.make().fit(matrix, questions)
        with pytest.raises(ValueError, match="needs the benchmark of every question"):
            fitted.predict_proba(replace(questions, benchmarks=None))


class TestKNN(PredictorDemands):
    recovers = 0.85

    def make(self) -> Predictor:
        return KNN()


class TestMatrixFactorization(PredictorDemands):
    recovers = 0.93

    def make(self) -> Predictor:
        return MatrixFactorization(dimensions=16)


class TestSpectralEmbedder(PredictorDemands):
    recovers = 0.93

    def make(self) -> Predictor:
        return SpectralEmbedder()
