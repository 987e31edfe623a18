"""Which models to ask a question: text in, names and probabilities out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from .predictor import Predictor

__all__ = ["Choice", "Router", "TextEncoder", "UnknownModel"]


class TextEncoder(Protocol):
    """What a router needs of an encoder."""

    def encode(self, texts: Sequence[str], *, progress: bool = True) -> np.ndarray: ...


class Choice(NamedTuple):
    """A model and the probability that it answers the question correctly."""

    model: str
    probability: float


class UnknownModel(ValueError):
    """A model was named that the embedder was not fitted on."""


class Router:
    """Ranks models by the probability that they answer a question correctly.

    `encoder` must be the one whose vectors `embedder` was fitted on (`load_embedder(folder, encoder=...)`
    checks it).
    """

    def __init__(self, embedder: Predictor, encoder: TextEncoder) -> None:
        self.embedder = embedder
        self.encoder = encoder
        self._column = {name: column for column, name in enumerate(embedder.models)}

    def rank(
        self, questions: Sequence[str], *, models: Sequence[str] | None = None, top: int = 5
    ) -> list[list[Choice]]:
        """For every question the `top` models, the likeliest first, out of `models` (default: all).

        Equal probabilities are ordered by name. Raises UnknownModel where `models` names one the embedder
        lacks.
        """
        if isinstance(questions, str):
            raise TypeError("rank takes a list of questions; put the one question into a list")
        columns = self._columns(models)
        names = [self.embedder.models[column] for column in columns]
        probabilities = self.embedder.predict_proba(self.encoder.encode(questions, progress=False))[:, columns]
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
        return [
            [Choice(names[i], float(row[i])) for i in order] for row, order in zip(probabilities, best, strict=True)
        ]

    def _columns(self, models: Sequence[str] | None) -> list[int]:
        """Columns of the embedder's probabilities, by name."""
        wanted = sorted(self._column if models is None else set(models))
        unknown = [name for name in wanted if name not in self._column]
        if unknown:
            raise UnknownModel(
                f"unknown model {unknown[0]!r}: the embedder knows {len(self._column)}, such as "
                f"{', '.join(sorted(self._column)[:5])}; correct it, or evaluate that model and fit again"
            )
        if not wanted:
            raise UnknownModel("no models to choose from: name at least one, or leave models out for all")
        return [self._column[name] for name in wanted]
