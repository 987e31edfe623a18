"""Questions × models, right or wrong: where collection ends and everything else begins."""

from __future__ import annotations

import dagster as dg
import numpy as np
import pyarrow as pa

from embedder.matrix import CorrectnessMatrix
from harness.entries import BenchmarkEntry, ModelEntry, Registry
from warehouse.publish import publish

from .figures.heatmaps import correctness_heatmap
from .figures.style import markdown
from .partitions import responses_key
from .workspace import Workspace


def build_correctness_matrix(registry: Registry) -> dg.AssetsDefinition:
    """The matrix depends on every benchmark of the registry and on what was imported."""

    @dg.asset(
        deps=[dg.AssetKey("imported_results"), *(responses_key(b.name) for b in registry.benchmarks)],
        group_name="warehouse",
        kinds={"duckdb", "parquet"},
        owners=["team:embedllm"],
        code_version="1",
        pool="warehouse",
    )
    def correctness_matrix(workspace: dg.ResourceParam[Workspace]) -> dg.MaterializeResult:
        """A row is a question, a column a model, a cell right, wrong or not asked; published to `warehouse.duckdb`."""
        lake = workspace.lake
        lake.write_table("models", model_table(registry.models))
        lake.write_table("benchmarks", benchmark_table(registry.benchmarks))
        publish(lake, workspace.database, ["models", "benchmarks", "questions", "responses", "failures"])
        matrix = CorrectnessMatrix.from_tables(lake.questions(), lake.responses())
        if not matrix.observed.any():
            raise dg.Failure("There are no answers yet: evaluate models or import results first.", allow_retries=False)
        return dg.MaterializeResult(metadata=_describe(matrix, workspace), data_version=dg.DataVersion(lake.state()))

    return correctness_matrix


def _describe(matrix: CorrectnessMatrix, workspace: Workspace) -> dict[str, dg.MetadataValue]:
    return {
        "dagster/row_count": dg.MetadataValue.int(int(matrix.observed.sum())),
        "models": dg.MetadataValue.int(len(matrix.models)),
        "questions": dg.MetadataValue.int(len(matrix.question_ids)),
        "benchmarks": dg.MetadataValue.int(len(set(matrix.benchmarks))),
        "filled": dg.MetadataValue.float(round(float(matrix.observed.mean()), 4)),
        "accuracy": dg.MetadataValue.float(round(float(np.nanmean(matrix.labels)), 4)),
        "warehouse": dg.MetadataValue.path(str(workspace.database)),
        "accuracies": dg.MetadataValue.md(markdown(correctness_heatmap(matrix))),
    }


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
    return pa.Table.from_pylist(
        rows,
        schema=pa.schema(
            {
                "model": pa.string(),
                "family": pa.string(),
                "size_b": pa.float64(),
                "communities": pa.list_(pa.string()),
                "backend": pa.string(),
                "source": pa.string(),
                "price_input": pa.float64(),
                "price_output": pa.float64(),
            }
        ),
    )


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
    return pa.Table.from_pylist(
        rows,
        schema=pa.schema(
            {
                "benchmark": pa.string(),
                "source": pa.string(),
                "metric": pa.string(),
                "filter": pa.string(),
                "num_fewshot": pa.int32(),
                "tasks": pa.list_(pa.string()),
                "description": pa.string(),
            }
        ),
    )
