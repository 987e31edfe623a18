import math
from typing import Any

import pytest

from harness.checks import (
    NO_ANSWER,
    FirstAnswer,
    check_answer,
    check_first_answers,
    check_share_unanswered,
)
from harness.errors import EvaluationFailed, HarnessError, ImplausibleAnswers, NotNumbers, TooFewAnswered


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("method", "wrapped"), [("loglikelihood", True), ("loglikelihood_rolling", False)])
def test_a_score_that_is_no_number_is_refused_with_the_remedy(method: str, wrapped: bool, score: float) -> None:
    with pytest.raises(NotNumbers, match=rf"is {score}; .*load the model in another dtype") as caught:
        check_answer(method, (score, False) if wrapped else score)
    assert caught.value.kind == "not_numbers"


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("loglikelihood", None),
        ("loglikelihood", "-1.5"),
        ("loglikelihood", (None, True)),
        ("loglikelihood", (True, True)),
        ("generate_until", 42),
        ("generate_until", ["a"]),
        ("generate_until", (-1.0, True)),
    ],
)
def test_what_is_no_answer_at_all_is_refused(method: str, answer: Any) -> None:
    with pytest.raises(EvaluationFailed, match=r"the backend returned .* where a .* was due"):
        check_answer(method, answer)


def test_an_answer_passes_as_it_is_and_a_missing_text_is_no_answer() -> None:
    assert check_answer("loglikelihood", (-1.5, False)) == (-1.5, False)
    assert check_answer("generate_until", "") == ""
    assert check_answer("generate_until", None) == NO_ANSWER


@pytest.mark.parametrize(
    ("unanswered", "asked", "passes"), [(0, 5, True), (1, 10, True), (2, 10, False), (1, 9, False)]
)
def test_up_to_a_tenth_may_be_unanswered(unanswered: int, asked: int, passes: bool) -> None:
    if passes:
        check_share_unanswered(unanswered, asked)
    else:
        with pytest.raises(TooFewAnswered, match=f"{unanswered} of {asked} questions got no answer.*max_gen_toks"):
            check_share_unanswered(unanswered, asked)


def choices(*scores: float, texts: str = "ABCD") -> FirstAnswer:
    return FirstAnswer(tuple(f" {text}" for text in texts[: len(scores)]), scores)


def texts(*answers: str) -> list[FirstAnswer]:
    return [FirstAnswer(text=answer) for answer in answers]


@pytest.mark.parametrize(
    ("answers", "every", "problem"),
    [
        (
            [choices(-2.0, -2.0, -2.0)] * 10,
            False,
            "in each of the first 10 questions all choices have the same log prob",
        ),
        ([choices(0.0, 0.0)] * 2, True, "in each of the first 2 questions all choices have the same log prob"),
        (texts(*[""] * 5, *["\n "] * 5), False, "the first 10 answers are all empty"),
        (texts("", ""), True, "the first 2 answers are all empty"),
        ([choices(-i / 10, -9, -9) for i in range(20)], False, r"questions got the same answer, 'A'; .*implausible_"),
        (texts(*["(B)"] * 20), False, r"each of the first 20 questions got the same answer, '\(B\)'"),
    ],
)
def test_answers_that_no_working_model_gives(answers: list[FirstAnswer], every: bool, problem: str) -> None:
    with pytest.raises(ImplausibleAnswers, match=problem):
        check_first_answers(answers, every=every)
    check_first_answers(answers, every=every, accept_implausible=True)


@pytest.mark.parametrize(
    ("answers", "every"),
    [
        ([choices(-2.0, -2.0)] * 9, False),  # too few to tell, and more to come
        ([choices(-2.0, -2.0)] * 9 + [choices(-2.0, -1.0)], False),
        ([choices(0.0, 0.0)], True),  # a single question
        ([FirstAnswer((" yes", " yes"), (-1.0, -1.0))] * 10, False),  # the same choice twice has the same score
        (texts("", "", "Paris"), True),
        (texts(*["yes"] * 20), False),  # a weak model may prefer one word
        (texts(*["4"] * 20), False),
        ([choices(-i / 10, -9, -9) for i in range(19)], False),
        (
            [FirstAnswer((f" {i}", " x"), (-1.0 - i, -9.0)) for i in range(20)],
            False,
        ),  # always the first, never the same
    ],
)
def test_answers_that_a_weak_model_may_give(answers: list[FirstAnswer], every: bool) -> None:
    check_first_answers(answers, every=every)


@pytest.mark.parametrize("accept", [False, True])
def test_nothing_but_missing_answers_ends_it_whatever_is_accepted(accept: bool) -> None:
    with pytest.raises(TooFewAnswered, match="10 of 10 questions got no answer"):
        check_first_answers(texts(*[NO_ANSWER] * 10), every=False, accept_implausible=accept)


def test_every_kind_of_error_has_a_name_of_its_own() -> None:
    kinds = [error.kind for error in HarnessError.__subclasses__()]
    assert len(set(kinds)) == len(kinds)
