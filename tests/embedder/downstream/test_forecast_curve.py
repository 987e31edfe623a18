from collections import Counter

import numpy as np
import pytest

from embedder import questions as module
from embedder.baselines.knn import KNN
from embedder.baselines.rates import ModelMean
from embedder.downstream.forecast import NO_TEST_ANSWERS, compare_forecasts
from embedder.downstream.forecast_curve import FORECAST_CURVE, SIZES, measure_forecast_curve
from embedder.spectral.spectral import SpectralEmbedder


class Remembers(ModelMean):
    """What it was fitted on, fit by fit."""

    def __init__(self):
        super().__init__()
        self.fits = []

    def fit(self, matrix, questions, *, seed=0):
        self.fits.append(matrix)
        assert list(questions.texts) == list(matrix.texts)
        return super().fit(matrix, questions, seed=seed)


@pytest.fixture(scope="module")
def embedder(planted):
    return SpectralEmbedder().fit(*planted)


@pytest.fixture(scope="module")
def recorded(planted, embedder):
    """The curve over 480 training questions, and what its baseline was fitted on."""
    baseline = Remembers()
    return measure_forecast_curve(*planted, embedder, [baseline], "v1", seed=3), baseline.fits


def ids(matrix, split):
    return set(matrix.of_split(split).question_ids)


def test_five_draws_of_each_size_then_all(recorded):
    table, fits = recorded
    assert table.schema == FORECAST_CURVE
    rows = table.to_pylist()
    expected = {(size, draw) for size in (100, 250) for draw in range(5)} | {(480, 0)}
    for method in ("embedder", "model_mean"):
        assert {(row["questions"], row["draw"]) for row in rows if row["method"] == method} == expected
    assert {(row["embedder"], row["n"], row["reason"]) for row in rows} == {("v1", 60 * 12, None)}
    assert all(row["ci_low"] <= row["accuracy"] <= row["ci_high"] for row in rows)
    assert Counter(len(ids(matrix, "train")) for matrix in fits) == {100: 5, 250: 5, 480: 1}


def test_draws_are_nested_and_differ_val_is_whole_test_is_unseen(planted, recorded):
    _, fits = recorded
    drawn = {size: [ids(m, "train") for m in fits if len(ids(m, "train")) == size] for size in (100, 250)}
    for small, large in zip(drawn[100], drawn[250], strict=True):
        assert small < large
    assert len({frozenset(draw) for draw in drawn[100]}) == 5
    assert all(ids(matrix, "val") == ids(planted[0], "val") for matrix in fits)
    assert all(not ids(matrix, "test") for matrix in fits)


def test_large_sizes_have_two_draws(make_matrix, make_questions):
    """Counted on tiny answers: one model, one test question."""
    count = 10_100
    matrix = make_matrix([[i % 2] for i in range(count)], splits=["test", *["train"] * (count - 1)])
    baseline = Remembers()
    questions = make_questions(np.random.default_rng(0).random((count, 2)))
    table = measure_forecast_curve(matrix, questions, ModelMean().fit(matrix, questions), [baseline], "v1")
    sizes = Counter(row["questions"] for row in table.to_pylist() if row["method"] == "embedder")
    assert sizes == {**dict.fromkeys(SIZES[:6], 5), 10_000: 2, count - 1: 1}
    assert {row["ci_low"] for row in table.to_pylist()} == {None}  # a single test question


def test_what_was_planted_is_learnt_the_better_the_more_is_known(recorded):
    rows = [row for row in recorded[0].to_pylist() if row["method"] == "embedder"]
    loss = {n: np.mean([row["log_loss"] for row in rows if row["questions"] == n]) for n in (100, 250, 480)}
    assert loss[480] < loss[250] < loss[100]
    assert rows[-1]["accuracy"] > 0.85
    others = [row for row in recorded[0].to_pylist() if row["method"] == "model_mean"]
    assert rows[-1]["accuracy"] > others[-1]["accuracy"] + 0.1


def test_the_last_point_is_what_forecasts_says(planted, embedder):
    """Of the embedder as it is, fitted before, and of baselines fitted on all."""
    matrix, questions = planted
    knn = KNN().fit(matrix, questions)
    asked = questions.rows(matrix.splits == "test")
    ours = embedder.forecast(asked.by_text_alone())
    table, *_ = compare_forecasts(matrix, {"embedder": ours, "knn": knn.forecast(asked)}, "v1", seed=5)
    whole = {row["method"]: row for row in table.to_pylist() if row["benchmark"] == "all"}
    curve = measure_forecast_curve(matrix, questions, embedder, [KNN()], "v1", seed=5).to_pylist()
    for row in curve[-2:]:
        for name in ("n", "accuracy", "ci_low", "ci_high", "log_loss"):
            assert row[name] == pytest.approx(whole[row["method"]][name], abs=1e-6)


def test_same_seed_same_table_and_the_embedder_stays_as_it_is(planted, embedder, recorded):
    before = embedder.model_embeddings.copy()
    assert measure_forecast_curve(*planted, embedder, [ModelMean()], "v1", seed=3) == recorded[0]
    np.testing.assert_array_equal(embedder.model_embeddings, before)
    assert measure_forecast_curve(*planted, embedder, [ModelMean()], "v1", seed=4) != recorded[0]


def test_unanswered_questions_do_not_count(make_matrix, make_questions):
    labels = [[1, None], [None, None], [0, 1], [1, 1], [None, None]]
    matrix = make_matrix(labels, splits=["train", "train", "train", "test", "test"])
    questions = make_questions(np.eye(5))
    table = measure_forecast_curve(matrix, questions, ModelMean().fit(matrix, questions), [], "v1")
    (row,) = table.to_pylist()
    assert (row["questions"], row["draw"], row["n"]) == (2, 0, 2)


def test_no_test_answer_is_the_reason(make_matrix, make_questions):
    matrix = make_matrix([[1], [None]], splits=["train", "test"])
    questions = make_questions(np.eye(2))
    (row,) = measure_forecast_curve(matrix, questions, ModelMean().fit(matrix, questions), [], "v1").to_pylist()
    assert {name: value for name, value in row.items() if value is not None} == {
        "embedder": "v1",
        "method": "embedder",
        "questions": 1,
        "draw": 0,
        "reason": NO_TEST_ANSWERS,
    }


def test_progress_ends_at_its_total(planted, embedder):
    told = []
    measure_forecast_curve(*planted, embedder, [], "v1", progress=lambda done, total, label: told.append((done, total)))
    assert told == [(n, 11) for n in range(1, 12)]


def test_form_of_texts_is_looked_at_once(planted, monkeypatch):
    seen = []
    compute = module.lexical_features
    monkeypatch.setattr(module, "lexical_features", lambda texts: seen.append(len(texts)) or compute(texts))
    matrix, known = planted
    questions = module.Questions(known.texts, known.vectors, known.benchmarks)
    measure_forecast_curve(matrix, questions, SpectralEmbedder().fit(*planted), [], "v1")
    assert seen == [600]
