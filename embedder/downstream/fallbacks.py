"""Experiment: what is left of routing when the model that a question goes to is down?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from embedder import metrics
from embedder.baselines.rates import model_rates
from embedder.matrix import CorrectnessMatrix
from embedder.predictor import Forecast

from .columns import counts, figures, texts
from .forecast import check_rows
from .routing import NO_ANSWERS, choose_models

__all__ = ["FALLBACKS", "METHODS", "find_fallbacks"]

FALLBACKS = pa.schema(
    [
        *texts("embedder", "model", "method", "fallback"),
        *figures("distance"),
        *counts("n"),
        *figures("accuracy_before", "accuracy", "ci_low", "ci_high", "loss", "loss_low", "loss_high"),
        *texts("reason"),
    ]
)
METHODS = ("reroute", "nearest", "best_single", "random")
_NOBODY_ELSE = "nobody else answered the questions sent to the model"
_NO_EMBEDDING = "the model has no embedding, for want of training answers"

_Row = dict[str, str | int | float | None]


@dataclass(frozen=True)
class _Outages:
    """Test questions (n), each with the model it is sent to being down."""

    down: np.ndarray  # (n,): that model
    before: np.ndarray  # (n,): whether it is right, 1 or 0
    right: dict[str, np.ndarray]  # by method (n,): whether what replaces it is, of random the share
    fallback: dict[str, np.ndarray]  # by method that picks one model (n,): that model


def find_fallbacks(
    matrix: CorrectnessMatrix, forecast: Forecast, embeddings: np.ndarray, version: str, *, seed: int = 0
) -> pa.Table:
    """Table `fallbacks`: a row is a model that the router sends test questions to and a way to replace it, from
    the `forecast` by an embedder of this `version` of the test questions of `matrix` and its `embeddings` (M, d), NaN
    where a model has none.

    Only models that answered a question may replace the one that is down, and questions that nobody else answered do
    not count, so that all methods are compared on the same questions: `reroute` takes the highest routing score,
    `nearest` the least Euclidean distance, `best_single` the highest rate on the train split, each breaking ties as
    the router does; `random` is the mean over all. Models without an embedding are the farthest. Raises ValueError
    where `forecast` is not of the test questions.
    """
    test = matrix.of_split("test")
    check_rows(test, forecast)
    answered = np.asarray(test.observed.any(axis=1))
    reason = None if answered.any() else NO_ANSWERS
    if len(matrix.models) < 2:
        reason = f"needs at least 2 models, found {len(matrix.models)}"
    if reason:
        rows: list[_Row] = [{"model": "all", "method": method, "reason": reason} for method in METHODS]
    else:
        from scipy.spatial.distance import cdist

        rates, wide = model_rates(matrix.of_split("train")), embeddings.astype(np.float64)
        test, scores, distances = test.rows(answered), forecast.routing_scores[answered], cdist(wide, wide)
        down = choose_models(test, scores, rates)
        outages = _replace_models(test, scores, rates, distances, down)
        rows = list(_rows(matrix.models, outages, distances, np.unique(down), seed))
    return pa.Table.from_pylist([row | {"embedder": version} for row in rows], schema=FALLBACKS)


def _replace_models(
    test: CorrectnessMatrix, scores: np.ndarray, rates: np.ndarray, distances: np.ndarray, down: np.ndarray
) -> _Outages:
    """Replace the models that are `down` (n,) on those of n questions that another model answered, and that were sent
    to a model with an embedding; `distances` (M, M) are NaN where a model has none."""
    rows = np.arange(len(down))
    before, labels = test.labels[rows, down], test.labels.copy()
    labels[rows, down] = np.nan
    kept = ~np.isnan(labels).all(axis=1) & ~np.isnan(distances.diagonal())[down]
    others, down, before = replace(test, labels=labels).rows(kept), down[kept], before[kept]
    ranked_by = {
        "reroute": scores[kept],
        "nearest": -np.nan_to_num(distances, nan=np.finfo(np.float64).max)[down],
        "best_single": rates,
    }
    fallback = {method: choose_models(others, score, rates) for method, score in ranked_by.items()}
    right = {method: others.labels[np.arange(len(down)), model] for method, model in fallback.items()}
    right["random"] = np.nansum(others.labels, axis=1) / others.observed.sum(axis=1)
    return _Outages(down, before.astype(np.float64), {m: r.astype(np.float64) for m, r in right.items()}, fallback)


def _rows(
    models: tuple[str, ...], outages: _Outages, distances: np.ndarray, used: np.ndarray, seed: int
) -> Iterator[_Row]:
    for model in (None, *used.tolist()):
        name = "all" if model is None else models[model]
        which = np.flatnonzero(np.ones(len(outages.down), bool) if model is None else outages.down == model)
        for method in METHODS:
            row: _Row = {"model": name, "method": method, "n": len(which)}
            if not len(which):
                placed = model is None or not np.isnan(distances[model, model])
                yield row | {"reason": _NOBODY_ELSE if placed else _NO_EMBEDDING}
                continue
            row |= _figures(outages.before[which], outages.right[method][which], seed)
            fallback = outages.fallback.get(method, outages.down)[which]
            if model is not None and method in outages.fallback and (fallback == fallback[0]).all():
                distance = float(distances[model, fallback[0]])
                row |= {"fallback": models[fallback[0]], "distance": None if np.isnan(distance) else distance}
            yield row


def _figures(before: np.ndarray, right: np.ndarray, seed: int) -> _Row:
    ones = np.ones(len(right))
    low, high = metrics.bootstrap_interval(right, ones, seed=seed) or (None, None)
    loss_low, loss_high = metrics.bootstrap_interval(before - right, ones, seed=seed) or (None, None)
    return {
        "accuracy_before": float(before.mean()),
        "accuracy": float(right.mean()),
        "ci_low": low,
        "ci_high": high,
        "loss": float((before - right).mean()),
        "loss_low": loss_low,
        "loss_high": loss_high,
    }
