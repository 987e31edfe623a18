"""Answers as texts that one can read: what a model said or chose, and what would have been right."""

import json
import math
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

from lm_eval.api.task import ConfigurableTask, Task

__all__ = ["ANSWER_LENGTH", "choice_scores", "choices_of", "text_of_answer", "text_of_target"]

ANSWER_LENGTH = 1000  # characters of an answer that are kept


def choices_of(task: Task, doc: Any) -> list[str]:
    """Return the choices of a document, as they are; none where its task has no `doc_to_choice`."""
    if not isinstance(task, ConfigurableTask) or task.config.doc_to_choice is None:
        return []
    return task.doc_to_choice(doc)


def choice_scores(sample: Mapping[str, Any]) -> list[float]:
    """Return the log probabilities of a question's choices, without those that lm-eval asks of each choice alone."""
    scores = [tries[0][0] for tries in sample["resps"]]
    return scores[: len(scores) // 2] if "acc_mutual_info" in sample["metrics"] else scores


def text_of_answer(sample: Mapping[str, Any], task: Task, metric: str) -> str | None:
    """Return what `metric` graded, at most ANSWER_LENGTH characters: the choice that was taken; the target, where the
    model would have said just that; what the filter found in a reply, or else the reply. None where it is not known."""
    if task.OUTPUT_TYPE == "multiple_choice":
        text = _choice_taken(sample, task, metric)
    elif task.OUTPUT_TYPE == "generate_until":
        tries, found = sample["resps"][0], sample["filtered_resps"][0]
        found = found[0] if isinstance(found, list) and found else found
        is_extract = isinstance(found, str) and found != "" and any(found in reply for reply in tries)
        text = str(found if is_extract else tries[0])
    elif task.OUTPUT_TYPE == "loglikelihood" and sample["resps"][0][0][1]:
        text = sample["arguments"][0][1]
    else:
        return None
    text = text.strip().encode(errors="replace").decode()  # a reply may hold half a character
    return text if len(text) <= ANSWER_LENGTH else f"{text[: ANSWER_LENGTH - 1]}…"


def _choice_taken(sample: Mapping[str, Any], task: Task, metric: str) -> str:
    choices = choices_of(task, sample["doc"]) or [args[1] for args in sample["arguments"]]
    scores = choice_scores(sample)[: len(choices)]
    if metric == "acc_mutual_info":
        alone = sample["resps"][len(scores) :]
        scores = [score - tries[0][0] for score, tries in zip(scores, alone, strict=True)]
    elif metric in ("acc_norm", "acc_bytes"):
        lengths = [len(choice if metric == "acc_norm" else choice.encode()) for choice in choices]
        scores = [score / n if n else -math.inf for score, n in zip(scores, lengths, strict=False)]
    return choices[scores.index(max(scores))]


def text_of_target(task: Task, doc: Any) -> str | None:
    """Return the right answer to a document, or a JSON list of several; None where only the task's code knows it."""
    if task.OUTPUT_TYPE == "loglikelihood_rolling":
        return None
    choices = choices_of(task, doc)
    target: Any = task.doc_to_text(doc) if getattr(task, "multiple_input", False) else task.doc_to_target(doc)
    if isinstance(target, int) and not choices and target == task.config.doc_to_target:
        return None  # the same number for every document: it only stands there because something must
    targets = target if isinstance(target, list) else [] if target is None else [target]
    texts = [text for one in targets if (text := _target_text(one, choices))]
    return json.dumps(texts, ensure_ascii=False) if len(texts) > 1 else next(iter(texts), None)


def _target_text(target: Any, choices: Sequence[str]) -> str:
    is_position = isinstance(target, Integral) and 0 <= int(target) < len(choices)
    return str(choices[int(target)] if is_position else target).strip()
