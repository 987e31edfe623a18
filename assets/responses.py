"""Every model's graded answers to every benchmark: one asset a benchmark, one partition a model."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from harness.entries import BenchmarkEntry, Registry
from harness.errors import HarnessError, NotApplicable
from warehouse.errors import CorruptFileError

from .accelerators import own_accelerator
from .answer_checks import check_specs, described_quality, evaluate_checks
from .mending import mending
from .partitions import MODELS, responses_key
from .wanted import ENTRY, attempt_digest, entry_digest
from .workspace import Workspace

# Recorded before an evaluation begins, so that one which kills its process is not tried for ever.
INTERRUPTED = "Its evaluation began and did not end: the process was killed, most often because memory ran out."

AGAIN = "embedllm/again"
"""Tag of a run that asks whatever was answered before, and however little has changed."""

Outcomes = Iterator[tuple[BenchmarkEntry, dg.MaterializeResult | Exception]]

if TYPE_CHECKING:
    from harness.evaluate import LoadedModel
    from harness.tasks import TaskIndex


def build_responses(registry: Registry) -> dg.AssetsDefinition:
    """One op that loads a model once and asks it whichever benchmarks were selected."""

    @dg.multi_asset(
        name="evaluate_model",
        specs=[_spec(benchmark, registry) for benchmark in registry.benchmarks],
        check_specs=check_specs(registry),
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.multi_run(1),
        pool="evaluation",
    )
    def evaluate_model(
        context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        """Graded answers of one model; a benchmark that fails does not stop the others."""
        model = workspace.registry.model(context.partition_key)
        asked = {benchmark.name for benchmark in workspace.registry.benchmarks_of(model)}
        keys = context.selected_asset_keys
        selected = [b for b in registry.benchmarks if responses_key(b.name) in keys and b.name in asked]
        outcomes = (
            _few_answers(model.name, selected, workspace)
            if model.budget
            else _answers(model.name, selected, workspace, again=context.run.tags.get(AGAIN) == "true")
        )
        failed: dict[str, str] = {}
        with mending(workspace), _recording(model.name, selected, workspace) as left:
            for benchmark, outcome in outcomes:
                left.remove(benchmark)
                if isinstance(outcome, dg.MaterializeResult):
                    yield outcome
                    yield from evaluate_checks(benchmark.name, model.name, context.selected_asset_check_keys, workspace)
                elif isinstance(outcome, NotApplicable):
                    context.log.info("%s", outcome)
                else:
                    context.log.error("%s", outcome)
                    failed[benchmark.name] = str(outcome)
        if failed:
            raise dg.Failure(
                f"{context.partition_key}: {len(failed)} of {len(selected)} benchmarks failed. "
                + next(iter(failed.values())),
                metadata=failed,
                allow_retries=False,
            )

    return evaluate_model


def _spec(benchmark: BenchmarkEntry, registry: Registry) -> dg.AssetSpec:
    return dg.AssetSpec(
        responses_key(benchmark.name),
        deps=[dg.AssetKey("zoo")] if registry.made_by == "zoo" else [],
        partitions_def=MODELS,
        skippable=True,
        group_name="collection",
        kinds={"python", "parquet"},
        owners=["team:embedllm"],
        code_version="1",
        description=f"A row is one model's graded answer to one question. {benchmark.description}".strip(),
        metadata={
            "tasks": ", ".join(benchmark.tasks),
            "metric": benchmark.metric,
            "filter": benchmark.filter,
        },
    )


@contextmanager
def _recording(model: str, benchmarks: list[BenchmarkEntry], workspace: Workspace) -> Iterator[list[BenchmarkEntry]]:
    """An error that nobody expected is the failure of all benchmarks still left: else it would be asked for ever."""
    left = list(benchmarks)
    try:
        yield left
    except CorruptFileError:
        raise  # once that file is mended, they are asked again
    except Exception as error:
        for benchmark in left:
            _record_failure(model, benchmark, "failed", f"{type(error).__name__}: {error}", workspace)
        raise


def _answers(name: str, benchmarks: list[BenchmarkEntry], workspace: Workspace, *, again: bool) -> Outcomes:
    tasks = _task_index(workspace.registry.tasks_dir)
    with _loaded(name, workspace) as model:
        for benchmark in benchmarks:
            try:
                yield benchmark, _evaluate(model, benchmark, tasks, workspace, again=again)
            except HarnessError as error:
                reason = error.problem if isinstance(error, NotApplicable) else str(error)
                _record_failure(name, benchmark, error.kind, reason, workspace)
                yield benchmark, error


def _few_answers(name: str, benchmarks: list[BenchmarkEntry], workspace: Workspace) -> Outcomes:
    """Of a model with a budget: to the most telling questions of all benchmarks."""
    from .interview import CannotOnboard, ask
    from .serving import NoEmbedder

    tasks, budget = _task_index(workspace.registry.tasks_dir), workspace.registry.model(name).budget
    assert budget, "the entry has a budget"
    for benchmark in benchmarks:
        _record_failure(name, benchmark, "interrupted", INTERRUPTED, workspace)
    with _loaded(name, workspace) as model:
        try:
            asked = ask(workspace, model, budget, tasks)
        except HarnessError as error:  # it has recorded the failure
            yield from ((benchmark, error) for benchmark in benchmarks)
            return
        except (CannotOnboard, NoEmbedder) as error:
            for benchmark in benchmarks:
                _record_failure(name, benchmark, "failed", str(error), workspace)
                yield benchmark, error
            return
    for benchmark in benchmarks:
        if benchmark.name in asked.failed:
            yield benchmark, asked.failed[benchmark.name]
            continue
        workspace.lake.forget_failure(benchmark.name, name)
        if rows := asked.answers.get(benchmark.name):
            metadata = {"chosen_questions": rows, "dagster/partition_row_count": rows}
            yield benchmark, dg.MaterializeResult(asset_key=responses_key(benchmark.name), metadata=metadata)


@contextmanager
def _loaded(name: str, workspace: Workspace) -> "Iterator[LoadedModel]":
    from harness.evaluate import LoadedModel

    entry = workspace.registry.model(name)
    with (
        own_accelerator(workspace.device) as device,
        LoadedModel(entry, device=device, cache_dir=workspace.cache, seed=workspace.seed) as model,
    ):
        yield model


def _record_failure(model: str, benchmark: BenchmarkEntry, kind: str, reason: str, workspace: Workspace) -> None:
    entry = attempt_digest(workspace.registry.model(model), benchmark, workspace)
    workspace.lake.record_failure(benchmark.name, model, kind, reason, entry=entry)


def _evaluate(
    model: "LoadedModel", benchmark: BenchmarkEntry, tasks: "TaskIndex", workspace: Workspace, *, again: bool
) -> dg.MaterializeResult:
    from harness.evaluate import fingerprint

    name, lake, started = model.entry.name, workspace.lake, time.monotonic()
    wanted = fingerprint(model, benchmark, tasks)
    stamp = {ENTRY: entry_digest(model.entry, benchmark, workspace)}
    known = lake.response_metadata(benchmark.name, name)
    if known and known.get("fingerprint") not in (None, wanted):
        # Data or weights that cannot be read now are no reason to give up the answers that there are.
        tasks.questions(benchmark)
        model.load()
        lake.supersede(benchmark.name, name, "its registry entry, its weights or its task have changed")
        known = None
    held = bool(known and known.get("fingerprint"))
    reused = not again and (held or lake.restore(benchmark.name, name, wanted))
    if reused:
        lake.annotate(benchmark.name, name, stamp)
    else:
        if again:
            model.forget(benchmark.name)  # what a try that failed had kept
        _ask(model, benchmark, tasks, stamp, workspace)
    return _result(benchmark.name, name, wanted, workspace, reused=reused, seconds=time.monotonic() - started)


def _ask(
    model: "LoadedModel", benchmark: BenchmarkEntry, tasks: "TaskIndex", stamp: dict[str, str], workspace: Workspace
) -> None:
    from harness.evaluate import evaluate

    name, lake = model.entry.name, workspace.lake
    _record_failure(name, benchmark, "interrupted", INTERRUPTED, workspace)
    done = evaluate(model, benchmark, tasks, keep_answers=workspace.keep_answers)
    lake.write_evaluation(benchmark.name, name, done.answers, done.questions, {**done.metadata, **stamp})
    model.forget(benchmark.name)  # its answers are in the lake now


def _result(
    benchmark: str, model: str, version: str, workspace: Workspace, *, reused: bool, seconds: float
) -> dg.MaterializeResult:
    stored = workspace.lake.response_metadata(benchmark, model) or {}
    return dg.MaterializeResult(
        asset_key=responses_key(benchmark),
        metadata={
            "reused": reused,
            "accuracy": float(stored["accuracy"]),
            "dagster/partition_row_count": int(stored["rows"]),
            **described_quality(stored),
            "seconds": round(seconds, 2),
            "file": dg.MetadataValue.path(str(workspace.lake.responses_path(benchmark, model))),
        },
        data_version=dg.DataVersion(version),
    )


@lru_cache(maxsize=4)
def _task_index(tasks_dir: Path | None) -> "TaskIndex":
    # One index a process: lm-eval's full one takes half a minute to build, and loaded tasks serve every model.
    from harness.tasks import TaskIndex

    return TaskIndex(tasks_dir)
