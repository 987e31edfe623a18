"""Turn one embedder's axes onto another's, so that a new version does not reshuffle the models of the last one.

A fit's axes are the principal ones of its models: one more model may turn them, flip their signs or swap two of about
the same strength, although forecasts hardly change. u(q) · theta_m and |theta_m - theta_n| do not depend on the axes:
all u and theta may be turned by one rotation. Procrustes' (Schönemann, 1966) is the one that brings the common models
nearest to where they were.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from embedder.questions import Questions

from .spectral import SpectralEmbedder

__all__ = ["Drift", "align", "common_models", "measure_drift", "measure_moves"]

_TOWARDS_IDENTITY = 1e-9  # relative to what the models say: it counts only where they say nothing


@dataclass(frozen=True)
class Drift:
    """How far a version is from an earlier one; None where nothing can tell."""

    distance: float | None  # mean Euclidean distance by which the embeddings of common models moved
    predictions: float | None  # share of forecasts, of common models on test questions, that changed sides of 0.5


def common_models(new: SpectralEmbedder, old: SpectralEmbedder) -> tuple[str, ...]:
    """Return the models that have an embedding in both, in the order of `new`."""
    there = {name for name, has in zip(old.models, old.has_answers, strict=True) if has}
    return tuple(name for name, has in zip(new.models, new.has_answers, strict=True) if has and name in there)


def align(new: SpectralEmbedder, old: SpectralEmbedder) -> SpectralEmbedder:
    """Return `new` with its axes turned so that the models it has in common with `old` are as near as possible to where
    they were. `old` may have more or fewer dimensions; without common models nothing is turned.

    Forecasts, routing scores and distances between models stay, up to rounding. A forecast's deviation stays on average
    over the training questions, not for each: what is not known of an embedding is kept for each coordinate, as the
    diagonal of a covariance. The diagonal of the turned one has the same trace, which is that average.
    """
    arrays, rest = new.state()
    names = common_models(new, old)
    (theta, _), (former, _) = _embeddings(new, names), _embeddings(old, names)
    dimensions = theta.shape[1]
    match = theta.T @ _padded(former, dimensions)[:, :dimensions]
    # With fewer common models than dimensions, many rotations do equally well. A trace of the identity picks the one
    # that leaves the other directions as they are, as far as they are free.
    strength = np.linalg.norm(match) or 1.0
    left, _, right = np.linalg.svd(match + _TOWARDS_IDENTITY * strength * np.eye(dimensions))
    rotation = left @ right  # (d, d) orthogonal, from the right
    turned = {
        "coordinates": arrays["coordinates"] @ rotation,
        "category_coordinates": arrays["category_coordinates"] @ rotation,
        "embeddings": _but_the_bias(arrays["embeddings"], rotation),
        "embedding_variance": _but_the_bias(arrays["embedding_variance"], np.square(rotation)),
    }
    single = {name: array.astype(np.float32) for name, array in turned.items()}
    return SpectralEmbedder.restored(new.settings(), {**arrays, **single}, rest)


def measure_moves(new: SpectralEmbedder, old: SpectralEmbedder) -> dict[str, float]:
    """Return the Euclidean distance from each common model's embedding to its former one; where one of the two has
    fewer dimensions, it is zero in the others."""
    names = common_models(new, old)
    (theta, bias), (former_theta, former_bias) = _embeddings(new, names), _embeddings(old, names)
    dimensions = max(theta.shape[1], former_theta.shape[1])
    off = _padded(theta, dimensions) - _padded(former_theta, dimensions)
    distances = np.sqrt(np.square(off).sum(1) + np.square(bias - former_bias))
    return dict(zip(names, distances.tolist(), strict=True))


def measure_drift(new: SpectralEmbedder, old: SpectralEmbedder, questions: Questions) -> Drift:
    """Measure the drift from `old` to `new`, on test `questions` described by the vectors that both were fitted on."""
    distances = measure_moves(new, old)
    if not distances:
        return Drift(None, None)
    distance = float(np.mean(list(distances.values())))
    if not len(questions):
        return Drift(distance, None)
    names = common_models(new, old)
    before, after = (one.predict_proba(questions)[:, _columns(one, names)] >= 0.5 for one in (old, new))
    return Drift(distance, float((before != after).mean()))


def _but_the_bias(values: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """`values` (M, d + 1) with the first d columns multiplied by `rotation`."""
    return np.concatenate([values[:, :-1] @ rotation, values[:, -1:]], 1)


def _padded(theta: np.ndarray, dimensions: int) -> np.ndarray:
    """(M, `dimensions`) or more, with zeros in the further ones."""
    return np.pad(theta, [(0, 0), (0, max(0, dimensions - theta.shape[1]))])


def _embeddings(predictor: SpectralEmbedder, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Theta (n, d) and bias (n,) of these models, in double precision."""
    embeddings = predictor.model_embeddings[_columns(predictor, names)].astype(np.float64)
    return embeddings[:, :-1], embeddings[:, -1]


def _columns(predictor: SpectralEmbedder, names: tuple[str, ...]) -> np.ndarray:
    at = {name: column for column, name in enumerate(predictor.models)}
    return np.array([at[name] for name in names], np.int64)
