"""Evaluate many models at once: one Dagster run a model, several worker processes."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from multiprocessing import get_context

import dagster as dg

from assets.collection.responses import AGAIN
from assets.evaluation.left_out_embeddings import end_with_parent
from assets.inputs.entries import attempt_digest
from assets.inputs.workspace import Workspace
from pipelines.automation.plan import Request
from pipelines.definitions import build_definitions
from pipelines.instance import end_dead_runs
from pipelines.jobs import EVALUATE
from pipelines.runner import Outcome
from pipelines.settings import Settings, open_workspace

from .in_process import execute

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
KILLED = "The process that evaluated it was killed by the system, most often because memory ran out."


def evaluate_models(
    requests: Sequence[Request],
    workspace: Workspace,
    instance: dg.DagsterInstance,
    *,
    workers: int,
    again: Collection[str] = (),
) -> Iterator[Outcome]:
    """Ask models what is requested, yielding each as it ends; one that kills its process is recorded.

    Models in `again` are asked whatever they answered before.
    """
    registry, left = workspace.registry, {request.model: request for request in requests if request.model}
    while left:
        try:
            count = min(workers, len(left))
            with ProcessPoolExecutor(count, get_context("spawn"), _start_worker, (count,)) as pool:
                futures = [
                    pool.submit(evaluate_model, request, again=model in again) for model, request in left.items()
                ]
                for future in as_completed(futures):
                    outcome = future.result()
                    del left[outcome.model]
                    yield outcome
        except BrokenProcessPool:
            end_dead_runs(instance, workspace.home)
            if workers == 1:  # the first in line is the one that was running
                model = next(iter(left))
                for benchmark in left.pop(model).benchmarks:
                    entry = attempt_digest(registry.model(model), registry.benchmark(benchmark), workspace)
                    reason = f"{model} on {benchmark}: {KILLED}"
                    workspace.lake.record_failure(benchmark, model, "out_of_memory", reason, entry=entry)
                yield Outcome(model, succeeded=False)
            workers = 1  # alone, a model has all the memory, and a kill names its culprit


def _start_worker(workers: int) -> None:
    """Runs first in every worker, before torch is imported."""
    if workers > 1:
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # processes that each use every core slow one another down
        os.environ["TQDM_DISABLE"] = "1"  # bars of several models would overwrite one another
    end_with_parent()


def evaluate_model(request: Request, *, again: bool = False) -> Outcome:
    """Execute one run of the job `evaluate` in this process."""
    tags = request.tags | ({AGAIN: "true"} if again else {})
    model = request.model or ""
    result = execute(
        _definitions(),
        EVALUATE,
        _instance(),
        assets=request.assets,
        tags=tags,
        run_config=QUIET,
        partition=model,
    )
    return Outcome(model, result.success)


@cache  # to open it takes as long as to ask a tiny model
def _instance() -> dg.DagsterInstance:
    return dg.DagsterInstance.get()


@cache
def _definitions() -> dg.Definitions:
    workspace = open_workspace(Settings())
    return build_definitions(workspace.registry, workspace)
