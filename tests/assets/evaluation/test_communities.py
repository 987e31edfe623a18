"""The distances of `communities` follow from `model_similarity`, as a user can see in SQL."""

import dataclasses
from collections.abc import Callable
from typing import Any

import dagster as dg
import numpy as np
import pytest

from assets.embedding.embedder import embedder
from assets.embedding.question_embeddings import question_embeddings
from assets.evaluation.communities import communities, significant
from assets.figures.communities import ratio_dots, score_dots
from assets.figures.sections import read_sections
from assets.inputs.workspace import Workspace
from assets.matrix.correctness_matrix import build_correctness_matrix
from assets.report.report import render
from harness.registry import BenchmarkEntry, ModelEntry, Registry
from pipelines.graph import build_resources
from warehouse.database.read import query

ODD_NAME = "<b>&\"'$x$"


@pytest.fixture
def registry(tmp_path: Any) -> Registry:
    """Two families of four; the second has sizes, and half of each are of a community. One model has an odd name."""
    models = [
        ModelEntry(
            name=ODD_NAME if at == 0 else f"m{at}",
            args={"pretrained": f"m{at}"},
            family="oaks" if at < 4 else "elms",
            size_b=None if at < 4 else 7.0 + at,
            communities=("coding",) if at % 2 else (),
        )
        for at in range(8)
    ]
    benchmarks = [BenchmarkEntry(name=name, tasks=(name,), metric="acc") for name in ("sums", "trees")]
    return Registry(folder=tmp_path, models=tuple(models), benchmarks=tuple(benchmarks))


@pytest.fixture
def fitted(workspace: Workspace, answer: Callable[..., None], fill: Callable[..., Workspace]) -> Workspace:
    """The oaks are right about trees, the elms about sums, and both now and then about the other."""

    def answer_all() -> None:
        rng = np.random.default_rng(0)
        for at, model in enumerate(workspace.registry.models):
            for benchmark, share in (("sums", 0.9 if at >= 4 else 0.2), ("trees", 0.2 if at >= 4 else 0.9)):
                answer(benchmark, model.name, "".join("01"[right] for right in (rng.random(80) < share).astype(int)))

    return fill("communities", answer_all, embedder)


DISTANCES = """
WITH member AS (SELECT model, unnest(communities) AS label, 'community' AS kind FROM models
    UNION ALL SELECT model, family, 'family' FROM models)
SELECT kind, label,
    avg(distance) FILTER (other IN (SELECT model FROM member o WHERE o.label = m.label AND o.kind = m.kind)) AS inside,
    avg(distance) FILTER (other NOT IN (SELECT model FROM member o WHERE o.label = m.label AND o.kind = m.kind))
        AS outside
FROM member m JOIN model_similarity s ON s.model = m.model
GROUP BY kind, label ORDER BY kind, label
"""


def test_distances_are_those_of_model_similarity(fitted: Workspace, materialize: Callable[..., dict[str, Any]]) -> None:
    metadata = materialize(communities)
    columns = "SELECT kind, label, inside, outside FROM communities WHERE kind <> 'size' ORDER BY kind, label"
    recorded = query(fitted.database, columns).to_pylist()
    recomputed = query(fitted.database, DISTANCES).to_pylist()
    assert recorded == [pytest.approx(row, abs=1e-6) for row in recomputed]
    assert [(row["kind"], row["label"]) for row in recorded] == [
        ("community", "coding"),
        ("family", "elms"),
        ("family", "oaks"),
    ]
    told = query(fitted.database, "SELECT label, p_value, reason FROM communities ORDER BY label").to_pydict()
    by_label = dict(zip(told["label"], told["p_value"], strict=True))
    # Of 70 ways to choose four of eight, two are as near as the families.
    assert by_label["oaks"] == pytest.approx(by_label["elms"], abs=0.02)
    assert by_label["oaks"] < 0.05 < by_label["coding"]
    assert metadata["dagster/row_count"] == len(told["label"]) == 4
    assert metadata["picture"].startswith("![](data:image/png;base64,")


def test_the_section_shows_the_map_and_its_queries_run(
    fitted: Workspace, materialize: Callable[..., dict[str, Any]]
) -> None:
    materialize(communities)
    shown = read_sections(fitted.lake)["communities"]
    assert "root mean square difference of their log-odds" in shown.says
    html = render("", [shown])
    assert html.count('<g class="mark"') == 8
    assert "<title>m5 · elms · 12B parameters · " in html
    assert ODD_NAME not in html
    assert "<b>" not in html
    assert "&lt;b&gt;&amp;&#34;&#39;$x$ · oaks · " in html
    for statement in filter(str.strip, shown.sql.split(";")):
        assert query(fitted.database, statement).num_rows
    assert {row["label"] for row in shown.tables[0]} == {"coding", "elms", "oaks", "13B"}


def test_without_labels_the_map_still_stands_beside_the_reason(fitted: Workspace) -> None:
    bare = tuple(ModelEntry(name=model.name, args=model.args) for model in fitted.registry.models)
    workspace = Workspace(fitted.home, dataclasses.replace(fitted.registry, models=bare))
    for asset in (build_correctness_matrix(workspace.registry), communities):
        dg.materialize([asset], resources=build_resources(workspace))
    shown = read_sections(workspace.lake)["communities"]
    assert "Not possible here: no model has a community, a size or a family." in shown.says
    assert len(shown.pictures) == 1
    assert shown.pictures[0].svg.count('class="mark"') == 8


def test_many_tests_are_corrected_for() -> None:
    """Benjamini and Hochberg: of p .01, .02, .05, .9 the adjusted are .04, .04, .067, .9."""
    rows = [{"label": name, "p_value": p} for name, p in (("a", 0.05), ("b", 0.01), ("c", 0.9), ("d", 0.02))]
    assert [row["label"] for row in significant(rows)] == ["b", "d"]
    assert significant([]) == []


def test_pictures_of_any_names() -> None:
    ratio = {"kind": "family", "label": ODD_NAME * 9, "models": 2, "ratio": 0.4, "chance_low": 0.8, "chance_high": 1.2}
    score = {"target": ODD_NAME, "method": "knn", "metric": "precision at 5", "score": 1.0, "chance": 0.1}
    for drawing in (ratio_dots([ratio] * 3), score_dots([score | {"ci_low": 1.0, "ci_high": 1.0}])):
        assert drawing.uri.startswith("data:image/png;base64,")


def test_one_model_has_a_map_and_a_reason(
    workspace: Workspace, answer: Callable[..., None], encoder: Any, materialize: Callable[..., dict[str, Any]]
) -> None:
    answer("sums", "m1", "01" * 40)
    materialize(build_correctness_matrix(workspace.registry))
    for asset in (question_embeddings, embedder, communities):
        materialize(asset)
    shown = read_sections(workspace.lake)["communities"]
    assert shown.says.startswith("Not possible here: needs at least 2 models inside and 1 outside, found 1 and 0.")
    assert shown.pictures[0].svg.count('class="mark"') == 1
