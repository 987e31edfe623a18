from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from embedder.downstream.aiq import aiq, frontier
from embedder.downstream.cost import (
    COST_CURVE,
    COST_SUMMARY,
    NO_VAL,
    NOT_KEPT,
    QuestionCosts,
    choose_weights,
    weigh_costs,
)
from embedder.matrix import CorrectnessMatrix
from embedder.metrics import bootstrap_interval
from embedder.question_costs import CostPredictor
from embedder.questions import Questions
from embedder.spectral.spectral import SpectralEmbedder

# cheap, dear: on the train split dear is always right, cheap half the time.
TRAIN = [[1, 1], [0, 1]] * 10
ANSWERS = [[1, 1], [1, 1], [0, 1], [0, 0]]
SCORES = np.array([[0.9, 0.95], [0.8, 0.9], [0.2, 0.9], [0.1, 0.9]])
COSTS = {"m00": 1.0, "m01": 3.0}


@pytest.fixture
def two(make_matrix):
    """Both splits hold the same four questions."""
    return make_matrix(TRAIN + ANSWERS * 2, splits=["train"] * 20 + ["val"] * 4 + ["test"] * 4)


def weighed(matrix, val=SCORES, test=SCORES, costs=COSTS, **options):
    curve, summary = weigh_costs(matrix, val, test, "v", costs=costs, cost_unit="US$", **options)
    assert (curve.schema, summary.schema) == (COST_CURVE, COST_SUMMARY)
    return curve.to_pylist(), {row["method"]: row for row in summary.to_pylist()}


def points(curve, method):
    return [(row["mean_cost"], row["accuracy"]) for row in curve if row["method"] == method]


def test_the_curve_by_hand(two):
    curve, _ = weighed(two)
    # cheap is asked from a weight of .025, .05, .35 and .4 on: by question half the difference of the scores.
    router = points(curve, "router")
    assert (router[0], router[-1]) == ((3, 0.75), (1, 0.5))
    assert set(router) <= {(3, 0.75), (2.5, 0.75), (2, 0.75), (1.5, 0.5), (1, 0.5)}
    assert {(2.5, 0.75), (2, 0.75)} < set(router)
    assert points(curve, "best_single") == points(curve, "best_per_benchmark") == [(3, 0.75), (1, 0.5)]
    assert {(row["embedder"], row["cost_unit"], row["n"]) for row in curve} == {("v", "US$", 4)}
    weights = [row["cost_weight"] for row in curve if row["method"] == "router"]
    assert (weights[0], weights) == (0, sorted(weights))


def test_the_area_and_the_saving_by_hand(two):
    _, summary = weighed(two)
    # The hull of the router's points goes from (1, .5) to (2, .75) and on level, that of the models straight.
    assert summary["router"]["aiq"] == pytest.approx((0.625 + 0.75) / 2)
    assert summary["best_single"]["aiq"] == pytest.approx(0.625)
    told = ("accuracy", "mean_cost", "cost_share", "reason")
    assert [summary["router"][name] for name in told] == [0.75, 2, pytest.approx(2 / 3), None]
    assert [summary["best_single"][name] for name in told] == [0.75, 3, 1, None]
    assert 0.05 < summary["router"]["cost_weight"] < 0.35
    assert {(row["models"], row["n"]) for row in summary.values()} == {(2, 4)}


def test_the_weight_is_chosen_on_val_whatever_it_does_on_test(two):
    flipped = SCORES.copy()
    flipped[2:] = [[0.9, 0.1], [0.9, 0.1]]  # on test the router takes cheap for what it cannot answer
    _, summary = weighed(two, test=flipped)
    assert (summary["router"]["accuracy"], summary["router"]["mean_cost"]) == (0.5, 1)
    assert summary["router"]["cost_weight"] == weighed(two)[1]["router"]["cost_weight"]


def test_a_router_that_is_never_as_good_on_val_has_a_curve_but_no_saving(two):
    _, summary = weighed(two, val=1 - SCORES)
    assert summary["router"]["reason"] == NOT_KEPT
    assert summary["router"]["aiq"] == pytest.approx((0.625 + 0.75) / 2)
    assert (summary["router"]["cost_weight"], summary["router"]["cost_share"]) == (None, None)
    assert summary["best_single"]["reason"] is None


def test_without_val_answers_no_weight_is_chosen(two):
    labels = two.labels.copy()
    labels[two.splits == "val"] = np.nan
    curve, summary = weighed(replace(two, labels=labels))
    assert len(curve) > 4
    assert {row["reason"] for row in summary.values()} == {NO_VAL}
    assert summary["router"]["aiq"] == pytest.approx((0.625 + 0.75) / 2)


def test_models_without_a_cost_take_no_part(make_matrix):
    third = [[*row, 1] for row in TRAIN + ANSWERS * 2]  # would be the best
    matrix = make_matrix(third, splits=["train"] * 20 + ["val"] * 4 + ["test"] * 4)
    scores = np.column_stack([SCORES, np.ones(4)])
    curve, summary = weighed(matrix, scores, scores)
    assert {row["model"] for row in curve} == {None, "m00", "m01"}
    assert summary["router"]["aiq"] == pytest.approx((0.625 + 0.75) / 2)
    assert summary["router"]["models"] == 2


def test_a_question_goes_to_a_model_that_answered_it(make_matrix):
    answers = [[1, None], [None, 1], [None, None], [0, 1]]
    matrix = make_matrix(TRAIN + answers * 2, splits=["train"] * 20 + ["val"] * 4 + ["test"] * 4)
    curve, _ = weighed(matrix)
    assert points(curve, "router") == points(curve, "best_single") == [(7 / 3, 1), (5 / 3, 2 / 3)]
    assert {row["n"] for row in curve if row["method"] != "model"} == {3}
    assert [(row["model"], row["n"], row["accuracy"]) for row in curve if row["model"]] == [
        ("m00", 2, 0.5),
        ("m01", 2, 1),
    ]


def test_pareto_are_the_models_that_no_other_beats(make_matrix):
    answers = [[1, 0, 1, 1, 0], [0, 1, 0, 1, 0]]  # costs 1, 1, 2, 3, 3
    matrix = make_matrix(answers * 3, splits=["train"] * 2 + ["val"] * 2 + ["test"] * 2)
    scores = np.full((2, 5), 0.5)
    curve, _ = weighed(matrix, scores, scores, dict(zip(matrix.models, (1, 1, 2, 3, 3), strict=True)))
    assert {row["model"] for row in curve if row["pareto"]} == {"m00", "m01", "m03"}
    assert {row["pareto"] for row in curve if row["method"] != "model"} == {None}


@pytest.mark.parametrize(
    ("costs", "models", "reason"),
    [
        ({}, 0, "no model has a known cost, be it a price or a size"),
        ({"m01": 3.0, "other": 1.0}, 1, "needs at least 2 models whose cost is known, found 1"),
        ({"m00": 2.0, "m01": 2.0}, 2, "all models whose cost is known cost the same"),
    ],
)
def test_without_different_costs_there_is_a_reason(two, costs, models, reason):
    curve, summary = weighed(two, costs=costs)
    assert curve == []
    (row,) = summary.values()
    told = {name: value for name, value in row.items() if value is not None}
    assert told == {"embedder": "v", "method": "router", "models": models, "reason": reason}


def test_without_test_answers_there_is_a_reason(make_matrix):
    curve, summary = weighed(make_matrix(TRAIN, splits=["train"] * 20), np.empty((0, 2)), np.empty((0, 2)))
    assert curve == []
    assert summary["router"]["reason"] == "no test question was answered by a model whose cost is known"


def test_one_test_question_has_no_interval(make_matrix):
    matrix = make_matrix([*TRAIN, [1, 1], [0, 1]], splits=["train"] * 20 + ["val", "test"])
    curve, summary = weighed(matrix, SCORES[:1], SCORES[:1])
    assert {(row["ci_low"], row["ci_high"]) for row in curve} == {(None, None)}
    assert {(row["aiq_low"], row["cost_share_low"]) for row in summary.values()} == {(None, None)}


def test_a_free_model_that_is_the_best_has_no_share(make_matrix):
    matrix = make_matrix([[1, 0]] * 6, splits=["train"] * 2 + ["val"] * 2 + ["test"] * 2)
    scores = np.array([[0.9, 0.1]] * 2)
    _, summary = weighed(matrix, scores, scores, {"m00": 0.0, "m01": 1.0})
    row = summary["router"]
    assert (row["mean_cost"], row["cost_share"], row["cost_share_low"]) == (0, None, None)
    assert (row["aiq"], row["aiq_low"]) == (None, None)  # no curve has more than one cost


def test_scores_of_other_questions_or_missing_ones_are_refused(two):
    with pytest.raises(ValueError, match=r"scores are \(3, 2\), but the test split has \(4, 2\) questions and models"):
        weighed(two, test=SCORES[:3])
    for split in ("val", "test"):
        with pytest.raises(ValueError, match=f"a model that answered a {split} question has no routing score for it"):
            weighed(two, **{split: np.full_like(SCORES, np.nan)})


def test_intervals_are_those_of_the_bootstrap_over_questions(make_matrix):
    rng = np.random.default_rng(1)
    labels = (rng.random((500, 2)) < [0.5, 0.8]).astype(float)
    matrix = make_matrix(labels, splits=["train"] * 50 + ["val"] * 50 + ["test"] * 400)
    scores = np.full((400, 2), [0.5, 0.8])
    curve, summary = weighed(matrix, scores[:50], scores, seed=3)
    right = labels[100:, 1]
    low, high = bootstrap_interval(right, np.ones(400), seed=0) or (0, 0)
    for row in (curve[0], next(row for row in curve if row["model"] == "m01")):
        assert row["accuracy"] == pytest.approx(right.mean())
        assert (row["ci_low"], row["ci_high"]) == pytest.approx((low, high), abs=0.006)
    assert summary["router"]["aiq_low"] < summary["router"]["aiq"] < summary["router"]["aiq_high"]
    assert weighed(matrix, scores[:50], scores, seed=3) == (curve, summary)


def test_a_planted_saving_is_found(make_matrix):
    """m00 costs a tenth and knows topic a, m01 knows both: half of the questions may go to m00."""
    topics = ["a", "b"] * 200
    splits = [("val" if i % 10 in (6, 7) else "test" if i % 10 > 7 else "train") for i in range(400)]
    matrix = make_matrix([[topic == "a", 1] for topic in topics], splits=splits, benchmarks=topics)
    vectors = np.eye(4)[[0, 1] * 200] + 0.1 * np.random.default_rng(0).normal(size=(400, 4))
    questions = Questions(matrix.texts, vectors.astype(np.float32), matrix.benchmarks)
    fitted = SpectralEmbedder().fit(matrix, questions)
    scores = [fitted.routing_scores(questions.rows(matrix.splits == split)) for split in ("val", "test")]
    _, summary = weighed(matrix, *scores, {"m00": 1.0, "m01": 10.0})
    assert (summary["router"]["accuracy"], summary["router"]["cost_share"]) == (1, pytest.approx(0.55))
    assert summary["best_single"]["cost_share"] == 1
    assert summary["router"]["aiq"] > summary["best_single"]["aiq"]


def test_the_hull_never_falls_and_is_convex():
    cost, accuracy = np.array([4, 2, 1, 3, 5, 1]), np.array([0.6, 0.5, 0.2, 0.4, 0.6, 0.1])
    assert [corners.tolist() for corners in frontier(cost, accuracy)] == [[1, 2, 4], [0.2, 0.5, 0.6]]
    assert aiq(cost, accuracy, 1, 5) == pytest.approx((0.35 + 2 * 0.55 + 0.6) / 4)
    assert aiq(cost, accuracy, 2, 4) == pytest.approx(0.55)
    assert aiq(cost, accuracy, 5, 9) == pytest.approx(0.6)  # flat beyond its ends
    assert np.isnan(aiq(cost, accuracy, 5, 5))


@given(st.lists(st.tuples(st.floats(0, 9), st.floats(0, 1)), min_size=1, max_size=12))
def test_no_point_lies_above_the_hull_and_its_corners_are_points(found):
    cost, accuracy = np.array(found).T
    x, y = frontier(cost, accuracy)
    assert set(zip(x, y, strict=True)) <= set(zip(cost, accuracy, strict=True))
    assert (accuracy <= np.interp(cost, x, y) + 1e-12).all()
    assert (np.diff(y) > 0).all()


@given(st.lists(st.floats(1e-6, 1e3), min_size=2, max_size=6, unique=True))
def test_the_greatest_weight_always_asks_the_cheapest(costs):
    cost = np.array(costs)
    weights = choose_weights(cost[None])
    assert weights[0] == 0
    assert (np.diff(weights) > 0).all()
    worst = (cost > cost.min()).astype(float)  # all dearer ones are sure, the cheapest is hopeless
    assert (worst - weights[-1] * cost).argmax() == cost.argmin()
    assert weights[1] * np.ptp(cost) == pytest.approx(1e-3)


LABELS = arrays(np.float32, (12, 3), elements=st.sampled_from([0.0, 1.0, np.nan]))
RANDOM_SCORES = arrays(np.float64, (4, 3), elements=st.floats(0, 1))


@settings(deadline=None)  # the first draw loads what the others find loaded
@given(LABELS, RANDOM_SCORES, RANDOM_SCORES, arrays(np.float64, 3, elements=st.sampled_from([0.0, 1.0, 2.5, 40.0])))
def test_more_weight_never_costs_more_and_ends_at_the_cheapest(labels, val, test, cost):
    labels[0] = [1, 0, 1]
    names = np.array([f"q{i:02d}" for i in range(12)], object)
    splits = np.array(["train"] * 4 + ["val"] * 4 + ["test"] * 4, object)
    matrix = CorrectnessMatrix(labels, ("x", "y", "z"), names, names[[0, 1] * 6], names, splits, names)
    curve, summary = weighed(matrix, val, test, dict(zip("xyz", cost.tolist(), strict=True)))
    numbers = [value for row in [*curve, *summary.values()] for value in row.values() if isinstance(value, float)]
    assert np.isfinite(numbers).all()
    if not curve:
        assert summary["router"]["reason"] is not None
        return
    asked = ~np.isnan(labels[8:])
    cheapest = [cost[row].min() for row in asked if row.any()]
    for method in ("router", "best_single", "best_per_benchmark"):
        costs = [found for found, _ in points(curve, method)]
        assert all(later <= earlier + 1e-12 for earlier, later in pairwise(costs))
        assert costs[-1] == pytest.approx(np.mean(cheapest))
    assert (summary["best_single"]["cost_share"] or 0) <= 1 + 1e-12


def spread(costs, measured=None):
    """Costs of the four questions that val and test split hold; those of train questions do not matter."""
    whole = (np.vstack([np.ones((20, 2)), each, each]) for each in (costs, measured or costs))
    return QuestionCosts(*whole, "category")


def test_choices_follow_what_questions_are_predicted_to_cost_and_spending_what_they_did(two):
    """Dear is dear for the first two questions only; in truth it costs a third of what is predicted for the first."""
    predicted = [[1, 9], [1, 9], [1, 1.5], [1, 1.5]]
    measured = [[1, 3], [np.nan, np.nan], [1, 1.5], [1, 1.5]]
    curve, summary = weighed(two, question_costs=spread(predicted, measured))
    router = points(curve, "router")
    assert (router[0], router[-1]) == (((3 + 9 + 1.5 + 1.5) / 4, 0.75), (1, 0.5))
    assert (1.25, 0.75) in router  # cheap for the first two, dear for the others: never a choice by mean costs
    models = {row["model"]: row["mean_cost"] for row in curve if row["method"] == "model"}
    assert models == {"m00": 1, "m01": 3.75}
    assert {(row["predicted_by"], row["measured"]) for row in summary.values()} == {("category", 0.75)}
    assert {(row["predicted_by"], row["measured"]) for row in weighed(two)[1].values()} == {(None, None)}


def test_costs_of_questions_that_are_those_of_the_models_change_nothing(two):
    plain = weighed(two)
    same = weighed(two, question_costs=spread([[1, 3]] * 4))
    for row in same[1].values():
        row |= {"predicted_by": None, "measured": None}
    assert same == plain


def test_a_planted_category_in_which_a_model_is_expensive_is_avoided_there(make_matrix):
    """Both models are as good, and cost as much on average; which is cheaper depends on the topic alone."""
    topics = np.array(["a", "b"] * 300, object)
    splits = np.array([("val" if i % 10 in (6, 7) else "test" if i % 10 > 7 else "train") for i in range(600)], object)
    rng = np.random.default_rng(0)
    matrix = make_matrix((rng.random((600, 2)) < 0.7).astype(float), splits=splits.tolist(), benchmarks=topics.tolist())
    paid = np.where(topics[:, None] == np.array(["a", "b"]), 9.0, 1.0) * rng.uniform(0.8, 1.2, (600, 2))
    questions = Questions(matrix.texts, np.zeros((600, 1), np.float32), topics)
    predictor = CostPredictor.fit(paid, questions, splits, matrix.models)
    assert (predictor.told, predictor.untold) == ("category", "mean")
    scores = [np.tile([0.7, 0.701], ((splits == split).sum(), 1)) for split in ("val", "test")]
    costs = dict(zip(matrix.models, predictor.means.tolist(), strict=True))
    told, flat = (
        weighed(matrix, *scores, costs, question_costs=QuestionCosts(predictor.predict(asked), paid, "category"))
        for asked in (questions, Questions(questions.texts, questions.vectors))
    )
    cheapest, without = (min(cost for cost, _ in points(curve, "router")) for curve, _ in (told, flat))
    assert cheapest == pytest.approx(1, rel=0.05)
    assert without == pytest.approx(5, rel=0.05)
    singles = [row["mean_cost"] for row in told[0] if row["method"] == "model"]
    assert singles == pytest.approx([5, 5], rel=0.05)
