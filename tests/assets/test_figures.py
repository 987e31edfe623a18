"""Pictures are PNGs in the UI and SVGs in the report, whatever the data."""

import base64
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable

import numpy as np
import pytest

from assets.figures.bars import interval_bars
from assets.figures.drawing import Drawing
from assets.figures.heatmaps import accuracy_table, correctness_heatmap
from assets.figures.maps import Mapped, hover_map, model_map
from assets.figures.scatter import Panel, predicted_against_observed
from assets.figures.style import markdown
from assets.inputs.workspace import Workspace
from assets.matrix.reading import correctness


def assert_picture(drawing: Drawing) -> None:
    kind, _, content = drawing.uri.partition(",")
    assert kind == "data:image/png;base64"
    image = base64.b64decode(content, validate=True)
    assert image.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(image) > 2_000
    page = ET.fromstring(drawing.svg)
    assert [text.text for text in page.iter("text")]  # it is text, not outlines of letters
    assert "http" not in drawing.svg
    assert not list(page.iter("style"))  # which would hold for the whole page


def titles(drawing: Drawing) -> list[str | None]:
    return [title.text for title in ET.fromstring(drawing.svg).iter("title")]


def test_heatmap_with_gaps(workspace: Workspace, answer: Callable[..., None]) -> None:
    answer("sums", "elm", "110-")
    answer("trees", "org/oak", "0101")
    matrix = correctness(workspace)
    names, accuracy = accuracy_table(matrix)
    assert names == ["sums", "trees"]
    np.testing.assert_array_equal(accuracy, [[2 / 3, np.nan], [np.nan, 0.5]])
    drawing = correctness_heatmap(matrix)
    assert_picture(drawing)
    assert titles(drawing) == ["elm · sums: 66.7%", "org/oak · trees: 50.0%"]


def test_points_tell_which_they_are() -> None:
    panel = Panel("<sums>", ["elm & co", "org/oak"], [0.25, 0.75], [0.5, 0.5], [0.1, 0.1])
    drawing = predicted_against_observed([panel], ours="us", baseline="them", x_label="x", y_label="y")
    assert_picture(drawing)
    assert titles(drawing) == ["elm & co: observed 25.0%, predicted 50.0%", "org/oak: observed 75.0%, predicted 50.0%"]


def test_no_two_pictures_share_an_id() -> None:
    rows = [{"method": "router", "accuracy": accuracy, "ci_low": None, "ci_high": None} for accuracy in (0.1, 0.9)]
    one, other = (set(re.findall(r' id="([^"]+)"', interval_bars([row], ours="", label="%").svg)) for row in rows)
    assert one
    assert not one & other


def test_bars_without_interval() -> None:
    rows = [
        {"method": "router", "accuracy": 1.0, "ci_low": 0.8, "ci_high": 1.0},
        {"method": "best_single", "accuracy": 0.0, "ci_low": None, "ci_high": None},
    ]
    assert_picture(interval_bars(rows, ours="router", label="%"))


@pytest.mark.parametrize("models", [1, 2, 112])
def test_map_of_few_and_many_models(models: int) -> None:
    vectors = np.random.default_rng(0).standard_normal((models, 5)).astype(np.float32)
    assert_picture(model_map(vectors, [None if row == 0 else f"family {row % 30}" for row in range(models)]))


def test_same_data_same_picture() -> None:
    vectors = np.eye(3, dtype=np.float32)
    assert model_map(vectors, [None] * 3) == model_map(vectors, [None] * 3)


def drawn(page: str) -> ET.Element:
    """The map but for its script, which is no XML; well-formed, whatever the names."""
    return ET.fromstring(page.partition("<script>")[0] + "</figure>")


def marks(page: str) -> dict[str, tuple[float, float]]:
    """Where each model is on the map, to the right and down, by what is told of it."""
    found = {}
    for group in drawn(page).iter("g"):
        x, y = re.findall(r"-?[\d.]+", group.get("transform") or "")
        found[group.findtext("title") or ""] = (float(x), float(y))
    return found


def test_the_map_tells_which_model_a_mark_is() -> None:
    corners = np.array([[0, 0], [4, 0], [4, 2], [0, 2]], np.float32)
    models = [
        Mapped('<b>&"', "<i>", 7.0, 0.5),
        Mapped("</title><script>alert(1)</script>", None, None, None),
        Mapped("c", "x & y", 0.135, None),
        Mapped("d", None, None, 1.0),
    ]
    page = hover_map(corners, models, 'four "models"')
    assert page.count("<script>") == 1  # its own
    placed = marks(page)
    assert list(placed) == [
        '<b>&" · <i> · 7B parameters · 50.0% right',
        "</title><script>alert(1)</script>",
        "c · x & y · 135M parameters",
        "d · 100.0% right",
    ]
    a, b, c, d = (np.array(at) for at in placed.values())
    assert np.linalg.norm(b - a) == pytest.approx(2 * np.linalg.norm(c - b), rel=0.01)  # one scale for both axes
    np.testing.assert_allclose(a + c, b + d, atol=0.3)
    assert all(0 < x < 640 and 0 < y < 480 for x, y in placed.values())
    assert "http" not in page


@pytest.mark.parametrize("models", [1, 2, 300])
def test_hover_map_of_few_and_many_models(models: int) -> None:
    vectors = np.random.default_rng(0).standard_normal((models, 5)).astype(np.float32)
    page = hover_map(vectors, [Mapped(f"m{row}", f"family {row % 40}") for row in range(models)], "")
    assert len(marks(page)) == models
    assert page == hover_map(vectors, [Mapped(f"m{row}", f"family {row % 40}") for row in range(models)], "")


def test_only_the_largest_families_have_a_mark_of_their_own() -> None:
    """Of 20: f0 and f1 have three models, the others one; f2 to f19 and models of no family share one."""
    families = [*["f0", "f1"] * 2, *(f"f{n}" for n in range(20)), None]
    page = hover_map(
        np.random.default_rng(0).standard_normal((25, 3)).astype(np.float32),
        [Mapped(str(row), family) for row, family in enumerate(families)],
        "",
    )
    legend = [(item[-1].tail or "").strip() for item in drawn(page).iter("li")]
    assert legend == ["f0", "f1", "other or unknown"]


def test_each_of_few_families_has_its_mark() -> None:
    page = hover_map(np.eye(3, dtype=np.float32), [Mapped("a", "x"), Mapped("b", "y"), Mapped("c", "y")], "")
    assert [(item[-1].tail or "").strip() for item in drawn(page).iter("li")] == ["x", "y"]


def test_markdown_shows_it() -> None:
    assert markdown("data:image/png;base64,AA==") == "![](data:image/png;base64,AA==)"
