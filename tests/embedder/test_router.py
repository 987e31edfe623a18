import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedder.baselines.knn import KNN
from embedder.predictor import Forecast
from embedder.router import Choice, Router, UnknownBenchmark, UnknownModel
from embedder.spectral.spectral import SpectralEmbedder


class Words:
    """Encodes a text by the words it has."""

    def encode(self, texts, *, progress=True):
        return np.array([[word in text for word in ("sum", "poem")] for text in texts], np.float32).reshape(-1, 2)


class Lines:
    """Encodes a text, which is the number of a line, as that line."""

    def __init__(self, vectors):
        self.vectors = vectors

    def encode(self, texts, *, progress=True):
        return self.vectors[[int(text) for text in texts]]


class Foretold:
    """Forecasts the same of every question."""

    def __init__(self, models, probabilities, *, deviations=None, scores=None):
        self.models = models
        self.row = Forecast(
            np.array([probabilities], np.float32),
            None if deviations is None else np.array([deviations], np.float32),
            np.array([probabilities if scores is None else scores], np.float32),
        )

    def forecast(self, questions):
        def repeated(row):
            return None if row is None else np.repeat(row, len(questions), 0)

        return Forecast(*map(repeated, (self.row.probabilities, self.row.deviations, self.row.routing_scores)))


@pytest.fixture
def router(make_matrix, make_questions):
    matrix = make_matrix([[1, 0, 1], [0, 1, 1]], splits=["train", "train"], models=("calculator", "poet", "polymath"))
    return Router(KNN(k_unvalidated=1).fit(matrix, make_questions(np.eye(2))), Words())


def names(choices):
    return [[choice.model for choice in row] for row in choices]


def test_likeliest_first_equals_by_name(router):
    assert router.rank(["a sum", "a poem"]) == [
        [Choice("calculator", 1.0, 1.0), Choice("polymath", 1.0, 1.0), Choice("poet", 0.0, 0.0)],
        [Choice("poet", 1.0, 1.0), Choice("polymath", 1.0, 1.0), Choice("calculator", 0.0, 0.0)],
    ]


def test_equals_by_name_whatever_the_embedders_order():
    assert names(Router(Foretold(("b", "c", "a"), [0.5, 0.5, 0.5]), Words()).rank(["a sum"])) == [["a", "b", "c"]]


def test_by_routing_score_and_told_with_the_probability():
    router = Router(Foretold(("a", "b"), [0.75, 0.5], scores=[0.125, 0.25]), Words())
    assert router.rank(["a sum"]) == [[Choice("b", 0.5, 0.25), Choice("a", 0.75, 0.125)]]


def test_the_score_told_is_less_what_the_model_costs():
    router = Router(Foretold(("a", "b"), [0.75, 0.5], scores=[0.75, 0.5]), Words(), {"a": 3, "b": 1})
    assert router.rank(["a sum"], cost_weight=0.25) == [
        [Choice("b", 0.5, 0.25, cost=1), Choice("a", 0.75, 0.0, cost=3)]
    ]


@given(scores=st.lists(st.floats(0, 1, width=32), min_size=5, max_size=5), cost_weight=st.sampled_from([0, 0.5]))
def test_the_order_is_that_of_the_scores_told(scores, cost_weight):
    models = tuple("abcde")
    costs = dict(zip(models, (1, 0, 2, 0, 1), strict=True))
    router = Router(Foretold(models, [0.5, 0.1, 0.9, 0.3, 0.7], scores=scores), Words(), costs)
    told = [choice.score for choice in router.rank(["a sum"], top=3, cost_weight=cost_weight)[0]]
    assert told == sorted(told, reverse=True)


def test_top(router):
    assert router.rank(["a poem"], top=1) == [[Choice("poet", 1.0, 1.0)]]


def test_out_of_some_models_whatever_their_order(router):
    expected = [[Choice("poet", 1.0, 1.0), Choice("calculator", 0.0, 0.0)]]
    assert router.rank(["a poem"], models=["poet", "calculator"]) == expected
    assert router.rank(["a poem"], models=["calculator", "poet", "poet"]) == expected


def test_without_those_that_are_down(router):
    assert names(router.rank(["a poem"], without=["poet"])) == [["polymath", "calculator"]]
    assert names(router.rank(["a poem"], models=["poet", "calculator"], without={"poet"})) == [["calculator"]]


@given(models=st.sets(st.sampled_from("abcdef"), min_size=1), down=st.sets(st.sampled_from("abcdef")))
def test_ranks_all_that_are_wanted_and_up_in_the_order_of_all(models, down):
    probabilities = [0.3, 0.9, 0.1, 0.5, 0.5, 0.7]
    router = Router(Foretold(tuple("abcdef"), probabilities), Words())
    expected = [model for model in "bfdeac" if model in models - down]
    if expected:
        assert names(router.rank(["a sum"], models=models, without=down, top=6)) == [expected]
    else:
        with pytest.raises(UnknownModel, match="no models to choose from"):
            router.rank(["a sum"], models=models, without=down)


def test_a_cheaper_model_overtakes_where_cost_counts_enough():
    """0.1 better at a price 0.01 higher: worth it up to a weight of 10."""
    router = Router(Foretold(("big", "small"), [0.875, 0.775]), Words(), {"big": 0.011, "small": 0.001})
    assert names(router.rank(["a sum"])) == [["big", "small"]]
    assert names(router.rank(["a sum"], cost_weight=9.9)) == [["big", "small"]]
    assert names(router.rank(["a sum"], cost_weight=10.1)) == [["small", "big"]]
    assert router.rank(["a sum"], cost_weight=10.1)[0][1].probability == 0.875  # the price does not change it


def test_the_cost_of_a_model_matters_only_where_costs_count_and_it_is_among_the_choice():
    router = Router(Foretold(("big", "small"), [0.9, 0.8]), Words(), {"big": 0.01})
    assert names(router.rank(["a sum"])) == [["big", "small"]]
    assert names(router.rank(["a sum"], without=["small"], cost_weight=1)) == [["big"]]
    with pytest.raises(UnknownModel, match="the cost of 'small' is not known: give a price or size, or leave out"):
        router.rank(["a sum"], cost_weight=1)


def test_the_interval_is_of_the_log_odds():
    """Even odds, give or take 1.96 deviations of 1 on the scale of log-odds."""
    choice = Router(Foretold(("a",), [0.5], deviations=[1.0]), Words()).rank(["a sum"])[0][0]
    assert (choice.low, choice.high) == pytest.approx((0.1235, 0.8765), abs=1e-4)


def test_the_spectral_embedder_knows_how_sure_it_is(planted):
    matrix, questions = planted
    router = Router(SpectralEmbedder(landmarks=100).fit(matrix, questions), Lines(questions.vectors))
    for choice in router.rank(["0"], top=12)[0]:
        assert 0 <= choice.low < choice.probability < choice.high <= 1


def test_of_a_model_without_answers_no_interval_is_known(planted, make_matrix):
    matrix, questions = planted
    labels = matrix.labels.copy()
    labels[:, 3] = np.nan
    silent = make_matrix(labels, splits=matrix.splits.tolist())
    router = Router(SpectralEmbedder(landmarks=100).fit(silent, questions), Lines(questions.vectors))
    for choice in router.rank(["0"], top=12)[0]:
        assert (choice.low is None, choice.high is None) == (choice.model == "m03",) * 2


def test_many_questions_are_ranked_as_one_by_one(planted):
    matrix, questions = planted
    router = Router(SpectralEmbedder(landmarks=100).fit(matrix, questions), Lines(questions.vectors))
    texts = [str(i) for i in range(40)]
    together = router.rank(texts, top=3)
    for text, expected in zip(texts, together, strict=True):
        alone = router.rank([text], top=3)[0]
        assert [choice.model for choice in alone] == [choice.model for choice in expected]
        np.testing.assert_allclose([c[1:5] for c in alone], [c[1:5] for c in expected], atol=1e-5)


def test_choices_are_plain_python(router):
    """They go into JSON."""
    choice = router.rank(["a sum"])[0][0]
    assert (type(choice.model), type(choice.probability)) == (str, float)


def test_no_questions(router):
    assert router.rank([]) == []


@pytest.mark.parametrize("asked", [{"models": ["poet", "gpt"]}, {"without": ["gpt"]}])
def test_unknown_model(router, asked):
    with pytest.raises(UnknownModel, match="unknown model 'gpt': the embedder knows 3, such as calculator, poet"):
        router.rank(["a sum"], **asked)


def test_no_models(router):
    with pytest.raises(UnknownModel, match="no models to choose from"):
        router.rank(["a sum"], models=[])


def test_all_models_down(router):
    with pytest.raises(UnknownModel, match="no models to choose from"):
        router.rank(["a sum"], without=["calculator", "poet", "polymath"])


def test_one_text_is_not_taken_for_a_list_of_letters(router):
    with pytest.raises(TypeError, match="a list of questions"):
        router.rank("a sum")


def test_a_model_that_is_expensive_for_this_question_only():
    costs = {"a sum": [0.5, 0.1], "a poem": [0.01, 0.1]}
    router = Router(
        Foretold(("big", "small"), [0.875, 0.75]),
        Words(),
        {"big": 0.2, "small": 0.1},
        lambda questions: np.array([costs[text] for text in questions.texts]),
    )
    assert names(router.rank(["a sum", "a poem"])) == [["big", "small"]] * 2
    ranked = router.rank(["a sum", "a poem"], cost_weight=1)
    assert names(ranked) == [["small", "big"], ["big", "small"]]
    assert ranked[0] == [Choice("small", 0.75, 0.65, cost=0.1), Choice("big", 0.875, 0.375, cost=0.5)]
    assert [choice.cost for choice in router.rank(["a poem"], models=["small"])[0]] == [0.1]


def test_a_question_whose_cost_is_not_known_for_a_model():
    router = Router(Foretold(("big", "small"), [0.875, 0.75]), Words(), {}, lambda _: np.array([[np.nan, 0.1]]))
    assert [(choice.model, choice.cost) for choice in router.rank(["a sum"])[0]] == [("big", None), ("small", 0.1)]
    assert names(router.rank(["a sum"], without=["big"], cost_weight=1)) == [["small"]]
    with pytest.raises(UnknownModel, match="the cost of 'big' is not known"):
        router.rank(["a sum"], cost_weight=1)


def test_a_known_benchmark_counts_and_an_unknown_one_is_refused(planted):
    matrix, questions = planted
    fitted = SpectralEmbedder().fit(matrix, questions)
    router = Router(fitted, Lines(questions.vectors))
    alone, told = router.rank(["3"], top=12)[0], router.rank(["3"], top=12, benchmark=questions.benchmarks[3])[0]
    assert {choice.model for choice in alone} == {choice.model for choice in told}
    assert all(0 <= choice.support <= 1 for choice in alone + told)
    assert router.least_support == fitted.least_support
    with pytest.raises(
        UnknownBenchmark, match="unknown benchmark or category 'poetry': the embedder knows topic0, topic1"
    ):
        router.rank(["3"], benchmark="poetry")
