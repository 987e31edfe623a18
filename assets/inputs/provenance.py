"""What each asset was made from, recorded in the lake next to the data: lake/provenance, a part an asset.

Dagster's event log says when something was made, and may be lost; what is out of date follows from these records alone.
"""

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
import pyarrow as pa

from harness.digests import digest_of
from warehouse.errors import CorruptFileError

from .entries import find_unregistered
from .external import EXTERNALS
from .workspace import Workspace

EXPENSIVE = {"embedllm/expensive": "true"}
"""Tags of assets that wait for the weekly refresh, or until the pool has grown."""

TABLE = "provenance"
SCHEMA = pa.schema(
    {
        "asset": pa.string(),
        "code_version": pa.string(),
        "data_version": pa.string(),
        "inputs": pa.string(),  # JSON, as are the next two
        "tables": pa.string(),
        "pool": pa.string(),
        "files": pa.list_(pa.string()),
        "made_at": pa.timestamp("us", tz="UTC"),
    }
)
FAILED_TABLE = "failed_assets"
FAILED_SCHEMA = pa.schema({"asset": pa.string(), "attempt": pa.string()})
_JSON = ("inputs", "tables", "pool")


@dataclass(frozen=True)
class Provenance:
    """What an asset was made from when it was last made, and what it left."""

    asset: str
    code_version: str | None
    data_version: str
    inputs: Mapping[str, str]  # data versions of the assets, external ones too, that it was made from
    tables: Mapping[str, Sequence[str]]  # parts of the lake's tables that it wrote
    files: Sequence[str]  # that it wrote, relative to the home
    pool: Mapping[str, int] | None  # `describe_pool`, where the asset is expensive
    made_at: datetime


class Part(NamedTuple):
    """Rows that take the place of a part of a table of the lake; in the order that `Lake.write_table` takes them."""

    table: str
    rows: pa.Table
    part: str


@dataclass(frozen=True)
class Made:
    """What the function of an asset returns about what it made; once one of `tables` or `files` is gone, the asset is
    out of date.

    Without a `data_version`, the same inputs count as the same data. The asset's IO manager writes what is `unwritten`.
    """

    metadata: Mapping[str, Any]
    tables: Mapping[str, Sequence[str]] = field(default_factory=dict)
    files: Sequence[Path] = ()
    data_version: str | None = None
    unwritten: Sequence[Part] = ()
    checks: Sequence[dg.AssetCheckResult] = ()


class Unwritten(NamedTuple):
    """What an IO manager gets: what it is to write, and what it is to call once it has."""

    parts: Sequence[Part]
    record: Callable[[], None]


def asset(
    *,
    name: str | None = None,
    deps: Sequence[str | dg.AssetKey | dg.AssetsDefinition] = (),
    reads: Sequence[str] = (),
    **options: Any,
) -> Callable[[Callable[[Workspace], Made]], dg.AssetsDefinition]:
    """Decorate a function that makes an unpartitioned asset, as `dg.asset` does. `reads` are the external assets
    (external.py) that it is made from, next to `deps`.

    What it was made from is recorded once the function has returned, so that a run that is killed has recorded nothing.
    If it fails, what it was to be made from is recorded, so that nobody tries the same again at once.
    """

    def define(make: Callable[[Workspace], Made]) -> dg.AssetsDefinition:
        externals = [EXTERNALS[external].key for external in reads]

        @dg.asset(
            name=name or make.__name__,
            description=inspect.getdoc(make),
            deps=[*deps, *externals],
            owners=["team:embedllm"],
            **options,
        )
        def recorded(context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]):
            # Returns a dg.MaterializeResult. Were that said above, Dagster would take no value for an IO manager.
            spec = context.assets_def.get_asset_spec(context.asset_key)
            return _make_and_record(make, spec, workspace)

        return recorded  # pyright: ignore[reportReturnType]  # of the overloads, it takes another

    return define


def _make_and_record(
    make: Callable[[Workspace], Made], spec: dg.AssetSpec, workspace: Workspace
) -> dg.MaterializeResult:
    name = spec.key.to_user_string()
    # What it is made from is looked up before it is read, so that the next look sees what changes meanwhile.
    inputs = find_inputs(spec, read_provenance(workspace), workspace)
    attempt = describe_attempt(spec, inputs)
    pool = describe_pool(workspace) if EXPENSIVE.items() <= spec.tags.items() else None
    try:
        made = make(workspace)
    except Exception:
        _record_attempts(workspace, name, [attempt])
        raise
    version = made.data_version or attempt
    written = {part.table: [part.part] for part in made.unwritten if part.rows.num_rows}

    def record() -> None:
        made_from = Provenance(
            asset=name,
            code_version=spec.code_version,
            data_version=version,
            inputs=inputs,
            tables={**made.tables, **written},
            files=[file.relative_to(workspace.home).as_posix() for file in made.files],
            pool=pool,
            made_at=datetime.now(UTC),
        )
        workspace.share(*made.files)
        row = vars(made_from) | {column: json.dumps(getattr(made_from, column)) for column in _JSON}
        workspace.lake.write_table(TABLE, pa.Table.from_pylist([row], schema=SCHEMA), name)
        if name in failed_attempts(workspace):
            _record_attempts(workspace, name, [])

    told = {"metadata": made.metadata, "data_version": dg.DataVersion(version), "check_results": list(made.checks)}
    if made.unwritten:
        return dg.MaterializeResult(value=Unwritten(made.unwritten, record), **told)
    record()
    return dg.MaterializeResult(**told)


def find_inputs(spec: dg.AssetSpec, made: Mapping[str, Provenance], workspace: Workspace) -> dict[str, str]:
    """Return the data version of everything the asset is made from, as it is now; what was never made, or is
    partitioned, has none."""
    externals = {external.key: external for external in EXTERNALS.values()}
    inputs = {}
    for key in sorted(dep.asset_key for dep in spec.deps):
        name = key.to_user_string()
        if key in externals:
            inputs[name] = externals[key].version(workspace)
        elif name in made:
            inputs[name] = made[name].data_version
    return inputs


def describe_attempt(spec: dg.AssetSpec, inputs: Mapping[str, str]) -> str:
    """Return a digest of what decides how the asset comes out."""
    return digest_of([spec.code_version, inputs])[:16]


def _record_attempts(workspace: Workspace, name: str, failed: Sequence[str]) -> None:
    rows = [{"asset": name, "attempt": attempt} for attempt in failed]
    workspace.lake.write_table(FAILED_TABLE, pa.Table.from_pylist(rows, schema=FAILED_SCHEMA), name)


def failed_attempts(workspace: Workspace) -> dict[str, str]:
    """Return by asset `describe_attempt` of the last attempt at it that failed."""
    table = _read(FAILED_TABLE, workspace)
    return {row["asset"]: row["attempt"] for row in table.to_pylist()} if table else {}


def read_provenance(workspace: Workspace) -> dict[str, Provenance]:
    """Return by name, for every asset that was made, what was recorded when it was made last."""
    table = _read(TABLE, workspace)
    names = [field.name for field in fields(Provenance)]
    rows = table.select(names).to_pylist() if table else []
    return {row["asset"]: Provenance(**row | {name: json.loads(row[name]) for name in _JSON}) for row in rows}


def _read(name: str, workspace: Workspace) -> pa.Table | None:
    """Return a table of records. One that cannot be read is set aside, so that its asset counts as never made."""
    try:
        return workspace.lake.read_table(name)
    except CorruptFileError:
        workspace.lake.mend()
        return workspace.lake.read_table(name)


def describe_pool(workspace: Workspace) -> dict[str, int]:
    """Return how large the pool is: the number of models that have answered and are registered, and of questions."""
    leaving = set(find_unregistered(workspace))
    return {
        "models": len({pair[1] for pair in workspace.lake.pairs() if pair not in leaving}),
        "questions": workspace.lake.count_questions(),
    }
