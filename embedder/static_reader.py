"""Reads a static encoder that is kept in a folder, without sentence-transformers, whose import takes seconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from .question_text import views

__all__ = ["StaticReader"]


class StaticReader:
    """Returns the vectors that `encoder.Encoder` returns with the `DistinctTokens` in this folder, except for
    rounding."""

    def __init__(self, folder: Path) -> None:
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._words = load_file(folder / "model.safetensors")["embedding.weight"]  # (tokens, d) float16

    def encode(self, texts: Sequence[str], *, progress: bool = True) -> np.ndarray:
        asked = [views(text) for text in texts]
        distinct = list(dict.fromkeys(view for each in asked for view in each))
        cut = self._tokenizer.encode_batch_fast(distinct, add_special_tokens=False)
        unit = {view: self._vector(sorted(set(tokens.ids))) for view, tokens in zip(distinct, cut, strict=True)}
        vectors = [_of_length_1(unit[each[0]] + unit[each[-1]]) for each in asked]
        return np.array(vectors, np.float32).reshape(len(texts), self._words.shape[1])

    def count_long(self, texts: Sequence[str]) -> int:
        """Return 0: every text is read completely."""
        return 0

    def _vector(self, tokens: list[int]) -> np.ndarray:
        """Return the vector of a text with these distinct tokens; 0 where there are none."""
        if not tokens:
            return np.zeros(self._words.shape[1], np.float32)
        return _of_length_1(self._words[tokens].astype(np.float32).mean(0))


def _of_length_1(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)
