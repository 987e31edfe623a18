"""Every model's graded answers to every benchmark: one asset a benchmark, one partition a model."""

import hashlib
import json
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from harness.entries import BenchmarkEntry, ModelEntry, Registry
from harness.errors import HarnessError

from .partitions import MODELS, responses_key
from .workspace import Workspace

ENTRY = "registry_entry"
"""Metadata key of a response file: `entry_digest` when it was written."""

if TYPE_CHECKING:
    from harness.evaluate import LoadedModel
    from harness.tasks import TaskIndex


def build_responses(registry: Registry) -> dg.AssetsDefinition:
    """One op that loads a model once and asks it whichever benchmarks were selected."""

    @dg.multi_asset(
        name="evaluate_model",
        specs=[_spec(benchmark, registry) for benchmark in registry.benchmarks],
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.multi_run(1),
        pool="evaluation",
    )
    def evaluate_model(
        context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]
    ) -> Iterator[dg.MaterializeResult]:
        """Graded answers of one model; a benchmark that fails does not stop the others."""
        selected = [b for b in registry.benchmarks if responses_key(b.name) in context.selected_asset_keys]
        failed: dict[str, str] = {}
        for benchmark, outcome in _answers(context.partition_key, selected, workspace):
            if isinstance(outcome, dg.MaterializeResult):
                yield outcome
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


def _answers(
    name: str, benchmarks: list[BenchmarkEntry], workspace: Workspace
) -> Iterator[tuple[BenchmarkEntry, dg.MaterializeResult | HarnessError]]:
    from harness.evaluate import LoadedModel

    tasks = _task_index(workspace.registry.tasks_dir)
    with LoadedModel(
        workspace.registry.model(name),
        device=workspace.device,
        cache_dir=workspace.cache,
        seed=workspace.seed,
    ) as model:
        for benchmark in benchmarks:
            try:
                yield benchmark, _evaluate(model, benchmark, tasks, workspace)
            except HarnessError as error:
                workspace.lake.record_failure(benchmark.name, name, error.kind, str(error))
                yield benchmark, error


def _evaluate(
    model: "LoadedModel", benchmark: BenchmarkEntry, tasks: "TaskIndex", workspace: Workspace
) -> dg.MaterializeResult:
    from harness.evaluate import evaluate, fingerprint

    name, lake, started = model.entry.name, workspace.lake, time.monotonic()
    wanted = fingerprint(model, benchmark, tasks)
    stamp = entry_digest(model.entry, benchmark, workspace)
    known = lake.response_metadata(benchmark.name, name) or {}
    if known.get("fingerprint") == wanted and known.get(ENTRY) == stamp:
        rows, metadata = int(known["rows"]), {"reused": True, "accuracy": float(known["accuracy"])}
    else:
        done = evaluate(model, benchmark, tasks)
        written = lake.write_evaluation(
            benchmark.name, name, done.answers, done.questions, {**done.metadata, ENTRY: stamp}
        )
        model.forget(benchmark.name)  # its answers are in the lake now
        rows, metadata = written.rows, {"reused": False, "accuracy": written.accuracy}
    return dg.MaterializeResult(
        asset_key=responses_key(benchmark.name),
        metadata={
            **metadata,
            "dagster/partition_row_count": rows,
            "seconds": round(time.monotonic() - started, 2),
            "file": dg.MetadataValue.path(str(lake.responses_path(benchmark.name, name))),
        },
        data_version=dg.DataVersion(wanted),
    )


def pending(workspace: Workspace) -> dict[str, list[str]]:
    """Benchmarks each registered model still has to answer: never asked, failed, or its entry has changed since.

    Models with nothing to do are left out.
    """
    wanted = {
        model.name: [b.name for b in workspace.registry.benchmarks if not _holds(model, b, workspace)]
        for model in workspace.registry.models
    }
    return {model: benchmarks for model, benchmarks in wanted.items() if benchmarks}


def _holds(model: ModelEntry, benchmark: BenchmarkEntry, workspace: Workspace) -> bool:
    known = workspace.lake.response_metadata(benchmark.name, model.name)
    digest = entry_digest(model, benchmark, workspace)
    return known is not None and known.get(ENTRY, digest) == digest  # imported answers have no entry, and hold


def entry_digest(model: ModelEntry, benchmark: BenchmarkEntry, workspace: Workspace) -> str:
    """Digest of what the registry says about how this model is asked; needs neither weights nor lm-eval.

    The fingerprint says more (which weights, which version of the task), but takes seconds to find out.
    """
    how = {
        "model": model.model_dump(include={"backend", "args", "trust_remote_code", "apply_chat_template"}),
        "benchmark": benchmark.model_dump(include={"tasks", "metric", "filter", "num_fewshot"}),
        "seed": workspace.seed,
        "zoo": workspace.zoo_recipe() if workspace.registry.made_by == "zoo" else None,
    }
    home = json.dumps(str(workspace.home))[1:-1]  # as it stands in JSON
    text = json.dumps(how, sort_keys=True).replace(home, "{home}")  # a home may be moved
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@lru_cache(maxsize=4)
def _task_index(tasks_dir: Path | None) -> "TaskIndex":
    # One index a process: lm-eval's full one takes half a minute to build, and loaded tasks serve every model.
    from harness.tasks import TaskIndex

    return TaskIndex(tasks_dir)
