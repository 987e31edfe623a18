"""Trainings without some of the benchmarks, kept beside the embedder that serves: experiments share them."""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from assets.embedding.serving import Serving
from assets.inputs.processes import end_with_parent
from assets.inputs.workspace import Workspace
from embedder.downstream.left_out import LANDMARKS, LeftOut, fit_without
from embedder.matrix import CorrectnessMatrix
from embedder.questions import Questions
from warehouse.files import locked, replacing

__all__ = ["TrainWithout", "left_out_embeddings"]

log = logging.getLogger(__name__)

FORMAT = 1
WORTH_PROCESSES = 20.0  # seconds of training: processes that have to load torch first take ten to start

Names = frozenset[str]
TrainWithout = Callable[[Iterable[Names]], Mapping[Names, LeftOut]]
"""Returns what the serving embedder would have learnt without each of some sets of benchmarks."""


@dataclass(frozen=True)
class _Training:
    """All that a training needs but the benchmarks to leave out."""

    matrix: CorrectnessMatrix
    questions: Questions
    seed: int

    def digest(self) -> str:
        """Of the data and the way of training: the version that serves may be of other answers by now."""
        found = hashlib.sha256(json.dumps([FORMAT, LANDMARKS, self.seed, self.matrix.models]).encode())
        for array in (self.matrix.labels, self.questions.vectors):
            found.update(np.ascontiguousarray(array).tobytes())
        for names in (self.matrix.question_ids, self.matrix.benchmarks, self.matrix.categories, self.matrix.splits):
            found.update("\0".join(names).encode())
        return found.hexdigest()

    def __call__(self, left_out: Names) -> LeftOut:
        return fit_without(self.matrix, self.questions, left_out, seed=self.seed)


def left_out_embeddings(workspace: Workspace, served: Serving, sets: Iterable[Names]) -> dict[Names, LeftOut]:
    """What the serving embedder would have learnt without each of `sets` of benchmarks.

    Those not computed yet are, by as many processes as there are cores, and each is kept as soon as it is there:
    `left_out/<version>/<digest>.safetensors` in the home. What is kept of versions that no longer serve is removed.
    """
    training = _Training(served.matrix, served.questions, workspace.seed)
    home = workspace.home / "left_out"
    with locked(home / ".lock"):
        _remove_others(home, served.version)
        digest = training.digest()
        files = {left_out: _file(home / served.version, digest, left_out) for left_out in sets}
        found = {left_out: kept for left_out, file in files.items() if (kept := _load(file, digest, left_out))}
        missing = [left_out for left_out in files if left_out not in found]
        with closing(_trained(training, missing)) as trainings:  # whatever happens here, the processes end
            for done, (left_out, trained) in enumerate(trainings, 1):
                _save(files[left_out], digest, left_out, trained)
                found[left_out] = trained
                workspace.progress(done, len(missing), "trainings without a benchmark")
    return {left_out: found[left_out] for left_out in files}


# --- training


def _trained(training: _Training, sets: Sequence[Names]) -> Generator[tuple[Names, LeftOut], None, None]:
    """Each of `sets` as it is trained; the first says whether more processes are worth their start."""
    left = list(sets)
    if not left:
        return
    _ = training.questions.lexical  # once, not in every process
    started = time.monotonic()
    first = _one(training, left.pop(0))
    seconds = (time.monotonic() - started) * len(left)
    yield first
    workers = min(len(os.sched_getaffinity(0)), len(left))
    if workers > 1 and seconds > WORTH_PROCESSES:
        try:
            for left_out, trained in _in_processes(training, list(left), workers):
                left.remove(left_out)
                yield left_out, trained
        except BrokenProcessPool:
            log.warning(
                "A process that trained without some benchmarks was killed by the system, most often because memory "
                "ran out; the other %d trainings follow one after the other.",
                len(left),
            )
    for left_out in left:
        yield _one(training, left_out)


def _one(training: _Training, left_out: Names) -> tuple[Names, LeftOut]:
    with _one_thread():
        return left_out, training(left_out)


@contextmanager
def _one_thread() -> Iterator[None]:
    """As in the processes, so that the order of sums, and with it the last digit, does not depend on where it runs."""
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    with threadpool_limits(1):
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def _in_processes(training: _Training, sets: Sequence[Names], workers: int) -> Iterator[tuple[Names, LeftOut]]:
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(training,))
    try:
        for future in as_completed([pool.submit(_in_worker, left_out) for left_out in sets]):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


_worker: list[_Training] = []


def _start_worker(training: _Training) -> None:
    """The data reach a worker once, not with each of its trainings."""
    end_with_parent()
    _worker.append(training)


def _in_worker(left_out: Names) -> tuple[Names, LeftOut]:
    return _one(_worker[0], left_out)


# --- files


def _file(folder: Path, digest: str, left_out: Names) -> Path:
    name = hashlib.sha256(json.dumps([digest, sorted(left_out)]).encode()).hexdigest()
    return folder / f"{name[:24]}.safetensors"


def _remove_others(home: Path, version: str) -> None:
    for folder in home.iterdir():
        if folder.is_dir() and folder.name != version:
            shutil.rmtree(folder)


def _save(file: Path, digest: str, left_out: Names, trained: LeftOut) -> None:
    from safetensors.numpy import save_file

    names = sorted(left_out)
    text = np.stack([trained.text[name] for name in names])
    embeddings = np.ascontiguousarray(trained.embeddings)
    described = {"data": digest, "left_out": names, "sha256": _checksum(embeddings, text)}
    with replacing(file) as temporary:
        save_file({"embeddings": embeddings, "text": text}, temporary, {"described": json.dumps(described)})


def _load(file: Path, digest: str, left_out: Names) -> LeftOut | None:
    """None where there is no such file, or it is not what it should be."""
    from safetensors import SafetensorError, safe_open

    if not file.exists():
        return None
    names = sorted(left_out)
    try:
        with safe_open(file, "numpy") as stored:
            embeddings, text = stored.get_tensor("embeddings"), stored.get_tensor("text")
            described = json.loads(stored.metadata()["described"])
        if described != {"data": digest, "left_out": names, "sha256": _checksum(embeddings, text)}:
            raise ValueError("its contents are not what it says they are")
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s is damaged (%s): it is computed again", file, str(error).split("\n")[0])
        return None
    return LeftOut(embeddings, dict(zip(names, text, strict=True)))


def _checksum(*arrays: np.ndarray) -> str:
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()
