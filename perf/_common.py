"""What the measuring scripts share: the published results, their sentence vectors, options and tables."""

import argparse
import hashlib
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow.parquet as pq
from rich.table import Table

from embedder.encoder import Encoder
from embedder.matrix import CorrectnessMatrix

REPOSITORY = Path(__file__).parents[1]
SETS = ("mmlu_pro", "zeroeval", "combined")
CHUNK = 1024  # texts between two saves of the cache

T = TypeVar("T")


def parser(description: str | None) -> argparse.ArgumentParser:
    """With the options of every script that measures on the published results."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, default=REPOSITORY.parent / "shared" / "data")
    options.add_argument("--cache", type=Path, default=REPOSITORY / "data" / "cache")
    return options


def is_there(data: Path) -> bool:
    """Whether `data` holds the published results; says so where it does not."""
    there = (data / "mmlu_pro.parquet").exists()
    if not there:
        print(f"skipped: {data} has no published results; name their folder with --data")
    return there


def published(folder: Path, name: str) -> CorrectnessMatrix:
    """The matrix of `<name>.parquet` in the published layout, with the splits of `<name>.split.parquet`."""
    rows = pq.read_table(folder / f"{name}.parquet").to_pandas()
    split = pq.read_table(folder / f"{name}.split.parquet").to_pandas().set_index("prompt_id")["split"]
    questions = rows.drop_duplicates("prompt_id").sort_values("prompt_id")
    ids = questions["prompt_id"].to_numpy()
    names = rows["model_name"].astype(str)
    models = sorted(set(names))
    labels = np.full((len(ids), len(models)), np.nan, np.float32)
    labels[np.searchsorted(ids, rows["prompt_id"]), np.searchsorted(models, names)] = rows["label"]
    categories = questions["category"].astype(str).to_numpy(object)
    return CorrectnessMatrix(
        labels=labels,
        models=tuple(models),
        question_ids=ids.astype(str).astype(object),
        benchmarks=categories,
        categories=categories,
        splits=split.loc[ids].astype(str).to_numpy(object),
        texts=questions["prompt"].astype(str).to_numpy(object),
    )


def embed(encoder: Encoder, texts: list[str], cache: Path) -> np.ndarray:
    """Vectors of `texts`; those not in the cache are encoded and kept there."""
    file = cache / f"{encoder.name}.npz"
    known = dict(np.load(file)) if file.exists() else {"keys": np.empty(0, "U32"), "vectors": np.empty((0, 0))}
    keys = np.array([hashlib.sha256(text.encode()).hexdigest()[:32] for text in texts])
    vector = dict(zip(known["keys"].tolist(), known["vectors"].astype(np.float32), strict=True))
    # Longest first: the estimate of the time left errs on the safe side.
    fresh = {key: text for key, text in zip(keys.tolist(), texts, strict=True) if key not in vector}
    order = sorted(fresh, key=lambda key: -len(fresh[key]))
    for start in range(0, len(order), CHUNK):
        chunk = order[start : start + CHUNK]
        print(f"encoding {start + len(chunk)} of {len(order)}", file=sys.stderr)
        vector.update(zip(chunk, encoder.encode([fresh[key] for key in chunk], progress=False), strict=True))
        cache.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial.npz")
        np.savez(partial, keys=np.array(list(vector)), vectors=np.stack(list(vector.values())))
        partial.replace(file)
    return np.stack([vector[key] for key in keys.tolist()])


def table(title: str, columns: tuple[str, ...]) -> Table:
    """An empty table; the first column names the row, the others are figures."""
    drawn = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        drawn.add_column(column, justify="right" if number else "left")
    return drawn


@dataclass(frozen=True)
class Spent:
    """Wall and processor seconds of a step."""

    wall: float
    processor: float

    def __str__(self) -> str:
        return f"{self.wall:.2f} ({self.processor:.2f})"


def timed(step: Callable[[], T]) -> tuple[T, Spent]:
    wall, processor = time.perf_counter(), time.process_time()
    result = step()
    return result, Spent(time.perf_counter() - wall, time.process_time() - processor)


def peak_memory() -> float:
    """The most that this process ever held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
