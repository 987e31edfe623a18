"""Where a file of the lake lies: names are percent-encoded in paths, whole everywhere else."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote, unquote

__all__ = ["FAILURE", "PART", "decoded", "encoded", "file_of", "pair_folder", "pair_of", "pairs_in", "questions_file"]

PART = "part.parquet"
FAILURE = "failure.json"
"""Stands where a pair's part.parquet would, and tells why its last evaluation failed."""


def encoded(name: str) -> str:
    return quote(name, safe="")


def decoded(folder: Path) -> str:
    """The name that `folder` (benchmark=<b> or model=<m>) stands for."""
    return unquote(folder.name.partition("=")[2])


def pair_folder(benchmark: str, model: str) -> Path:
    return Path(f"benchmark={encoded(benchmark)}") / f"model={encoded(model)}"


def pair_of(path: Path) -> tuple[str, str]:
    """(benchmark, model) of a file in a pair's folder."""
    return decoded(path.parent.parent), decoded(path.parent)


def pairs_in(folder: Path, name: str = PART) -> list[tuple[str, str]]:
    """(benchmark, model) of every pair that has a file `name` under `folder`, sorted."""
    return sorted(pair_of(path) for path in folder.glob(f"benchmark=*/model=*/{name}"))


def file_of(folder: Path, benchmark: str, model: str, name: str = PART) -> Path:
    return folder / pair_folder(benchmark, model) / name


def questions_file(lake: Path, benchmark: str) -> Path:
    return lake / "questions" / f"benchmark={encoded(benchmark)}" / PART
