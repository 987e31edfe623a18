"""The one way in for answers: whatever a backend returns is checked here before it is graded.

lm-eval's task ─▶ CheckedLM ─▶ backend (backends.py) ─▶ check_answer (checks.py) ─▶ graded (grading.py)
                     └ answers that were given before a kill (cache.py)
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from .cache import AnswerFile
from .checks import FIRST, MANY, NO_ANSWER, FirstAnswer, check_answer, check_first_answers
from .errors import EvaluationFailed, HarnessError
from .usage import request_key

__all__ = ["CheckedLM"]

logger = logging.getLogger(__name__)


class CheckedLM(LM):
    """An lm-eval model that asks the model behind it only what `answers` does not hold, and checks what comes back.

    Every answer is checked when it comes, and the first few together, so that a faulty model is stopped before it is
    asked thousands of questions. `accept_implausible`: these few may look as if nobody had read the questions.
    `whole`: all questions of a benchmark are asked together, so that even a few answers can be judged.
    """

    def __init__(
        self, lm: LM, answers: AnswerFile, *, accept_implausible: bool, whole: bool = True, progress: bool = False
    ) -> None:
        super().__init__()
        self._lm = lm
        self._answers = answers
        self._options = {} if progress else {"disable_tqdm": True}
        self._accept_implausible = accept_implausible
        self._whole = whole
        self._requests: list[Instance] = []
        self._first = _FirstAnswers([], accept_implausible=True)
        self._usage_of = getattr(lm, "usage_of", None)  # of lm-eval's backends only those of backends.py tell it
        lm.set_cache_hook(self)  # pyright: ignore[reportArgumentType]  lm-eval duck-types it, too

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        return self._complete("loglikelihood", requests)

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        return self._complete("loglikelihood_rolling", requests)

    def generate_until(self, requests: list[Instance]) -> list[str]:
        return self._complete("generate_until", requests)

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        return self._lm.apply_chat_template(chat_history, add_generation_prompt=add_generation_prompt)

    @property
    def tokenizer_name(self) -> str:
        return self._lm.tokenizer_name

    def add_partial(self, attr: str, req: Iterable[Any], res: Any) -> None:
        """What lm-eval's backends call with each answer as soon as they have it (`LM.cache_hook`)."""
        args = tuple(req)
        answer = self._checked(attr, args, res)
        if answer != NO_ANSWER:
            if self._usage_of is not None and (usage := self._usage_of(args, answer)) is not None:
                self._answers.note_usage(args, usage)
            self._answers.add_partial(attr, args, answer)
        self._first.see(args, answer)

    def _complete(self, attr: str, requests: list[Instance]) -> list[Any]:
        self._requests = requests
        self._first = _FirstAnswers(requests, accept_implausible=self._accept_implausible)
        answers = [self._answers.find(attr, request.args) for request in requests]
        for request, answer in zip(requests, answers, strict=True):
            if answer is not None:
                self._first.see(request.args, self._checked(attr, request.args, answer))
        missing = [i for i, answer in enumerate(answers) if answer is None]
        if len(missing) < len(requests):
            logger.info("%d of %d answers were already there", len(requests) - len(missing), len(requests))
        if missing:
            new = getattr(self._lm, attr)([requests[i] for i in missing], **self._options)
            if len(new) != len(missing):
                raise EvaluationFailed(f"the backend returned {len(new)} answers to {len(missing)} requests")
            for i, answer in zip(missing, new, strict=True):
                answers[i] = self._checked(attr, requests[i].args, answer)
                self._first.see(requests[i].args, answers[i])
        if self._whole:
            self._first.end()
        return answers

    def _checked(self, attr: str, args: tuple[Any, ...], answer: Any) -> Any:
        try:
            return check_answer(attr, answer)
        except HarnessError as error:
            asked = next((request for request in self._requests if tuple(request.args) == args), None)
            if asked is not None:
                prompt = " ".join(str(args[0]).split())  # of a long one the end, where the question is
                quoted = prompt if len(prompt) <= 60 else f"…{prompt[-59:]}"
                error.problem = f"document {asked.doc_id} of task '{asked.task_name}' ('{quoted}'): {error.problem}"
            raise


_Question = tuple[str | None, int | None]  # task and document


class _FirstAnswers:
    """Collects the answers to the first questions as they come, in any order, and has them checked together."""

    def __init__(self, requests: Sequence[Instance], *, accept_implausible: bool) -> None:
        self._accept = accept_implausible
        self._waiting: dict[Any, list[Instance]] = {}  # by request
        self._choices: dict[_Question, dict[int, str]] = {}
        self._scores: dict[_Question, dict[int, float]] = {}
        self._answers: list[FirstAnswer] = []
        known: set[tuple[_Question, int]] = set()
        for request in requests:
            args: Any = request.args
            question = _question_of(request)
            if request.request_type == "loglikelihood_rolling" or (question, request.idx) in known:
                continue  # the latter is another of several tries
            known.add((question, request.idx))
            self._waiting.setdefault(request_key(args), []).append(request)
            if request.request_type == "loglikelihood":
                self._choices.setdefault(question, {})[request.idx] = args[1]

    def see(self, args: tuple[Any, ...], answer: Any) -> None:
        """Take one answer; once enough questions are answered, raise what `check_first_answers` raises."""
        if len(self._answers) >= MANY:
            return
        for request in self._waiting.pop(request_key(args), ()):
            question = _question_of(request)
            if question not in self._choices:
                self._add(FirstAnswer(text=answer))
                continue
            choices, scores = self._choices[question], self._scores.setdefault(question, {})
            scores[request.idx] = answer[0]
            if len(scores) == len(choices):
                order = sorted(choices)
                self._add(FirstAnswer(tuple(choices[i] for i in order), tuple(scores[i] for i in order)))

    def _add(self, answer: FirstAnswer) -> None:
        self._answers.append(answer)
        if len(self._answers) in (FIRST, MANY):
            check_first_answers(self._answers, every=False, accept_implausible=self._accept)

    def end(self) -> None:
        """Check what there is: no more answers will come."""
        if len(self._answers) < FIRST:
            check_first_answers(self._answers, every=True, accept_implausible=self._accept)


def _question_of(request: Instance) -> _Question:
    return request.task_name, request.doc_id
