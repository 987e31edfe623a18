"""Questions × models, right or wrong: where collection ends and everything else begins."""

from __future__ import annotations

from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa

from assets.figures.heatmaps import correctness_heatmap
from assets.figures.sections import Picture, Section, section_part
from assets.figures.style import markdown
from assets.inputs.entries import find_unregistered
from assets.inputs.external import EXTERNALS
from assets.inputs.partitions import responses_key
from assets.inputs.provenance import Made, asset
from assets.inputs.repair import mending
from assets.inputs.table_metadata import table_metadata
from assets.inputs.workspace import Workspace
from embedder.matrix import CorrectnessMatrix
from harness.registry import BenchmarkEntry, ModelEntry, Registry
from warehouse.database.connect import empty_table

from .reading import correctness

RETIRED = "its model or its benchmark is no longer in the registry, or the model's entry leaves it out"
LEFT_OUT = "the model's entry leaves this benchmark out"


def build_correctness_matrix(registry: Registry) -> dg.AssetsDefinition:
    """The matrix depends on every benchmark of the registry and on what was imported."""

    @asset(
        deps=[dg.AssetKey("imported_results"), *(responses_key(b.name) for b in registry.benchmarks)],
        reads=["answers"],
        group_name="matrix",
        kinds={"deltalake"},
        owners=["team:embedllm"],
        code_version="3",
    )
    def correctness_matrix(workspace: Workspace) -> Made:
        """A row is a question, a column a model, a cell right, wrong or not asked."""
        version = EXTERNALS["answers"].version(workspace)  # before they are read
        with mending(workspace):
            workspace.lake.retire(find_unregistered(workspace), RETIRED)
            record_registry(workspace)
            matrix = correctness(workspace)
        if not matrix.observed.any():
            raise dg.Failure(_why_empty(workspace), allow_retries=False)
        answers = describe_answers(matrix)
        kept = section_part("correctness_matrix", answers)
        workspace.lake.write_table(*kept)
        return Made(
            {**_describe(matrix), "accuracies": dg.MetadataValue.md(markdown(answers.pictures[0].uri))},
            tables={kept.table: [kept.part]},
            data_version=version,
        )

    return correctness_matrix


def describe_answers(matrix: CorrectnessMatrix) -> Section:
    """Return the section on who answered what, but for the best models: these the report looks up."""
    return Section(
        "What was answered",
        f"{matrix.observed.mean():.0%} of the correctness matrix is filled; a right answer was given in "
        f"{np.nanmean(matrix.labels):.1%} of the cases. The best models, each over the questions it was asked:",
        [Picture(correctness_heatmap(matrix), "heat map of accuracy by benchmark and model")],
        sql="SELECT model, accuracy, ci_low, ci_high, n FROM leaderboard\n"
        "WHERE benchmark = 'all' ORDER BY accuracy DESC, model LIMIT 10;",
    )


def _why_empty(workspace: Workspace) -> str:
    failures = workspace.lake.failures().to_pylist()
    if not failures:
        return "There are no answers yet: evaluate models or import results first."
    return f"There are no answers: {len(failures)} evaluations failed, the first because: {failures[0]['reason']}."


def record_registry(workspace: Workspace) -> None:
    """What the registry says of models and benchmarks, and of who is asked what, into the lake."""
    workspace.lake.write_table("models", model_table(workspace.registry.models))
    workspace.lake.write_table("benchmarks", benchmark_table(workspace.registry.benchmarks))
    workspace.lake.write_table("not_applicable", not_applicable_table(workspace))


def _describe(matrix: CorrectnessMatrix) -> dict[str, Any]:
    return {
        **table_metadata("responses", int(matrix.observed.sum())),
        "models": dg.MetadataValue.int(len(matrix.models)),
        "questions": dg.MetadataValue.int(len(matrix.question_ids)),
        "benchmarks": dg.MetadataValue.int(len(set(matrix.benchmarks))),
        "filled": dg.MetadataValue.float(round(float(matrix.observed.mean()), 4)),
        "accuracy": dg.MetadataValue.float(round(float(np.nanmean(matrix.labels)), 4)),
    }


def not_applicable_table(workspace: Workspace) -> pa.Table:
    """`not_applicable` of the warehouse: pairs that a model's entry leaves out, or that its backend cannot take."""
    found = workspace.lake.not_applicable().to_pylist()
    for model in workspace.registry.models:
        left_out = [b.name for b in workspace.registry.benchmarks if not model.asks(b.name)]
        found += [{"benchmark": name, "model": model.name, "reason": LEFT_OUT} for name in left_out]
    rows = {(row["benchmark"], row["model"]): row for row in found}
    schema = workspace.lake.not_applicable().schema
    return pa.Table.from_pylist([rows[pair] for pair in sorted(rows)], schema=schema)


def model_table(models: tuple[ModelEntry, ...]) -> pa.Table:
    """`models` of the warehouse, from the registry."""
    rows = [
        {
            "model": m.name,
            "family": m.family,
            "size_b": m.size_b,
            "communities": list(m.communities),
            "backend": m.backend,
            "source": "registry",
            "price_input": m.price.input if m.price else None,
            "price_output": m.price.output if m.price else None,
        }
        for m in models
    ]
    return pa.Table.from_pylist(rows, schema=empty_table("models").schema)


def benchmark_table(benchmarks: tuple[BenchmarkEntry, ...]) -> pa.Table:
    """`benchmarks` of the warehouse, from the registry."""
    rows = [
        {
            "benchmark": b.name,
            "source": "registry",
            "metric": b.metric,
            "filter": b.filter,
            "num_fewshot": b.num_fewshot,
            "tasks": list(b.tasks),
            "description": b.description,
        }
        for b in benchmarks
    ]
    return pa.Table.from_pylist(rows, schema=empty_table("benchmarks").schema)
