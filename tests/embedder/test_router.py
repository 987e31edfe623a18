import numpy as np
import pytest

from embedder.baselines import KNN
from embedder.router import Choice, Router, UnknownModel


class Words:
    """Encodes a text by the words it has."""

    def encode(self, texts, *, progress=True):
        return np.array([[word in text for word in ("sum", "poem")] for text in texts], np.float32).reshape(-1, 2)


@pytest.fixture
def router(make_matrix, make_questions):
    matrix = make_matrix([[1, 0, 1], [0, 1, 1]], splits=["train", "train"], models=("calculator", "poet", "polymath"))
    return Router(KNN(k_unvalidated=1).fit(matrix, make_questions(np.eye(2))), Words())


def test_likeliest_first_equals_by_name(router):
    assert router.rank(["a sum", "a poem"]) == [
        [Choice("calculator", 1.0), Choice("polymath", 1.0), Choice("poet", 0.0)],
        [Choice("poet", 1.0), Choice("polymath", 1.0), Choice("calculator", 0.0)],
    ]


def test_top(router):
    assert router.rank(["a poem"], top=1) == [[Choice("poet", 1.0)]]


def test_out_of_some_models_whatever_their_order(router):
    expected = [[Choice("poet", 1.0), Choice("calculator", 0.0)]]
    assert router.rank(["a poem"], models=["poet", "calculator"]) == expected
    assert router.rank(["a poem"], models=["calculator", "poet", "poet"]) == expected


def test_no_questions(router):
    assert router.rank([]) == []


def test_unknown_model(router):
    with pytest.raises(UnknownModel, match="unknown model 'gpt': the embedder knows 3, such as calculator, poet"):
        router.rank(["a sum"], models=["poet", "gpt"])


def test_no_models(router):
    with pytest.raises(UnknownModel, match="no models to choose from"):
        router.rank(["a sum"], models=[])


def test_one_text_is_not_taken_for_a_list_of_letters(router):
    with pytest.raises(TypeError, match="a list of questions"):
        router.rank("a sum")
