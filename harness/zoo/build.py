"""Builds the zoo in a folder: families in parallel, each one whole or not there, nothing done twice."""

import contextlib
import functools
import hashlib
import json
import logging
import multiprocessing
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from filelock import FileLock

from harness.files import move_folder, write_text

from .families import RECIPE, Recipe
from .tasks import tasks_are_current, write_tasks

MANIFEST: Final = "manifest.json"
UNFINISHED: Final = ".unfinished-"
SOURCES: Final = ("skills.py", "families.py", "train.py")  # a change in one of them makes another zoo

logger = logging.getLogger(__name__)

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class ZooSummary:
    """What a call of `build_zoo` found and did."""

    folder: Path
    recipe: str  # digest of all that decides the weights: seed, recipe and the code that trains
    models: int
    trained: tuple[str, ...]  # families trained by this call, the others were there
    seconds: float
    cpu_seconds: float  # of the training processes, imports included


def build_zoo(
    folder: Path,
    *,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
    recipe: Recipe = RECIPE,
) -> ZooSummary:
    """Make `folder` hold the zoo of `seed`: `<family>-<percent>/` a model, `tasks/` for lm-eval.

    Families that the folder already holds, made by the same recipe and seed, are kept; so a killed build goes on where
    it was, and a finished one returns in milliseconds. The weights do not depend on `workers` (default: the cores this
    process may use). `progress(done, total, family)` is called after each family. Two builds of one folder at the same
    time take turns. Raises ValueError when `workers` is less than 1, OSError when the folder cannot be written.
    """
    workers = available_cores() if workers is None else workers
    if workers < 1:
        raise ValueError(f"The zoo needs at least 1 worker process, {workers} asked for: leave `workers` out.")
    start = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):  # the system releases it when the process ends, however that happens
        write_tasks(folder / "tasks", seed)
        manifest = _Manifest(folder, recipe, seed)
        missing = manifest.missing()
        cpu_seconds = _train(manifest, missing, workers, progress) if missing else 0.0
    models = sum(len(recipe.model_names(family)) for family in recipe.families)
    return ZooSummary(folder, manifest.digest, models, tuple(missing), time.monotonic() - start, cpu_seconds)


def is_built(folder: Path, *, seed: int = 0, recipe: Recipe = RECIPE) -> bool:
    """Whether `build_zoo` would have nothing to do; takes milliseconds."""
    return tasks_are_current(folder / "tasks", seed) and not _Manifest(folder, recipe, seed).missing()


def update_tasks(folder: Path, *, seed: int = 0, recipe: Recipe = RECIPE) -> None:
    """Write the present paths into the tasks of a whole zoo, which may have been moved or copied."""
    if not _Manifest(folder, recipe, seed).missing():
        write_tasks(folder / "tasks", seed)


def available_cores() -> int:
    """Cores this process may run on, which a container or a scheduler may have limited."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Manifest:
    """Which families in `folder` are whole, and by which recipe they were made."""

    def __init__(self, folder: Path, recipe: Recipe, seed: int) -> None:
        self.folder, self.recipe, self.seed = folder, recipe, seed
        self.digest = recipe_digest(seed, recipe)
        self._families: set[str] = set()
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
            stored = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            if stored["recipe"] == self.digest:
                self._families = set(stored["families"])

    def missing(self) -> list[str]:
        """Families to train, the one that takes longest first."""
        files = ("config.json", "tokenizer.json", "model.safetensors")
        families, missing = self.recipe.families, []
        for name in families:
            paths = (self.folder / model / file for model in self.recipe.model_names(name) for file in files)
            if name not in self._families or not all(path.is_file() for path in paths):
                missing.append(name)
        return sorted(missing, key=lambda name: (-families[name].width, name))

    def forget(self, families: list[str]) -> None:
        """Count `families` as missing from now on: their folders are about to be replaced."""
        self._families.difference_update(families)
        self._write()

    def add(self, family: str, source: Path) -> None:
        """Move the checkpoints of `family` from `source` into place, then count it as whole."""
        for model in self.recipe.model_names(family):
            move_folder(source / model, self.folder / model)
        self._families.add(family)
        self._write()

    def _write(self) -> None:
        content = {"recipe": self.digest, "seed": self.seed, "families": sorted(self._families)}
        write_text(self.folder / MANIFEST, json.dumps(content, indent=2) + "\n")


def recipe_digest(seed: int, recipe: Recipe = RECIPE) -> str:
    """Return a hex digest of all that decides the weights: seed, recipe, and the code that trains."""
    digest = hashlib.sha256(json.dumps([seed, asdict(recipe)], sort_keys=True).encode())
    for name in SOURCES:
        digest.update(Path(__file__).with_name(name).read_bytes())
    return digest.hexdigest()


def _train(manifest: _Manifest, families: list[str], workers: int, progress: Progress | None) -> float:
    """Train `families` in worker processes, put each in its place as it comes, and return their CPU seconds."""
    total = len(manifest.recipe.families)
    done, cpu_seconds = total - len(families), 0.0
    manifest.forget(families)
    for leftover in manifest.folder.glob(f"{UNFINISHED}*"):
        shutil.rmtree(leftover)  # of a build that was killed
    context = multiprocessing.get_context("spawn")  # the caller's threads and torch settings reach no fresh process
    with (
        tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=manifest.folder) as unfinished,
        ProcessPoolExecutor(min(workers, len(families)), context, initializer=_start_worker) as pool,
    ):
        train = functools.partial(_train_one, Path(unfinished), manifest.seed, manifest.recipe)
        running: dict[Future[float], str] = {pool.submit(train, name): name for name in families}
        try:
            for future in as_completed(running):
                cpu_seconds += future.result()
                manifest.add(running[future], Path(unfinished))
                done += 1
                logger.info("Trained zoo family %s (%d of %d).", running[future], done, total)
                if progress:
                    progress(done, total, running[future])
        finally:
            pool.shutdown(cancel_futures=True)
    return cpu_seconds


def _start_worker() -> None:
    """Prepare a worker before it imports torch: one thread, no network, and an end when its parent ends."""
    os.environ.update(OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1", CUDA_VISIBLE_DEVICES="")
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    """End this worker with its parent; it would otherwise wait forever for work from a parent that was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _train_one(folder: Path, seed: int, recipe: Recipe, family: str) -> float:
    start = time.process_time()
    from .train import train_family  # torch takes seconds to import, and a finished zoo does not need it

    train_family(family, folder, seed=seed, recipe=recipe)
    return time.process_time() - start
