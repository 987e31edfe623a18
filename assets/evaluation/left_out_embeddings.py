"""What the serving embedder would have learnt without one benchmark, or without two; experiments share it."""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from joblib import Parallel, cpu_count, delayed

from assets.embedding.serving import Serving, load_serving
from assets.inputs.provenance import EXPENSIVE, Made, asset
from assets.inputs.repair import mending
from assets.inputs.workspace import Workspace
from embedder.downstream.left_out import LANDMARKS, LeftOut, fit_without, left_out_sets
from embedder.matrix import CorrectnessMatrix
from embedder.questions import Questions
from harness.digests import digest_of

__all__ = ["end_with_parent", "left_out_embeddings", "load_left_out"]

log = logging.getLogger(__name__)

TABLE = "left_out_embeddings"
SCHEMA = pa.schema(
    {
        "training": pa.string(),
        "forecast_of": pa.string(),
        "embeddings": pa.list_(pa.float32()),  # model after model
        "text": pa.list_(pa.float64()),
    }
)
CODE_VERSION = "1"  # another one trains again, even on the same answers
WORTH_PROCESSES = 20.0  # seconds of training: processes that have to load torch first take ten to start

Names = frozenset[str]


class Training(NamedTuple):
    """Digests: of all that is trained on and how, and of the one benchmark that the texts are forecast of, if any."""

    digest: str
    forecast_of: str | None


@asset(
    deps=["correctness_matrix", "embedder"],
    reads=["seed"],
    group_name="evaluation",
    kinds={"pytorch"},
    code_version=CODE_VERSION,
    tags=EXPENSIVE,
)
def left_out_embeddings(workspace: Workspace) -> Made:
    """A row is what the serving embedder would have learnt without one benchmark, or without two. Each training is
    kept as soon as it has ended, and one on the same answers is not repeated."""
    served, lake = load_serving(workspace), workspace.lake
    trainings = find_trainings(served, workspace.seed)
    known = _read(workspace, trainings, len(served.matrix.models))
    missing = [left_out for left_out in trainings if left_out not in known]
    train = partial(_train, served.matrix, served.questions, workspace.seed)
    with closing(_train_each(train, missing)) as trained:  # whatever happens here, the processes end
        for done, (left_out, found) in enumerate(trained, 1):
            row = [*trainings[left_out], found.embeddings.ravel(), found.text]
            columns = [pa.array([value], field.type) for value, field in zip(row, SCHEMA, strict=True)]
            lake.write_table(TABLE, pa.table(columns, SCHEMA), trainings[left_out].digest)
            workspace.progress(done, len(missing), "trainings without a benchmark")
    parts = {training.digest for training in trainings.values()}
    for part in set(lake.table_parts(TABLE)) - parts:
        lake.write_table(TABLE, SCHEMA.empty_table(), part)
    return Made({"trainings": len(trainings), "trained_now": len(missing)}, tables={TABLE: sorted(parts)})


def load_left_out(workspace: Workspace) -> dict[Names, LeftOut]:
    """Return what was learnt without each of the sets of benchmarks that experiments on the serving embedder leave out.

    Raises:
        LookupError: a training is not there.
    """
    served = load_serving(workspace)
    trainings = find_trainings(served, workspace.seed)
    known = _read(workspace, trainings, len(served.matrix.models))
    if missing := len(trainings) - len(known):
        raise LookupError(
            f"{missing} of {len(trainings)} trainings without a benchmark are not there; materialise {TABLE} first."
        )
    return known


def find_trainings(served: Serving, seed: int) -> dict[Names, Training]:
    """Return the trainings that experiments need, by the benchmarks that are left out."""
    matrix, contents = served.matrix, {}
    for name in np.unique(matrix.benchmarks).tolist():
        rows = matrix.benchmarks == name
        content = hashlib.sha256()
        for array in (matrix.labels, served.questions.vectors):
            content.update(array[rows].tobytes())
        for column in (matrix.question_ids, matrix.categories, matrix.splits):
            content.update("\0".join(column[rows]).encode())
        contents[name] = content.hexdigest()
    how = [CODE_VERSION, LANDMARKS, seed, matrix.models]
    return {
        left_out: Training(
            digest_of([how, {name: content for name, content in contents.items() if name not in left_out}])[:16],
            contents[min(left_out)] if len(left_out) == 1 else None,
        )
        for left_out in left_out_sets(list(contents))
    }


def _read(workspace: Workspace, trainings: dict[Names, Training], models: int) -> dict[Names, LeftOut]:
    """Return those of `trainings` that are there; one that keeps forecasts nobody asked for will do."""
    with mending(workspace):
        table = workspace.lake.read_table(TABLE) or SCHEMA.empty_table()
    at = {training: row for row, training in enumerate(table["training"].to_pylist())}
    found = {}
    for left_out, (training, forecast_of) in trainings.items():
        if training in at and forecast_of in (None, table["forecast_of"][at[training]].as_py()):
            embeddings, text = (table[column][at[training]].values.to_numpy() for column in ("embeddings", "text"))
            found[left_out] = LeftOut(embeddings.reshape(models, -1), text)
    return found


def _train_each(
    train: Callable[[Names], tuple[Names, LeftOut]], sets: Sequence[Names]
) -> Generator[tuple[Names, LeftOut], None, None]:
    """Yield each training as it ends; the first says whether more processes are worth their start."""
    if not sets:
        return
    started, left = time.monotonic(), list(sets)
    first = train(left.pop(0))
    worth_it = (time.monotonic() - started) * len(left) > WORTH_PROCESSES
    yield first
    for workers in (min(cpu_count(), len(left)), 1) if worth_it else (1,):
        parallel: Any = Parallel(
            workers, return_as="generator_unordered", initializer=end_with_parent, idle_worker_timeout=5
        )
        try:
            for trained in parallel([delayed(train)(left_out) for left_out in left]):
                left.remove(trained[0])
                yield trained
        except BrokenProcessPool:
            log.warning(
                "A process that trained without some benchmarks was killed by the system, most often because memory "
                "ran out; the other %d trainings follow one after the other.",
                len(left),
            )


def _train(matrix: CorrectnessMatrix, questions: Questions, seed: int, left_out: Names) -> tuple[Names, LeftOut]:
    return left_out, fit_without(matrix, questions, left_out, seed=seed)


def end_with_parent() -> None:
    """End this process once the one that started it has ended. A worker would otherwise wait for its next task."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        while os.getppid() == parent.pid:  # joblib's workers cannot join it, and psutil waits until it is reaped
            time.sleep(0.5)
        os._exit(1)
