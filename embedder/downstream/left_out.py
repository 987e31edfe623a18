"""The embedder, trained as if some benchmarks did not exist."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from embedder.matrix import CorrectnessMatrix
from embedder.questions import Questions

__all__ = ["LANDMARKS", "LeftOut", "fit_without"]

# A third of the default's: 300, 500 and 1500 predict the accuracies on mmlu_pro and zeroeval equally well, and
# contributions take a training for every pair of benchmarks.
LANDMARKS = 500


@dataclass(frozen=True)
class LeftOut:
    """What a training without some benchmarks found of M models.

    `embeddings` is (M, d) float32, NaN for a model without training answers to the other benchmarks. `text` has of
    each benchmark left out (M,) float64 mean forecast probabilities of the questions of it that a model answered: an
    accuracy predicted from the texts alone. NaN where the model answered none.
    """

    embeddings: np.ndarray
    text: dict[str, np.ndarray]


def fit_without(
    matrix: CorrectnessMatrix, questions: Questions, left_out: Collection[str], *, seed: int = 0
) -> LeftOut:
    """Fit the default embedder to the training answers of `matrix` (Q, M) to all benchmarks but those `left_out`.

    Where these are all answers there are, all is NaN.
    """
    from embedder.spectral.spectral import SpectralEmbedder  # torch takes seconds to load; what is kept needs none

    outside = ~np.isin(matrix.benchmarks, list(left_out))
    kept = replace(matrix, splits=np.where(outside, matrix.splits, "left out"))
    if not kept.of_split("train").observed.any():
        nothing = np.full(len(matrix.models), np.nan)
        return LeftOut(nothing[:, None].astype(np.float32), dict.fromkeys(left_out, nothing))
    embedder = SpectralEmbedder(landmarks=LANDMARKS).fit(kept, questions, seed=seed)
    text = {}
    for name in sorted(left_out):
        of_benchmark = matrix.benchmarks == name
        probabilities = embedder.predict_proba(questions.rows(of_benchmark)).astype(np.float64)
        asked = matrix.observed[of_benchmark]
        count, total = asked.sum(axis=0), np.where(asked, probabilities, 0).sum(axis=0)
        text[name] = np.where(count, total / np.maximum(count, 1), np.nan)
    return LeftOut(embedder.model_embeddings, text)
