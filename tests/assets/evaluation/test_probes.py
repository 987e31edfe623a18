"""The scores of `probes` follow from `model_embeddings` and `models`."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from assets.embedding.embedder import embedder
from assets.evaluation.probes import probes
from assets.figures.sections import read_sections
from assets.inputs.workspace import Workspace
from assets.report.report import render
from harness.registry import BenchmarkEntry, ModelEntry, Registry
from warehouse.database.read import query


@pytest.fixture
def registry(tmp_path: Any) -> Registry:
    """Two families of six, all of which have a size; the first is the community "coding"."""
    models = [
        ModelEntry(
            name=f"m{at:02d}",
            args={"pretrained": f"m{at}"},
            family="oaks" if at < 6 else "elms",
            size_b=1.0 + at,
            communities=("coding",) if at < 6 else (),
        )
        for at in range(12)
    ]
    benchmarks = [BenchmarkEntry(name=name, tasks=(name,), metric="acc") for name in ("sums", "trees")]
    return Registry(folder=tmp_path, models=tuple(models), benchmarks=tuple(benchmarks))


@pytest.fixture
def probed(workspace: Workspace, answer: Callable[..., None], fill: Callable[..., Workspace]) -> Workspace:
    """The oaks are right about trees, the elms about sums."""

    def answer_all() -> None:
        rng = np.random.default_rng(0)
        for at, model in enumerate(workspace.registry.models):
            for benchmark, share in (("sums", 0.9 if at >= 6 else 0.2), ("trees", 0.2 if at >= 6 else 0.9)):
                answer(benchmark, model.name, "".join("01"[right] for right in (rng.random(60) < share).astype(int)))

    return fill("probes", answer_all, embedder, probes)


NEAREST = """
WITH ranked AS (
    SELECT model, other, row_number() OVER (PARTITION BY model ORDER BY distance, other) AS place FROM model_similarity
), own AS (SELECT model, family FROM models), sized AS (SELECT family, count(*) AS size FROM models GROUP BY family)
SELECT avg(share) AS score FROM (
    SELECT r.model, avg((a.family = b.family)::INT) AS share
    FROM ranked r JOIN own a ON r.model = a.model JOIN own b ON r.other = b.model JOIN sized ON sized.family = a.family
    WHERE place <= least(5, size - 1) GROUP BY r.model
)
"""


def test_precision_is_that_of_model_similarity(probed: Workspace) -> None:
    (recomputed,) = query(probed.database, NEAREST).to_pylist()
    (row,) = query(probed.database, "SELECT score, chance FROM probes WHERE method = 'knn'").to_pylist()
    assert row["score"] == pytest.approx(recomputed["score"], abs=1e-6)
    assert row["chance"] == pytest.approx(5 / 11, abs=1e-6)


def test_linear_probes_are_refitted_model_by_model(probed: Workspace) -> None:
    """One after the other, without scikit-learn's cross-validation."""
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.preprocessing import StandardScaler

    told = query(
        probed.database, "SELECT embedding, family = 'oaks' AS oak FROM model_embeddings JOIN models USING (model)"
    ).to_pydict()
    points, oaks = np.array(told["embedding"], np.float64), np.array(told["oak"], int)
    right = []
    for out in range(len(oaks)):
        rest = np.arange(len(oaks)) != out
        scaler = StandardScaler().fit(points[rest])
        probe = RidgeClassifierCV(np.logspace(-2, 4, 13), class_weight="balanced")
        probe.fit(scaler.transform(points[rest]), oaks[rest])
        right.append(probe.predict(scaler.transform(points[[out]]))[0] == oaks[out])
    hits = np.array(right)
    expected = (hits[oaks == 1].mean() + hits[oaks == 0].mean()) / 2
    rows = query(probed.database, "SELECT target, score FROM probes WHERE metric = 'balanced accuracy'").to_pylist()
    scores = {row["target"]: row["score"] for row in rows}
    assert (scores["coding"], scores["family"]) == pytest.approx((expected, expected), abs=1e-6)
    assert expected > 0.8


def test_the_section_says_how_many_and_its_query_runs(probed: Workspace) -> None:
    shown = read_sections(probed.lake)["probes"]
    assert "Of 4 probes, " in shown.says
    assert "The family is predicted with a balanced accuracy of " in shown.says
    assert {row["target"] for row in shown.tables[0]} == {"coding", "family", "size"}
    assert query(probed.database, shown.sql.removesuffix(";")).num_rows > 4  # with those that have a reason
    assert "What does an embedding reveal about a model?" in render("", [shown])


def test_where_nothing_can_be_probed_the_reasons_are_told(
    answered: Workspace, materialize: Callable[..., dict[str, Any]]
) -> None:
    materialize(embedder)
    materialize(probes)
    shown = read_sections(answered.lake)["probes"]
    assert shown.says.startswith("Not possible here: needs at least ")
    assert not shown.pictures
