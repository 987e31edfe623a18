import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedder import metrics

LABELS = np.array([[1.0, 0.0], [np.nan, 1.0]], np.float32)
PROBABILITIES = np.array([[0.8, 0.6], [0.9, 0.5]], np.float32)  # the 0.9 was not asked


def test_values_by_hand():
    assert metrics.accuracy(LABELS, PROBABILITIES) == pytest.approx(2 / 3)
    assert metrics.brier(LABELS, PROBABILITIES) == pytest.approx((0.04 + 0.36 + 0.25) / 3)
    expected = -(math.log(0.8) + math.log(0.4) + math.log(0.5)) / 3
    assert metrics.log_loss(LABELS, PROBABILITIES) == pytest.approx(expected, rel=1e-6)
    assert metrics.auc(LABELS, PROBABILITIES) == pytest.approx(1 / 2)


def test_calibration_error_by_hand():
    labels = np.array([[1.0, 0.0, 1.0, 1.0]])
    probabilities = np.array([[0.1, 0.1, 0.9, 0.9]])  # bins: 2 cells .1 against .5, 2 cells .9 against 1
    assert metrics.ece(labels, probabilities) == pytest.approx(0.5 * 0.4 + 0.5 * 0.1)
    assert metrics.ece(np.array([[1.0]]), np.array([[1.0]])) == 0


def test_cells_not_asked_do_not_count():
    wild = np.where(np.isnan(LABELS), 0.123, PROBABILITIES)
    for measure in (metrics.accuracy, metrics.auc, metrics.log_loss, metrics.brier, metrics.ece):
        assert measure(LABELS, wild) == measure(LABELS, PROBABILITIES)


def test_one_class_has_no_auc_but_the_rest():
    ones = np.ones((2, 2))
    assert metrics.auc(ones, PROBABILITIES) is None
    assert metrics.accuracy(ones, PROBABILITIES) == 1
    assert metrics.log_loss(ones, ones) == pytest.approx(0, abs=1e-5)


def test_certain_and_wrong_is_bad_but_finite():
    assert metrics.log_loss(np.array([[0.0]]), np.array([[1.0]])) == pytest.approx(-math.log(1e-6), rel=1e-3)


@pytest.mark.parametrize("probability", [np.nan, -0.1, 1.1])
def test_what_is_no_probability_is_refused(probability):
    with pytest.raises(ValueError, match="not between 0 and 1"):
        metrics.accuracy(np.array([[1.0]]), np.array([[probability]]))


def test_nothing_to_measure():
    with pytest.raises(ValueError, match="no cell was asked"):
        metrics.brier(np.array([[np.nan]]), np.array([[0.5]]))


def test_shapes_that_differ():
    with pytest.raises(ValueError, match=r"labels are \(1, 1\), but probabilities are \(1, 2\)"):
        metrics.brier(np.array([[1.0]]), np.array([[0.5, 0.5]]))


def test_wilson_of_eight_in_ten():
    assert metrics.wilson(8, 10) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)


@given(st.integers(1, 500), st.data())
def test_wilson_holds_the_proportion(n, data):
    successes = data.draw(st.integers(0, n))
    low, high = metrics.wilson(successes, n)
    assert 0 <= low <= successes / n <= high <= 1


def test_bootstrap_of_a_proportion_agrees_with_theory():
    hits = np.repeat([1.0, 0.0], [140, 60])
    low, high = metrics.bootstrap_interval(hits, np.ones(200), seed=0) or (0, 0)
    half_width = 1.96 * math.sqrt(0.7 * 0.3 / 200)
    assert low == pytest.approx(0.7 - half_width, abs=0.01)
    assert high == pytest.approx(0.7 + half_width, abs=0.01)


def test_bootstrap_draws_questions_not_cells():
    """A hundred models that agree on every question tell no more than one of them."""
    hits = np.repeat([1.0, 0.0], [14, 6])
    one = metrics.bootstrap_interval(hits, np.ones(20), seed=1)
    hundred = metrics.bootstrap_interval(100 * hits, np.full(20, 100.0), seed=1)
    assert one == hundred


def test_bootstrap_is_seeded_and_needs_two_questions():
    hits = np.random.default_rng(0).random(50)
    assert metrics.bootstrap_interval(hits, np.ones(50), seed=5) == metrics.bootstrap_interval(
        hits, np.ones(50), seed=5
    )
    assert metrics.bootstrap_interval(hits[:1], np.ones(1), seed=5) is None
