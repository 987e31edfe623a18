"""Experiment: do models of one kind lie close together?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from scipy.spatial.distance import cdist

from .columns import counts, figures, texts

__all__ = ["COMMUNITIES", "SIZE_CLASSES", "Group", "Labelled", "compare_communities", "find_groups", "sort_placed"]

COMMUNITIES = pa.schema(
    [
        *texts("embedder", "kind", "label"),
        *counts("models"),
        *figures("inside", "outside", "ratio", "chance_low", "chance_high", "p_value"),
        *texts("reason"),
    ]
)
SIZE_CLASSES = {  # billions of parameters, from and below; what lies between two classes is of none
    "1B": (0.0, 2.0),
    "3B": (2.0, 5.0),
    "7B": (6.0, 10.0),
    "13B": (12.0, 16.0),
    "34B": (25.0, 45.0),
    "70B": (65.0, 80.0),
    "100B+": (100.0, np.inf),
}
_PERMUTATIONS = 9999
_BLOCK_CELLS = 2_000_000  # of random groups held at once: 16 MB
_SAME = 1 + 1e-9  # a random group that is the community itself has its ratio but for rounding


class Labelled(Protocol):
    """What is known of a model besides its answers; None is not known."""

    @property
    def model(self) -> str: ...
    @property
    def family(self) -> str | None: ...
    @property
    def size_b(self) -> float | None: ...
    @property
    def communities(self) -> Sequence[str]: ...


@dataclass(frozen=True)
class Group:
    """The models (N,) of one kind among those of which it is known whether they are."""

    kind: str
    label: str
    inside: np.ndarray
    known: np.ndarray


def compare_communities(
    embeddings: np.ndarray, models: Sequence[str], labels: Iterable[Labelled], version: str, *, seed: int = 0
) -> pa.Table:
    """Table `communities` (paper: probing of model embeddings), of the models' `embeddings` (M, d).

    Rows that are NaN, of models without training answers, are left out. A row is a group of models: `inside` is the
    mean Euclidean distance between two of them, `outside` from one of them to one that is not; of a size class or a
    family only models count whose size or family is known. p and the range of chance are from 9,999 random groups of
    as many of the same models: p = (1 + number with a ratio as low) / 10,000. The embeddings include the bias, so
    that models are also near for being about as able, whatever they are good at. The order of `models` does not
    matter. A group without two models inside and one outside has a reason in place of figures.
    """
    names, points = sort_placed(embeddings, models)
    distances = cdist(points, points)
    rows: list[dict[str, Any]] = []
    for _, groups in groupby(find_groups(names, labels), key=lambda group: group.kind):
        rows += _compare(distances, list(groups), seed)
    if not rows:
        rows = [{"kind": "all", "label": "all", "reason": "no model has a community, a size or a family"}]
    return pa.Table.from_pylist([{"embedder": version, **row} for row in rows], schema=COMMUNITIES)


def sort_placed(embeddings: np.ndarray, models: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Return the models that have an embedding, sorted by name, and their embeddings (N, d) float64."""
    known = np.isfinite(embeddings).all(axis=1)
    order = sorted(np.flatnonzero(known).tolist(), key=lambda row: models[row])
    return [models[row] for row in order], embeddings[order].astype(np.float64)


def find_groups(models: Sequence[str], labels: Iterable[Labelled]) -> Iterator[Group]:
    """Find every community, size class and family that one of `models` belongs to, kind by kind; groups of a kind are
    sorted by name, size classes by size.

    A size class is left out where a community has the same name ("7b"), because that one was chosen with care.
    """
    by_name = {label.model: label for label in labels}
    known = [by_name.get(model) for model in models]
    tags = [set(label.communities) if label else set() for label in known]
    sizes = np.array([label.size_b if label and label.size_b else np.nan for label in known], float)
    families = [label.family if label else None for label in known]
    everybody = np.ones(len(models), bool)
    for tag in sorted(set().union(*tags)):
        yield Group("community", tag, np.array([tag in of_model for of_model in tags], bool), everybody)
    taken = {tag.lower() for tag in set().union(*tags)}
    for name, (low, below) in SIZE_CLASSES.items():
        inside = (sizes >= low) & (sizes < below)
        if inside.any() and name.lower() not in taken:
            yield Group("size", name, inside, ~np.isnan(sizes))
    has_family = np.array([family is not None for family in families], bool)
    for name in sorted({family for family in families if family is not None}):
        yield Group("family", name, np.array([family == name for family in families], bool), has_family)


def _compare(distances: np.ndarray, groups: list[Group], seed: int) -> Iterator[dict[str, Any]]:
    """Yield a row for each group. All groups are of one kind, so that the same models are known."""
    known = groups[0].known
    distances = distances[np.ix_(known, known)]
    total = len(distances)
    sizes = {int(group.inside.sum()) for group in groups}
    chance = _draw_ratios(distances, [size for size in sorted(sizes) if 2 <= size < total], seed)
    for group in groups:
        size = int(group.inside.sum())
        row = {"kind": group.kind, "label": group.label, "models": size}
        if size not in chance:
            found = f"needs at least 2 models inside and 1 outside, found {size} and {total - size}"
            yield row | {"reason": found}
        elif not distances.any():
            yield row | {"inside": 0.0, "outside": 0.0, "reason": "the embeddings of all models are the same"}
        else:
            member, by_chance = group.inside[known], chance[size]
            inside, outside = (float(mean[0]) for mean in _mean_distances(distances, member[:, None].astype(float)))
            low, high = np.quantile(by_chance, [0.025, 0.975])
            below = (by_chance <= inside / outside * _SAME).sum()
            yield row | {
                "inside": inside,
                "outside": outside,
                "ratio": inside / outside,
                "chance_low": float(low),
                "chance_high": float(high),
                "p_value": float((1 + below) / (1 + len(by_chance))),
            }


def _draw_ratios(distances: np.ndarray, sizes: list[int], seed: int) -> dict[int, np.ndarray]:
    """Return the ratios (9999,) of random groups of each size; they are zero where all distances are."""
    rng = np.random.default_rng(seed)
    total = len(distances)
    ratios: dict[int, list[np.ndarray]] = {size: [] for size in sizes}
    block = max(1, _BLOCK_CELLS // max(total, 1))
    for start in range(0, _PERMUTATIONS, block):
        width = min(block, _PERMUTATIONS - start)
        # Each column is a random order of the models: those whose place is below k are a random group of k.
        places = rng.permuted(np.tile(np.arange(total), (width, 1)), axis=1).T
        for size, found in ratios.items():
            inside, outside = _mean_distances(distances, (places < size).astype(float))
            found.append(np.divide(inside, outside, out=np.zeros(width), where=outside > 0))
    return {size: np.concatenate(found) for size, found in ratios.items()}


def _mean_distances(distances: np.ndarray, members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the means inside and outside (P,) of groups, each a column of `members` (N, P) that is 1 for a member."""
    size = members.sum(axis=0)
    within = np.einsum("np,np->p", members, distances @ members)
    outward = distances.sum(axis=0) @ members - within
    return within / (size * (size - 1)), outward / (size * (len(distances) - size))
