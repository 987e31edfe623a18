from typing import Any
from unittest.mock import Mock

import pytest

from harness.errors import TaskUnknown
from harness.grading import grade
from harness.registry import BenchmarkEntry


def graded(samples: list[dict[str, Any]], metric: str, higher_is_better: bool = True) -> list[dict[str, Any]]:
    task = Mock(**{"higher_is_better.return_value": {metric: higher_is_better}})
    benchmark = BenchmarkEntry(name="b", tasks=("t",), metric=metric)
    return grade({"t": samples}, {"t": task}, benchmark).to_pylist()


def sample(doc_id: int, name: str = "none", **metrics: Any) -> dict[str, Any]:
    return {"doc_id": doc_id, "filter": name, "metrics": list(metrics), **metrics}


@pytest.mark.parametrize(
    ("value", "score", "correct"),
    [(1, 1.0, True), (0.0, 0.0, False), (True, 1.0, True), (0.5, 0.5, True), (0.49, 0.49, False)],
)
def test_half_the_mark_is_correct(value: Any, score: float, correct: bool) -> None:
    assert graded([sample(0, m=value)], "m") == [{"task": "t", "doc_id": 0, "correct": correct, "score": score}]


def test_of_an_error_rate_less_is_correct() -> None:
    rows = graded([sample(0, wer=0.2), sample(1, wer=1.3)], "wer", higher_is_better=False)

    assert [row["correct"] for row in rows] == [True, False]


@pytest.mark.parametrize(("score", "higher_is_better"), [(37.5, True), (-12.0, True), (-12.0, False)])
def test_a_metric_on_another_scale_is_no_grade(score: float, higher_is_better: bool) -> None:
    with pytest.raises(TaskUnknown, match=f"metric 'm' of task 't' gave a question {score:g}, and only metrics from 0"):
        graded([sample(0, m=score)], "m", higher_is_better)


def test_rows_come_in_dataset_order_whatever_the_order_of_samples() -> None:
    assert [row["doc_id"] for row in graded([sample(2, acc=1), sample(0, acc=0)], "acc")] == [0, 2]


def test_question_without_a_score_has_no_row() -> None:
    assert [row["doc_id"] for row in graded([sample(0, m=float("nan")), sample(1, m=1)], "m")] == [1]


@pytest.mark.parametrize(
    ("samples", "metric", "message"),
    [
        ([sample(0, acc=1, acc_norm=0)], "f1", "task 't' gave no metric 'f1'; it offers acc, acc_norm"),
        (
            [sample(0, "strict", acc=1), sample(0, "loose", acc=1)],
            "acc",
            "no filter 'none'; it offers strict, loose",
        ),
        ([sample(0, f1=(0, 1))], "f1", "metric 'f1' of task 't' grades the task as a whole"),
    ],
)
def test_what_the_samples_do_not_have_is_refused(samples: list[dict[str, Any]], metric: str, message: str) -> None:
    with pytest.raises(TaskUnknown, match=message):
        graded(samples, metric)
