"""What the assets of all experiments have in common: where they stand in the graph, and how their tables are kept."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

import pyarrow as pa

from warehouse.publish import publish

from .provenance import Made, asset
from .sections import Section, shown
from .workspace import Workspace

experiment = partial(
    asset,
    deps=["correctness_matrix", "embedder"],
    group_name="evaluation",
    owners=["team:embedllm"],
    pool="warehouse",
)
"""A Dagster asset that evaluates the serving embedder; takes `kinds` and `code_version`."""


def record(
    workspace: Workspace,
    version: str,
    tables: Mapping[str, pa.Table],
    metadata: Mapping[str, Any],
    section: Callable[[Workspace], Section],
    *,
    latest_only: Collection[str] = (),
) -> Made:
    """Keeps and publishes the `tables` of an embedder's `version`, and describes them by `metadata` and the report's
    `section` of them. The first table is the asset's own.

    Of those in `latest_only`, which have many rows, earlier versions' are replaced.
    """
    parts = {name: "part" if name in latest_only else version for name in tables}
    for name, table in tables.items():
        workspace.lake.write_table(name, table, parts[name])
    publish(workspace.lake, workspace.database, list(tables))
    rows = {"dagster/row_count": len(next(iter(tables.values())))}
    others = {name: len(table) for name, table in list(tables.items())[1:]}
    return Made(
        metadata={**rows, **others, **metadata, **shown(section(workspace))},
        tables={name: [parts[name]] for name, table in tables.items() if table.num_rows},
    )
