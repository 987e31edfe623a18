"""Evaluate many models at once: one process each at a time, one Dagster run a model."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache

import dagster as dg

from assets.partitions import responses_key
from assets.workspace import Workspace

from .definitions import build_definitions
from .instance import LAUNCHED_BY, end_dead_runs
from .jobs import EVALUATE
from .settings import Settings, open_workspace

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
KILLED = "The process that evaluated it was killed by the system, most often because memory ran out."


@dataclass(frozen=True)
class Outcome:
    """What became of one model's evaluation."""

    model: str
    succeeded: bool


def evaluate_models(
    work: Mapping[str, Sequence[str]], workers: int, workspace: Workspace, instance: dg.DagsterInstance
) -> Iterator[Outcome]:
    """Evaluate `work` (model → benchmarks), yielding each model as it ends; one that kills its process is recorded."""
    left = dict(work)
    while left:
        try:
            with _pool(min(workers, len(left))) as pool:
                futures = [pool.submit(evaluate_model, model, benchmarks) for model, benchmarks in left.items()]
                for future in as_completed(futures):
                    outcome = future.result()
                    del left[outcome.model]
                    yield outcome
        except BrokenProcessPool:
            end_dead_runs(instance)
            if workers == 1:  # the first in line is the one that was running
                model = next(iter(left))
                for benchmark in left.pop(model):
                    workspace.lake.record_failure(
                        benchmark, model, "out_of_memory", f"{model} on {benchmark}: {KILLED}"
                    )
                yield Outcome(model, succeeded=False)
            workers = 1  # alone, a model has all the memory, and a kill names its culprit


def _pool(workers: int) -> ProcessPoolExecutor:
    # On a CPU, processes that each use every core slow one another down.
    if workers > 1:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("TQDM_DISABLE", "1" if workers > 1 else "")
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))


def evaluate_model(model: str, benchmarks: Sequence[str]) -> Outcome:
    """One run of the job `evaluate`, in this process."""
    result = (
        _definitions()
        .resolve_job_def(EVALUATE)
        .execute_in_process(
            instance=dg.DagsterInstance.get(),
            partition_key=model,
            asset_selection=[responses_key(b) for b in benchmarks],
            run_config=QUIET,
            raise_on_error=False,
            tags={LAUNCHED_BY: "cli"},
        )
    )
    return Outcome(model, result.success)


@cache
def _definitions() -> dg.Definitions:
    return build_definitions(open_workspace(Settings()))
