"""What each asset was made from, as it is recorded in the lake next to the data: lake/provenance, a part an asset.

Dagster's event log says when something was made, and may be lost; what is out of date follows from these records alone.
"""

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
import pyarrow as pa

from warehouse.errors import CorruptFileError

from .workspace import Workspace

__all__ = [
    "EXPENSIVE",
    "Made",
    "Part",
    "Provenance",
    "Unwritten",
    "asset",
    "describe_pool",
    "digest",
    "read_provenance",
]

EXPENSIVE = {"embedllm/expensive": "true"}
"""Tags of assets that wait for the weekly refresh, or until the pool has grown."""

TABLE = "provenance"
SCHEMA = pa.schema(
    {
        "asset": pa.string(),
        "code_version": pa.string(),  # with the settings that change its content
        "data_version": pa.string(),
        "read": pa.string(),
        "inputs": pa.string(),  # JSON, as are the next two
        "tables": pa.string(),
        "pool": pa.string(),
        "files": pa.list_(pa.string()),
        "made_at": pa.timestamp("us", tz="UTC"),
    }
)
_JSON = ("inputs", "tables", "pool")


@dataclass(frozen=True)
class Provenance:
    """What an asset was made from when it was last made, and what it left."""

    asset: str
    code_version: str | None
    data_version: str
    inputs: Mapping[str, str]  # data versions of the assets it was made from
    read: str | None  # digest of what it read that is no asset
    tables: Mapping[str, Sequence[str]]  # parts of the lake's tables that it wrote
    files: Sequence[str]  # that it wrote, relative to the home
    pool: Mapping[str, Any] | None  # `describe_pool`, where the asset is expensive
    made_at: datetime


class Part(NamedTuple):
    """Rows that take the place of a part of a table of the lake; in the order that `Lake.write_table` takes them."""

    table: str
    rows: pa.Table
    part: str


@dataclass(frozen=True)
class Made:
    """What the function of an asset says of what it made; once one of `tables` or `files` is gone, it is out of date.

    `read` is a digest of what it read that is no asset, taken before reading. Without a `data_version`, the same inputs
    count as the same data. What is `unwritten` is for the asset's IO manager to write.
    """

    metadata: Mapping[str, Any]
    read: str | None = None
    tables: Mapping[str, Sequence[str]] = field(default_factory=dict)
    files: Sequence[Path] = ()
    data_version: str | None = None
    unwritten: Sequence[Part] = ()
    checks: Sequence[dg.AssetCheckResult] = ()


class Unwritten(NamedTuple):
    """What an IO manager gets: what it is to write, and what it is to call once it has."""

    parts: Sequence[Part]
    record: Callable[[], None]


def asset(*, name: str | None = None, **options: Any) -> Callable[[Callable[[Workspace], Made]], dg.AssetsDefinition]:
    """As `dg.asset`, for a function that makes an unpartitioned asset and publishes it. That is recorded once it has
    returned: what fails or is killed has recorded nothing."""

    def define(make: Callable[[Workspace], Made]) -> dg.AssetsDefinition:
        @dg.asset(name=name or make.__name__, description=inspect.getdoc(make), **options)
        def recorded(context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]):
            # Returns a dg.MaterializeResult. Were that said above, Dagster would take no value for an IO manager.
            spec = context.assets_def.get_asset_spec(context.asset_key)
            known = read_provenance(workspace)
            parents = [dep.asset_key.to_user_string() for dep in spec.deps]
            inputs = {name: known[name].data_version for name in sorted(parents) if name in known}
            pool = describe_pool(workspace) if EXPENSIVE.items() <= spec.tags.items() else None
            made = make(workspace)
            version = made.data_version or digest([spec.code_version, made.read, inputs])
            written = {part.table: [part.part] for part in made.unwritten if part.rows.num_rows}

            def record() -> None:
                made_from = Provenance(
                    asset=spec.key.to_user_string(),
                    code_version=spec.code_version,
                    data_version=version,
                    inputs=inputs,
                    read=made.read,
                    tables={**made.tables, **written},
                    files=[file.relative_to(workspace.home).as_posix() for file in made.files],
                    pool=pool,
                    made_at=datetime.now(UTC),
                )
                workspace.share(*made.files)
                row = vars(made_from) | {name: json.dumps(getattr(made_from, name)) for name in _JSON}
                workspace.lake.write_table(TABLE, pa.Table.from_pylist([row], schema=SCHEMA), made_from.asset)

            told = {
                "metadata": made.metadata,
                "data_version": dg.DataVersion(version),
                "check_results": list(made.checks),
            }
            if made.unwritten:
                return dg.MaterializeResult(value=Unwritten(made.unwritten, record), **told)
            record()
            return dg.MaterializeResult(**told)

        return recorded  # pyright: ignore[reportReturnType]  # of the overloads, it takes another

    return define


def read_provenance(workspace: Workspace) -> dict[str, Provenance]:
    """Of every asset that was made, by name, what its last making recorded; a record that cannot be read is set aside,
    so that its asset counts as never made."""
    try:
        table = workspace.lake.read_table(TABLE)
    except CorruptFileError:
        workspace.lake.mend()
        table = workspace.lake.read_table(TABLE)
    rows = table.to_pylist() if table else []
    return {row["asset"]: Provenance(**row | {name: json.loads(row[name]) for name in _JSON}) for row in rows}


def describe_pool(workspace: Workspace) -> dict[str, Any]:
    """How large the pool is: the number of models that have answered and of questions, and the benchmarks."""
    pairs = workspace.lake.pairs()
    return {
        "models": len({model for _, model in pairs}),
        "benchmarks": sorted({benchmark for benchmark, _ in pairs}),
        "questions": workspace.lake.count_questions(),
    }


def digest(content: object) -> str:
    """Of a JSON value."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
