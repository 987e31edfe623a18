import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from embedder.downstream.routing import ROUTES, ROUTING, route
from embedder.matrix import CorrectnessMatrix
from embedder.predictor import Forecast
from embedder.spectral.spectral import SpectralEmbedder

# Models m00, m01, m02. On train m00 is best overall and on "a", m01 is best on "b", m02 knows nothing.
TRAIN = [[1, 0, 0]] * 30 + [[0, 1, 0]] * 20
TRAIN_BENCHMARKS = ["a"] * 30 + ["b"] * 20


def said(probabilities, scores=None):
    """A forecast of test questions; it routes by the probabilities unless there are `scores`."""
    return Forecast(np.array(probabilities), None, np.array(probabilities if scores is None else scores))


@pytest.fixture
def world(make_matrix):
    """Test questions: two of "a", two of "b"; m00 was not asked the last."""
    test = [[1, 0, 0], [0, 0, 1], [0, 1, 0], [None, 0, 1]]
    matrix = make_matrix(
        TRAIN + test,
        splits=["train"] * 50 + ["test"] * 4,
        benchmarks=[*TRAIN_BENCHMARKS, "a", "a", "b", "b"],
    )
    return matrix, said([[0.9, 0.1, 0.2], [0.3, 0.2, 0.6], [0.9, 0.5, 0.1], [0.9, 0.4, 0.4]])


def routing(table):
    return {(row["method"], row["benchmark"]): row for row in table.to_pylist()}


def test_accuracies_by_hand(world):
    table, _ = route(*world, "v1")
    assert table.schema == ROUTING
    found = routing(table)
    accuracy = {method: found[method, "all"]["accuracy"] for method, benchmark in found if benchmark == "all"}
    # The router takes m00, m02, m00, and of the tie m01 (better on train), as m00 was not asked.
    # best_single takes m00, but m01 for the last; best_per_benchmark takes m00, m00, m01, m01.
    # random: 1/3, 1/3, 1/3, 1/2. weighted_random by 2/4, 1/4, 1/4: 1/2, 1/4, 1/4, and 1/2 (m01, m02).
    assert accuracy == pytest.approx(
        {
            "router": 2 / 4,
            "best_single": 1 / 4,
            "best_per_benchmark": 2 / 4,
            "weighted_random": 1.5 / 4,
            "random": 1.5 / 4,
            "oracle": 1.0,
        }
    )
    assert found["router", "all"]["n"] == 4
    assert found["router", "a"]["accuracy"] == 1
    assert found["router", "b"]["accuracy"] == 0


def test_gain_and_gap(world):
    found = routing(route(*world, "v1")[0])
    assert found["router", "all"]["gain_over_best"] == pytest.approx(0.5 / 0.25 - 1)
    assert found["router", "all"]["gap_to_oracle"] == pytest.approx(0.5)
    assert found["best_single", "all"]["gain_over_best"] == 0
    assert found["oracle", "all"]["gap_to_oracle"] == 0
    # The single best model is never right on "b": no ratio to it.
    assert found["router", "b"]["gain_over_best"] is None


def test_routes_say_what_each_router_chose(world):
    _, table = route(*world, "v1")
    assert table.schema == ROUTES
    chosen = {}
    for row in table.to_pylist():
        chosen.setdefault(row["method"], []).append((row["question_id"], row["model"], row["correct"]))
    assert set(chosen) == {"router", "best_single", "best_per_benchmark", "oracle"}
    assert chosen["router"] == [
        ("q50", "m00", True),
        ("q51", "m02", True),
        ("q52", "m00", False),
        ("q53", "m01", False),
    ]
    assert [model for _, model, _ in chosen["oracle"]] == ["m00", "m02", "m01", "m02"]
    sure = {}
    for row in table.to_pylist():
        sure.setdefault(row["method"], []).append(row["probability"])
    assert sure["router"] == pytest.approx([0.9, 0.6, 0.9, 0.4])
    assert sure["best_single"] == pytest.approx([0.9, 0.3, 0.9, 0.4])
    assert sure["oracle"] == pytest.approx([0.9, 0.6, 0.5, 0.4])


def test_the_score_chooses_and_the_probability_is_told(world):
    matrix, forecast = world
    scores = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1], [1, 1, 0]])  # m00 was not asked the last
    _, table = route(matrix, said(forecast.probabilities, scores), "v1")
    router = [(row["model"], row["probability"]) for row in table.to_pylist() if row["method"] == "router"]
    assert router == [("m01", 0.1), ("m00", 0.3), ("m02", 0.1), ("m01", 0.4)]


def test_ties_go_to_the_better_on_train_then_by_name(make_matrix):
    matrix = make_matrix([[0, 1, 1], [1, 1, 1]], splits=["train", "test"])
    _, routes = route(matrix, said([[0.5] * 3]), "v")
    router = [row["model"] for row in routes.to_pylist() if row["method"] == "router"]
    assert router == ["m01"]


def test_a_lucky_model_with_one_answer_is_not_the_best(make_matrix):
    matrix = make_matrix([[1, None, 0]] * 9 + [[0, 1, 0], [1, 0, 0]], splits=["train"] * 10 + ["test"])
    found = routing(route(matrix, said([[0.5] * 3]), "v")[0])
    assert found["best_single", "all"]["accuracy"] == 1


def test_a_question_nobody_answered_is_left_out(make_matrix):
    matrix = make_matrix([[1], [None], [1]], splits=["train", "test", "test"])
    table, routes = route(matrix, said([[0.5]] * 2), "v")
    assert routing(table)["router", "all"]["n"] == 1
    assert set(routes["question_id"].to_pylist()) == {"q02"}


def test_a_benchmark_that_all_fail(make_matrix):
    matrix = make_matrix([[1, 0], [0, 0], [0, 0]], splits=["train", "test", "test"])
    row = routing(route(matrix, said([[0.5] * 2] * 2), "v")[0])["router", "b"]
    assert (row["accuracy"], row["gain_over_best"], row["gap_to_oracle"]) == (0, None, None)


@pytest.mark.parametrize(("rows", "splits"), [([[1, 0]], ["train"]), ([[1, 0], [None, None]], ["train", "test"])])
def test_without_test_answers_the_only_row_says_so(make_matrix, rows, splits):
    table, routes = route(make_matrix(rows, splits=splits), said(np.full((len(rows) - 1, 2), 0.5)), "v")
    (row,) = table.to_pylist()
    assert {name: value for name, value in row.items() if value is not None} == {
        "embedder": "v",
        "method": "router",
        "benchmark": "all",
        "n": 0,
        "reason": "no test question was answered",
    }
    assert (table.schema, routes.schema, routes.num_rows) == (ROUTING, ROUTES, 0)


def test_candidates_are_the_models_that_answered(world):
    found = routing(route(*world, "v")[0])
    assert [found["router", name]["candidates"] for name in ("all", "a", "b")] == [11 / 4, 3, 2.5]


def test_costs_only_where_that_of_all_that_is_used_is_known(world):
    matrix, forecast = world
    unknown = routing(route(matrix, forecast, "v", cost_unit="US$")[0])["router", "all"]
    assert (unknown["mean_cost"], unknown["cost_unit"]) == (None, None)
    found = routing(route(matrix, forecast, "v", costs={"m00": 4.0, "m01": 2.0}, cost_unit="US$")[0])
    assert found["best_single", "all"]["mean_cost"] == pytest.approx((3 * 4 + 2) / 4)
    assert found["best_single", "all"]["cost_unit"] == "US$"
    assert found["router", "all"]["mean_cost"] is None  # it uses m02, whose cost is not known
    assert found["router", "b"]["mean_cost"] == pytest.approx(3)


def test_a_missing_probability_or_score_is_refused(world):
    matrix, forecast = world
    known, missing = forecast.probabilities, np.full_like(forecast.probabilities, np.nan)
    for faulty in (said(missing, known), said(known, missing)):
        with pytest.raises(ValueError, match="has no probability or routing score"):
            route(matrix, faulty, "v")


def test_forecasts_of_all_questions_are_not_taken_for_those_of_the_test_split(world):
    matrix, _ = world
    with pytest.raises(ValueError, match=r"of \(54, 3\) questions and models, but the split is of \(4, 3\)"):
        route(matrix, said(np.full((54, 3), 0.5)), "v")


LABELS = arrays(np.float32, (12, 3), elements=st.sampled_from([0.0, 1.0, np.nan]))
SCORES = arrays(np.float64, (8, 3), elements=st.floats(0, 1))


@given(LABELS, SCORES)
def test_no_router_beats_the_oracle_and_nobody_answers_for_another(labels, scores):
    labels[0] = labels[4] = [1, 0, 1]
    names = np.array([f"q{i:02d}" for i in range(12)], object)
    benchmark = np.array(["a", "b"] * 6, object)
    splits = np.array(["train"] * 4 + ["test"] * 8, object)
    matrix = CorrectnessMatrix(labels, ("x", "y", "z"), names, benchmark, benchmark, splits, names)
    table, routes = route(matrix, said(scores), "v")
    found = routing(table)
    for (_, name), row in found.items():
        assert 0 <= row["accuracy"] <= found["oracle", name]["accuracy"] + 1e-12
    for row in routes.to_pylist():
        answer = labels[int(row["question_id"][1:]), matrix.models.index(row["model"])]
        assert answer == row["correct"]


def test_planted_best_routes_are_found(make_world):
    """What is given up by asking the chosen model instead of the one most probably right."""
    world = make_world(n=2400, contrast=1.0)
    test = world.matrix.splits == "test"
    embedder = SpectralEmbedder().fit(world.matrix, world.questions)
    _, routes = route(world.matrix, embedder.forecast(world.questions.rows(test)), "v")
    probability = world.probabilities[test]
    given_up = {}
    for method in ("router", "best_single"):
        chosen = [world.matrix.models.index(r["model"]) for r in routes.to_pylist() if r["method"] == method]
        given_up[method] = (probability.max(axis=1) - probability[np.arange(len(chosen)), chosen]).mean()
    assert given_up["router"] < 0.05
    assert given_up["router"] < given_up["best_single"] / 2
