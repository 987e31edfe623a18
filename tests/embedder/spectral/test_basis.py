import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from embedder.spectral.basis import fill_missing, leading_directions

CELLS = st.one_of(st.floats(-1, 1, width=32), st.just(np.nan))
MATRICES = st.tuples(st.integers(1, 12), st.integers(1, 12)).flatmap(
    lambda shape: arrays(np.float32, shape, elements=CELLS)
)


def planted(*, missing: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A rank-2 matrix (300, 20) of column means 0; and the same with noise and holes."""
    rng = np.random.default_rng(seed)
    signal = rng.standard_normal((300, 2)) @ rng.standard_normal((2, 20))
    signal = (signal - signal.mean(0)).astype(np.float32)
    noisy = signal + 0.5 * rng.standard_normal(signal.shape).astype(np.float32)
    return signal, np.where(rng.random(signal.shape) < missing, np.float32(np.nan), noisy)


def error(filled: np.ndarray, signal: np.ndarray, holes: np.ndarray) -> float:
    """Root mean square over the cells that were missing."""
    return float(np.sqrt(np.square(filled - signal)[np.isnan(holes)].mean()))


@pytest.mark.parametrize("missing", [0.1, 0.3, 0.5])
def test_a_low_rank_matrix_is_filled_far_better_than_by_a_constant(missing):
    signal, holes = planted(missing=missing)
    by_zeros = error(np.nan_to_num(holes), signal, holes)
    by_column_means = error(np.where(np.isnan(holes), np.nanmean(holes, axis=0), holes), signal, holes)
    assert error(fill_missing(holes), signal, holes) < 0.5 * min(by_zeros, by_column_means)


def test_noise_is_not_made_up():
    """Where cells say nothing of each other, what is filled in stays near the mean."""
    rng = np.random.default_rng(1)
    noise = rng.choice([-0.5, 0.5], (300, 20)).astype(np.float32)
    holes = np.where(rng.random(noise.shape) < 0.3, np.float32(np.nan), noise)
    assert np.sqrt(np.square(fill_missing(holes)[np.isnan(holes)]).mean()) < 0.25


def test_a_block_that_half_of_the_models_were_not_asked():
    """The last ten models were asked the first 150 questions only."""
    signal, holes = planted(missing=0)
    holes[150:, 10:] = np.nan
    assert error(fill_missing(holes), signal, holes) < 0.5 * error(np.nan_to_num(holes), signal, holes)


def test_a_complete_matrix_stays_as_it_is():
    _, full = planted(missing=0)
    np.testing.assert_array_equal(fill_missing(full), full)


@settings(deadline=None)
@given(MATRICES)
def test_cells_that_were_asked_stay_and_all_are_finite(matrix):
    before = matrix.copy()
    filled = fill_missing(matrix)
    assert filled.shape == matrix.shape
    assert filled.dtype == np.float32
    assert np.isfinite(filled).all()
    np.testing.assert_array_equal(filled[~np.isnan(matrix)], matrix[~np.isnan(matrix)])
    np.testing.assert_array_equal(matrix, before)  # the caller's array is left alone


def test_a_column_without_any_cell_is_average():
    signal, holes = planted(missing=0.2)
    holes[:, 4] = np.nan
    filled = fill_missing(holes)
    np.testing.assert_allclose(filled[:, 4], 0, atol=1e-5)
    others = np.arange(20) != 4
    assert error(filled[:, others], signal[:, others], holes[:, others]) < 0.5


@pytest.mark.parametrize("shape", [(4, 1), (1, 4)])
def test_one_column_or_row_tells_nothing_of_its_missing_cells(shape):
    filled = fill_missing(np.array([0.5, np.nan, -0.5, np.nan], np.float32).reshape(shape))
    assert filled.ravel().tolist() == [0.5, 0, -0.5, 0]


@settings(deadline=None, max_examples=10)
@given(st.randoms(use_true_random=False))
def test_order_of_rows_and_columns_is_irrelevant(random):
    _, holes = planted(missing=0.3)
    rows, columns = random.sample(range(300), 300), random.sample(range(20), 20)
    np.testing.assert_allclose(fill_missing(holes[rows][:, columns]), fill_missing(holes)[rows][:, columns], atol=1e-3)


@pytest.mark.parametrize(("rows", "columns"), [(50, 30), (10, 30), (200, 100)])
def test_leading_directions_are_those_of_the_singular_value_decomposition(rows, columns):
    matrix = np.random.default_rng(5).standard_normal((rows, columns)) * 0.9 ** np.arange(columns)
    directions = leading_directions(matrix.astype(np.float32), 5)
    exact = np.linalg.svd(matrix, full_matrices=False)[2][:5].T
    np.testing.assert_allclose(np.abs(directions.T @ exact), np.eye(5), atol=0.01)


@settings(deadline=None)
@given(MATRICES, st.integers(1, 15))
def test_leading_directions_are_orthonormal_and_at_most_as_many_as_there_can_be(matrix, rank):
    directions = leading_directions(np.nan_to_num(matrix), rank)
    assert directions.shape == (matrix.shape[1], min(rank, *matrix.shape))
    np.testing.assert_allclose(directions.T @ directions, np.eye(directions.shape[1]), atol=1e-4)


def test_the_direction_of_most_variance_comes_first():
    matrix = np.array([[3.0, 0, 0], [0, 0, 1], [0, 2, 0]], np.float32)
    np.testing.assert_allclose(np.abs(leading_directions(matrix, 3)), [[1, 0, 0], [0, 1, 0], [0, 0, 1]], atol=1e-6)


def test_same_matrix_same_bytes():
    matrix = np.random.default_rng(6).standard_normal((80, 60)).astype(np.float32)
    np.random.seed(1)
    first = leading_directions(matrix, 8)
    np.random.seed(2)
    assert leading_directions(matrix, 8).tobytes() == first.tobytes()
