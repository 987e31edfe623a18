"""Nested dataclasses of tensors as a flat dictionary of arrays, and back: what a fitted embedder is stored as."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, get_type_hints

import numpy as np
import torch

__all__ = ["flattened", "rebuilt", "tensor"]

T = TypeVar("T")


def tensor(array: np.ndarray) -> torch.Tensor:
    """`array` on the device in force (`with torch.device(…)`), where tensors that torch makes are too."""
    return torch.from_numpy(array).to(torch.get_default_device())


def flattened(value: Any) -> dict[str, np.ndarray]:
    """The tensors of a dataclass by their dotted names, such as `question_map.landmarks`."""
    arrays = {}
    for field in fields(value):
        part = getattr(value, field.name)
        if is_dataclass(part):
            arrays |= {f"{field.name}.{name}": array for name, array in flattened(part).items()}
        else:
            arrays[field.name] = part.cpu().numpy()
    return arrays


def rebuilt(kind: type[T], arrays: Mapping[str, np.ndarray], prefix: str = "") -> T:
    """The dataclass `kind` whose tensors these are; KeyError names one that is missing."""
    parts = {}
    for name, part in get_type_hints(kind).items():
        nested = part is not torch.Tensor
        parts[name] = rebuilt(part, arrays, f"{prefix}{name}.") if nested else torch.from_numpy(arrays[prefix + name])
    return kind(**parts)
