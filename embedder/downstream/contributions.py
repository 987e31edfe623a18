"""Experiment: which benchmarks help to predict the accuracies of models on another one?"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations
from typing import Any

import numpy as np
import pyarrow as pa

from embedder import metrics
from embedder.matrix import CorrectnessMatrix

from .columns import counts, figures, texts
from .held_out_models import LEAST_MODELS, Target, accuracies, answered_enough, known_models, predict_held_out
from .left_out import LeftOut

__all__ = ["CONTRIBUTIONS", "contribute"]

LEAST_BENCHMARKS = 3  # a contributor, a target, and something to train on without both
CONTRIBUTIONS = pa.schema(
    [
        *texts("embedder", "contributor", "target"),
        *counts("models"),
        *figures("mse_with", "mse_without", "contribution", "ci_low", "ci_high"),
        *texts("reason"),
    ]
)


def contribute(
    matrix: CorrectnessMatrix, left_out: Mapping[frozenset[str], LeftOut], version: str, *, seed: int = 0
) -> pa.Table:
    """Table `contributions`, from the trainings of `left_out_sets`: C[i, j] of the paper for each contributor i and
    target j.

    The error of predicting the accuracies on j of held-out models, by ridge regression on embeddings trained without i
    and j, minus the same without j alone. Models and splits of both are the same, and those of `benchmark_predictions`
    but where a model has answered nothing besides i and j; so are the resamples of the interval over splits.
    """
    names = [str(name) for name in np.unique(matrix.benchmarks)]
    if len(names) < LEAST_BENCHMARKS:
        rows = [_refused("all", "all", f"needs at least {LEAST_BENCHMARKS} benchmarks, found {len(names)}")]
    else:
        benchmarks = {name: _Benchmark(matrix, name, left_out[frozenset([name])].embeddings, seed) for name in names}
        pairs = sorted(permutations(names, 2))
        rows = [_row(i, benchmarks[j], left_out[frozenset([i, j])].embeddings, seed) for i, j in pairs]
    return pa.Table.from_pylist([row | {"embedder": version} for row in rows], schema=CONTRIBUTIONS)


class _Benchmark:
    """A benchmark, with the errors of predicting it from all the others."""

    def __init__(self, matrix: CorrectnessMatrix, name: str, embeddings: np.ndarray, seed: int) -> None:
        asked = matrix.rows(matrix.benchmarks == name)
        self.name = name
        self._models, self._accuracy, self._seed = matrix.models, accuracies(asked), seed
        self._embeddings = embeddings
        self._usable = answered_enough(asked) & known_models(embeddings)
        self._errors: dict[bytes, np.ndarray] = {}  # by which models are used: for most contributors the same

    def models(self, embeddings: np.ndarray) -> Target:
        """Those that can be used with and without the contributor."""
        return Target.of(self._models, self._accuracy, self._usable & known_models(embeddings), seed=self._seed)

    def errors_with(self, target: Target) -> np.ndarray:
        """(S,) mean squared errors with the contributor in training."""
        key = target.columns.tobytes()
        if key not in self._errors:
            self._errors[key] = _errors(self._embeddings, target)
        return self._errors[key]


def _errors(embeddings: np.ndarray, target: Target) -> np.ndarray:
    predicted = predict_held_out(embeddings[target.columns], target.accuracy[:, None], target.splits)[..., 0]
    return ((predicted.clip(0, 1) - target.observed) ** 2).mean(axis=1)


def _row(contributor: str, of: _Benchmark, embeddings: np.ndarray, seed: int) -> dict[str, Any]:
    target = of.models(embeddings)
    count = len(target.columns)
    if count < LEAST_MODELS:
        needed = f"needs at least {LEAST_MODELS} models that answered the target and others than the contributor"
        return _refused(contributor, of.name, f"{needed}, found {count}", count)
    used, unused = of.errors_with(target), _errors(embeddings, target)
    interval = metrics.bootstrap_interval(unused - used, np.ones(len(used)), seed=seed)
    low, high = interval or (None, None)
    return {
        "contributor": contributor,
        "target": of.name,
        "models": count,
        "mse_with": used.mean(),
        "mse_without": unused.mean(),
        "contribution": unused.mean() - used.mean(),
        "ci_low": low,
        "ci_high": high,
    }


def _refused(contributor: str, target: str, reason: str, models: int | None = None) -> dict[str, Any]:
    return {"contributor": contributor, "target": target, "models": models, "reason": reason}
