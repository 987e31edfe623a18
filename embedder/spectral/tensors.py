"""Nested dataclasses of tensors as a flat dictionary of arrays, and back: what a fitted embedder is stored as."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, get_type_hints

import numpy as np
import torch

__all__ = ["flatten", "rebuild", "tensor"]

T = TypeVar("T")


def tensor(array: np.ndarray) -> torch.Tensor:
    """Return `array` on the device in force (`with torch.device(…)`), where tensors that torch makes are too."""
    return torch.from_numpy(array).to(torch.get_default_device())


def flatten(value: Any) -> dict[str, np.ndarray]:
    """Return the tensors of a dataclass by their dotted names, such as `question_map.landmarks`."""
    arrays = {}
    for field in fields(value):
        part = getattr(value, field.name)
        if is_dataclass(part):
            arrays |= {f"{field.name}.{name}": array for name, array in flatten(part).items()}
        else:
            arrays[field.name] = part.cpu().numpy()
    return arrays


def rebuild(kind: type[T], arrays: Mapping[str, np.ndarray], prefix: str = "") -> T:
    """Return the dataclass `kind` whose tensors these are; KeyError names one that is missing."""
    parts = {}
    for name, part in get_type_hints(kind).items():
        nested = part is not torch.Tensor
        parts[name] = rebuild(part, arrays, f"{prefix}{name}.") if nested else torch.from_numpy(arrays[prefix + name])
    return kind(**parts)
