import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedder.lexical import lexical_features
from embedder.questions import Questions

TEXTS = np.array(["What is 2 + 2?", "Which is not a fruit?\nA. fig\nB. oak", "Prove it."], object)
VECTORS = np.arange(6, dtype=np.float32).reshape(3, 2)
BENCHMARKS = np.array(["sums", "fruit", "proofs"], object)


def test_some_rows_by_number_and_by_mask():
    questions = Questions(TEXTS, VECTORS, BENCHMARKS)
    for some in (
        questions.rows(np.array([2, 0])),
        questions.rows(np.array([True, False, True])).rows(np.array([1, 0])),
    ):
        assert some.texts.tolist() == ["Prove it.", "What is 2 + 2?"]
        assert some.vectors.tolist() == [[4, 5], [0, 1]]
        assert some.benchmarks is not None
        assert some.benchmarks.tolist() == ["proofs", "sums"]
        assert len(some) == 2


def test_rows_of_questions_whose_benchmark_is_not_known():
    assert Questions(TEXTS, VECTORS).rows(np.array([1])).benchmarks is None


def test_no_rows():
    none = Questions(TEXTS, VECTORS).rows(np.zeros(3, bool))
    assert (len(none), none.vectors.shape) == (0, (0, 2))
    assert none.lexical.shape == (0, lexical_features(TEXTS).shape[1])


@given(which=st.lists(st.integers(0, 2), max_size=5), asked_before=st.booleans())
def test_lexical_features_are_those_of_the_texts(which, asked_before):
    questions = Questions(TEXTS, VECTORS)
    if asked_before:
        assert len(questions.lexical) == 3
    some = questions.rows(np.array(which, np.int64))
    np.testing.assert_array_equal(some.lexical, lexical_features(TEXTS)[which])


def test_lexical_features_are_computed_once(monkeypatch):
    asked = []

    def counted(texts):
        asked.append(len(texts))
        return lexical_features(texts)

    monkeypatch.setattr("embedder.questions.lexical_features", counted)
    questions = Questions(TEXTS, VECTORS)
    assert asked == []  # not before they are asked for
    questions.lexical, questions.lexical, questions.rows(np.array([0])).lexical
    assert asked == [3]


@pytest.mark.parametrize("vectors", [np.zeros((2, 4)), np.zeros(3)])
def test_vectors_of_other_texts_are_refused(vectors):
    with pytest.raises(ValueError, match="3 texts, but their vectors are"):
        Questions(TEXTS, vectors)


def test_benchmarks_of_other_texts_are_refused():
    with pytest.raises(ValueError, match="3 texts, but 2 benchmarks"):
        Questions(TEXTS, VECTORS, BENCHMARKS[:2])
