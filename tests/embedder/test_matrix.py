import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedder.matrix import CorrectnessMatrix

QUESTIONS = pa.table(
    {
        "question_id": ["q1", "q2", "q3"],
        "benchmark": ["z", "a", "a"],
        "category": ["z", "a/x", "a/y"],
        "text": ["one", "two", "three"],
        "split": ["train", "test", "val"],
    }
)
RESPONSES = pa.table(
    {
        "question_id": ["q1", "q2", "q2", "q1"],
        "model": ["m2", "m2", "m1", "m1"],
        "correct": [True, False, True, False],
    }
)


def test_rows_by_benchmark_and_id_columns_by_name_missing_is_nan():
    matrix = CorrectnessMatrix.from_tables(QUESTIONS, RESPONSES)
    assert matrix.models == ("m1", "m2")
    assert matrix.question_ids.tolist() == ["q2", "q3", "q1"]
    assert matrix.benchmarks.tolist() == ["a", "a", "z"]
    assert matrix.categories.tolist() == ["a/x", "a/y", "z"]
    assert matrix.splits.tolist() == ["test", "val", "train"]
    assert matrix.texts.tolist() == ["two", "three", "one"]
    np.testing.assert_array_equal(matrix.labels, [[1, 0], [np.nan, np.nan], [0, 1]])
    np.testing.assert_array_equal(matrix.observed, [[True, True], [False, False], [True, True]])


@given(st.permutations(range(3)), st.permutations(range(4)))
def test_order_of_the_tables_does_not_matter(questions, responses):
    matrix = CorrectnessMatrix.from_tables(QUESTIONS.take(questions), RESPONSES.take(responses))
    expected = CorrectnessMatrix.from_tables(QUESTIONS, RESPONSES)
    np.testing.assert_array_equal(matrix.labels, expected.labels)
    assert matrix.texts.tolist() == expected.texts.tolist()


def test_an_answer_that_is_null_counts_as_not_asked():
    responses = pa.table({"question_id": ["q1"], "model": ["m"], "correct": pa.array([None], pa.bool_())})
    assert not CorrectnessMatrix.from_tables(QUESTIONS, responses).observed.any()


def test_no_responses():
    matrix = CorrectnessMatrix.from_tables(QUESTIONS, RESPONSES.slice(0, 0))
    assert matrix.labels.shape == (3, 0)


def test_one_split():
    test = CorrectnessMatrix.from_tables(QUESTIONS, RESPONSES).of_split("test")
    assert test.question_ids.tolist() == ["q2"]
    np.testing.assert_array_equal(test.labels, [[1, 0]])
    np.testing.assert_array_equal(test.observed, [[True, True]])


def test_some_models_and_one_that_was_asked_nothing():
    matrix = CorrectnessMatrix.from_tables(QUESTIONS, RESPONSES)
    of_two = matrix.of_models(("m2", "unheard of"))
    assert of_two.models == ("m2", "unheard of")
    np.testing.assert_array_equal(of_two.labels[:, 0], matrix.labels[:, matrix.models.index("m2")])
    assert np.isnan(of_two.labels[:, 1]).all()


def test_an_answer_given_twice_is_refused():
    with pytest.raises(ValueError, match="m2 answered question 'q1' 2 times"):
        CorrectnessMatrix.from_tables(QUESTIONS, pa.concat_tables([RESPONSES, RESPONSES.slice(0, 1)]))


def test_a_question_that_comes_twice_is_refused():
    with pytest.raises(ValueError, match="1 questions come more than once"):
        CorrectnessMatrix.from_tables(pa.concat_tables([QUESTIONS, QUESTIONS.slice(0, 1)]), RESPONSES)


def test_an_answer_without_question_is_refused():
    with pytest.raises(ValueError, match="such as 'q1'"):
        CorrectnessMatrix.from_tables(QUESTIONS.slice(1), RESPONSES)


def test_parts_that_do_not_fit_are_refused():
    names = np.array(["x"], object)
    with pytest.raises(ValueError, match="2 columns, but there are 1 models"):
        CorrectnessMatrix(np.zeros((1, 2), np.float32), ("m",), names, names, names, names, names)
