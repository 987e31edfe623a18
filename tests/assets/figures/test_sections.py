"""The report shows what experiments rendered; where they are not repeated with every refresh, as of when they were."""

from collections.abc import Callable
from typing import Any

import pytest

from assets.embedding.embedder import embedder
from assets.evaluation.forecast_curve import forecast_curve
from assets.evaluation.routing import routing
from assets.figures.sections import Picture, Section, read_sections, section_part
from assets.inputs.versions import serve
from assets.inputs.workspace import Workspace
from assets.matrix.correctness_matrix import build_correctness_matrix
from warehouse.database.read import query


@pytest.fixture
def grown(answered: Workspace, answer: Callable[..., None], materialize: Callable[..., dict[str, Any]]) -> Workspace:
    """A home whose experiments were made before its third model came."""
    materialize(embedder, forecast_curve, routing)
    answer("sums", "ash", "10" * 15)
    materialize(build_correctness_matrix(answered.registry), embedder)
    return answered


def test_sections_are_kept_as_they_were_rendered(workspace: Workspace) -> None:
    rows = [{"model": "elm", "n": 3, "accuracy": 1 / 3, "small": 1.0, "low": None, "best": True}]
    section = Section("t", "a < b", [Picture("data:,", "alt", "<svg/>")], [rows, []], "FROM m;", "router")
    workspace.lake.write_table(*section_part("correctness_matrix", section))
    assert read_sections(workspace.lake) == {"correctness_matrix": section}
    assert isinstance(read_sections(workspace.lake)["correctness_matrix"].tables[0][0]["small"], float)


def test_a_section_that_is_no_more_is_gone(workspace: Workspace) -> None:
    workspace.lake.write_table(*section_part("correctness_matrix", Section("t", "s")))
    workspace.lake.write_table(*section_part("correctness_matrix", None))
    assert read_sections(workspace.lake) == {}


def test_a_section_on_another_version_says_of_when_it_is(
    grown: Workspace, materialize: Callable[..., dict[str, Any]]
) -> None:
    (made,) = query(grown.database, "SELECT created_at, models FROM embedders WHERE NOT serving").to_pylist()
    shown = read_sections(grown.lake)["forecast_curve"]
    when = f"As of {made['created_at']:%Y-%m-%d %H:%M} UTC, when there were 2 models. "
    assert shown.says.startswith(f"{when}With all ")
    assert shown.pictures
    materialize(forecast_curve)
    assert "As of" not in read_sections(grown.lake)["forecast_curve"].says


def test_after_a_rollback_the_serving_version_has_its_own_section(
    grown: Workspace, materialize: Callable[..., dict[str, Any]]
) -> None:
    """An expensive experiment is not made again for it."""
    first = read_sections(grown.lake)["forecast_curve"]
    materialize(forecast_curve)
    second = read_sections(grown.lake)["forecast_curve"]
    (before,) = query(grown.database, "SELECT embedder FROM embedders WHERE NOT serving").to_pydict()["embedder"]
    serve(grown.lake, before)
    shown = read_sections(grown.lake)["forecast_curve"]
    assert first.says.endswith(shown.says)
    assert shown.says != second.says
