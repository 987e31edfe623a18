"""One set of demands on every predictor: the planted matrix, and everything awkward that real data bring."""

from dataclasses import replace

import numpy as np
import pytest

from embedder import metrics
from embedder.baselines import KNN, Majority, ModelBenchmarkMean, ModelMean
from embedder.matrix import CorrectnessMatrix
from embedder.mf import MatrixFactorization
from embedder.predictor import Predictor


class PredictorDemands:
    """Subclasses name the predictor, and the accuracy it must reach on the planted matrix's test
    questions."""

    recovers: float

    def make(self) -> Predictor:
        raise NotImplementedError

    def fitted(self, data: tuple[CorrectnessMatrix, np.ndarray], seed: int = 0) -> np.ndarray:
        """(Q, M) probabilities for all questions of `data`."""
        matrix, features = data
        probabilities = self.make().fit(matrix, features, seed=seed).predict_proba(features, matrix.benchmarks)
        assert probabilities.shape == matrix.labels.shape
        assert probabilities.dtype == np.float32
        assert ((probabilities >= 0) & (probabilities <= 1)).all()
        return probabilities

    def test_recovers_the_planted_matrix(self, planted):
        matrix, _ = planted
        test = matrix.splits == "test"
        assert metrics.accuracy(matrix.labels[test], self.fitted(planted)[test]) >= self.recovers

    def test_recovers_it_with_a_third_of_the_cells_missing(self, planted):
        matrix, features = planted
        test = matrix.splits == "test"
        asked = np.random.default_rng(1).random(matrix.labels.shape) > 1 / 3
        holey = replace(matrix, labels=np.where(asked, matrix.labels, np.nan))
        probabilities = self.fitted((holey, features))
        assert metrics.accuracy(matrix.labels[test], probabilities[test]) >= self.recovers - 0.03

    def test_not_asked_is_not_wrong(self, planted):
        """All labels are 1 where asked: with missing cells read as wrong, the rate would fall to a half."""
        matrix, features = planted
        asked = np.random.default_rng(2).random(matrix.labels.shape) > 0.5
        probabilities = self.fitted((replace(matrix, labels=np.where(asked, 1, np.nan)), features))
        assert probabilities.mean() > 0.95

    def test_never_looks_at_test_answers(self, planted):
        matrix, features = planted
        test = matrix.splits == "test"
        flipped = replace(matrix, labels=np.where(test[:, None], 1 - matrix.labels, matrix.labels))
        np.testing.assert_array_equal(self.fitted(planted), self.fitted((flipped, features)))

    def test_same_seed_same_bytes(self, planted):
        assert self.fitted(planted, seed=3).tobytes() == self.fitted(planted, seed=3).tobytes()

    def test_order_of_questions_hardly_matters(self, planted):
        matrix, features = planted
        order = np.random.default_rng(3).permutation(len(features))
        test = matrix.splits == "test"
        permuted = self.fitted((matrix.rows(order), features[order]))[np.argsort(order)]
        changed = (permuted[test] >= 0.5) != (self.fitted(planted)[test] >= 0.5)
        assert changed.mean() < 0.03

    def test_duplicated_questions(self, planted):
        matrix, features = planted
        twice = np.repeat(np.arange(len(features)), 2)
        probabilities = self.fitted((matrix.rows(twice), features[twice]))
        np.testing.assert_allclose(probabilities[::2], probabilities[1::2], atol=1e-6)
        test = matrix.splits == "test"
        assert metrics.accuracy(matrix.labels[test], probabilities[::2][test]) >= self.recovers - 0.02

    def test_one_model(self, planted):
        matrix, features = planted
        alone = replace(matrix, labels=matrix.labels[:, :1], models=matrix.models[:1])
        self.fitted((alone, features))

    def test_one_question(self, make_matrix):
        matrix = make_matrix([[1, 0]], splits=["train"])
        self.fitted((matrix, np.ones((1, 4), np.float32)))

    @pytest.mark.parametrize("label", [0.0, 1.0])
    def test_constant_labels(self, planted, label):
        matrix, features = planted
        probabilities = self.fitted((replace(matrix, labels=np.full_like(matrix.labels, label)), features))
        assert abs(probabilities - label).max() < 0.1

    def test_a_model_without_answers_gets_the_overall_rate(self, planted):
        matrix, features = planted
        labels = matrix.labels.copy()
        labels[:, 4] = np.nan
        rate = np.nanmean(labels[matrix.splits == "train"])
        probabilities = self.fitted((replace(matrix, labels=labels), features))
        np.testing.assert_allclose(probabilities[:, 4], rate, rtol=1e-5)

    def test_a_model_answering_only_the_validation_questions_gets_the_overall_rate(self, planted):
        matrix, features = planted
        labels = matrix.labels.copy()
        labels[matrix.splits == "train", 4] = np.nan
        rate = np.nanmean(labels[matrix.splits == "train"])
        probabilities = self.fitted((replace(matrix, labels=labels), features))
        np.testing.assert_allclose(probabilities[:, 4], rate, rtol=1e-5)

    def test_without_validation_questions(self, planted):
        matrix, features = planted
        kept = matrix.splits != "val"
        test = matrix.splits[kept] == "test"
        probabilities = self.fitted((matrix.rows(kept), features[kept]))
        assert metrics.accuracy(matrix.rows(kept).labels[test], probabilities[test]) >= self.recovers - 0.05

    def test_no_question_to_predict(self, planted):
        matrix, features = planted
        fitted = self.make().fit(matrix, features)
        assert fitted.predict_proba(features[:0], matrix.benchmarks[:0]).shape == (0, 12)

    def test_other_encoders_vectors_are_refused(self, planted):
        matrix, features = planted
        fitted = self.make().fit(matrix, features)
        with pytest.raises(ValueError, match=r"vectors of length 8, but these are \(600, 7\)"):
            fitted.predict_proba(features[:, :7], matrix.benchmarks)

    def test_before_fit(self, planted):
        with pytest.raises(ValueError, match="not fitted"):
            self.make().predict_proba(planted[1])

    def test_without_training_answers(self, make_matrix):
        matrix = make_matrix([[1, 0], [None, None]], splits=["test", "train"])
        with pytest.raises(ValueError, match="train split has no answers"):
            self.make().fit(matrix, np.ones((2, 4), np.float32))

    def test_features_that_are_not_finite(self, planted):
        matrix, features = planted
        broken = features.copy()
        broken[0, 0] = np.nan
        with pytest.raises(ValueError, match="not finite"):
            self.make().fit(matrix, broken)

    def test_features_of_other_questions(self, planted):
        matrix, features = planted
        with pytest.raises(ValueError, match="600 questions, but features has 599 rows"):
            self.make().fit(matrix, features[1:])


class TestMajority(PredictorDemands):
    recovers = 0.50

    def make(self) -> Predictor:
        return Majority()


class TestModelMean(PredictorDemands):
    recovers = 0.62

    def make(self) -> Predictor:
        return ModelMean()


class TestModelBenchmarkMean(PredictorDemands):
    recovers = 0.85

    def make(self) -> Predictor:
        return ModelBenchmarkMean()


class TestKNN(PredictorDemands):
    recovers = 0.85

    def make(self) -> Predictor:
        return KNN()


class TestMatrixFactorization(PredictorDemands):
    recovers = 0.93

    def make(self) -> Predictor:
        return MatrixFactorization(dimensions=16)
