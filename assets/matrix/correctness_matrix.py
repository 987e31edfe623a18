"""Questions × models, right or wrong: where collection ends and everything else begins."""

from __future__ import annotations

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
from harness.registry import Registry
from warehouse.database.connect import empty_table

from .reading import correctness

RETIRED = "its model or its benchmark is no longer in the registry, or the model's entry leaves it out"
LEFT_OUT = "the model's entry leaves this benchmark out"


def build_correctness_matrix(registry: Registry) -> dg.AssetsDefinition:
    """Return the asset; it depends on every benchmark of the registry and on what was imported."""

    @asset(
        deps=[dg.AssetKey("imported_results"), *(responses_key(b.name) for b in registry.benchmarks)],
        reads=["answers"],
        group_name="matrix",
        kinds={"deltalake"},
        code_version="4",
    )
    def correctness_matrix(workspace: Workspace) -> Made:
        """A row is a question, a column a model, a cell right, wrong or not asked."""
        version = EXTERNALS["answers"].version(workspace)  # before they are read
        with mending(workspace):
            workspace.lake.retire(find_unregistered(workspace), RETIRED)
            record_registry(workspace)
            matrix = correctness(workspace)
        if not matrix.observed.any():
            raise dg.Failure(_explain_emptiness(workspace), allow_retries=False)
        answers = describe_answers(matrix)
        kept = section_part("correctness_matrix", answers)
        workspace.lake.write_table(*kept)
        return Made(
            metadata={
                **table_metadata("responses", int(matrix.observed.sum())),
                "models": len(matrix.models),
                "questions": len(matrix.question_ids),
                "benchmarks": len(set(matrix.benchmarks)),
                "filled": round(float(matrix.observed.mean()), 4),
                "accuracy": round(float(np.nanmean(matrix.labels)), 4),
                "accuracies": dg.MetadataValue.md(markdown(answers.pictures[0].uri)),
            },
            tables={kept.table: [kept.part]},
            data_version=version,
        )

    return correctness_matrix


def describe_answers(matrix: CorrectnessMatrix) -> Section:
    """Return the section on who answered what. The models are not in it: the report looks them up."""
    return Section(
        "What was answered",
        f"{matrix.observed.mean():.0%} of the correctness matrix is filled; a right answer was given in "
        f"{np.nanmean(matrix.labels):.1%} of the cases. The table has every model, over the questions it was asked.",
        [Picture.of(correctness_heatmap(matrix), "heat map of accuracy by benchmark and model")],
        sql="SELECT model, accuracy, ci_low, ci_high, n FROM leaderboard\n"
        "WHERE benchmark = 'all' ORDER BY accuracy DESC, model LIMIT 10;",
    )


def _explain_emptiness(workspace: Workspace) -> str:
    failures = workspace.lake.failures().to_pylist()
    if not failures:
        return "There are no answers yet: evaluate models or import results first."
    return f"There are no answers: {len(failures)} evaluations failed, the first because: {failures[0]['reason']}."


def record_registry(workspace: Workspace) -> None:
    """Write into the lake what the registry says of models and benchmarks, and which pairs are not asked: those that a
    model's entry leaves out, or that its backend cannot take."""
    registry, lake = workspace.registry, workspace.lake
    models = [
        {
            "model": model.name,
            "family": model.family,
            "size_b": model.size_b,
            "communities": list(model.communities),
            "backend": model.backend,
            "source": "registry",
            "price_input": model.price.input if model.price else None,
            "price_output": model.price.output if model.price else None,
        }
        for model in registry.models
    ]
    benchmarks = [
        vars(benchmark) | {"benchmark": benchmark.name, "source": "registry", "tasks": list(benchmark.tasks)}
        for benchmark in registry.benchmarks
    ]
    not_asked = {(row["benchmark"], row["model"]): row for row in lake.not_applicable().to_pylist()}
    for model in registry.models:
        for benchmark in registry.benchmarks:
            if not model.asks(benchmark.name):
                pair = benchmark.name, model.name
                not_asked[pair] = {"benchmark": benchmark.name, "model": model.name, "reason": LEFT_OUT}
    pairs = [not_asked[pair] for pair in sorted(not_asked)]
    for table, rows in (("models", models), ("benchmarks", benchmarks), ("not_applicable", pairs)):
        lake.write_table(table, pa.Table.from_pylist(rows, schema=empty_table(table).schema))
