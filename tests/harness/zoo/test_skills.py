"""Every question of the zoo has the right key, and no benchmark question is ever trained on."""

import contextlib
import datetime as dt
import io
import random
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.zoo.families import RECIPE
from harness.zoo.skills import LEVELS, SKILLS, Material, make_benchmark, make_material, normalise, to_roman

ROMAN_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100}
PLACES = {"first": 0, "second": 1, "third": 2, "fourth": 3, "fifth": 4, "last": -1, "second last": -2}
IN_ONE = {  # (large, small): how many small in one large
    ("hours", "minutes"): 60,
    ("weeks", "days"): 7,
    ("years", "months"): 12,
    ("feet", "inches"): 12,
    ("yards", "feet"): 3,
    ("dozens", "eggs"): 12,
    ("days", "hours"): 24,
    ("dimes", "cents"): 10,
    ("quarters", "cents"): 25,
    ("gallons", "pints"): 8,
    ("gallons", "quarts"): 4,
}


def numbers(text: str) -> list[int]:
    return [int(found) for found in re.findall(r"\d+", text)]


def solve_subtraction(text: str) -> str:
    return str(max(numbers(text)) - min(numbers(text)))


def solve_comparison(text: str) -> str:
    return str(max(numbers(text)) if "largest" in text or "biggest" in text else min(numbers(text)))


def solve_sequence(text: str) -> str:
    a, b, c, d = numbers(text)
    return str(d + (d - c) + ((d - c) - (c - b) if (d - c) - (c - b) == (c - b) - (b - a) else 10**6))


def solve_letters(text: str) -> str:
    found = re.fullmatch(r"What is the ([a-z ]+) letter of the word ([A-Z]+)\?", text)
    assert found
    return found[2][PLACES[found[1]]]


def solve_roman(text: str) -> str:
    found = re.search(r"\b[IVXLC]+\b", text)
    assert found
    digits = [ROMAN_VALUES[digit] for digit in found[0]]
    following = [*digits[1:], 0]
    return str(sum(-now if now < after else now for now, after in zip(digits, following, strict=True)))


def solve_logic(text: str) -> str:
    pairs = re.findall(r"(\w+) (?:beats|outruns|outranks) (\w+)\.", text)
    above, below = {a for a, _ in pairs}, {b for _, b in pairs}
    (top,), (bottom,) = above - below, below - above
    return top if re.search(r"best\?|fastest\?|highest rank\?", text) else bottom


def solve_weekday(text: str) -> str:
    found = re.search(r"(?!Today)[A-Z]\w+day\b", text)
    assert found
    monday = dt.date(2024, 1, 1)
    days = [monday + dt.timedelta(days=i) for i in range(7)]
    (start,) = [day for day in days if day.strftime("%A") == found[0]]
    sign = -1 if re.search(r"ago|earlier|before", text) else 1
    return (start + dt.timedelta(days=sign * numbers(text)[0])).strftime("%A")


def solve_units(text: str) -> str:
    amount, extra = (*numbers(text), 0)[:2]
    for (large, small), factor in IN_ONE.items():
        if f"{amount} {large}" in text and re.search(rf"(many|to) {small}\b", text):
            return str(amount * factor + extra)
    raise AssertionError(text)


def solve_code(text: str) -> str:
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(text.removeprefix("What does this Python code print? "), {})
    return output.getvalue().strip()


SOLVERS: dict[str, Callable[[str], str]] = {
    "addition": lambda text: str(sum(numbers(text))),
    "subtraction": solve_subtraction,
    "comparison": solve_comparison,
    "sequence": solve_sequence,
    "letters": solve_letters,
    "roman": solve_roman,
    "logic": solve_logic,
    "weekday": solve_weekday,
    "units": solve_units,
    "code": solve_code,
}


@pytest.fixture(scope="module")
def material() -> Material:
    return make_material(0, RECIPE.training_size)


@pytest.mark.parametrize("skill", SKILLS)
@given(seed=st.integers(0, 2**32), level=st.sampled_from(LEVELS))
def test_the_answer_is_right_and_the_choices_differ(skill: str, seed: int, level: int) -> None:
    question = SKILLS[skill](random.Random(seed), level)
    assert question.answer == SOLVERS[skill](question.text)
    assert len({question.answer, *question.distractors}) == 4
    assert question.level == level


@pytest.mark.parametrize("skill", SKILLS)
def test_a_benchmark_has_210_different_questions_of_three_levels(skill: str, material: Material) -> None:
    questions = material.benchmarks[skill]
    assert len({normalise(question.text) for question in questions}) == 210
    assert [sum(question.level == level for question in questions) for level in LEVELS] == [70, 70, 70]


@pytest.mark.parametrize("skill", SKILLS)
def test_no_benchmark_question_is_trained_on(skill: str, material: Material) -> None:
    held_out = {normalise(question.text) for questions in material.benchmarks.values() for question in questions}
    trained = {normalise(question.text) for question in material.training[skill]}
    assert len(material.training[skill]) == 8000
    assert not held_out & trained


@pytest.mark.parametrize("skill", SKILLS)
def test_a_benchmark_leaves_most_of_each_level_to_training(skill: str, material: Material) -> None:
    """Where it does not, the models learn the little that is left by heart and fail the benchmark."""
    for level in LEVELS:
        trained = {normalise(q.text) for q in material.training[skill] if q.level == level}
        assert len(trained) > 4 * 70


def test_no_question_is_in_two_benchmarks(material: Material) -> None:
    texts = [normalise(question.text) for questions in material.benchmarks.values() for question in questions]
    assert len(texts) == len(set(texts)) == 2100


def test_the_seed_decides_the_questions() -> None:
    assert make_benchmark("roman", 3) == make_benchmark("roman", 3)
    assert make_benchmark("roman", 3) != make_benchmark("roman", 4)


@pytest.mark.parametrize(
    ("value", "numeral"), [(1, "I"), (4, "IV"), (9, "IX"), (14, "XIV"), (49, "XLIX"), (90, "XC"), (248, "CCXLVIII")]
)
def test_roman_numerals(value: int, numeral: str) -> None:
    assert to_roman(value) == numeral


def test_normalise_ignores_typography_but_not_operators() -> None:
    assert normalise("What  is 3 plus 4?") == normalise("what is 3 plus 4")
    assert normalise("print(x + 3)") != normalise("print(x - 3)")
