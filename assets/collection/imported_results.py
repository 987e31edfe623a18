"""Answers that others collected, brought in by `embedllm import`."""

import dagster as dg

from assets.inputs.provenance import Made, asset
from assets.inputs.table_metadata import table_metadata
from assets.inputs.workspace import Workspace


@asset(group_name="collection", kinds={"deltalake"}, code_version="1", reads=["imports"])
def imported_results(workspace: Workspace) -> Made:
    """What `embedllm import` put into the lake: a row is a published answer of one model to one question."""
    imports = workspace.lake.imports()
    rows = [f"| {i['source']} | {i['rows']:,} | {i['models']} | {i['questions']:,} |" for i in imports]
    table = "\n".join(["| source | answers | models | questions |", "|---|---|---|---|", *rows])
    return Made(
        metadata={
            **table_metadata("responses", sum(i["rows"] for i in imports)),
            "imports": dg.MetadataValue.md(table if imports else "Nothing was imported into this home."),
        },
        data_version="-".join(sorted(i["digest"][:12] for i in imports)) or "none",
    )
