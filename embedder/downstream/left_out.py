"""The embedder, trained as if some benchmarks did not exist."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from embedder.matrix import CorrectnessMatrix
from embedder.questions import Questions

__all__ = ["LANDMARKS", "LeftOut", "fit_without", "left_out_sets"]

# A third of the default's: 300, 500 and 1500 predict the accuracies on mmlu_pro and zeroeval equally well, and
# contributions take a training for every pair of benchmarks.
LANDMARKS = 500


@dataclass(frozen=True)
class LeftOut:
    """What a training without some benchmarks found of M models.

    `embeddings` is (M, d) float32, NaN for a model without training answers to the other benchmarks. `text` is (M,)
    float64: where one benchmark was left out, the mean forecast probability of its questions that a model answered,
    which is its accuracy as predicted from the texts alone. NaN where the model answered none.
    """

    embeddings: np.ndarray
    text: np.ndarray


def left_out_sets(benchmarks: Collection[str]) -> list[frozenset[str]]:
    """Return what the experiments leave out: each benchmark, and each pair of them, as long as others remain."""
    return [
        frozenset(some)
        for count in (1, 2)
        if len(benchmarks) > count
        for some in combinations(sorted(benchmarks), count)
    ]


def fit_without(
    matrix: CorrectnessMatrix, questions: Questions, left_out: Collection[str], *, seed: int = 0
) -> LeftOut:
    """Fit the default embedder to the training answers of `matrix` (Q, M) to all benchmarks but those `left_out`.

    Where these are all answers there are, all is NaN. One thread does it, so that the order of sums, and with it the
    last digit, is the same in a process that has all cores and in one that has not.
    """
    import torch  # takes seconds to load, and what was computed before needs none
    from threadpoolctl import threadpool_limits

    from embedder.spectral.spectral import SpectralEmbedder

    text = np.full(len(matrix.models), np.nan)
    outside = ~np.isin(matrix.benchmarks, list(left_out))
    kept = replace(matrix, splits=np.where(outside, matrix.splits, "left out"))
    if not kept.of_split("train").observed.any():
        return LeftOut(text[:, None].astype(np.float32), text)
    threads = torch.get_num_threads()
    with threadpool_limits(1):
        torch.set_num_threads(1)
        try:
            embedder = SpectralEmbedder(landmarks=LANDMARKS).fit(kept, questions, seed=seed)
            if len(left_out) == 1:
                probabilities = embedder.predict_proba(questions.rows(~outside)).astype(np.float64)
                asked = matrix.observed[~outside]
                count = asked.sum(axis=0)
                text = np.where(count, np.where(asked, probabilities, 0).sum(axis=0) / np.maximum(count, 1), np.nan)
        finally:
            torch.set_num_threads(threads)
    return LeftOut(embedder.model_embeddings, text)
