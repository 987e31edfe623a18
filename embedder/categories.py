"""What may be known of a question besides its text: the benchmark or the category it is of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch

__all__ = ["CategoryNames"]


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
