from dataclasses import replace

import numpy as np
import pytest

from embedder.downstream.benchmark_predictions import predict_benchmarks
from embedder.downstream.contributions import CONTRIBUTIONS, contribute
from embedder.downstream.left_out import fit_without, left_out_sets
from embedder.questions import Questions


def trained(matrix, questions):
    return {
        left_out: fit_without(matrix, questions, left_out) for left_out in left_out_sets(sorted(set(matrix.benchmarks)))
    }


@pytest.fixture(scope="module")
def planted(make_matrix):
    """Thirty models: "alone" and "pair" need a skill that nothing else does, "x", "y" and "z" another."""
    rng = np.random.default_rng(3)
    skills = rng.uniform(-1, 1, (30, 2))
    names, per = ["alone", "pair", "x", "y", "z"], 60
    labels, vectors = [], []
    for number, name in enumerate(names):
        hardness = rng.permuted((np.arange(per) + 0.5) / per)
        labels.append(hardness[:, None] < 0.5 + 0.45 * skills[:, int(name in "xyz")])
        vectors.append(np.eye(5)[number] + 0.1 * rng.standard_normal((per, 5)))
    matrix = make_matrix(
        np.vstack(labels).astype(float), splits=["train"] * 5 * per, benchmarks=np.repeat(names, per).tolist()
    )
    questions = Questions(matrix.texts, np.vstack(vectors).astype(np.float32), matrix.benchmarks)
    return matrix, questions, trained(matrix, questions)


def by_pair(table):
    return {(row["contributor"], row["target"]): row for row in table.to_pylist()}


def test_who_shares_a_skill_contributes_most(planted):
    matrix, _, left_out = planted
    table = contribute(matrix, left_out, "v")
    assert table.schema == CONTRIBUTIONS
    assert len(table) == 20
    ranked = sorted(table.to_pylist(), key=lambda row: -row["contribution"])
    assert {(row["contributor"], row["target"]) for row in ranked[:2]} == {("alone", "pair"), ("pair", "alone")}
    assert ranked[1]["contribution"] > 5 * abs(ranked[2]["contribution"])
    assert ranked[0]["ci_low"] > 0


def test_a_contribution_is_a_difference_of_errors(planted):
    matrix, _, left_out = planted
    found = by_pair(contribute(matrix, left_out, "v"))
    predicted = {
        row["benchmark"]: row["mse"]
        for row in predict_benchmarks(matrix, left_out, "v")[0].to_pylist()
        if row["method"] == "embedder"
    }
    for (_, target), row in found.items():
        assert row["contribution"] == pytest.approx(row["mse_without"] - row["mse_with"])
        assert row["mse_with"] == pytest.approx(predicted[target], abs=1e-12)
        assert row["ci_low"] <= row["contribution"] <= row["ci_high"]
        assert row["models"] == 30


def test_the_order_of_models_does_not_matter(planted):
    matrix, _, left_out = planted
    order = np.random.default_rng(0).permutation(30)
    shuffled = replace(matrix, labels=matrix.labels[:, order], models=tuple(matrix.models[m] for m in order))
    same = {names: replace(found, embeddings=found.embeddings[order]) for names, found in left_out.items()}
    assert contribute(shuffled, same, "v").equals(contribute(matrix, left_out, "v"))


def test_both_errors_are_of_the_same_models(planted):
    """A model that only answered "alone", "pair" and "x" is not there where two of them are left out."""
    matrix, _, left_out = planted
    kept = np.isin(matrix.benchmarks, ["alone", "pair"])
    labels = matrix.labels.copy()
    labels[~kept, 4] = np.nan
    without = {}
    for names, found in left_out.items():
        embeddings = found.embeddings.copy()
        if names >= {"alone", "pair"}:
            embeddings[4] = np.nan
        without[names] = replace(found, embeddings=embeddings)
    found = by_pair(contribute(replace(matrix, labels=labels), without, "v"))
    assert found["alone", "pair"]["models"] == 29
    assert found["x", "pair"]["models"] == 30
    assert found["alone", "x"]["models"] == 29  # it was asked no "x"


def test_too_few_models_for_a_pair(planted):
    matrix, _, left_out = planted
    few = {}
    for names, found in left_out.items():
        embeddings = found.embeddings.copy()
        if names == {"x", "y"}:
            embeddings[7:] = np.nan
        few[names] = replace(found, embeddings=embeddings)
    found = by_pair(contribute(matrix, few, "v"))
    row = found["x", "y"]
    assert row["reason"] == "needs at least 8 models that answered the target and others than the contributor, found 7"
    assert (row["models"], row["contribution"], row["mse_with"], row["ci_low"]) == (7, None, None, None)
    assert sum(row["reason"] is not None for row in found.values()) == 2


def test_two_benchmarks(make_matrix):
    matrix = make_matrix([[1.0] * 9] * 4, splits=["train"] * 4, benchmarks=["a", "a", "b", "b"])
    (row,) = contribute(matrix, {}, "v").to_pylist()
    assert (row["contributor"], row["target"]) == ("all", "all")
    assert row["reason"] == "needs at least 3 benchmarks, found 2"


def test_trainings_are_the_singles_and_the_pairs_without_which_others_remain():
    assert left_out_sets(["a"]) == []
    assert left_out_sets(["a", "b"]) == [{"a"}, {"b"}]
    assert left_out_sets(["b", "a", "c"]) == [{"a"}, {"b"}, {"c"}, {"a", "b"}, {"a", "c"}, {"b", "c"}]
