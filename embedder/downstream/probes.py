"""Experiment: what does a model's embedding tell of the model?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from scipy.spatial.distance import cdist
from scipy.stats import rankdata
from threadpoolctl import threadpool_limits

from embedder.metrics import resample
from embedder.ridge import fit_ridge

from .columns import counts, figures, texts
from .communities import Group, Labelled, find_groups, sort_placed

__all__ = ["PROBES", "probe_embeddings"]

PROBES = pa.schema(
    [
        *texts("embedder", "target", "method"),
        *counts("models", "classes"),
        *texts("metric"),
        *figures("score", "ci_low", "ci_high", "chance", "p_value"),
        *texts("reason"),
    ]
)
_MIN_INSIDE = 5  # models inside, and as many outside
_MIN_FAMILY = 3  # models of a family that a linear probe is to tell
_MIN_SIZES = 10  # models of known size
_NEIGHBOURS = 5
_STRENGTHS = np.logspace(-2, 4, 13).tolist()
_PERMUTATIONS = 9999
_RESAMPLES = 2000
_BLOCK_CELLS = 5_000_000
_ALIKE = {"reason": "the embeddings of all models are the same"}


def probe_embeddings(
    embeddings: np.ndarray, models: Sequence[str], labels: Iterable[Labelled], version: str, *, seed: int = 0
) -> pa.Table:
    """Table `probes`: how well labels follow from the models' `embeddings` (M, d); NaN rows are left out.

    `linear` is a ridge classifier or, for log10(size_b), a ridge regression on the standardised coordinates. Each
    model is predicted from all others, which also choose the strength (nested leave-one-out). A community or a size
    class is told apart from the rest of the models that have a size, a family from the other ones; both are scored by
    balanced accuracy, sizes by Spearman's correlation. `knn` is the share of a model's 5 nearest that are of its
    family (fewer where the family has fewer others); chance is exact. Intervals are from a bootstrap over models,
    within each class; p from permutations: of the labels against the predictions (linear), or over the models (knn).
    Other models of the one left out's family, which resemble it, are not left out. Where there is nothing
    to learn about few models, leaving one out errs on the low side of chance.
    The order of `models` does not matter. What has too few models has a reason in place of figures.
    """
    names, points = sort_placed(embeddings, models)
    labels = list(labels)
    groups = list(find_groups(names, labels))
    families = [group for group in groups if group.kind == "family"]
    rows = [
        *(_probe_group(points, group, seed) for group in groups if group.kind != "family"),
        _probe_families(points, families, seed),
        _probe_neighbours(points, families, seed),
        _probe_sizes(points, names, labels, seed),
    ]
    return pa.Table.from_pylist([{"embedder": version, **row} for row in rows], schema=PROBES)


def _probe_group(points: np.ndarray, group: Group, seed: int) -> dict[str, Any]:
    """Is a model of the group or not?"""
    classes = group.inside[group.known].astype(int)
    inside, outside = int(classes.sum()), int((1 - classes).sum())
    # Rows are named by target and method: a community must not be taken for a probe of all families or sizes.
    target = f"community {group.label}" if group.label in ("family", "size") else group.label
    row = {"target": target, "method": "linear", "models": len(classes), "classes": 2, "metric": "balanced accuracy"}
    if min(inside, outside) < _MIN_INSIDE:
        found = f"{inside} and {outside}"
        return row | {"reason": f"needs at least {_MIN_INSIDE} models inside and as many outside, found {found}"}
    return row | _classify(points[group.known], classes, seed)


def _probe_families(points: np.ndarray, families: list[Group], seed: int) -> dict[str, Any]:
    """Which of the families of some size is a model of?"""
    large = [family.inside for family in families if family.inside.sum() >= _MIN_FAMILY]
    classes = np.array(large, int).T @ np.arange(len(large)) if large else np.empty(0, int)
    kept = np.any(large, axis=0) if large else np.zeros(len(points), bool)
    row = {"target": "family", "method": "linear", "models": int(kept.sum()), "classes": len(large)}
    row["metric"] = "balanced accuracy"
    if len(large) < 2:
        return row | {"reason": f"needs at least 2 families of {_MIN_FAMILY} models or more, found {len(large)}"}
    return row | _classify(points[kept], classes[kept], seed)


def _classify(points: np.ndarray, classes: np.ndarray, seed: int) -> dict[str, Any]:
    """Score of the linear probe of `classes` (n,), numbered from 0."""
    if not np.ptp(points, axis=0).any():
        return _ALIKE  # the class would be decided by rounding, which depends on the model left out
    count = np.bincount(classes)
    predicted = _predict_by_others(points, 2.0 * np.eye(len(count))[classes] - 1, classes).argmax(axis=1)
    share = 1 / (len(count) * count)  # of the score, for a hit on a model of each class
    contributions = (predicted == classes) * share[classes]
    rng = np.random.default_rng(seed)
    permuted = rng.permuted(np.tile(classes, (_PERMUTATIONS, 1)), axis=1)
    by_chance = ((permuted == predicted) * share[permuted]).sum(axis=1)
    scored = _score(contributions, classes, rng)
    return scored | {"chance": 1 / len(count), "p_value": _p_value(by_chance, scored["score"])}


def _predict_by_others(points: np.ndarray, targets: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the `targets` (n, T) of each model as predicted from its coordinates `points` (n, d) by the ridge
    regression of all others on standardised coordinates; among these each of the `classes` (n,) counts as much."""
    predicted = np.empty(targets.shape)
    with threadpool_limits(1):  # for so little, threads wait for one another longer than they compute
        for out in range(len(points)):
            others = np.arange(len(points)) != out
            weights = 1 / np.bincount(classes[others])[classes[others]]
            share, root = weights / weights.sum(), np.sqrt(weights * len(weights) / weights.sum())[:, None]
            deviation = points[others].std(axis=0)
            scaled = points / np.where(deviation > 1e-9, deviation, 1)
            centre, level = share @ scaled[others], share @ targets[others]
            turned = root * (scaled[others] - centre)
            variances, axes = np.linalg.eigh(turned.T @ turned)
            parts = (turned @ axes, variances.clip(0), root * (targets[others] - level), share)
            features, variances, centred, share = map(torch.from_numpy, parts)
            ridge = fit_ridge(features, variances, centred, _STRENGTHS, mean_leverage=share, same_strength=True)
            predicted[out] = level + (scaled[out] - centre) @ axes @ ridge.coefficients.numpy()
    return predicted


def _probe_neighbours(points: np.ndarray, families: list[Group], seed: int) -> dict[str, Any]:
    """Are the models nearest to a model of its family?"""
    known = np.any([family.inside for family in families], axis=0) if families else np.zeros(len(points), bool)
    members = np.reshape([family.inside[known] for family in families], (len(families), known.sum())).astype(int)
    classes, count = np.arange(len(families)) @ members, members.sum(axis=1)
    wanted = np.minimum(count - 1, _NEIGHBOURS)  # neighbours asked of a model of each family
    row = {"target": "family", "method": "knn", "models": len(classes), "classes": len(families)}
    row["metric"] = f"precision at {_NEIGHBOURS}"
    if len(families) < 2 or not wanted.any():
        found = f"{len(families)}, the largest of {count.max(initial=0)}"
        return row | {"reason": f"needs at least 2 families, one of them of 2 models or more, found {found}"}
    if not np.ptp(points[known], axis=0).any():
        return row | _ALIKE
    distances = cdist(points[known], points[known])
    np.fill_diagonal(distances, np.inf)
    nearest = np.argsort(distances, axis=1, kind="stable")[:, : min(_NEIGHBOURS, len(classes) - 1)]  # ties by name
    asked = count[count > 1].sum()
    rng, block = np.random.default_rng(seed), max(1, _BLOCK_CELLS // nearest.size)
    widths = [min(block, _PERMUTATIONS - start) for start in range(0, _PERMUTATIONS, block)]
    dealt = (rng.permuted(np.tile(classes, (width, 1)), axis=1) for width in widths)
    by_chance = np.concatenate([_precisions(nearest, some, wanted).sum(axis=1) for some in dealt]) / asked
    scored = _score(_precisions(nearest, classes[None], wanted)[0] / asked, classes, rng)
    chance = (count * (count - 1)).sum() / (len(classes) - 1) / asked
    return row | scored | {"chance": float(chance), "p_value": _p_value(by_chance, scored["score"])}


def _precisions(nearest: np.ndarray, classes: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """(P, n): share of each model's `wanted` (F,) nearest that are of its class, for P ways to give `classes` (P, n).

    0 for the only model of a class.
    """
    width = wanted[classes]
    same = classes[:, nearest] == classes[..., None]
    counted = same & (np.arange(nearest.shape[1]) < width[..., None])
    return counted.sum(axis=-1) / np.maximum(width, 1)


def _score(contributions: np.ndarray, classes: np.ndarray, rng: np.random.Generator) -> dict[str, float]:
    """Return a score, the sum of the models' `contributions` (n,), and its interval by drawing models of each class."""
    scores = np.zeros(_RESAMPLES)
    for name in np.unique(classes):
        members = contributions[classes == name]
        scores += rng.choice(members, (_RESAMPLES, len(members))).sum(axis=1)
    low, high = np.quantile(scores, [0.025, 0.975])
    # Sums of shares: without rounding, all right could be more than 1.
    return {"score": round(contributions.sum(), 12), "ci_low": round(low, 12), "ci_high": round(high, 12)}


def _p_value(by_chance: np.ndarray, score: float) -> float:
    return float((1 + (by_chance >= score - 1e-9).sum()) / (1 + len(by_chance)))


def _probe_sizes(points: np.ndarray, names: list[str], labels: list[Labelled], seed: int) -> dict[str, Any]:
    """How large is a model?"""
    size_of = {label.model: label.size_b for label in labels if label.size_b}
    known = np.array([name in size_of for name in names], bool)
    sizes = np.log10([size_of[name] for name in names if name in size_of])
    row = {"target": "size", "method": "linear", "models": len(sizes), "metric": "Spearman's correlation"}
    if len(sizes) < _MIN_SIZES:
        return row | {"reason": f"needs at least {_MIN_SIZES} models whose size is known, found {len(sizes)}"}
    if len(set(sizes)) < 2:
        return row | {"reason": "all models are of the same size"}
    predicted = _predict_by_others(points[known], sizes[:, None], np.zeros(len(sizes), int))[:, 0]
    # Without a small model the mean of the others is higher. Left in, this alone would make predictions correlate
    # negatively with what was left out, even where embeddings say nothing.
    predicted -= (sizes.sum() - sizes) / (len(sizes) - 1)
    if np.ptp(predicted) < 1e-9:
        return row | _ALIKE
    rng = np.random.default_rng(seed)
    drawn = resample(lambda rows: _spearman(predicted[rows], sizes[rows]), len(sizes), seed=rng, resamples=_RESAMPLES)
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    permuted = rng.permuted(np.tile(sizes, (_PERMUTATIONS, 1)), axis=1)
    score = float(_spearman(predicted[None], sizes[None])[0])
    p_value = _p_value(_spearman(predicted[None], permuted), score)
    return row | {"score": score, "ci_low": float(low), "ci_high": float(high), "chance": 0.0, "p_value": p_value}


def _spearman(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return Spearman's correlation of each row of `a` with that of `b`; NaN where all of a row are the same."""
    a, b = (rankdata(values, axis=1) - (values.shape[1] + 1) / 2 for values in (a, b))
    norm = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return np.divide((a * b).sum(axis=1), norm, out=np.full(len(b), np.nan), where=norm > 0)
