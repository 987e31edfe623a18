import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from embedder.downstream.fallbacks import FALLBACKS, METHODS, find_fallbacks
from embedder.matrix import CorrectnessMatrix
from embedder.metrics import bootstrap_interval
from embedder.predictor import Forecast
from embedder.questions import Questions
from embedder.spectral.spectral import SpectralEmbedder


def said(scores):
    return Forecast(np.array(scores), None, np.array(scores))


def rows(table):
    assert table.schema == FALLBACKS
    return {(row["model"], row["method"]): row for row in table.to_pylist()}


@pytest.fixture
def world(make_matrix):
    """On train m02 is best, then m01, then m00. The router sends the first three test questions to m00, which is
    nearest to m01, and the last to m01, which is nearest to m00."""
    matrix = make_matrix(
        [[0, 1, 1]] * 20
        + [[0, 0, 1]] * 10
        + [
            [1, 1, 0],
            [1, 0, 1],
            [0, None, 1],  # m01, the nearest, was not asked: m02 is next
            [0, 1, 0],
        ],
        splits=["train"] * 30 + ["test"] * 4,
    )
    scores = [[0.9, 0.5, 0.1], [0.9, 0.5, 0.1], [0.9, 0.5, 0.1], [0.5, 0.9, 0.6]]
    return matrix, said(scores), np.array([[0.0, 0], [0, 3], [4, 3]], np.float32)


def test_by_hand(world):
    found = rows(find_fallbacks(*world, "v1"))
    assert {model for model, _ in found} == {"all", "m00", "m01"}
    assert {row["embedder"] for row in found.values()} == {"v1"}
    accuracy = {key: row["accuracy"] for key, row in found.items()}
    assert accuracy == pytest.approx(
        {
            ("m00", "reroute"): 2 / 3,  # m01, m01, m02
            ("m00", "nearest"): 2 / 3,  # the same
            ("m00", "best_single"): 2 / 3,  # m02 each time
            ("m00", "random"): (0.5 + 0.5 + 1) / 3,
            ("m01", "reroute"): 0,  # m02
            ("m01", "nearest"): 0,  # m00
            ("m01", "best_single"): 0,
            ("m01", "random"): 0,
            ("all", "reroute"): 2 / 4,
            ("all", "nearest"): 2 / 4,
            ("all", "best_single"): 2 / 4,
            ("all", "random"): 2 / 4,
        }
    )
    assert {(row["n"], row["accuracy_before"]) for (model, _), row in found.items() if model == "all"} == {(4, 3 / 4)}
    assert found["m00", "random"]["accuracy_before"] == pytest.approx(2 / 3)
    assert found["all", "reroute"]["loss"] == pytest.approx(1 / 4)
    assert all(row["reason"] is None for row in found.values())


def test_what_stands_in_and_how_far_it_is(world):
    found = rows(find_fallbacks(*world, "v1"))
    stand_in = {key: (row["fallback"], row["distance"]) for key, row in found.items()}
    assert stand_in["m00", "best_single"] == ("m02", pytest.approx(5))
    assert stand_in["m00", "nearest"] == (None, None)  # it differs by question
    assert stand_in["m01", "nearest"] == ("m00", pytest.approx(3))
    assert stand_in["m01", "reroute"] == ("m02", pytest.approx(4))
    assert stand_in["m01", "random"] == stand_in["all", "nearest"] == (None, None)


def test_intervals_are_of_the_same_questions_before_and_after(world):
    found = rows(find_fallbacks(*world, "v1", seed=3))
    row, ones = found["all", "reroute"], np.ones(4)
    assert (row["ci_low"], row["ci_high"]) == bootstrap_interval(np.array([1.0, 0, 1, 0]), ones, seed=3)
    # Before: 1, 1, 0, 1.
    assert (row["loss_low"], row["loss_high"]) == bootstrap_interval(np.array([0.0, 1, -1, 1]), ones, seed=3)
    assert found["m01", "reroute"]["ci_low"] is None  # one question
    assert find_fallbacks(*world, "v1", seed=3) == find_fallbacks(*world, "v1", seed=3)


def test_questions_that_nobody_else_answered_do_not_count(make_matrix):
    matrix = make_matrix(
        [[1, 1, 0]] * 5 + [[1, None, None], [None, None, 1], [1, 0, None]],
        splits=["train"] * 5 + ["test"] * 3,
    )
    found = rows(find_fallbacks(matrix, said([[0.9, 0.5, 0.1]] * 3), np.eye(3), "v"))
    assert found["m00", "nearest"]["n"] == 1
    assert found["m00", "nearest"]["accuracy_before"] == 1
    assert found["m02", "nearest"]["n"] == 0
    assert found["m02", "nearest"]["reason"] == "nobody else answered the questions sent to the model"
    assert found["all", "nearest"]["n"] == 1


def test_a_model_without_embedding_is_the_last_to_stand_in_and_has_no_nearest(make_matrix):
    matrix = make_matrix(
        [[1, 0, None]] * 5 + [[1, 0, 1], [1, None, 1], [None, 0, 1]],
        splits=["train"] * 5 + ["test"] * 3,
    )
    embeddings = np.array([[0.0], [9.0], [np.nan]])
    found = rows(find_fallbacks(matrix, said([[0.9, 0.1, 0.2], [0.9, 0.1, 0.2], [0.9, 0.1, 0.2]]), embeddings, "v"))
    assert found["m00", "nearest"]["accuracy"] == pytest.approx(1 / 2)  # m01, and m02 where m01 was not asked
    assert {found["m02", method]["reason"] for method in METHODS} == {
        "the model has no embedding, for want of training answers"
    }
    assert {found["all", method]["n"] for method in METHODS} == {2}


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ([[1], [1]], "needs at least 2 models, found 1"),
        ([[1, 0], [None, None]], "no test question was answered"),
        ([[1, 0], [1, None]], "nobody else answered the questions sent to the model"),
    ],
)
def test_why_there_is_no_result(make_matrix, labels, reason):
    matrix = make_matrix(labels, splits=["train", "test"])
    width = len(labels[0])
    found = rows(find_fallbacks(matrix, said([[0.5] * width]), np.zeros((width, 2)), "v"))
    assert [found["all", method]["reason"] for method in METHODS] == [reason] * 4
    assert {row["accuracy"] for row in found.values()} == {None}


def test_all_models_fail(make_matrix):
    matrix = make_matrix([[1, 0], [0, 0], [0, 0]], splits=["train", "test", "test"])
    row = rows(find_fallbacks(matrix, said([[0.5, 0.4]] * 2), np.eye(2), "v"))["all", "nearest"]
    assert (row["accuracy_before"], row["accuracy"], row["loss"]) == (0, 0, 0)


def test_forecasts_of_all_questions_are_not_taken_for_those_of_the_test_split(world):
    matrix, _, embeddings = world
    with pytest.raises(ValueError, match=r"of \(34, 3\) questions and models, but the split is of \(4, 3\)"):
        find_fallbacks(matrix, said(np.full((34, 3), 0.5)), embeddings, "v")


def test_planted_twins_stand_in_for_one_another(make_matrix):
    """Three topics, each with two specialists, beside four generalists that know a bit of all."""
    rng = np.random.default_rng(5)
    topic = rng.integers(0, 3, 1500)
    vectors = np.eye(6)[topic] + 0.2 * rng.standard_normal((1500, 6))
    chance = np.full((1500, 10), 0.6)
    for specialist in range(6):
        chance[:, specialist] = np.where(topic == specialist // 2, 0.95, 0.1)
    models = ("art", "art-2", "bio", "bio-2", "code", "code-2", "w", "x", "y", "z")
    matrix = make_matrix(
        (rng.random(chance.shape) < chance).astype(np.float32),
        splits=["test" if i % 4 == 3 else "train" for i in range(1500)],
        benchmarks=[f"topic{t}" for t in topic],
        models=models,
    )
    questions = Questions(matrix.texts, vectors.astype(np.float32), matrix.benchmarks)
    embedder = SpectralEmbedder().fit(matrix, questions)
    forecast = embedder.forecast(questions.rows(matrix.splits == "test"))
    found = rows(find_fallbacks(matrix, forecast, embedder.model_embeddings, "v"))
    used = {model for model, _ in found} - {"all"}
    assert {model[:3] for model in used} == {"art", "bio", "cod"}
    for model in used:
        twin = model.removesuffix("-2") if model.endswith("-2") else model + "-2"
        assert found[model, "nearest"]["fallback"] == twin
    assert found["all", "nearest"]["loss"] == pytest.approx(0, abs=0.05)
    assert found["all", "reroute"]["loss"] == pytest.approx(0, abs=0.05)
    assert found["all", "best_single"]["loss"] > 0.25  # a generalist: .95 - .6
    assert found["all", "best_single"]["loss_low"] > 0.2


LABELS = arrays(np.float32, (10, 3), elements=st.sampled_from([0.0, 1.0, np.nan]))
SCORES = arrays(np.float64, (8, 3), elements=st.floats(0, 1))


@given(LABELS, SCORES)
def test_all_methods_are_compared_on_the_same_questions(labels, scores):
    labels[0] = [1, 0, 1]
    names = np.array([f"q{i:02d}" for i in range(10)], object)
    splits = np.array(["train"] * 2 + ["test"] * 8, object)
    matrix = CorrectnessMatrix(labels, ("x", "y", "z"), names, names, names, splits, names)
    found = rows(find_fallbacks(matrix, said(scores), np.eye(3), "v"))
    for model in {model for model, _ in found}:
        assert len({(found[model, m]["n"], found[model, m]["accuracy_before"]) for m in METHODS}) == 1
    total = found["all", "nearest"]["n"] or 0
    assert total == (np.isfinite(labels[2:]).sum(axis=1) >= 2).sum()
    if total:
        for method in METHODS:
            parts = [row for (model, m), row in found.items() if m == method and model != "all" and row["n"]]
            mean = sum(row["n"] * row["accuracy"] for row in parts) / total
            assert found["all", method]["accuracy"] == pytest.approx(mean)
