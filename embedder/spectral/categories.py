"""What may be known of a question besides its text: the benchmark or the category it is of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch

__all__ = ["CategoryNames", "fit_offsets"]

_NEWTON_STEPS = 8
_MOST_INFORMATION = 20.0  # of a model and category, in telling how far offsets spread: beyond it all count alike


@dataclass(frozen=True)
class CategoryNames:
    """The C categories of the training questions, and which of them each benchmark has."""

    categories: tuple[str, ...]
    benchmarks: dict[str, tuple[int, ...]]

    @classmethod
    def of(cls, categories: np.ndarray, benchmarks: np.ndarray) -> tuple[Self, np.ndarray]:
        """From both of each training question (n,). Returns the number of each question's category (n,) as well."""
        names, numbers = np.unique(categories, return_inverse=True)
        members = {str(name): np.unique(numbers[benchmarks == name]) for name in np.unique(benchmarks)}
        return cls(tuple(map(str, names)), {name: tuple(some.tolist()) for name, some in members.items()}), numbers

    @classmethod
    def restored(cls, stored: dict[str, Any]) -> Self:
        """From what `stored` gave, once it went through JSON."""
        return cls(tuple(stored["categories"]), {name: tuple(some) for name, some in stored["benchmarks"].items()})

    def stored(self) -> dict[str, Any]:
        return {
            "categories": list(self.categories),
            "benchmarks": {n: list(some) for n, some in self.benchmarks.items()},
        }

    def possible(self, known: np.ndarray) -> torch.Tensor:
        """(n, C) bool: which categories each question may be of, given the benchmark or category that is `known` of it
        (n,). All of them where it is None, or a name that no training question has."""
        distinct = {name: row for row, name in enumerate(dict.fromkeys(known.tolist()))}
        rows = torch.zeros(len(distinct), len(self.categories), dtype=torch.bool)
        for name, row in distinct.items():
            if name in self.benchmarks:
                rows[row, list(self.benchmarks[name])] = True
            elif name in self.categories:
                rows[row, self.categories.index(name)] = True
            else:
                rows[row] = True
        return rows[[distinct[name] for name in known.tolist()]]


def fit_offsets(
    labels: torch.Tensor, held_out: Callable[[torch.Tensor], torch.Tensor], numbers: torch.Tensor, count: int
) -> torch.Tensor:
    """(C, M): what to add to a model's log-odds on questions that are known to be of a category, given `labels` (n, M),
    NaN where not asked, of questions whose categories have these `numbers` (n,).

    `held_out` gives for some rows the log-odds (rows, M) at which each answer was predicted from the others, the
    category unknown. An offset is the most probable one with a normal prior of mean 0, whose variance is what the
    offsets vary by beyond chance: where texts tell the category it is about 0, and where they do not, a model's offsets
    are those of its rate on a category from its rate on all.
    """
    rows = [(numbers == number).nonzero()[:, 0] for number in range(count)]
    first = [_step(labels[some], held_out(some), torch.zeros(labels.shape[1], device=labels.device)) for some in rows]
    excess, information = (torch.stack(parts) for parts in zip(*first, strict=True))
    weights = information.clamp_max(_MOST_INFORMATION)
    squares = (excess / information.clamp_min(1e-6)).square() - 1 / information.clamp_min(1e-6)
    variance = ((weights * squares).sum() / weights.sum().clamp_min(1e-6)).clamp_min(0).item()
    offsets = torch.zeros_like(excess)
    if variance > 1e-4:
        for number, some in enumerate(rows):
            logits = held_out(some)
            for _ in range(_NEWTON_STEPS):
                excess_now, information_now = _step(labels[some], logits, offsets[number])
                gradient = excess_now - offsets[number] / variance
                offsets[number] += gradient / (information_now + 1 / variance)
    return offsets


def _step(labels: torch.Tensor, logits: torch.Tensor, offset: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(M,) right answers beyond the expected, and Fisher's information, at this offset (M,)."""
    probability = (logits + offset).sigmoid_()
    asked = ~labels.isnan()
    return (labels - probability).nansum(0), (probability * (1 - probability) * asked).sum(0)
