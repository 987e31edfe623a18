"""What all experiments have in common: where they stand in the graph, what they are given, how their tables are kept.

An experiment is a function from typed inputs to its `Result`; `experiment` makes a Dagster asset of it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from assets.embedding.serving import load_serving, place_models
from assets.figures.sections import Section, section_metadata, section_part
from assets.inputs.provenance import EXPENSIVE, Made, Part, Unwritten, asset
from assets.inputs.table_metadata import table_metadata
from assets.inputs.versions import version_shown
from assets.inputs.workspace import Workspace
from assets.matrix.costs import Costs, model_costs, question_costs
from assets.matrix.reading import encoder_in_use, model_labels
from embedder.downstream.cost import QuestionCosts

from .experiment_checks import CHECK, check_spec, find_faults
from .left_out_embeddings import load_left_out

LAKE_TABLES = "lake_tables"
"""Name of the IO manager among Dagster's resources."""


@dataclass(frozen=True)
class Result:
    """What an experiment found: its tables by name, the asset's own first; the report's section on them; and the
    figures that the UI shows."""

    tables: Mapping[str, pa.Table]
    section: Section
    figures: Mapping[str, Any] = field(default_factory=dict)


def overall_figures(table: pa.Table, measure: str, *, over: str = "benchmark") -> dict[str, float]:
    """Return for the UI what each method has as `measure` in the rows on all benchmarks, or on all of what `over` is a
    column of; a table without that column has but one row a method."""
    overall = [row for row in table.to_pylist() if row.get(over, "all") == "all" and row[measure] is not None]
    return {f"{measure}_{row['method']}": round(row[measure], 4) for row in overall}


def _question_costs(workspace: Workspace) -> QuestionCosts | None:
    served = load_serving(workspace)
    return question_costs(workspace, _costs(workspace), served.matrix, served.questions)


def _costs(workspace: Workspace) -> Costs:
    return model_costs(workspace, load_serving(workspace).question_costs)


INPUTS: Mapping[str, Callable[[Workspace], Any]] = {
    "serving": load_serving,
    "costs": _costs,
    "question_costs": _question_costs,
    "labels": model_labels,
    "placed": place_models,
    "left_out": load_left_out,
    "encoder": encoder_in_use,
    "seed": lambda workspace: workspace.seed,
    "progress": lambda workspace: workspace.progress,
}
"""What an experiment may take, by the name of its parameter."""


def experiment(
    find: Callable[..., Result],
    *,
    name: str,
    kinds: set[str],
    code_version: str,
    deps: Sequence[str] = ("correctness_matrix", "embedder"),
    expensive: bool = False,
    latest_only: Collection[str] = (),
) -> dg.AssetsDefinition:
    """Return the asset of an experiment: `find` is called with those of INPUTS that it has parameters for.

    An `expensive` one trains dozens of embedders, or encodes thousands of texts: it waits for the weekly refresh, or
    until the pool has grown. Tables in `latest_only` have many rows: those of earlier versions are replaced.
    """
    inputs = {parameter: INPUTS[parameter] for parameter in inspect.signature(find).parameters}

    def make(workspace: Workspace) -> Made:
        version = load_serving(workspace).version
        result = find(**{parameter: load(workspace) for parameter, load in inputs.items()})
        counts = {table: rows.num_rows for table, rows in result.tables.items()}
        faults = find_faults(name, result.tables)
        return Made(
            metadata={
                **table_metadata(name, counts.pop(name)),
                **counts,
                **result.figures,
                **section_metadata(result.section),
            },
            unwritten=[
                *(
                    Part(table, rows, "part" if table in latest_only else version)
                    for table, rows in result.tables.items()
                ),
                section_part(name, result.section, version=version, every=not expensive),
            ],
            checks=[dg.AssetCheckResult(passed=not faults, check_name=CHECK, description="; ".join(faults) or None)],
        )

    make.__doc__ = find.__doc__
    return asset(
        name=name,
        deps=deps,
        reads=[setting for setting in ("encoder", "seed") if setting in inputs],
        group_name="evaluation",
        kinds=kinds,
        code_version=code_version,
        tags=EXPENSIVE if expensive else None,
        check_specs=[check_spec(name)],
        io_manager_key=LAKE_TABLES,
    )(make)


class LakeTableIOManager(dg.IOManager):
    """Keeps tables in the lake. Whoever loads an experiment, be it an asset that takes it as an argument, gets its own
    table: the rows on the serving embedder, or, where there are none, on the most recent one that has any."""

    def handle_output(self, context: dg.OutputContext, obj: Unwritten) -> None:
        for part in obj.parts:
            context.resources.workspace.lake.write_table(*part)
        obj.record()

    def load_input(self, context: dg.InputContext) -> pa.Table:
        lake, name = context.resources.workspace.lake, context.asset_key.to_user_string()
        table = lake.read_table(name)
        version = version_shown(lake, set(table["embedder"].to_pylist())) if table else None
        if version is None:
            raise LookupError(f"{name} has no rows yet; materialise it first.")
        return table.filter(pc.field("embedder") == version["embedder"])


lake_tables = dg.IOManagerDefinition(
    resource_fn=lambda _: LakeTableIOManager(),
    required_resource_keys={"workspace"},
    description="Tables of the lake.",
)
