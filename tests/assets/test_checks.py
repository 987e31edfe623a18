"""Every check passes on a good warehouse, and finds the one row that is bad."""

from pathlib import Path

import dagster as dg
import duckdb
import pytest

from assets.checks import CHECKS
from assets.workspace import Workspace
from warehouse.database import script

GOOD = """
    INSERT INTO models (model, source) VALUES ('elm', 'registry'), ('ash', 'import');
    INSERT INTO benchmarks (benchmark, source) VALUES ('sums', 'registry');
    INSERT INTO questions VALUES
        ('q1', 'sums', 'c', 't', 0, 'one', 'train', NULL), ('q2', 'sums', 'c', 't', 1, 'two', 'test', NULL);
    INSERT INTO responses (question_id, model, benchmark, correct)
        VALUES ('q1', 'elm', 'sums', true), ('q2', 'elm', 'sums', false);
    INSERT INTO question_embeddings VALUES ('q1', 'e', [0.6, 0.8]), ('q2', 'e', [1, 0]);
    INSERT INTO embedders (embedder, method, serving) VALUES ('v1', 'mf', true);
    INSERT INTO model_embeddings VALUES ('v1', 'elm', [1, 2]);
"""
BAD = {
    "every_response_has_its_question": """
        INSERT INTO responses (question_id, model, benchmark, correct) VALUES ('q3', 'elm', 'sums', true)
    """,
    "labels_are_right_or_wrong": """
        ALTER TABLE responses ALTER correct DROP NOT NULL;
        UPDATE responses SET correct = NULL WHERE question_id = 'q1'
    """,
    "one_answer_a_model_and_question": """
        INSERT INTO responses (question_id, model, benchmark, correct) VALUES ('q1', 'elm', 'sums', false)
    """,
    "splits_are_disjoint": "INSERT INTO questions VALUES ('q3', 'sums', 'c', 't', 2, 'one', 'test', NULL)",
    "everything_is_evaluated": "INSERT INTO models (model, source) VALUES ('oak', 'registry')",
    "every_question_is_embedded": "DELETE FROM question_embeddings WHERE question_id = 'q2'",
    "embeddings_are_finite": "INSERT INTO question_embeddings VALUES ('q1', 'f', ['nan', '1'])",
    "model_embeddings_are_finite": "INSERT INTO model_embeddings VALUES ('v1', 'oak', ['inf', '1'])",
    "good_enough_to_serve": """
        INSERT INTO embedders (embedder, method, serving, verdict) VALUES ('v2', 'mf', false, 'worse than v1')
    """,
}


def failing(database: Path, registry: object, *statements: str) -> dict[str, dg.AssetCheckSeverity]:
    with duckdb.connect(database) as connection:
        for statement in (script("schema"), script("views"), GOOD, *statements):
            connection.execute(statement)
    workspace = Workspace(home=database.parent, registry=registry)  # type: ignore[arg-type]
    results = {next(iter(check.check_keys)).name: check(workspace) for check in CHECKS}
    return {name: result.severity for name, result in results.items() if not result.passed}  # type: ignore[union-attr]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "warehouse.duckdb"


def test_a_good_warehouse_passes(database: Path, registry: object) -> None:
    assert failing(database, registry) == {}


@pytest.mark.parametrize("check", BAD)
def test_a_bad_row_is_found(check: str, database: Path, registry: object) -> None:
    assert check in failing(database, registry, BAD[check])


def test_every_check_is_tested() -> None:
    assert {next(iter(check.check_keys)).name for check in CHECKS} == set(BAD)


def test_what_a_user_may_live_with_only_warns(database: Path, registry: object) -> None:
    found = failing(database, registry, BAD["splits_are_disjoint"], BAD["everything_is_evaluated"])
    assert found["splits_are_disjoint"] == dg.AssetCheckSeverity.WARN
    assert found["everything_is_evaluated"] == dg.AssetCheckSeverity.WARN
