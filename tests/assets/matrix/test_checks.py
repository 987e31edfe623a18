"""Every check passes on good data, and finds the one row that is bad."""

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import duckdb
import pyarrow as pa
import pytest

from assets.inputs.workspace import Workspace
from assets.matrix.checks import CHECKS, TABLES, build_checks, count_offending
from assets.matrix.correctness_matrix import build_correctness_matrix
from harness.registry import Registry
from pipelines.graph import build_resources
from warehouse.database.connect import script
from warehouse.database.connect import statements as declarations

GOOD = """
    INSERT INTO models (model, source) VALUES ('elm', 'registry'), ('ash', 'import');
    INSERT INTO benchmarks (benchmark, source) VALUES ('sums', 'registry');
    INSERT INTO questions VALUES
        ('q1', 'sums', 'c', 't', 0, 'one', 'train', NULL), ('q2', 'sums', 'c', 't', 1, 'two', 'test', NULL);
    INSERT INTO responses (question_id, model, benchmark, correct)
        VALUES ('q1', 'elm', 'sums', true), ('q2', 'elm', 'sums', false);
    INSERT INTO question_embeddings VALUES ('q1', 'e', [0.6, 0.8]), ('q2', 'e', [1, 0]);
    INSERT INTO embedders (embedder, method, serving) VALUES ('v1', 'mf', true);
    INSERT INTO history.model_embeddings VALUES ('v1', 'elm', [1, 2]);
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
    "model_embeddings_are_finite": "INSERT INTO history.model_embeddings VALUES ('v1', 'oak', ['inf', '1'])",
    "good_enough_to_serve": """
        INSERT INTO embedders (embedder, method, serving, verdict) VALUES ('v2', 'mf', false, 'worse than v1')
    """,
}


def failing(database: Path, registry: Registry, *statements: str) -> dict[str, bool]:
    """By name of each check that fails, whether it stops what comes after it."""
    with duckdb.connect(database) as connection:
        for declared in declarations().values():
            connection.execute(f"{declared.table} {declared.view}")
        for statement in (script("views"), GOOD, *statements):
            connection.execute(statement)
        in_lake = {
            asset: {name: connection.table(name).to_arrow_table() for name in tables}
            for asset, tables in TABLES.items()
        }
    workspace = Workspace(home=database.parent, registry=registry)
    return {
        check.name: check.blocking
        for check in CHECKS
        if count_offending(check, workspace, in_lake.get(check.asset, {}))
    }


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "warehouse.duckdb"


def test_a_good_warehouse_passes(database: Path, registry: Registry) -> None:
    assert failing(database, registry) == {}


@pytest.mark.parametrize("check", BAD)
def test_a_bad_row_is_found(check: str, database: Path, registry: Registry) -> None:
    assert check in failing(database, registry, BAD[check])


def test_every_check_is_tested() -> None:
    assert {check.name for check in CHECKS} == set(BAD)


def test_what_a_user_may_live_with_only_warns(database: Path, registry: Registry) -> None:
    found = failing(database, registry, BAD["splits_are_disjoint"], BAD["everything_is_evaluated"])
    assert not found["splits_are_disjoint"]
    assert not found["everything_is_evaluated"]


def test_a_bad_matrix_stops_what_is_made_of_it(
    workspace: Workspace, answer: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer("sums", "elm", "10-1")
    matrix = build_correctness_matrix(workspace.registry)

    @dg.asset(deps=[matrix])
    def after() -> None: ...

    def evaluate() -> dict[str, bool]:
        with dg.DagsterInstance.ephemeral() as instance:
            made = dg.materialize(
                [matrix, after, *build_checks()],
                resources=build_resources(workspace),
                instance=instance,
                selection=dg.AssetSelection.assets("correctness_matrix", "after"),
                raise_on_error=False,
            )
            checked = {check.check_name: check.passed for check in made.get_asset_check_evaluations()}
            return checked | {"after": bool(made.asset_materializations_for_node("after"))}

    names = {check.name for check in CHECKS if check.asset == "correctness_matrix"}
    assert evaluate() == dict.fromkeys([*names, "after"], True)
    twice = workspace.lake.responses()
    monkeypatch.setitem(TABLES["correctness_matrix"], "responses", lambda _: pa.concat_tables([twice, twice]))
    found = evaluate()
    assert not found.pop("one_answer_a_model_and_question")
    assert not found.pop("after")
    assert all(found.values())
