"""Experiments that are not repeated with every refresh are shown as of when they were made."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from assets.correctness_matrix import build_correctness_matrix
from assets.embedder import embedder
from assets.forecast_curve import forecast_curve, section
from assets.sections import as_of, latest, of_serving
from assets.workspace import Workspace
from warehouse.read import query


@pytest.fixture
def grown(
    answered: Workspace, answer: Callable[..., None], materialize: Callable[..., dict[str, Any]]
) -> tuple[Workspace, str]:
    """A home whose learning curve was drawn before its third model came, and the version that it was drawn of."""
    first = materialize(embedder)["data_version"]
    materialize(forecast_curve)
    assert as_of(answered, "forecast_curve") == ""
    answer("sums", "ash", "10" * 15)
    materialize(build_correctness_matrix(answered.registry))
    assert materialize(embedder)["data_version"] != first
    return answered, first


def test_rows_of_the_version_before_stay_until_there_are_new_ones(
    grown: tuple[Workspace, str], materialize: Callable[..., dict[str, Any]]
) -> None:
    workspace, first = grown
    assert of_serving(workspace, "forecast_curve") == []
    before = latest(workspace, "forecast_curve", "*", "WHERE method = 'embedder'")
    assert before == query(
        workspace.database, f"SELECT * EXCLUDE (embedder) FROM forecast_curve WHERE embedder = '{first}' "
        "AND method = 'embedder'"
    ).to_pylist()  # fmt: skip
    materialize(forecast_curve)
    assert latest(workspace, "forecast_curve") == of_serving(workspace, "forecast_curve") != []
    assert as_of(workspace, "forecast_curve") == ""


def test_the_section_says_as_of_when(grown: tuple[Workspace, str]) -> None:
    workspace, _ = grown
    shown = section(workspace)
    assert re.match(r"As of \d{4}-\d\d-\d\d \d\d:\d\d UTC, when there were 2 models\. With all ", shown.says)
    assert shown.pictures
    assert query(workspace.database, shown.sql.removesuffix(";")).num_rows
