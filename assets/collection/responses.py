"""Every model's graded answers to every benchmark: one asset a benchmark, one partition a model."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from assets.inputs.entries import ENTRY, attempt_digest, entry_digest
from assets.inputs.partitions import MODELS, responses_key
from assets.inputs.repair import mending
from assets.inputs.table_metadata import column_schema
from assets.inputs.workspace import Workspace
from harness.errors import HarnessError, NotApplicable
from harness.registry import BenchmarkEntry, Registry
from warehouse.errors import CorruptFileError
from warehouse.lake.failures import INTERRUPTED

from .accelerators import own_accelerator
from .answer_checks import check_specs, evaluate_checks, performance_metadata, quality_metadata
from .zoo import fetch_zoo

# This is recorded before an evaluation begins, so that one that kills its process is not tried for ever.
DID_NOT_END = "Its evaluation began and did not end: the process was killed, most often because memory ran out."

AGAIN = "embedllm/again"
"""Tag of a run that asks everything again, even where nothing has changed since it was answered."""

WRITTEN_EVERY = 30.0  # seconds: a commit takes about as long as a tiny model needs for a benchmark


@dataclass(frozen=True)
class Answered:
    """A benchmark that was answered."""

    version: str  # of its answers
    reused: bool  # they were there already


@dataclass(frozen=True)
class Chosen:
    """A benchmark of which a chosen few questions were answered."""

    answers: int


Done = Answered | Chosen
Outcome = Done | Exception
Outcomes = Iterable[tuple[BenchmarkEntry, Outcome]]

if TYPE_CHECKING:
    from harness.evaluate import LoadedModel
    from harness.tasks import TaskIndex


def build_responses(registry: Registry) -> dg.AssetsDefinition:
    """Return one op that loads a model once and asks it the benchmarks that were selected."""

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
        fetch_zoo(workspace)
        model = workspace.registry.model(context.partition_key)
        asked = {benchmark.name for benchmark in workspace.registry.benchmarks_of(model)}
        keys = context.selected_asset_keys
        selected = [b for b in registry.benchmarks if responses_key(b.name) in keys and b.name in asked]
        failed: dict[str, str] = {}

        def report(outcomes: Outcomes) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
            for benchmark, outcome in outcomes:
                if isinstance(outcome, Done):
                    yield _materialization(benchmark.name, model.name, outcome, workspace)
                    yield from evaluate_checks(benchmark.name, model.name, context.selected_asset_check_keys, workspace)
                elif isinstance(outcome, NotApplicable):
                    context.log.info("%s", outcome)
                else:
                    context.log.error("%s", outcome)
                    failed[benchmark.name] = str(outcome)

        with mending(workspace), _fail_what_is_left(model.name, selected, workspace) as left:
            if model.budget:
                for benchmark, outcome in _ask_few(model.name, model.budget, selected, workspace):
                    left.remove(benchmark)
                    yield from report([(benchmark, outcome)])
            else:
                again = context.run.tags.get(AGAIN) == "true"
                for outcomes in _commit_together(_ask(model.name, selected, workspace, again=again), left, workspace):
                    yield from report(outcomes)
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
        kinds={"python", "deltalake"},
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
def _fail_what_is_left(
    model: str, benchmarks: list[BenchmarkEntry], workspace: Workspace
) -> Iterator[list[BenchmarkEntry]]:
    """Record an error that nobody expected as the failure of all benchmarks still left, so that the model is not asked
    for ever. Yields the list of these, from which the block removes what is done."""
    left = list(benchmarks)
    try:
        yield left
    except CorruptFileError:
        raise  # once that file is mended, they are asked again
    except Exception as error:
        for benchmark in left:
            _record_failure(model, benchmark, "failed", f"{type(error).__name__}: {error}", workspace)
        raise


def _commit_together(outcomes: Outcomes, left: list[BenchmarkEntry], workspace: Workspace) -> Iterator[Outcomes]:
    """Yield the outcomes once they are in the lake, those of half a minute together."""
    held: list[tuple[BenchmarkEntry, Outcome]] = []
    with workspace.lake.together() as writing:
        since = time.monotonic()
        try:
            for benchmark, outcome in outcomes:
                left.remove(benchmark)
                held.append((benchmark, outcome))
                if time.monotonic() - since > WRITTEN_EVERY:
                    writing.commit()
                    yield held
                    held, since = [], time.monotonic()
        except Exception:  # `_fail_what_is_left` records it; what is held has not failed
            writing.commit()
            yield held
            raise
    yield held


def _ask(name: str, benchmarks: list[BenchmarkEntry], workspace: Workspace, *, again: bool) -> Outcomes:
    tasks, lake = _task_index(workspace.registry.tasks_dir), workspace.lake
    with _loaded(name, workspace) as model, lake.together() as writing:
        # After a kill, the beginning of each is recorded, so that the one that kills can be told from the others.
        failures = [lake.failure(benchmark.name, name) for benchmark in benchmarks]
        one_by_one = any(failure is not None and failure.kind == INTERRUPTED for failure in failures)
        if not one_by_one:
            for benchmark in benchmarks:
                _record_failure(name, benchmark, INTERRUPTED, DID_NOT_END, workspace)
            writing.commit()
        for benchmark in benchmarks:
            if one_by_one:
                _record_failure(name, benchmark, INTERRUPTED, DID_NOT_END, workspace)
                writing.commit()
            try:
                yield benchmark, _answer(model, benchmark, tasks, workspace, again=again)
            except HarnessError as error:
                reason = error.problem if isinstance(error, NotApplicable) else str(error)
                _record_failure(name, benchmark, error.kind, reason, workspace)
                yield benchmark, error


def _ask_few(name: str, budget: int, benchmarks: list[BenchmarkEntry], workspace: Workspace) -> Outcomes:
    """Ask a model with a budget the questions of all benchmarks that say most about it."""
    from assets.embedding.select_questions import ask
    from embedder.errors import EmbedderError

    for benchmark in benchmarks:
        _record_failure(name, benchmark, INTERRUPTED, DID_NOT_END, workspace)
    with _loaded(name, workspace) as model:
        try:
            asked = ask(workspace, model, budget, _task_index(workspace.registry.tasks_dir))
        except HarnessError as error:  # it has recorded the failure
            yield from ((benchmark, error) for benchmark in benchmarks)
            return
        except EmbedderError as error:
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
            yield benchmark, Chosen(rows)


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


def _answer(
    model: "LoadedModel", benchmark: BenchmarkEntry, tasks: "TaskIndex", workspace: Workspace, *, again: bool
) -> Answered:
    from harness.evaluate import evaluate, fingerprint

    name, lake = model.entry.name, workspace.lake
    wanted = fingerprint(model, benchmark, tasks)
    stamp = {ENTRY: entry_digest(model.entry, benchmark, workspace)}
    known = lake.response_metadata(benchmark.name, name)
    if known and known.get("fingerprint") not in (None, wanted):
        # Data or weights that cannot be read now are no reason to give up the answers that are there.
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
        done = evaluate(model, benchmark, tasks, keep_answers=workspace.keep_answers)
        with lake.together() as writing:
            lake.write_evaluation(benchmark.name, name, done.answers, done.questions, {**done.metadata, **stamp})
            writing.after(lambda: model.forget(benchmark.name))  # its answers are in the lake then
    return Answered(wanted, reused)


def _materialization(benchmark: str, model: str, done: Done, workspace: Workspace) -> dg.MaterializeResult:
    if isinstance(done, Chosen):
        metadata = {"chosen_questions": done.answers, "dagster/partition_row_count": done.answers}
        metadata |= column_schema("onboarding_responses")
        return dg.MaterializeResult(asset_key=responses_key(benchmark), metadata=metadata)
    stored = workspace.lake.response_metadata(benchmark, model) or {}
    return dg.MaterializeResult(
        asset_key=responses_key(benchmark),
        metadata={
            "reused": done.reused,
            "accuracy": float(stored["accuracy"]),
            "dagster/partition_row_count": int(stored["rows"]),
            **quality_metadata(stored),
            **performance_metadata(stored),
            **column_schema("responses"),
        },
        data_version=dg.DataVersion(done.version),
    )


@lru_cache(maxsize=4)
def _task_index(tasks_dir: Path | None) -> "TaskIndex":
    # One index a process: lm-eval's full one takes half a minute to build, and loaded tasks serve every model.
    from harness.tasks import TaskIndex

    return TaskIndex(tasks_dir)
