"""What must hold of the data, asked of the published warehouse in SQL."""

from __future__ import annotations

import dagster as dg

from warehouse.read import query

from .workspace import Workspace


def _check(name: str, asset: str, description: str, count: str, *, blocking: bool = True) -> dg.AssetChecksDefinition:
    """A check that passes when `count`, a query for the number of offending rows, gives 0."""

    @dg.asset_check(name=name, asset=asset, description=description, blocking=blocking)
    def check(workspace: dg.ResourceParam[Workspace]) -> dg.AssetCheckResult:
        (offending,) = query(workspace.database, count).to_pydict().values()
        return dg.AssetCheckResult(
            passed=offending[0] == 0,
            severity=dg.AssetCheckSeverity.ERROR if blocking else dg.AssetCheckSeverity.WARN,
            metadata={"offending_rows": offending[0], "query": dg.MetadataValue.md(f"```sql\n{count}\n```")},
        )

    return check


CHECKS = (
    _check(
        "every_response_has_its_question",
        "correctness_matrix",
        "No answer to a question that is not in `questions`.",
        "SELECT count(*) FROM responses ANTI JOIN questions USING (question_id, benchmark)",
    ),
    _check(
        "labels_are_right_or_wrong",
        "correctness_matrix",
        "Every answer is right or wrong; what was not asked has no row.",
        "SELECT count(*) FROM responses WHERE correct IS NULL",
    ),
    _check(
        "one_answer_a_model_and_question",
        "correctness_matrix",
        "No model has two answers to one question.",
        "SELECT count(*) - count(DISTINCT (question_id, model)) FROM responses",
    ),
    _check(
        "splits_are_disjoint",
        "correctness_matrix",
        "No test question has the very text of a training question; `embedllm import --resplit` gives them one split.",
        "SELECT count(*) FROM questions WHERE split = 'test' "
        "AND text IN (SELECT text FROM questions WHERE split = 'train')",
        blocking=False,  # published splits are kept as they are, even where copies of a text straddle them
    ),
    _check(
        "everything_is_evaluated",
        "correctness_matrix",
        "Every registered model has answered every benchmark it is asked; the view `coverage` says what has not.",
        "SELECT count(*) FROM coverage JOIN models USING (model) JOIN benchmarks USING (benchmark) "
        "WHERE status NOT IN ('done', 'onboarded', 'not_applicable') "
        "AND models.source = 'registry' AND benchmarks.source = 'registry'",
        blocking=False,
    ),
    _check(
        "every_question_is_embedded",
        "question_embeddings",
        "Every question has an embedding.",
        "SELECT count(*) FROM questions ANTI JOIN question_embeddings USING (question_id)",
    ),
    _check(
        "embeddings_are_finite",
        "question_embeddings",
        "No embedding holds NaN or infinity.",
        "SELECT count(*) FROM question_embeddings WHERE NOT isfinite(list_sum(embedding::FLOAT[]))",
    ),
    _check(
        "model_embeddings_are_finite",
        "embedder",
        "No model's embedding holds NaN or infinity.",
        "SELECT count(*) FROM model_embeddings WHERE NOT isfinite(list_sum(embedding::FLOAT[]))",
    ),
    _check(
        "good_enough_to_serve",
        "embedder",
        "Today's version is no worse than the one before and than tables of rates, and calibrated, but for chance; "
        "`embedders.verdict` says what is wrong. `embedllm embedders serve VERSION` lets one serve that is held back.",
        # The last row is today's version.
        "SELECT count(*) FROM (SELECT last(verdict) AS verdict FROM embedders) WHERE verdict IS NOT NULL",
        blocking=False,
    ),
)
