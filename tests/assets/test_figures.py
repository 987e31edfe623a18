"""Pictures are PNGs inside the page, whatever the data."""

import base64
from collections.abc import Callable

import numpy as np
import pytest

from assets.figures import accuracy_table, correctness_heatmap, interval_bars, markdown, model_map
from assets.inputs import correctness
from assets.workspace import Workspace


def assert_picture(uri: str) -> None:
    kind, _, content = uri.partition(",")
    assert kind == "data:image/png;base64"
    image = base64.b64decode(content, validate=True)
    assert image.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(image) > 2_000


def test_heatmap_with_gaps(workspace: Workspace, answer: Callable[..., None]) -> None:
    answer("sums", "elm", "110-")
    answer("trees", "org/oak", "0101")
    matrix = correctness(workspace)
    names, accuracy = accuracy_table(matrix)
    assert names == ["sums", "trees"]
    np.testing.assert_array_equal(accuracy, [[2 / 3, np.nan], [np.nan, 0.5]])
    assert_picture(correctness_heatmap(matrix))


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


def test_markdown_shows_it() -> None:
    assert markdown("data:image/png;base64,AA==") == "![](data:image/png;base64,AA==)"
