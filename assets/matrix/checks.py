"""What must be true of the data, asked in SQL: of the lake before anything is made of it, and of what was published."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from typing import NamedTuple

import dagster as dg
import pyarrow as pa

from assets.figures.sections import rows
from assets.inputs.versions import versions
from assets.inputs.workspace import Workspace
from warehouse.database.read import query
from warehouse.lake import Lake


class Check(NamedTuple):
    """A check that passes when `sql`, a query for the number of offending rows of an asset's tables, gives 0."""

    name: str
    asset: str
    description: str
    sql: str
    blocking: bool = True


TABLES: Mapping[str, dict[str, Callable[[Lake], pa.Table | None]]] = {
    "correctness_matrix": {"questions": Lake.questions, "responses": Lake.responses},
    "question_embeddings": {
        "questions": Lake.questions,
        "question_embeddings": lambda lake: lake.read_table("question_embeddings"),
    },
    "embedder": {"model_embeddings": lambda lake: lake.read_table("model_embeddings"), "embedders": versions},
}
"""By asset, what its checks read from the lake; those of other assets read what is published."""


CHECKS = (
    Check(
        "every_response_has_its_question",
        "correctness_matrix",
        "No answer to a question that is not in `questions`.",
        "SELECT count(*) FROM responses ANTI JOIN questions USING (question_id, benchmark)",
    ),
    Check(
        "labels_are_right_or_wrong",
        "correctness_matrix",
        "Every answer is right or wrong; what was not asked has no row.",
        "SELECT count(*) FROM responses WHERE correct IS NULL",
    ),
    Check(
        "one_answer_a_model_and_question",
        "correctness_matrix",
        "No model has two answers to one question.",
        "SELECT count(*) - count(DISTINCT (question_id, model)) FROM responses",
    ),
    Check(
        "splits_are_disjoint",
        "correctness_matrix",
        "No test question has the same text as a training question; `embedllm import --resplit` gives them one split.",
        "SELECT count(*) FROM questions WHERE split = 'test' "
        "AND text IN (SELECT text FROM questions WHERE split = 'train')",
        blocking=False,  # published splits are kept as they are, even where copies of a text straddle them
    ),
    Check(
        "every_question_is_embedded",
        "question_embeddings",
        "Every question has an embedding.",
        "SELECT count(*) FROM questions ANTI JOIN question_embeddings USING (question_id)",
    ),
    Check(
        "embeddings_are_finite",
        "question_embeddings",
        "No embedding holds NaN or infinity.",
        "SELECT count(*) FROM question_embeddings WHERE NOT isfinite(list_sum(embedding::FLOAT[]))",
    ),
    Check(
        "model_embeddings_are_finite",
        "embedder",
        "No model's embedding holds NaN or infinity.",
        "SELECT count(*) FROM model_embeddings WHERE NOT isfinite(list_sum(embedding::FLOAT[]))",
    ),
    Check(
        "good_enough_to_serve",
        "embedder",
        "Today's version is no worse than the one before and than tables of rates, and calibrated, apart from chance. "
        "`embedders.verdict` says what is wrong; `embedllm embedders serve VERSION` lets a version serve that was held "
        "back.",
        # The last row is today's version.
        "SELECT count(*) FROM (SELECT last(verdict) AS verdict FROM embedders) WHERE verdict IS NOT NULL",
        blocking=False,
    ),
    Check(
        "everything_is_evaluated",
        "warehouse",
        "Every registered model has answered every benchmark it is asked, or a chosen few of all questions; the view "
        "`coverage` says what has not.",
        "SELECT count(*) FROM coverage JOIN models USING (model) JOIN benchmarks USING (benchmark) "
        "WHERE status NOT IN ('done', 'onboarded', 'not_applicable') "
        "AND models.source = 'registry' AND benchmarks.source = 'registry'",
        blocking=False,
    ),
)


def build_checks() -> list[dg.AssetChecksDefinition]:
    """Return one definition for each asset, so that what its checks read is read once."""
    return [_build_checks_of(asset, list(checks)) for asset, checks in groupby(CHECKS, key=lambda check: check.asset)]


def _build_checks_of(asset: str, checks: list[Check]) -> dg.AssetChecksDefinition:
    specs = [
        dg.AssetCheckSpec(check.name, asset=asset, description=check.description, blocking=check.blocking)
        for check in checks
    ]

    @dg.multi_asset_check(name=f"check_{asset}", specs=specs)
    def evaluate(workspace: dg.ResourceParam[Workspace]) -> Iterator[dg.AssetCheckResult]:
        tables = {name: read(workspace.lake) for name, read in TABLES.get(asset, {}).items()}
        for check in checks:
            offending = count_offending(check, workspace, tables)
            yield dg.AssetCheckResult(
                passed=offending == 0,
                asset_key=asset,
                check_name=check.name,
                severity=dg.AssetCheckSeverity.ERROR if check.blocking else dg.AssetCheckSeverity.WARN,
                metadata={"offending_rows": offending, "query": dg.MetadataValue.md(f"```sql\n{check.sql}\n```")},
            )

    return evaluate


def count_offending(check: Check, workspace: Workspace, tables: Mapping[str, pa.Table]) -> int:
    """Return how many rows of `tables`, or of what is published where there are none, a check objects to."""
    (row,) = rows(tables, check.sql) if tables else query(workspace.database, check.sql).to_pylist()
    return next(iter(row.values()))
