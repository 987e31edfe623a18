"""The errors of `contributions` are those of `benchmark_predictions`, and the report sums them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from assets.embedding.embedder import embedder
from assets.embedding.question_embeddings import question_embeddings
from assets.evaluation.benchmark_predictions import benchmark_predictions
from assets.evaluation.contributions import contributions
from assets.evaluation.left_out_embeddings import left_out_embeddings
from assets.figures.heatmaps import contribution_heatmap
from assets.figures.sections import read_sections
from assets.inputs.workspace import Workspace
from assets.matrix.correctness_matrix import build_correctness_matrix
from assets.report.report import render
from warehouse.database.read import query

BENCHMARKS = ("sums", "towns", "trees", "words")


class TopicEncoder:
    """Sees what benchmark a question is of, by how it begins."""

    name, dimensions = "topic@1", 4

    def encode(self, texts: Sequence[str], progress: bool = True) -> npt.NDArray[np.float32]:
        return np.array([[text.startswith(name) for name in BENCHMARKS] for text in texts], np.float32)

    def count_long(self, texts: Sequence[str]) -> int:
        return 0


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assets.matrix.reading._encoder", lambda *_: TopicEncoder())


@pytest.fixture
def fitted(workspace: Workspace, answer: Callable[..., None], fill: Callable[..., Workspace]) -> Workspace:
    """Ten models, those of even number good at sums and towns, the others at trees and words."""

    def answer_all() -> None:
        rng = np.random.default_rng(1)
        for at in range(10):
            for number, benchmark in enumerate(BENCHMARKS):
                share = 0.2 + 0.06 * at if (at % 2 == 0) == (number < 2) else 0.25
                answer(benchmark, f"m{at}", "".join("01"[right] for right in (rng.random(60) < share).astype(int)))

    return fill("four benchmarks", answer_all, embedder, left_out_embeddings)


def test_contributions_and_their_section(fitted: Workspace, materialize: Callable[..., dict[str, Any]]) -> None:
    materialize(benchmark_predictions)
    said = materialize(contributions)
    assert said["dagster/row_count"] == 12
    rows = query(
        fitted.database,
        "SELECT c.*, mse FROM contributions c JOIN benchmark_predictions b "
        "ON b.benchmark = target AND b.embedder = c.embedder AND method = 'embedder'",
    ).to_pylist()
    assert {(row["contributor"], row["target"]) for row in rows} == {
        (i, j) for i in BENCHMARKS for j in BENCHMARKS if i != j
    }
    for row in rows:
        assert row["mse_with"] == pytest.approx(row["mse"], abs=1e-6)
        assert row["contribution"] == pytest.approx(row["mse_without"] - row["mse_with"], abs=1e-6)
        assert row["ci_low"] <= row["contribution"] <= row["ci_high"]
    made = read_sections(fitted.lake)["contributions"]
    given = {name: sum(1e4 * row["contribution"] for row in rows if row["contributor"] == name) for name in BENCHMARKS}
    assert {row["benchmark"]: row["gives (squared points)"] for row in made.tables[0]} == pytest.approx(given)
    best = max(given, key=given.__getitem__)
    assert made.says.startswith(f"{best} contributes most")
    assert f"lower by {given[best]:.1f} squared" in made.says
    helping = sum(row["ci_low"] > 0 for row in rows)
    assert f"Of 12 pairs, {helping} help" in made.says
    assert made.pictures[0].uri in said["picture"]
    assert query(fitted.database, made.sql.rstrip(";")).num_rows == helping
    assert made.title in render("", [made])


def test_a_home_of_two_benchmarks_says_why_not(
    workspace: Workspace, answer: Callable[..., None], encoder: Any, materialize: Callable[..., dict[str, Any]]
) -> None:
    for at in range(9):
        answer("sums", f"m{at}", "01" * 20)
        answer("trees", f"m{at}", "0011" * 10)
    matrix = build_correctness_matrix(workspace.registry)
    for asset in (matrix, question_embeddings, embedder, left_out_embeddings, contributions):
        materialize(asset)
    shown = read_sections(workspace.lake)["contributions"]
    assert shown.says == "Not possible here: needs at least 3 benchmarks, found 2."


def test_no_change_is_no_help(
    workspace: Workspace, answer: Callable[..., None], encoder: Any, materialize: Callable[..., dict[str, Any]]
) -> None:
    for at in range(9):
        for benchmark in BENCHMARKS:
            answer(benchmark, f"m{at}", "0" * 30)
    matrix = build_correctness_matrix(workspace.registry)
    for asset in (matrix, question_embeddings, embedder, left_out_embeddings, contributions):
        materialize(asset)
    assert read_sections(workspace.lake)["contributions"].says.startswith(
        "No benchmark makes the others easier to predict in sum; none is helped in sum. Of 12 pairs, 0 help and 0 harm"
    )


@pytest.mark.parametrize("count", [3, 14, 20])
def test_picture_of_few_and_many_benchmarks(count: int) -> None:
    cells = np.random.default_rng(0).normal(0, 1e-3, (count, count))
    cells[np.eye(count, dtype=bool)] = np.nan
    names = [f"folder/{number} $x$" for number in range(count)]
    drawing = contribution_heatmap(names, cells, np.abs(cells) > 1e-3)
    assert drawing.uri.startswith("data:image/png;base64,")
    assert drawing == contribution_heatmap(names, cells, np.abs(cells) > 1e-3)
    assert drawing != contribution_heatmap(names, cells, np.zeros((count, count), bool))
