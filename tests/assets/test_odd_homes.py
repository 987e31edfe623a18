"""Homes too small or too odd for some experiments: these say why, and the others work."""

import math
import re
from collections.abc import Callable

import dagster as dg
import numpy as np
import pytest

from assets.embedding.embedder import embedder
from assets.embedding.question_embeddings import question_embeddings
from assets.evaluation.experiments import EXPERIMENTS
from assets.evaluation.left_out_embeddings import left_out_embeddings
from assets.inputs.workspace import Workspace
from assets.matrix.correctness_matrix import build_correctness_matrix
from assets.report.report import report
from assets.report.warehouse import warehouse
from pipelines.graph import build_resources
from warehouse.database.read import query
from warehouse.lake.questions import split_of

pytestmark = pytest.mark.slow

Answer = Callable[..., None]
ASSETS = EXPERIMENTS
SUMMARY = {"cost_curve": "cost_summary"}  # a curve without points has its reason there


def _grades(rate: float, count: int, seed: int) -> str:
    return "".join("1" if drawn < rate else "0" for drawn in np.random.default_rng(seed).random(count))


def _by_chance(answer: Answer, benchmarks: int, models: int, questions: int = 60) -> None:
    for b in range(benchmarks):
        for m in range(models):
            answer(f"b{b}", f"m{m:02}", _grades(0.2 + 0.6 * ((b * 7 + m * 3) % 10) / 10, questions, 100 * b + m))


def one_model(answer: Answer) -> None:
    _by_chance(answer, benchmarks=3, models=1)


def one_benchmark(answer: Answer) -> None:
    _by_chance(answer, benchmarks=1, models=12)


def two_benchmarks(answer: Answer) -> None:
    _by_chance(answer, benchmarks=2, models=12)


def two_models(answer: Answer) -> None:
    _by_chance(answer, benchmarks=4, models=2)


def all_fail_a_benchmark(answer: Answer) -> None:
    _by_chance(answer, benchmarks=3, models=10)
    for m in range(10):
        answer("hopeless", f"m{m:02}", "0" * 60)


def all_fail_everything(answer: Answer) -> None:
    for b in range(3):
        for m in range(9):
            answer(f"b{b}", f"m{m:02}", "0" * 60)


def nobody_shares_a_question(answer: Answer) -> None:
    for m in range(9):
        answer(f"b{m}", f"m{m:02}", _grades(0.5, 60, m))


def hardly_any_questions(answer: Answer) -> None:
    _by_chance(answer, benchmarks=3, models=9, questions=4)


def a_model_without_answers(answer: Answer) -> None:
    """The registry's elm and org/oak have answered nothing, and m99 hardly anything."""
    _by_chance(answer, benchmarks=3, models=10)
    answer("b0", "m99", "1" + "-" * 59)


HOMES = (
    one_model,
    one_benchmark,
    two_benchmarks,
    two_models,
    all_fail_a_benchmark,
    all_fail_everything,
    nobody_shares_a_question,
    hardly_any_questions,
    a_model_without_answers,
)


@pytest.mark.parametrize("fill", HOMES, ids=lambda fill: fill.__name__)
@pytest.mark.usefixtures("encoder")
def test_each_experiment_has_a_result_or_a_reason(
    fill: Callable[[Answer], None], workspace: Workspace, answer: Answer
) -> None:
    fill(answer)
    _evaluate(workspace)
    _assert_complete(workspace)


@pytest.mark.parametrize("missing", ["test", "val"])
@pytest.mark.usefixtures("encoder")
def test_a_split_without_questions(
    missing: str, workspace: Workspace, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Published splits may lack one."""
    monkeypatch.setattr(
        "warehouse.lake.questions.split_of", lambda text: "train" if split_of(text) == missing else split_of(text)
    )
    _by_chance(answer, benchmarks=3, models=10)
    _evaluate(workspace)
    _assert_complete(workspace)


def _evaluate(workspace: Workspace) -> None:
    matrix = build_correctness_matrix(workspace.registry)
    chain = [matrix, question_embeddings, embedder, left_out_embeddings, *ASSETS, warehouse, report]
    with dg.DagsterInstance.ephemeral() as instance:
        made = dg.materialize(chain, resources=build_resources(workspace), instance=instance)
    assert made.success
    checks = made.get_asset_check_evaluations()
    assert len(checks) == len(ASSETS)
    assert [check.description for check in checks if not check.passed] == []


def _assert_complete(workspace: Workspace) -> None:
    for asset in ASSETS:
        table = SUMMARY.get(asset.op.name, asset.op.name)
        rows = query(workspace.database, f"FROM {table}").to_pylist()
        assert rows, f"{table} says nothing"
        for row in rows:
            numbers = [value for value in row.values() if isinstance(value, float)]
            assert all(map(math.isfinite, numbers)), row
            assert numbers or row["reason"], f"neither a result nor a reason: {row}"
    html = workspace.report.read_text(encoding="utf-8")
    assert html.count("<h2") > len(ASSETS) - 2  # communities and probes may share one
    words = re.sub(r"<(svg|style)\b.*?</\1>|<[^>]*>", " ", html, flags=re.DOTALL)
    assert not re.search(r".{40}\b(nan|NaN|inf|None)\b.{20}", words, flags=re.DOTALL)
