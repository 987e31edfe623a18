"""From lm-eval's logged samples to graded answers, and to what tells whether they can be trusted."""

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from numbers import Real
from typing import Any

import pyarrow as pa
from lm_eval.api.task import Task

from harness.checks import NO_ANSWER
from harness.entries import BenchmarkEntry
from harness.errors import TaskUnknown

__all__ = ["ANSWERS", "Quality", "assess", "grade"]

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


@dataclass(frozen=True)
class Quality:
    """What tells whether the answers of a model to a benchmark can be trusted; shares are of the questions asked."""

    asked: int
    unanswered: int  # questions whose answer never came, and that have no row
    truncated: int | None  # questions whose prompt was cut to fit the model's context; None where that is not known
    commonest_choice: float | None  # share of the commonest choice or text; None where each question has its own
    equal_scores: float | None  # share of questions all of whose choices have the same score
    chance: float | None  # expected accuracy of a guess; None for free text

    def as_metadata(self) -> dict[str, str]:
        """Figures as text; what is not known is left out."""
        return {name: repr(value) for name, value in asdict(self).items() if value is not None}


def assess(
    samples: Mapping[str, Sequence[Mapping[str, Any]]],
    tasks: Mapping[str, Task],
    benchmark: BenchmarkEntry,
    is_cut: Callable[[str, tuple[Any, ...]], bool] | None,
) -> Quality:
    """The quality of the answers in `samples`; `is_cut` tells of a request (method, arguments) whether its prompt was.

    The choices of a multiple-choice question are compared by position.
    """
    chosen: list[str | int] = []
    equal, chances, asked, unanswered, truncated = [], [], 0, 0, 0
    for name in samples:
        kind = tasks[name].OUTPUT_TYPE
        method = "generate_until" if kind == "generate_until" else "loglikelihood"
        for sample in (sample for sample in samples[name] if sample["filter"] == benchmark.filter):
            asked += 1
            truncated += is_cut is not None and any(is_cut(method, tuple(args)) for args in sample["arguments"])
            if _is_unanswered(sample):
                unanswered += 1
            elif kind == "multiple_choice":
                scores = _scores(sample)
                chosen.append(scores.index(max(scores)))
                equal.append(len(scores) > 1 and len(set(scores)) == 1)
                chances.append(_right_choices(sample["target"]) / len(scores))
            elif kind == "generate_until":
                chosen.append(str(sample["filtered_resps"][0]))
    return Quality(
        asked=asked,
        unanswered=unanswered,
        truncated=None if is_cut is None else truncated,
        commonest_choice=Counter(chosen).most_common(1)[0][1] / len(chosen) if chosen else None,
        equal_scores=sum(equal) / len(equal) if equal else None,
        chance=sum(chances) / len(chances) if chances else None,
    )


def _is_unanswered(sample: Mapping[str, Any]) -> bool:
    return any(answer == NO_ANSWER for tries in sample.get("resps", ()) for answer in tries)


def _scores(sample: Mapping[str, Any]) -> list[float]:
    """Log probabilities of a question's choices; behind them lm-eval may have asked for each choice alone."""
    scores = [tries[0][0] for tries in sample["resps"]]
    return scores[: len(scores) // 2] if "acc_mutual_info" in sample["metrics"] else scores


def _right_choices(target: Any) -> int:
    return len(set(target)) if isinstance(target, list) else 1


def grade(
    samples: Mapping[str, Sequence[Mapping[str, Any]]], tasks: Mapping[str, Task], benchmark: BenchmarkEntry
) -> pa.Table:
    """One row a question (schema ANSWERS).

    `score` is the metric; `correct`, whether it is at least CORRECT_FROM (at most, where lower is better). A
    task with several filters logs a sample for each; only the benchmark's filter counts. A question without an answer
    (NO_ANSWER), or whose score is not a number, has no row: missing is never wrong. Raises TaskUnknown for a metric or
    filter that the samples do not have.
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
        if _is_unanswered(sample):
            continue
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
