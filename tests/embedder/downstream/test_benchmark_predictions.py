from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedder.downstream.benchmark_predictions import (
    BENCHMARK_PREDICTIONS,
    PREDICTED_ACCURACIES,
    predict_benchmarks,
)
from embedder.downstream.left_out import LeftOut, fit_without
from embedder.questions import Questions

METHODS = ["embedder", "embedder_and_text", "text", "mean_elsewhere", "mean_elsewhere_fitted", "rates_elsewhere"]


def singles(matrix, questions):
    return {frozenset([name]): fit_without(matrix, questions, {name}) for name in np.unique(matrix.benchmarks)}


def known(embeddings, text=0.5):
    """Trainings without "a" or "b" that found these embeddings of models."""
    embeddings = np.asarray(embeddings, np.float32).reshape(len(embeddings), -1)
    texts = np.full(len(embeddings), text)
    return {frozenset([name]): LeftOut(embeddings, texts) for name in "ab"}


def by_key(table):
    return {(row["benchmark"], row["method"]): row for row in table.to_pylist()}


@pytest.fixture(scope="module")
def two(make_matrix):
    """Ten models, right about i of ten questions of "a" and 10 - i of "b"; m00 knows nothing of "a"."""
    right = np.arange(10) > np.arange(10)[:, None]  # question 9 nobody knows
    labels = np.vstack([right, right[:, ::-1]]).astype(float)
    return make_matrix(labels, splits=["train"] * 20, benchmarks=["a"] * 10 + ["b"] * 10)


@pytest.fixture(scope="module")
def planted(make_matrix):
    """Thirty models of two skills: "f" and "h" need the first, "g" the second, "both" the first and the want of the
    second. A model is right about as large a share of a benchmark as it is skilled."""
    rng = np.random.default_rng(5)
    skills = rng.uniform(-1, 1, (30, 2))
    needs = {"both": [0.5, -0.5], "f": [1, 0], "g": [0, 1], "h": [1, 0]}
    per = 100
    labels, vectors = [], []
    for number, need in enumerate(needs.values()):
        hardness = rng.permuted((np.arange(per) + 0.5) / per)
        labels.append(hardness[:, None] < 0.5 + 0.45 * (skills @ need))
        vectors.append(np.eye(4)[number] + 0.1 * rng.standard_normal((per, 4)))
    names = np.repeat(list(needs), per).tolist()
    matrix = make_matrix(np.vstack(labels).astype(float), splits=["train"] * 4 * per, benchmarks=names)
    return matrix, Questions(matrix.texts, np.vstack(vectors).astype(np.float32), matrix.benchmarks)


@pytest.fixture(scope="module")
def evaluated(planted):
    return predict_benchmarks(planted[0], singles(*planted), "v")


def test_what_depends_on_skills_is_told_from_embeddings_and_not_from_means(evaluated):
    found = by_key(evaluated[0])
    ours, plain, mean = (found["both", method] for method in ("embedder", "mean_elsewhere_fitted", "mean_elsewhere"))
    assert ours["tau"] > 0.9
    assert ours["significant"] == 100
    assert ours["mae"] < 0.03
    assert plain["tau"] < 0.7
    assert plain["mae"] > 3 * ours["mae"]
    assert mean["mae"] > 3 * ours["mae"]
    assert ours["tau_low"] < ours["tau"] < ours["tau_high"]


def test_figures_by_hand(two):
    """Accuracies on "a" are 0, .1, … .9 and those on "b" .9 … 0: the text always says .5."""
    table, predicted = predict_benchmarks(two, known(np.arange(10)), "v7")
    assert table.schema == BENCHMARK_PREDICTIONS
    assert predicted.schema == PREDICTED_ACCURACIES
    found = by_key(table)
    assert set(found) == {(name, method) for name in ("a", "b", "all") for method in METHODS}
    ours = found["a", "embedder"]
    assert (ours["models"], ours["held_out"], ours["splits"], ours["embedder"]) == (10, 3, 100, "v7")
    assert ours["tau"] == pytest.approx(1)
    assert ours["mae"] == pytest.approx(0, abs=1e-4)
    assert ours["p_value"] == pytest.approx(1 / 3)  # two of the six orders of three are as extreme
    assert ours["significant"] == 0
    assert found["a", "text"]["tau"] is None  # it says the same of all
    assert found["a", "text"]["p_value"] is None
    told = [row for row in predicted.to_pylist() if (row["benchmark"], row["method"]) == ("a", "mean_elsewhere")]
    assert len(told) == 300
    for row in told:
        observed = int(row["model"][1:]) / 10
        assert (row["observed"], row["predicted"]) == pytest.approx((observed, 0.9 - observed))
    assert found["a", "mean_elsewhere"]["tau"] == pytest.approx(-1)
    assert found["a", "mean_elsewhere_fitted"]["tau"] == pytest.approx(1)
    assert found["a", "mean_elsewhere_fitted"]["mae"] == pytest.approx(0, abs=1e-4)
    assert found["all", "mean_elsewhere"]["mae"] == pytest.approx(
        (found["a", "mean_elsewhere"]["mae"] + found["b", "mean_elsewhere"]["mae"]) / 2
    )


def test_text_is_corrected_by_what_embeddings_say(two):
    _, predicted = predict_benchmarks(two, known(np.arange(10), text=0.3), "v")
    told = {(r["method"], r["model"]): r["predicted"] for r in predicted.to_pylist() if r["benchmark"] == "a"}
    assert told["text", "m07"] == 0.3
    assert told["embedder_and_text", "m07"] == pytest.approx(0.7, abs=1e-3)


def test_all_methods_hold_out_the_same_models(evaluated):
    rows = evaluated[1].to_pylist()
    held_out = {
        method: [(r["benchmark"], r["split"], r["model"]) for r in rows if r["method"] == method] for method in METHODS
    }
    assert all(models == held_out["text"] for models in held_out.values())


@settings(max_examples=4, deadline=None)
@given(columns=st.permutations(range(10)), seed=st.integers(0, 99))
def test_the_order_of_models_and_questions_does_not_matter(two, columns, seed):
    rows = np.random.default_rng(seed).permutation(20)
    embeddings = np.random.default_rng(1).standard_normal((10, 3))
    shuffled = replace(
        two.rows(rows), labels=two.labels[rows][:, columns], models=tuple(two.models[c] for c in columns)
    )
    expected = predict_benchmarks(two, known(embeddings), "v")
    found = predict_benchmarks(shuffled, known(embeddings[columns]), "v")
    assert [t.to_pylist() for t in found] == [t.to_pylist() for t in expected]


def test_a_rate_that_is_not_known_does_not_count_as_nothing_right(planted, evaluated):
    """Models that were not asked one of the benchmarks are told no worse for it."""
    matrix, questions = planted
    labels = matrix.labels.copy()
    labels[np.ix_(matrix.benchmarks == "h", range(0, 30, 2))] = np.nan
    sparse = replace(matrix, labels=labels)
    before, after = by_key(evaluated[0]), by_key(predict_benchmarks(sparse, singles(sparse, questions), "v")[0])
    assert after["both", "rates_elsewhere"]["mae"] < before["both", "rates_elsewhere"]["mae"] + 0.03


def test_a_benchmark_all_fail_has_errors_but_no_ranks(two):
    labels = two.labels.copy()
    labels[two.benchmarks == "a"] = 0
    found = by_key(predict_benchmarks(replace(two, labels=labels), known(np.arange(10)), "v")[0])
    row = found["a", "embedder"]
    assert (row["tau"], row["tau_low"], row["p_value"], row["significant"], row["reason"]) == (
        None,
        None,
        None,
        0,
        None,
    )
    assert row["mae"] == 0
    assert found["all", "embedder"]["tau"] == found["b", "embedder"]["tau"]


def test_too_few_models(two):
    """Three of ten have no embedding, as they answered nothing else."""
    embeddings = np.arange(10.0)
    embeddings[:3] = np.nan
    table, predicted = predict_benchmarks(two, known(embeddings), "v")
    found = by_key(table)
    assert set(found) == {("a", "all"), ("b", "all"), ("all", "all")}
    assert found["a", "all"]["reason"] == "needs at least 8 models that answered it and others, found 7"
    assert found["a", "all"]["models"] == 7
    assert (
        found["all", "all"]["reason"] == "needs at least 8 models that answered a benchmark and others, found at most 7"
    )
    assert len(predicted) == 0
    assert predicted.schema == PREDICTED_ACCURACIES


def test_one_benchmark_of_two_can_be_predicted(two):
    """Five models were asked three questions of "b" only."""
    labels = two.labels.copy()
    labels[13:, :5] = np.nan
    found = by_key(predict_benchmarks(replace(two, labels=labels), known(np.arange(10)), "v")[0])
    assert found["b", "all"]["reason"] == "needs at least 8 models that answered it and others, found 5"
    assert found["all", "embedder"]["mae"] == found["a", "embedder"]["mae"]


def test_one_benchmark(two):
    table, predicted = predict_benchmarks(two.rows(two.benchmarks == "a"), {}, "v")
    (row,) = table.to_pylist()
    assert (row["benchmark"], row["method"], row["reason"]) == ("all", "all", "needs at least 2 benchmarks, found 1")
    assert len(predicted) == 0
