"""What a predictor is told of questions: their text and its sentence embedding, sometimes their benchmark."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .lexical import lexical_features

__all__ = ["Questions"]


@dataclass(frozen=True)
class Questions:
    """`texts` (n,), the encoder's `vectors` of them (n, D) float32 and, where anything is known of them, their
    `benchmarks` (n,): names of benchmarks or of categories, None for a question of which neither is known. `features`
    are the texts' `lexical` ones where these are known already.

    Raises ValueError where these are not of the same length.
    """

    texts: np.ndarray
    vectors: np.ndarray
    benchmarks: np.ndarray | None = None
    features: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or len(self.vectors) != len(self.texts):
            raise ValueError(f"{len(self.texts)} texts, but their vectors are {self.vectors.shape}")
        if self.benchmarks is not None and len(self.benchmarks) != len(self.texts):
            raise ValueError(f"{len(self.texts)} texts, but {len(self.benchmarks)} benchmarks")

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def lexical(self) -> np.ndarray:
        """(n, L) float32 features of the texts' form, NaN for what one does not show. They are computed when they are
        first needed, of which parts of these questions are made too."""
        return lexical_features(self.texts) if self.features is None else self.features

    @property
    def form(self) -> np.ndarray:
        """(n, L) float32 lexical features with 0 for what a text does not show, for methods that need every number."""
        return np.nan_to_num(self.lexical)

    def by_text_alone(self) -> Questions:
        """Return the same questions with unknown benchmarks."""
        return Questions(self.texts, self.vectors, features=self.lexical)

    def rows(self, which: np.ndarray) -> Questions:
        """Return some of the questions, by a boolean mask or row numbers."""
        benchmarks = None if self.benchmarks is None else self.benchmarks[which]
        return Questions(self.texts[which], self.vectors[which], benchmarks, self.lexical[which])
