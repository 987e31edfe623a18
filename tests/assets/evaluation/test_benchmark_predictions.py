"""Every figure of `benchmark_predictions` follows from `predicted_accuracies`, which are held against `responses`."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import kendalltau

from assets.embedding.embedder import embedder
from assets.embedding.question_embeddings import question_embeddings
from assets.evaluation.benchmark_predictions import benchmark_predictions
from assets.evaluation.left_out_embeddings import left_out_embeddings
from assets.figures.sections import read_sections
from assets.inputs.workspace import Workspace
from assets.matrix.correctness_matrix import build_correctness_matrix
from assets.report.report import render
from embedder.metrics import bootstrap_interval
from warehouse.database.read import query

ODD_NAME = "<b>&\"'$\\q$"


@pytest.fixture
def fitted(workspace: Workspace, answer: Callable[..., None], fill: Callable[..., Workspace]) -> Workspace:
    """Ten models, the better the later, asked about sums and trees, most also about a benchmark with an odd name."""

    def answer_all() -> None:
        rng = np.random.default_rng(1)
        for at in range(10):
            for benchmark in ("sums", "trees", ODD_NAME)[: 2 if at == 4 else 3]:
                grades = "".join("01"[right] for right in (rng.random(60) < 0.1 + 0.08 * at).astype(int))
                answer(benchmark, f"m{at}", grades)

    return fill("an odd benchmark", answer_all, embedder, left_out_embeddings)


ELSEWHERE = """
SELECT benchmarks.benchmark, model, avg(correct::INT) AS mean
FROM benchmarks, responses JOIN questions USING (question_id)
WHERE split = 'train' AND questions.benchmark <> benchmarks.benchmark GROUP BY ALL
"""
AGAINST_ANSWERS = f"""
SELECT max(abs(observed - accuracy)) AS observed, max(abs(predicted - mean)) FILTER (method = 'mean_elsewhere') AS mean
FROM predicted_accuracies JOIN leaderboard USING (benchmark, model) JOIN ({ELSEWHERE}) USING (benchmark, model)
"""


def test_all_is_recomputed_from_single_predictions(
    fitted: Workspace, materialize: Callable[..., dict[str, Any]]
) -> None:
    said = materialize(benchmark_predictions)
    recorded = query(fitted.database, "FROM benchmark_predictions").to_pylist()
    assert len(recorded) == said["dagster/row_count"] == 4 * 6
    singles = query(fitted.database, "FROM predicted_accuracies ORDER BY benchmark, method, split").to_pylist()
    for row in recorded:
        names = [ODD_NAME, "sums", "trees"] if row["benchmark"] == "all" else [row["benchmark"]]
        measured = [
            _measured([s for s in singles if (s["benchmark"], s["method"]) == (n, row["method"])]) for n in names
        ]
        for measure, values in zip(("tau", "mse", "mae"), np.mean(measured, axis=0).T[:3], strict=True):
            interval = bootstrap_interval(values, np.ones(100), seed=fitted.seed)
            assert row[measure] == pytest.approx(values.mean(), abs=1e-6)
            assert (row[f"{measure}_low"], row[f"{measure}_high"]) == pytest.approx(interval, abs=1e-6)
        p_values = np.array(measured)[..., 3]
        assert row["significant"] == (p_values < 0.05).sum()
        if row["benchmark"] != "all":
            assert row["p_value"] == pytest.approx(np.median(p_values), abs=1e-6)
            assert row["models"] == (9 if row["benchmark"] == ODD_NAME else 10)
    (differences,) = query(fitted.database, AGAINST_ANSWERS).to_pylist()
    assert differences == pytest.approx({"observed": 0, "mean": 0}, abs=1e-6)


def _measured(singles: list[dict[str, Any]]) -> list[tuple[float, ...]]:
    """tau, MSE, MAE and p-value of each split."""
    found = []
    for split in range(100):
        pairs = np.array([(s["predicted"], s["observed"]) for s in singles if s["split"] == split])
        assert len(pairs) == 3
        rank, error = kendalltau(*pairs.T), pairs[:, 0] - pairs[:, 1]
        found.append((rank.statistic, (error**2).mean(), np.abs(error).mean(), rank.pvalue))
    return found


def test_the_section(fitted: Workspace, materialize: Callable[..., dict[str, Any]]) -> None:
    said = materialize(benchmark_predictions)
    made = read_sections(fitted.lake)["benchmark_predictions"]
    (ours,) = query(
        fitted.database, "SELECT tau, mae FROM benchmark_predictions WHERE benchmark = 'all' AND method = 'embedder'"
    ).to_pylist()
    assert f"mean error of {100 * ours['mae']:.1f} points (Kendall's tau {ours['tau']:.2f})" in made.says
    assert said["says"] == made.says
    assert made.pictures[0].uri in said["picture"]
    assert len(made.pictures[0].uri) > 5_000
    assert [row["benchmark"] for row in made.tables[1]] == [ODD_NAME, "sums", "trees"]
    for sql in made.sql.split(";")[:-1]:
        assert query(fitted.database, sql).num_rows > 0
    html = render("", [made])
    assert ODD_NAME not in html
    assert "Ridge regression on embeddings" in html


def test_a_home_of_one_benchmark_says_why_not(
    workspace: Workspace, answer: Callable[..., None], encoder: Any, materialize: Callable[..., dict[str, Any]]
) -> None:
    for at in range(9):
        answer("sums", f"m{at}", "01" * 20)
    matrix = build_correctness_matrix(workspace.registry)
    for asset in (matrix, question_embeddings, embedder, left_out_embeddings, benchmark_predictions):
        materialize(asset)
    shown = read_sections(workspace.lake)["benchmark_predictions"]
    assert shown.says == "Not possible here: needs at least 2 benchmarks, found 1."
    assert query(workspace.database, "FROM predicted_accuracies").num_rows == 0
