"""Models that joined a fitted embedder from a few answers, as further columns of it, and the file that keeps them.

    embedders/<version>/onboarded.safetensors    their tensors; their names and a digest of the tensors in its metadata
The embedder's own files and models stay as they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Self

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as tensor_bytes

from embedder.predictor import Predictor
from embedder.questions import Questions
from embedder.store import StoreError, write_file

from .fold_in import FoldedModel
from .spectral import SpectralEmbedder

__all__ = ["Onboarded", "extended", "load_extended", "save_onboarded"]

FILE = "onboarded.safetensors"


@dataclass(frozen=True)
class Onboarded:
    """What an embedder with d coordinates and C categories lacks of n models."""

    models: tuple[str, ...]
    embeddings: np.ndarray  # (n, d + 1) float32
    embedding_variance: np.ndarray  # (n, d + 1) float32: what is not known of them for want of answers
    category_rates: np.ndarray  # (C, n) float32: expected share of right answers

    @classmethod
    def of(cls, folded: Mapping[str, FoldedModel], questions: Questions) -> Self:
        """Of one model or more, folded into one pool, whose `questions` these are."""
        pool = next(iter(folded.values())).pool
        train = pool.matrix.splits == "train"
        expected = np.stack([model.expected[train] for model in folded.values()], axis=1)
        rates = pool.embedder.rates_by_category(questions.rows(train), expected)
        return cls(
            models=tuple(folded),
            embeddings=np.stack([model.embedding for model in folded.values()]),
            embedding_variance=np.stack([model.embedding_variance for model in folded.values()]),
            category_rates=rates.astype(np.float32),
        )


def extended(embedder: SpectralEmbedder, onboarded: Onboarded) -> SpectralEmbedder:
    """`embedder` with the models of `onboarded` after its own, which keep their embeddings bit for bit.

    Raises ValueError where a model is in both, or the embedder is another than they were folded into.
    """
    if both := set(embedder.models) & set(onboarded.models):
        raise ValueError(f"the embedder was fitted on {min(both)} already")
    arrays, rest = embedder.state()
    _check(arrays, onboarded)
    # What is not known of a question is unknown of a new model as much as of the others on average.
    typical = np.sqrt(np.square(arrays["directions"]).mean(0, keepdims=True))
    more = {
        "has_answers": np.ones(len(onboarded.models), bool),
        "embeddings": onboarded.embeddings,
        "embedding_variance": onboarded.embedding_variance,
        "directions": typical.repeat(len(onboarded.models), axis=0),
    }
    grown = {name: np.concatenate([arrays[name], rows]) for name, rows in more.items()}
    grown["category_rates"] = np.concatenate([arrays["category_rates"], onboarded.category_rates], axis=1)
    nothing = np.zeros((len(arrays["category_offsets"]), len(onboarded.models)), np.float32)
    grown["category_offsets"] = np.concatenate([arrays["category_offsets"], nothing], axis=1)
    models = [*rest["models"], *onboarded.models]
    return SpectralEmbedder.restored(embedder.settings(), {**arrays, **grown}, {**rest, "models": models})


def save_onboarded(folder: Path, onboarded: Onboarded | None) -> None:
    """Into the folder of the embedder that they extend, replacing those that were there; None: no models."""
    if onboarded is None:
        (folder / FILE).unlink(missing_ok=True)
        return
    arrays = {name: np.ascontiguousarray(array) for name, array in _arrays(onboarded).items()}
    metadata = {"models": json.dumps(onboarded.models), "sha256": _digest(arrays)}
    write_file(folder / FILE, tensor_bytes(arrays, metadata))


def load_extended(folder: Path, embedder: Predictor) -> Predictor:
    """`embedder`, which `folder` keeps, with the models that were onboarded to it; itself where there are none.

    Raises StoreError where the file is damaged or belongs to another embedder.
    """
    path = folder / FILE
    if not isinstance(embedder, SpectralEmbedder) or not path.exists():
        return embedder
    try:
        return extended(embedder, _read(path))
    except (SafetensorError, KeyError, ValueError) as error:
        raise StoreError(
            f"{path}: does not fit the embedder ({error}); delete it, and `embedllm run` makes it anew"
        ) from error


def _read(path: Path) -> Onboarded:
    """Raises SafetensorError, KeyError, or ValueError where the content is not what was written."""
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata() or {}
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it has no __iter__
    if _digest(arrays) != metadata["sha256"]:
        raise ValueError("its SHA-256 is not the one in its metadata")
    return Onboarded(models=tuple(json.loads(metadata["models"])), **arrays)


def _arrays(onboarded: Onboarded) -> dict[str, np.ndarray]:
    return {name: array for name, array in vars(onboarded).items() if name != "models"}


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    return sha256(b"".join(arrays[name].tobytes() for name in sorted(arrays))).hexdigest()


def _check(arrays: Mapping[str, np.ndarray], onboarded: Onboarded) -> None:
    count = len(onboarded.models)
    expected = {
        "embeddings": (count, arrays["embeddings"].shape[1]),
        "embedding_variance": (count, arrays["embeddings"].shape[1]),
        "category_rates": (len(arrays["category_rates"]), count),
    }
    for name, shape in expected.items():
        if (found := getattr(onboarded, name).shape) != shape:
            raise ValueError(f"{name} should be {shape}, found {found}")
