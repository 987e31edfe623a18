"""Columns of the tables that experiments make, several of one type at once."""

from __future__ import annotations

import pyarrow as pa

__all__ = ["NAME", "counts", "figures", "texts"]

NAME = pa.dictionary(pa.int32(), pa.string())
"""The type of names in tables of very many rows."""


def texts(*names: str) -> list[pa.Field]:
    """Return columns of strings."""
    return [pa.field(name, pa.string()) for name in names]


def counts(*names: str) -> list[pa.Field]:
    """Return columns of 64-bit integers."""
    return [pa.field(name, pa.int64()) for name in names]


def figures(*names: str) -> list[pa.Field]:
    """Return columns of 64-bit floating-point numbers."""
    return [pa.field(name, pa.float64()) for name in names]
