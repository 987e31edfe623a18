"""In which ways models differ: the leading directions of the centred correctness matrix, missing cells filled in."""

from __future__ import annotations

import numpy as np

__all__ = ["fill_missing", "leading_directions"]

_FILL_RANK, _FILL_STEPS = 6, 20
_EXACT_MODELS = 1000  # up to here exact eigenvectors are quicker than a randomised decomposition
_BLOCK_CELLS = 1_000_000  # filled at a time: a second copy of ten thousand models' answers is a gigabyte


def fill_missing(residuals: np.ndarray) -> np.ndarray:
    """`residuals` (Q, M) with each NaN replaced by what the other cells suggest.

    Expectation maximisation with a low-rank model: fill the gaps with a soft-thresholded singular value decomposition,
    decompose again (Mazumder, Hastie and Tibshirani 2010). Never by a constant: not asked is not wrong.
    """
    from sklearn.utils import gen_batches

    missing = np.isnan(residuals)
    filled = np.where(missing, np.float32(0), residuals)
    rank = min(_FILL_RANK, min(residuals.shape) - 1)
    if rank < 1 or not missing.any():
        return filled
    right = leading_directions(filled, rank + 1).T
    for _ in range(_FILL_STEPS):
        # One step of subspace iteration from the last decomposition: the cells change little from step to step.
        orthonormal = np.linalg.qr(filled @ right.T)[0]
        left, singular, right = np.linalg.svd(orthonormal.T @ filled, full_matrices=False)
        scores = orthonormal @ left[:, :rank] * (singular[:rank] - singular[rank])
        for rows in gen_batches(len(filled), max(1, _BLOCK_CELLS // filled.shape[1])):
            np.copyto(filled[rows], scores[rows] @ right[:rank], where=missing[rows])
    return filled


def leading_directions(filled: np.ndarray, rank: int) -> np.ndarray:
    """(M, k) orthonormal, k ≤ `rank`: the model space's directions of most variance, the greatest first."""
    count = min(rank, *filled.shape)
    if filled.shape[1] <= _EXACT_MODELS:
        return np.array(np.linalg.eigh(filled.T @ filled)[1][:, : -count - 1 : -1], order="C")
    from sklearn.utils.extmath import randomized_svd

    _, _, right = randomized_svd(filled, count, n_oversamples=20, random_state=0)  # the seed keeps it reproducible
    return np.ascontiguousarray(right.T)
