"""Every accuracy of `portfolios` is that of routing question by question among the models added so far."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from assets.embedding.embedder import embedder
from assets.embedding.question_embeddings import question_embeddings
from assets.embedding.serving import load_serving
from assets.evaluation.portfolios import portfolios
from assets.evaluation.routing import routing
from assets.figures.portfolios import portfolio_curves
from assets.figures.sections import read_sections
from assets.inputs.workspace import Workspace
from assets.matrix.correctness_matrix import build_correctness_matrix
from warehouse.database.read import query

Answer = Callable[..., None]
Materialize = Callable[..., dict[str, Any]]


@pytest.fixture
def fill(
    workspace: Workspace, answer: Answer, encoder: Any, materialize: Materialize
) -> Callable[[dict[str, int]], Workspace]:
    """Five models that are right by chance, some of which were not asked the last questions of each benchmark."""

    def run(unasked: dict[str, int]) -> Workspace:
        rng = np.random.default_rng(4)
        rates = {"sums": (0.4, 0.5, 0.9, 0.6, 0.2), "trees": (0.5, 0.9, 0.3, 0.6, 0.2)}
        for benchmark, questions in (("sums", 120), ("trees", 150)):
            for model, share in zip(("ash", "elm", "fir", "oak", "yew"), rates[benchmark], strict=True):
                grades = "".join("1" if number < share else "0" for number in rng.random(questions))
                missing = unasked.get(model, 0)
                answer(benchmark, model, grades[: questions - missing] + "-" * missing)
        materialize(build_correctness_matrix(workspace.registry))
        for asset in (question_embeddings, embedder, routing, portfolios):
            materialize(asset)
        return workspace

    return run


def routed(workspace: Workspace, split: str, portfolio: list[str]) -> float:
    """Accuracy of the router among some models, on questions that every model in the table answered."""
    served = load_serving(workspace)
    matrix = served.matrix.of_split(split)
    scores = served.embedder.routing_scores(served.questions.rows(served.matrix.splits == split))
    taking_part = query(workspace.database, "SELECT model FROM portfolios WHERE method = 'greedy'").to_pydict()["model"]
    everyone = [matrix.models.index(model) for model in taking_part]
    some = [matrix.models.index(model) for model in portfolio]
    right = [
        labels[max(some, key=lambda model: of_question[model])]
        for labels, of_question in zip(matrix.labels, scores, strict=True)
        if not np.isnan(labels[everyone]).any()
    ]
    return float(np.mean(right))


def test_portfolios_of_models_that_answered_everything(fill: Callable[[dict[str, int]], Workspace]) -> None:
    workspace = fill({})
    _assert_recomputed_question_by_question(workspace, models=5)
    _assert_each_model_added_gains_most_on_val(workspace)
    _assert_all_models_are_the_router(workspace)
    shown = read_sections(workspace.lake)["portfolios"]
    enough = {
        row["method"]: row["k"]
        for row in query(workspace.database, "SELECT method, k FROM portfolios WHERE enough").to_pylist()
    }
    assert f"On validation questions {enough['greedy']} model" in shown.says
    assert f"take {enough['best_mean']}, random ones {enough['random']}." in shown.says
    assert "Answers are missing" not in shown.says
    assert [row["k"] for row in shown.tables[0]] == [1, 2, 3, 4, 5]
    assert shown.pictures[0].uri.startswith("data:image/png;base64,")
    assert query(workspace.database, shown.sql).num_rows == 15


def test_portfolios_where_answers_are_missing(fill: Callable[[dict[str, int]], Workspace]) -> None:
    """Ash and yew were not asked a third and most of the questions."""
    workspace = fill({"ash": 40, "yew": 110})
    _assert_recomputed_question_by_question(workspace, models=3)
    shown = read_sections(workspace.lake)["portfolios"]
    assert "over all 3" in shown.says
    assert "Answers are missing: of 5 models and" in shown.says


def _assert_recomputed_question_by_question(workspace: Workspace, models: int) -> None:
    found = query(workspace.database, "FROM portfolios WHERE method <> 'random' ORDER BY method, k").to_pylist()
    assert len(found) == 2 * models
    for method in ("greedy", "best_mean"):
        rows = [row for row in found if row["method"] == method]
        portfolio: list[str] = []
        on_val = [routed(workspace, "val", [row["model"] for row in rows[:k]]) for k in range(1, models + 1)]
        least = next(k for k, accuracy in enumerate(on_val, 1) if accuracy >= 0.99 * on_val[-1])
        assert [row["k"] for row in rows if row["enough"]] == [least]
        for row in rows:
            portfolio.append(row["model"])
            assert row["accuracy"] == pytest.approx(routed(workspace, "test", portfolio), abs=1e-6)
            assert row["share"] == pytest.approx(row["accuracy"] / rows[-1]["accuracy"], abs=1e-6)
            assert row["share_low"] <= row["share"] <= row["share_high"]


def _assert_each_model_added_gains_most_on_val(workspace: Workspace) -> None:
    added = query(workspace.database, "SELECT model FROM portfolios WHERE method = 'greedy' ORDER BY k").to_pydict()
    names = added["model"]
    for k in range(len(names)):
        gained = {model: routed(workspace, "val", [*names[:k], model]) for model in names[k:]}
        assert gained[names[k]] == max(gained.values())


def _assert_all_models_are_the_router(workspace: Workspace) -> None:
    (router,) = query(
        workspace.database, "SELECT accuracy FROM routing WHERE method = 'router' AND benchmark = 'all'"
    ).to_pylist()
    of_all = query(workspace.database, "SELECT accuracy FROM portfolios WHERE k = 5").to_pylist()
    assert of_all == [pytest.approx(router)] * 3


def test_curves_without_interval_are_drawn() -> None:
    rows = [
        {"method": method, "k": k, "accuracy": k / 2, "ci_low": None, "ci_high": None, "enough": k == 2}
        for k in (1, 2)
        for method in ("best_mean", "greedy", "random")
    ]
    assert portfolio_curves(rows, enough=0.99).uri.startswith("data:image/png;base64,")
