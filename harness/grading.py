"""From lm-eval's logged samples to graded answers, what is known of each, and whether they can be trusted."""

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from numbers import Real
from typing import Any

import pyarrow as pa
from lm_eval.api.task import Task

from .answer_texts import choice_scores, text_of_answer
from .checks import NO_ANSWER
from .errors import TaskUnknown
from .registry import BenchmarkEntry
from .usage import Usage, total

__all__ = ["ANSWERS", "Quality", "assess", "grade"]

ANSWERS = pa.schema(
    [
        ("task", pa.string()),
        ("doc_id", pa.int64()),
        ("correct", pa.bool_()),
        ("score", pa.float64()),
        ("answer", pa.string()),  # what the model said or chose (answer_texts)
        ("tokens_in", pa.int64()),
        ("tokens_out", pa.int64()),
        ("latency_s", pa.float64()),
    ]
)
"""Columns of graded answers. From `answer` on they are null where not known, and left out where that is so of all."""

_ALWAYS = ANSWERS.names[:4]
CORRECT_FROM = 0.5  # acc, acc_norm and exact_match are 0 or 1; of a graded metric, half the mark passes

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Quality:
    """What tells whether the answers of a model to a benchmark can be trusted; shares are of the questions asked."""

    asked: int
    unanswered: int  # questions without an answer, which have no row
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
    *,
    accept_ties: bool = False,
) -> Quality:
    """Return the quality of the answers in `samples`.

    `is_cut` tells whether the prompt of a request (method, arguments) was cut. The choices of a multiple-choice
    question are compared by position.
    """
    chosen: list[str | int] = []
    chances, asked, unanswered, truncated, ties, has_choices = [], 0, 0, 0, 0, False
    for name in samples:
        kind = str(tasks[name].OUTPUT_TYPE)
        has_choices |= kind == "multiple_choice"
        method = "generate_until" if kind == "generate_until" else "loglikelihood"
        for sample in (sample for sample in samples[name] if sample["filter"] == benchmark.filter):
            asked += 1
            truncated += is_cut is not None and any(is_cut(method, tuple(args)) for args in sample["arguments"])
            ties += kind == "multiple_choice" and _is_tie(sample)
            if _has_no_answer(sample, kind, accept_ties):
                unanswered += 1
            elif kind == "multiple_choice":
                scores, target = choice_scores(sample), sample["target"]
                chosen.append(scores.index(max(scores)))
                chances.append((len(set(target)) if isinstance(target, list) else 1) / len(scores))
            elif kind == "generate_until":
                chosen.append(str(sample["filtered_resps"][0]))
    return Quality(
        asked=asked,
        unanswered=unanswered,
        truncated=None if is_cut is None else truncated,
        commonest_choice=Counter(chosen).most_common(1)[0][1] / len(chosen) if chosen else None,
        equal_scores=ties / asked if has_choices and asked else None,
        chance=sum(chances) / len(chances) if chances else None,
    )


def _has_no_answer(sample: Mapping[str, Any], kind: str, accept_ties: bool) -> bool:
    """Whether the model said nothing, or preferred none of the choices of a task of this `kind` (output type)."""
    if any(answer == NO_ANSWER for tries in sample.get("resps", ()) for answer in tries):
        return True
    return kind == "multiple_choice" and not accept_ties and _is_tie(sample)


def _is_tie(sample: Mapping[str, Any]) -> bool:
    """Whether choices that differ all have the same score: none was preferred."""
    scores = choice_scores(sample)
    differ = len({tuple(args)[1] for args in sample["arguments"][: len(scores)]}) > 1
    return differ and len(set(scores)) == 1


def grade(
    samples: Mapping[str, Sequence[Mapping[str, Any]]],
    tasks: Mapping[str, Task],
    benchmark: BenchmarkEntry,
    *,
    accept_ties: bool = False,
    keep_answers: bool = True,
    usage_of: Callable[[tuple[Any, ...]], Usage] | None = None,
) -> pa.Table:
    """Return one row for each question that was answered (schema ANSWERS).

    `score` is the metric; `correct`, whether it is at least CORRECT_FROM (at most, where lower is better). A task with
    several filters logs a sample for each; only the benchmark's filter counts. A question has no row where there is no
    answer (NO_ANSWER), where all its choices have the same score (unless `accept_ties`), or where its score is not a
    number: missing is never wrong. With `keep_answers` a row holds the text of the answer; `usage_of` tells what a
    request (its arguments) took.

    Raises TaskUnknown where the samples lack the metric or filter, or the metric grades on another scale than 0 to 1.
    """
    rows = []
    for name, task in ((name, tasks[name]) for name in samples):
        for sample, row in _graded(samples[name], name, task, benchmark, accept_ties):
            if keep_answers:
                row["answer"] = text_of_answer(sample, task, benchmark.metric)
            # Where a question was asked several times, only the usage of the last try is known.
            if usage_of is not None and all(len(tries) == 1 for tries in sample["resps"]):
                usage = total([usage_of(tuple(args)) for args in sample["arguments"]])
                row |= dict(zip(("tokens_in", "tokens_out", "latency_s"), usage, strict=True))
            rows.append(row)
    graded = pa.Table.from_pylist(rows, schema=ANSWERS)
    return graded.select([name for name in ANSWERS.names if name in _ALWAYS or graded[name].null_count < len(rows)])


def _graded(
    samples: Sequence[Mapping[str, Any]], name: str, task: Task, benchmark: BenchmarkEntry, accept_ties: bool
) -> Iterable[tuple[Mapping[str, Any], dict[str, Any]]]:
    chosen = [sample for sample in samples if sample["filter"] == benchmark.filter]
    if not chosen:
        _refuse(name, "filter", benchmark.filter, dict.fromkeys(sample["filter"] for sample in samples))
    higher_is_better = (task.higher_is_better() or {}).get(benchmark.metric) is not False
    for sample in sorted(chosen, key=lambda sample: sample["doc_id"]):
        if benchmark.metric not in sample["metrics"]:
            _refuse(name, "metric", benchmark.metric, sample["metrics"])
        if _has_no_answer(sample, str(task.OUTPUT_TYPE), accept_ties):
            continue
        score = _score(sample[benchmark.metric], higher_is_better, name, benchmark.metric)
        if math.isnan(score):
            logger.warning("%s: question %d of %s has no score; left out", benchmark.name, sample["doc_id"], name)
            continue
        correct = score >= CORRECT_FROM if higher_is_better else score <= CORRECT_FROM
        yield sample, {"task": name, "doc_id": sample["doc_id"], "correct": correct, "score": score}


def _score(value: Any, higher_is_better: bool, task: str, metric: str) -> float:
    """Return the metric's `value` as a number from 0 to 1 (error rates may exceed 1), else raise TaskUnknown."""
    found = "grades the task as a whole, not each question"
    if isinstance(value, Real) or hasattr(value, "item"):  # numpy's scalars and 0-d arrays
        score = float(value)
        if not (score < 0 or (higher_is_better and score > 1 + 1e-6)):
            return score
        found = f"gave a question {score:g}, and only metrics from 0 to 1 can be taken for right or wrong"
    raise TaskUnknown(f"metric '{metric}' of task '{task}' {found}; choose one such as acc or exact_match")


def _refuse(task: str, what: str, wanted: str, offered: Iterable[str]) -> None:
    raise TaskUnknown(f"task '{task}' gave no {what} '{wanted}'; it offers {', '.join(offered)}; correct {what}")
