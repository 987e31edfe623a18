"""What users query: `warehouse.duckdb`, published with every refresh."""

import dagster as dg

from assets.evaluation.experiments import EXPERIMENTS
from assets.inputs.provenance import Made, asset
from assets.inputs.repair import mending
from assets.inputs.workspace import Workspace
from warehouse.database.publish import TABLES, publish

PUBLISHED = ("correctness_matrix", "coverage", "question_embeddings", "embedder", "onboarded")


@asset(
    deps=[*PUBLISHED, *EXPERIMENTS],
    group_name="report",
    kinds={"duckdb"},
    code_version="1",
    pool="warehouse",
)
def warehouse(workspace: Workspace) -> Made:
    """Every table of the lake that users query, as one DuckDB file; readers keep what they had open."""
    with mending(workspace):
        rows = publish(workspace.lake, workspace.database, TABLES)
    return Made(
        metadata={
            "warehouse": dg.MetadataValue.path(str(workspace.database)),
            "tables": len(rows),
            "rows": dg.MetadataValue.md("\n".join(f"- {table}: {count:,}" for table, count in rows.items())),
        },
        files=[workspace.database],
    )
