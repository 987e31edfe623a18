import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from embedder.downstream.portfolios import METHODS, PORTFOLIOS, find_common_block, grow_portfolios
from embedder.downstream.routing import route
from embedder.matrix import CorrectnessMatrix
from embedder.predictor import Forecast


def said(scores, probabilities=None):
    return Forecast(np.array(scores if probabilities is None else probabilities), None, np.array(scores))


def rows(table):
    assert table.schema == PORTFOLIOS
    return {(row["method"], row["k"]): row for row in table.to_pylist()}


def added(found, method):
    return [row["model"] for (name, _), row in found.items() if name == method]


@pytest.fixture
def world(make_matrix):
    """By rates on train: m00, m01, m02. The router is sure of what m01 and m02 know and takes m00 for the rest."""
    train = [[1, 1, 0]] * 20 + [[1, 0, 1]] * 10
    val = [[0, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]]
    test = [[0, 1, 0], [0, 0, 1], [1, 1, 1], [1, 0, 0]]
    matrix = make_matrix(train + val + test, splits=["train"] * 30 + ["val"] * 4 + ["test"] * 4)
    return matrix, {
        "val": said([[0.5, 0.9, 0.1], [0.5, 0.9, 0.1], [0.5, 0.1, 0.9], [0.5, 0.2, 0.2]]),
        "test": said([[0.5, 0.9, 0.1], [0.5, 0.1, 0.9], [0.5, 0.1, 0.1], [0.5, 0.1, 0.1]]),
    }


def test_by_hand(world):
    found = rows(grow_portfolios(*world, "v1"))
    assert list(found) == [(method, k) for method in METHODS for k in (1, 2, 3)]
    # On val m01 alone is right twice; with m02 three times (of the tie the better on train answers the last), with
    # m00 too; of the two, m02 is surer: .9 .9 .9 .2 beside .9 .9 .5 .5.
    assert added(found, "greedy") == ["m01", "m02", "m00"]
    assert added(found, "best_mean") == ["m00", "m01", "m02"]
    assert added(found, "random") == [None] * 3
    accuracy = [found["greedy", k]["accuracy"] for k in (1, 2, 3)]
    assert accuracy == pytest.approx([2 / 4, 3 / 4, 1])
    assert [found["greedy", k]["share"] for k in (1, 2, 3)] == pytest.approx([2 / 4, 3 / 4, 1])
    assert [found["best_mean", k]["accuracy"] for k in (1, 2, 3)] == pytest.approx([2 / 4, 3 / 4, 1])
    assert [found[method, 3]["enough"] for method in METHODS] == [True] * 3
    assert {row["n"] for row in found.values()} == {4}
    assert {row["reason"] for row in found.values()} == {None}
    assert {row["embedder"] for row in found.values()} == {"v1"}


def test_ties_go_to_the_surer_then_to_the_better_on_train_then_by_name(make_matrix):
    matrix = make_matrix([[0, 1, 1]] * 9 + [[1, 1, 1], [1, 1, 1]], splits=["train"] * 9 + ["val", "test"])
    same = {"test": said([[0.5] * 3])}
    surer = grow_portfolios(matrix, {"val": said([[0.5] * 3], [[0.9, 0.8, 0.8]])} | same, "v")
    assert added(rows(surer), "greedy")[0] == "m00"
    equal = grow_portfolios(matrix, {"val": said([[0.5] * 3])} | same, "v")
    assert added(rows(equal), "greedy") == ["m01", "m02", "m00"]


def test_planted_specialists_are_the_portfolio(make_matrix):
    """A specialist a topic, three more for the most frequent topic that are nearly as good, and six generalists."""
    rng = np.random.default_rng(0)
    topic = rng.choice(3, 3000, p=[0.5, 0.3, 0.2])
    chance = np.full((3000, 12), 0.15)
    for model, (of_topic, skill) in {
        0: (0, 0.9),
        1: (0, 0.9),
        2: (0, 0.9),
        5: (0, 0.99),
        7: (1, 0.99),
        9: (2, 0.99),
    }.items():
        chance[:, model] = np.where(topic == of_topic, skill, 0.02)
    splits = [("val", "test", "train")[i % 3] for i in range(3000)]
    matrix = make_matrix((rng.random(chance.shape) < chance).astype(np.float32), splits=splits)
    forecasts = {split: said(chance[matrix.splits == split]) for split in ("val", "test")}
    found = rows(grow_portfolios(matrix, forecasts, "v"))
    enough = {row["method"]: row["k"] for row in found.values() if row["enough"]}
    assert added(found, "greedy")[:3] == ["m05", "m07", "m09"]
    assert enough["greedy"] == 3
    assert found["greedy", 3]["share"] == 1
    assert set(added(found, "best_mean")[:4]) == {"m00", "m01", "m02", "m05"}
    assert enough["best_mean"] == 6
    assert found["best_mean", 3]["share_high"] < 0.7
    assert enough["random"] > 6
    assert found["random", 3]["share_high"] < 0.7


def test_intervals(world):
    matrix, forecasts = world
    found = rows(grow_portfolios(matrix, forecasts, "v"))
    for (_, k), row in found.items():
        assert row["ci_low"] <= row["accuracy"] <= row["ci_high"]
        if k == 3:
            assert (row["share"], row["share_low"], row["share_high"]) == (1, 1, 1)  # resampled with its divisor
    assert grow_portfolios(matrix, forecasts, "v", seed=1) == grow_portfolios(matrix, forecasts, "v", seed=1)


def test_random_portfolios_of_one_model_are_right_as_often_as_models_are(make_matrix):
    rng = np.random.default_rng(1)
    matrix = make_matrix(rng.integers(0, 2, (90, 40)), splits=["train", "val", "test"] * 30)
    forecasts = {split: said(rng.random((30, 40))) for split in ("val", "test")}
    found = rows(grow_portfolios(matrix, forecasts, "v"))
    assert found["random", 1]["accuracy"] == pytest.approx(matrix.of_split("test").labels.mean(), abs=0.05)
    assert found["random", 40]["accuracy"] == found["greedy", 40]["accuracy"]


def test_all_models_fail_on_test(make_matrix):
    matrix = make_matrix([[1, 0], [1, 0], [0, 0], [0, 0]], splits=["train", "val", "test", "test"])
    found = rows(grow_portfolios(matrix, {"val": said([[0.5, 0.4]]), "test": said([[0.5, 0.4]] * 2)}, "v"))
    assert {(row["accuracy"], row["share"], row["share_low"]) for row in found.values()} == {(0, None, None)}


def test_one_question_has_no_interval(make_matrix):
    matrix = make_matrix([[1, 0], [1, 0], [1, 0]], splits=["train", "val", "test"])
    found = rows(grow_portfolios(matrix, {"val": said([[0.5, 0.4]]), "test": said([[0.5, 0.4]])}, "v"))
    row = found["greedy", 1]
    assert (row["accuracy"], row["ci_low"], row["share_high"]) == (1, None, None)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ([[1], [1], [1]], "needs at least 2 models, found 1"),
        ([[1, 0], [None, None], [1, 0]], "no val question was answered"),
        ([[1, 0], [1, 0], [None, None]], "no test question was answered"),
        ([[1, 0], [1, None], [1, 0]], "no 2 models answered the same questions, of both the val and the test split"),
    ],
)
def test_why_there_is_no_result(make_matrix, labels, reason):
    matrix = make_matrix(labels, splits=["train", "val", "test"])
    forecasts = {split: said([[0.5] * len(labels[0])]) for split in ("val", "test")}
    found = rows(grow_portfolios(matrix, forecasts, "v"))
    assert [row["reason"] for row in found.values()] == [reason] * 3
    assert {(row["accuracy"], row["enough"]) for row in found.values()} == {(None, None)}


def test_splits_without_questions(make_matrix):
    matrix = make_matrix([[1, 0]], splits=["train"])
    found = rows(grow_portfolios(matrix, dict.fromkeys(("val", "test"), said(np.empty((0, 2)))), "v"))
    assert {row["reason"] for row in found.values()} == {"no val question was answered"}


def test_a_forecast_of_other_questions_is_refused(world):
    matrix, forecasts = world
    with pytest.raises(ValueError, match=r"of the val split is of \(38, 3\) .* but the split is of \(4, 3\)"):
        grow_portfolios(matrix, forecasts | {"val": said(np.full((38, 3), 0.5))}, "v")


def test_the_common_block_of_two_imports_with_a_few_models_in_both():
    """Four models answered 30 questions, six others 10 of their own; one model both."""
    answered = np.zeros((40, 10), bool)
    answered[:30, :4] = answered[30:, 3:] = True
    models, val, test = find_common_block(answered[::2], answered[1::2])
    assert models.tolist() == [0, 1, 2, 3]  # 4 × 15 cells each way, more than 7 × 5
    assert (len(val), len(test)) == (15, 15)


def test_a_few_gaps_cost_a_few_questions_or_a_model():
    full = np.ones((20, 5), bool)
    gap = full.copy()
    gap[0, 2] = False
    models, val, test = find_common_block(gap, full)
    assert (len(models), val[0], len(val), len(test)) == (5, 1, 19, 20)  # 5 × 19 cells
    gap[:15, 2] = False
    models, val, test = find_common_block(gap, full)
    assert (models.tolist(), len(val), len(test)) == ([0, 1, 3, 4], 20, 20)  # 4 × 20 cells


def test_missing_answers_are_neither_right_nor_wrong(make_matrix):
    """The third model answered no val question: the result is that of the others alone."""
    cells = [[1, 0, 1], [0, 1, None], [1, 0, None], [1, 0, 1], [0, 1, 0]]
    splits = ["train", "val", "val", "test", "test"]
    scores = np.array([[0.9, 0.1, 0.99], [0.2, 0.8, 0.99]])
    with_gaps = grow_portfolios(make_matrix(cells, splits=splits), {"val": said(scores), "test": said(scores)}, "v")
    without = make_matrix([row[:2] for row in cells], splits=splits)
    assert with_gaps == grow_portfolios(without, {"val": said(scores[:, :2]), "test": said(scores[:, :2])}, "v")


@given(
    arrays(np.float32, (21, 4), elements=st.sampled_from([0.0, 1.0])),
    arrays(np.float64, (7, 4), elements=st.sampled_from([0.1, 0.5, 0.9])),
    arrays(np.float64, (7, 4), elements=st.sampled_from([0.1, 0.5, 0.9])),
)
def test_the_portfolio_of_all_models_is_the_router(labels, on_val, on_test):
    labels[0, 0] = 1
    names = np.array([f"q{i:02d}" for i in range(21)], object)
    splits = np.array(["train"] * 7 + ["val"] * 7 + ["test"] * 7, object)
    matrix = CorrectnessMatrix(labels, ("w", "x", "y", "z"), names, names, names, splits, names)
    found = rows(grow_portfolios(matrix, {"val": said(on_val), "test": said(on_test)}, "v"))
    routed = {(row["method"], row["benchmark"]): row for row in route(matrix, said(on_test), "v")[0].to_pylist()}
    for method in METHODS:
        assert found[method, 4]["accuracy"] == pytest.approx(routed["router", "all"]["accuracy"])
        assert sum(row["enough"] for (name, _), row in found.items() if name == method) == 1
    assert sorted(added(found, "greedy")) == sorted(added(found, "best_mean")) == ["w", "x", "y", "z"]
    assert found["best_mean", 1]["accuracy"] == pytest.approx(routed["best_single", "all"]["accuracy"])
