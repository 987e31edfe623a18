"""What makes an answer an answer: small rules, which `harness.asking` applies to whatever a backend returns.

A rule either passes, or raises the HarnessError that says what was found and what to do. What is neither wrong nor an
answer (a reply that was cut off before it said anything) is NO_ANSWER; such a question has no row.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

from .errors import EvaluationFailed, ImplausibleAnswers, NoLogProbabilities, NotNumbers, TooFewAnswered

__all__ = [
    "FIRST",
    "MANY",
    "MOST_UNANSWERED",
    "NO_ANSWER",
    "FirstAnswer",
    "check_answer",
    "check_first_answers",
    "check_share_unanswered",
    "equal_scores_problem",
    "shortened",
]

NO_ANSWER = "\0no_answer\0"
"""Stands for a generated text where the model was asked and said nothing that could be graded."""

FIRST = 10  # questions looked at for what no working model does
MANY = 20  # and for what only a very weak model does
MOST_UNANSWERED = 0.1  # share of a benchmark's questions
ROUNDING = 1e-3  # by which a log probability may exceed 0


def check_answer(method: str, answer: Any) -> Any:
    """Return `answer` as lm-eval's `method` (loglikelihood, loglikelihood_rolling, generate_until) must return it.

    Raises NotNumbers, NoLogProbabilities, EvaluationFailed for what is none.
    """
    if method == "generate_until":
        if answer is not None and not isinstance(answer, str):
            raise EvaluationFailed(f"the backend returned {shortened(repr(answer))} where a text was due")
        return NO_ANSWER if answer is None else answer
    score = answer[0] if isinstance(answer, (tuple, list)) and len(answer) == 2 else answer
    if isinstance(score, bool) or not isinstance(score, Real):
        raise EvaluationFailed(f"the backend returned {shortened(repr(answer))} where a log probability was due")
    score = float(score)
    if not math.isfinite(score):
        raise NotNumbers(
            f"the log probability of an answer is {score}; the weights hold such values, or numbers became too "
            "large for their type: load the model in another dtype (float32, or bfloat16 instead of float16; of a "
            "server, start it so), or replace the weights"
        )
    if score > ROUNDING:
        raise NoLogProbabilities(
            f"the log probability of an answer is {score}, and that of a probability is at most 0: this is something "
            "else; see what the server returns in token_logprobs"
        )
    return answer


def check_share_unanswered(unanswered: int, asked: int) -> None:
    """Raise TooFewAnswered where more than MOST_UNANSWERED of the questions have no answer."""
    if unanswered > MOST_UNANSWERED * asked:
        raise TooFewAnswered(
            f"{unanswered} of {asked} questions got no answer: the replies hold no text, as when a model that reasons "
            "is cut off before it answers; raise max_gen_toks (args.max_gen_toks, or generation_kwargs of the task), "
            "and see what the server allows"
        )


@dataclass(frozen=True)
class FirstAnswer:
    """The answer to one of the first questions: a text, or the scores of all its choices."""

    choices: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()  # log probabilities, one a choice
    text: str = ""  # of a question that is answered in free text

    @property
    def chosen(self) -> str:
        return self.choices[max(range(len(self.scores)), key=self.scores.__getitem__)] if self.choices else self.text


def check_first_answers(answers: Sequence[FirstAnswer], *, every: bool, accept_implausible: bool = False) -> None:
    """Raise where the first `answers` cannot be those of a model that understood the questions.

    `every`: no more answers will come, so that two are enough to judge by. Raises TooFewAnswered and, unless
    `accept_implausible`, ImplausibleAnswers.
    """
    if len(answers) < (2 if every else FIRST):
        return
    if all(answer.text == NO_ANSWER for answer in answers):
        check_share_unanswered(len(answers), len(answers))
    if accept_implausible:
        return
    if all(not answer.choices and not answer.text.strip() for answer in answers):
        raise ImplausibleAnswers(
            f"the first {len(answers)} answers are all empty; see whether the prompt ends as the model expects it "
            f"(apply_chat_template), and whether a stop sequence of the task ends every answer at once. {_REMEDY}"
        )
    if all(len(set(answer.choices)) > 1 and len(set(answer.scores)) == 1 for answer in answers):
        raise ImplausibleAnswers(equal_scores_problem(f"each of the first {len(answers)} questions"))
    # Of words (yes, no) a weak model may well prefer one; the letters of choices mean something else each time.
    chosen = {answer.chosen.strip() for answer in answers}
    is_letter = len(chosen) == 1 and re.fullmatch(r"\W*[A-Za-z]\W*", next(iter(chosen))) is not None
    if len(answers) >= MANY and len({answer.choices for answer in answers}) == 1 and is_letter:
        raise ImplausibleAnswers(
            f"each of the first {len(answers)} questions got the same answer, '{chosen.pop()}'; see whether the prompt "
            f"reaches the model whole and in the form it expects (apply_chat_template). {_REMEDY}"
        )


def equal_scores_problem(where: str) -> str:
    """Say what is wrong where all choices of a question have the same score."""
    return (
        f"in {where} all choices have the same log probability: they do not depend on the choice, so that the first "
        f"one would always be taken. {_REMEDY}"
    )


_REMEDY = "If the model is really like that, say `implausible_answers: accept` in its entry"


def shortened(text: str, length: int = 60) -> str:
    """Return `text` as one line of at most `length` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[: length - 1]}…"
