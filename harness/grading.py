"""From lm-eval's logged samples to graded answers."""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

import pyarrow as pa
from lm_eval.api.task import Task

from harness.entries import BenchmarkEntry
from harness.errors import TaskUnknown

__all__ = ["ANSWERS", "grade"]

ANSWERS = pa.schema(
    [
        ("task", pa.string()),
        ("doc_id", pa.int64()),
        ("correct", pa.bool_()),
        ("score", pa.float64()),
    ]
)
CORRECT_FROM = 0.5  # acc, acc_norm and exact_match are 0 or 1; of a graded metric, half the mark passes

logger = logging.getLogger(__name__)


def grade(
    samples: Mapping[str, Sequence[Mapping[str, Any]]], tasks: Mapping[str, Task], benchmark: BenchmarkEntry
) -> pa.Table:
    """One row a question (schema ANSWERS).

    `score` is the metric; `correct`, whether it is at least CORRECT_FROM (at most, where lower is better). A
    task with several filters logs a sample for each; only the benchmark's filter counts. A question whose
    score is not a number has no row. Raises TaskUnknown for a metric or filter that the samples do not have.
    """
    rows = [row for name in samples for row in _graded(samples[name], name, tasks[name], benchmark)]
    return pa.Table.from_pylist(rows, schema=ANSWERS)


def _graded(
    samples: Sequence[Mapping[str, Any]], name: str, task: Task, benchmark: BenchmarkEntry
) -> Iterable[dict[str, Any]]:
    chosen = [sample for sample in samples if sample["filter"] == benchmark.filter]
    if not chosen:
        _refuse(name, "filter", benchmark.filter, dict.fromkeys(sample["filter"] for sample in samples))
    higher_is_better = (task.higher_is_better() or {}).get(benchmark.metric) is not False
    for sample in sorted(chosen, key=lambda sample: sample["doc_id"]):
        if benchmark.metric not in sample["metrics"]:
            _refuse(name, "metric", benchmark.metric, sample["metrics"])
        score = _number(sample[benchmark.metric], name, benchmark.metric)
        if math.isnan(score):
            logger.warning("%s: question %d of %s has no score; left out", benchmark.name, sample["doc_id"], name)
            continue
        correct = score >= CORRECT_FROM if higher_is_better else score <= CORRECT_FROM
        yield {"task": name, "doc_id": sample["doc_id"], "correct": correct, "score": score}


def _number(value: Any, task: str, metric: str) -> float:
    if isinstance(value, Real) or hasattr(value, "item"):  # numpy's scalars and 0-d arrays
        return float(value)
    raise TaskUnknown(
        f"metric '{metric}' of task '{task}' grades the task as a whole, not each question; "
        "choose one such as acc or exact_match"
    )


def _refuse(task: str, what: str, wanted: str, offered: Iterable[str]) -> None:
    raise TaskUnknown(f"task '{task}' gave no {what} '{wanted}'; it offers {', '.join(offered)}; correct {what}")
