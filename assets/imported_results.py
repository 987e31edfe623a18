"""Answers that others collected, brought in by `embedllm import`."""

import dagster as dg

from .staleness import described
from .workspace import Workspace


@dg.asset(group_name="collection", kinds={"parquet"}, owners=["team:embedllm"], code_version="1")
def imported_results(workspace: dg.ResourceParam[Workspace]) -> dg.MaterializeResult:
    """What `embedllm import` put into the lake: a row is a published answer of one model to one question."""
    read = described("imported_results", workspace)
    imports = workspace.lake.imports()
    rows = [f"| {i['source']} | {i['rows']:,} | {i['models']} | {i['questions']:,} |" for i in imports]
    table = "\n".join(["| source | answers | models | questions |", "|---|---|---|---|", *rows])
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": sum(i["rows"] for i in imports),
            "imports": dg.MetadataValue.md(table if imports else "Nothing was imported into this home."),
            **read,
        },
        data_version=dg.DataVersion("-".join(sorted(i["digest"][:12] for i in imports)) or "none"),
    )
