"""Models that joined a fitted embedder from a few answers, as additional columns of it, and the file that keeps them.

    embedders/<version>/onboarded.safetensors    their tensors; their names and a digest of the tensors in its metadata
The embedder's own files and models stay as they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save as tensor_bytes

from embedder.predictor import Predictor
from embedder.questions import Questions
from embedder.store import StoreError, digest_arrays, read_tensors, write_file

from .fold_in import FoldedModel
from .spectral import SpectralEmbedder

__all__ = ["Onboarded", "extend", "load_extended", "save_onboarded"]

FILE = "onboarded.safetensors"


@dataclass(frozen=True)
class Onboarded:
    """What an embedder with d coordinates and C categories needs to know of n further models."""

    models: tuple[str, ...]
    embeddings: np.ndarray  # (n, d + 1) float32
    embedding_variance: np.ndarray  # (n, d + 1) float32: what is not known of them for want of answers
    category_rates: np.ndarray  # (C, n) float32: expected share of right answers

    @classmethod
    def of(cls, folded: Mapping[str, FoldedModel], questions: Questions) -> Self:
        """Collect this for one model or more that were folded into one pool, which has these `questions`."""
        pool = next(iter(folded.values())).pool
        train = pool.matrix.splits == "train"
        expected = np.stack([model.expected[train] for model in folded.values()], axis=1)
        rates = pool.predictor.rates_by_category(questions.rows(train), expected)
        return cls(
            models=tuple(folded),
            embeddings=np.stack([model.embedding for model in folded.values()]),
            embedding_variance=np.stack([model.embedding_variance for model in folded.values()]),
            category_rates=rates.astype(np.float32),
        )


def extend(predictor: SpectralEmbedder, onboarded: Onboarded) -> SpectralEmbedder:
    """Return `predictor` with the models of `onboarded` after its own, which keep their embeddings bit for bit.

    Raises ValueError where a model is in both, or the models were folded into another embedder.
    """
    if both := set(predictor.models) & set(onboarded.models):
        raise ValueError(f"the embedder was fitted on {min(both)} already")
    arrays, rest = predictor.state()
    count = len(onboarded.models)
    for name, expected in (
        ("embeddings", (count, arrays["embeddings"].shape[1])),
        ("embedding_variance", (count, arrays["embeddings"].shape[1])),
        ("category_rates", (len(arrays["category_rates"]), count)),
    ):
        if (found := getattr(onboarded, name).shape) != expected:
            raise ValueError(f"{name} should be {expected}, found {found}")
    # What is not known of a question is unknown of a new model as much as of the others on average.
    typical = np.sqrt(np.square(arrays["directions"]).mean(0, keepdims=True))
    more = {
        "has_answers": np.ones(count, bool),
        "embeddings": onboarded.embeddings,
        "embedding_variance": onboarded.embedding_variance,
        "directions": typical.repeat(count, axis=0),
    }
    grown = {name: np.concatenate([arrays[name], rows]) for name, rows in more.items()}
    grown["category_rates"] = np.concatenate([arrays["category_rates"], onboarded.category_rates], axis=1)
    nothing = np.zeros((len(arrays["category_offsets"]), count), np.float32)
    grown["category_offsets"] = np.concatenate([arrays["category_offsets"], nothing], axis=1)
    models = [*rest["models"], *onboarded.models]
    return SpectralEmbedder.restored(predictor.settings(), {**arrays, **grown}, {**rest, "models": models})


def save_onboarded(folder: Path, onboarded: Onboarded | None) -> None:
    """Write the models into the folder of the embedder that they extend, in place of those that were there; None: no
    models."""
    if onboarded is None:
        (folder / FILE).unlink(missing_ok=True)
        return
    fields = asdict(onboarded)
    models = fields.pop("models")
    arrays = {name: np.ascontiguousarray(array) for name, array in fields.items()}
    metadata = {"models": json.dumps(models), "sha256": digest_arrays(arrays)}
    write_file(folder / FILE, tensor_bytes(arrays, metadata))


def load_extended(folder: Path, predictor: Predictor) -> Predictor:
    """Return `predictor`, which `folder` keeps, with the models that were onboarded to it; itself where there are none.

    Raises StoreError where the file is damaged or belongs to another embedder.
    """
    path = folder / FILE
    if not isinstance(predictor, SpectralEmbedder) or not path.exists():
        return predictor
    try:
        arrays, metadata = read_tensors(path)
        if digest_arrays(arrays) != metadata["sha256"]:
            raise ValueError("its SHA-256 is not the one in its metadata")
        return extend(predictor, Onboarded(models=tuple(json.loads(metadata["models"])), **arrays))
    except (SafetensorError, KeyError, ValueError) as error:
        raise StoreError(
            f"{path}: does not fit the embedder ({error}); delete it, and `embedllm run` makes it again"
        ) from error
