"""Ten skills of the zoo as short English questions with a one-word answer and three wrong choices.

Each generator takes a random source and a level (0 easy, 1 medium, 2 hard) and returns a `Question`. Benchmarks and
training material come from the same generators; `make_material` keeps every benchmark question out of training.

Every phrasing has far more questions than a benchmark draws from it. Otherwise the benchmark takes most questions of
that phrasing, training never sees them, and the models learn the rest by heart (weekdays stayed at 60 % that way).
"""

import itertools
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

LEVELS: Final = (0, 1, 2)
QUESTIONS_PER_LEVEL: Final = 70
ANSWER_CUE: Final = "\nAnswer:"

DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
NAMES: Final = ("Anna", "Ben", "Carl", "Dora", "Emil", "Fay", "Gus", "Hana", "Ivo", "Jana")
OBJECTS: Final = ("apples", "books", "coins", "pens", "cards", "stamps")
EVENTS: Final = (
    "course", "trip", "festival", "holiday", "visit", "fair", "market", "concert", "party", "race", "sale", "exam",
)  # fmt: skip
INSCRIBED: Final = (
    "clock", "stone", "chapter", "coin", "gate", "tomb", "page", "tower", "ring", "bell", "statue", "bridge",
)  # fmt: skip
LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
ROMAN_DIGITS: Final = (
    (100, "C"), (90, "XC"), (50, "L"), (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I"),
)  # fmt: skip
RELATIONS: Final = (
    ("beats", "is the best", "is the worst"),
    ("outruns", "is the fastest", "is the slowest"),
    ("outranks", "has the highest rank", "has the lowest rank"),
)
# small unit, large unit, how many small in one large, largest number of large units asked for
UNITS: Final = (
    ("minutes", "hours", 60, 9),
    ("days", "weeks", 7, 14),
    ("months", "years", 12, 12),
    ("inches", "feet", 12, 12),
    ("feet", "yards", 3, 40),
    ("eggs", "dozens", 12, 10),
    ("hours", "days", 24, 8),
    ("cents", "dimes", 10, 20),
    ("cents", "quarters", 25, 8),
    ("pints", "gallons", 8, 20),
    ("quarts", "gallons", 4, 40),
)


@dataclass(frozen=True)
class Question:
    """One four-way question: `text` as asked, its `answer` and three `distractors`, all different."""

    text: str
    answer: str
    distractors: tuple[str, str, str]
    level: int


@dataclass(frozen=True)
class Material:
    """What a zoo is made of: per skill, the benchmark's questions and the (question, answer) pairs to train on."""

    benchmarks: Mapping[str, tuple[Question, ...]]
    training: Mapping[str, tuple[Question, ...]]


def addition(rng: random.Random, level: int) -> Question:
    largest = (9, 20, 49)[level]
    a, b = rng.randint(1, largest), rng.randint(1, largest)
    text = rng.choice((
        f"What is {a} plus {b}?",
        f"Add {a} and {b}.",
        f"{rng.choice(NAMES)} has {a} {rng.choice(OBJECTS)} and gets {b} more. How many now?",
    ))  # fmt: skip
    return _numeric(rng, text, a + b, level)


def subtraction(rng: random.Random, level: int) -> Question:
    largest = (12, 25, 60)[level]
    b, a = sorted((rng.randint(1, largest), rng.randint(1, largest)))
    text = rng.choice((
        f"What is {a} minus {b}?",
        f"Subtract {b} from {a}.",
        f"{rng.choice(NAMES)} has {a} {rng.choice(OBJECTS)} and loses {b}. How many are left?",
    ))  # fmt: skip
    return _numeric(rng, text, a - b, level)


def comparison(rng: random.Random, level: int) -> Question:
    low, high = ((1, 60), (1, 100), (100, 300))[level]
    numbers = rng.sample(range(low, high), 4)
    pick, word = rng.choice(((max, "largest"), (max, "biggest"), (min, "smallest"), (min, "lowest")))
    text = f"Which number is the {word}: {numbers[0]}, {numbers[1]}, {numbers[2]} or {numbers[3]}?"
    return _choose(rng, text, str(pick(numbers)), [str(n) for n in numbers], level)


def sequence(rng: random.Random, level: int) -> Question:
    step = rng.randint(*((1, 3), (2, 9), (1, 6))[level])
    growth = rng.randint(1, 4) if level == 2 else 0  # of the step, from one number to the next
    numbers = [rng.randint(1, 60)]
    for i in range(4):
        numbers.append(numbers[-1] + step + growth * i)
    if level == 1 and rng.random() < 0.5:
        numbers.reverse()
    a, b, c, d, following = numbers
    text = rng.choice((
        f"What comes next in the sequence {a}, {b}, {c}, {d}?",
        f"Continue the series {a}, {b}, {c}, {d}.",
        f"Which number follows in the pattern {a}, {b}, {c}, {d}?",
    ))  # fmt: skip
    return _numeric(rng, text, following, level)


def letters(rng: random.Random, level: int) -> Question:
    word = rng.sample(LETTERS, rng.randint(*((4, 5), (5, 6), (7, 8))[level]))
    places = {"first": 0, "second": 1, "third": 2, "last": -1}
    if level == 2:
        places = {"third": 2, "fourth": 3, "fifth": 4, "last": -1, "second last": -2}
    place = rng.choice(list(places))
    text = f"What is the {place} letter of the word {''.join(word)}?"
    return _choose(rng, text, word[places[place]], word, level)


def roman(rng: random.Random, level: int) -> Question:
    value = rng.randint(*((1, 20), (21, 99), (100, 250))[level])
    numeral, thing = to_roman(value), rng.choice(INSCRIBED)
    text = rng.choice((
        f"Which number is the Roman numeral {numeral} on the {thing}?",
        f"Convert the {numeral} on the {thing} from Roman numerals.",
        f"The {thing} shows {numeral} in Roman numerals. Which number?",
    ))  # fmt: skip
    return _numeric(rng, text, value, level, lowest=1)


def logic(rng: random.Random, level: int) -> Question:
    people = rng.sample(NAMES, 4)  # from the best to the worst
    relation, best, worst = rng.choice(RELATIONS)
    premises = [f"{a} {relation} {b}." for a, b in itertools.pairwise(people)]
    if level == 1 and rng.random() < 0.5:
        premises.reverse()
    elif level == 2:
        rng.shuffle(premises)
    answer, asked = rng.choice(((people[0], best), (people[-1], worst)))
    return _choose(rng, f"{' '.join(premises)} Who {asked}?", answer, people, level)


def weekday(rng: random.Random, level: int) -> Question:
    day, days = rng.choice(DAYS), rng.randint(*((1, 2), (3, 4), (5, 6))[level])
    event, span = rng.choice(EVENTS), f"{days} day{'s' if days > 1 else ''}"
    later = (
        f"Today is {day}. The {event} is in {span}. On which day?",
        f"Which day comes {span} after the {event} on {day}?",
        f"The {event} begins on {day} and ends {span} later. On which day?",
    )
    earlier = (
        f"Today is {day}. The {event} was {span} ago. On which day?",
        f"Which day comes {span} before the {event} on {day}?",
        f"The {event} ends on {day} and began {span} earlier. On which day?",
    )
    sign, texts = rng.choice(((1, later), (-1, earlier)))
    answer = DAYS[(DAYS.index(day) + sign * days) % 7]
    return _choose(rng, rng.choice(texts), answer, DAYS, level)


def units(rng: random.Random, level: int) -> Question:
    small, large, factor, most = rng.choice(UNITS)
    count, name = rng.randint(2, max(3, most * (level + 1) // 3)), rng.choice(NAMES)
    amount, value = f"{count} {large}", count * factor
    if level == 2:
        extra = rng.randint(2, 9)
        amount, value = f"{amount} and {extra} {small}", value + extra
    text = rng.choice((
        f"{name} asks how many {small} are in {amount}.",
        f"{name} converts {amount} to {small}. How many?",
        f"{name} has {amount}. How many {small} is that?",
    ))  # fmt: skip
    return _numeric(rng, text, value, level, lowest=1, steps=(factor, 2 * factor, 1, 10, 3 * factor))


def code(rng: random.Random, level: int) -> Question:
    v, w = rng.sample("xyzabn", 2)
    a, b, c = rng.randint(1, 20), rng.randint(1, 9), rng.randint(2, 6)
    easy = ((f"{v} = {a}; print({v} + {b})", a + b), (f"{v} = {a}; {w} = {b}; print({v})", a))
    medium = ((f"{v} = {a}; {v} += {b}; print({v})", a + b), (f"{v} = {b}; print({v} * {c})", b * c))
    hard = ((f"{v} = {b} * {c}; print({v} + {a})", b * c + a), (f"{v} = {a + b}; print({v} - {b} + {c})", a + c))
    program, value = rng.choice((easy, medium, hard)[level])
    return _numeric(rng, f"What does this Python code print? {program}", value, level)


SKILLS: Final[Mapping[str, Callable[[random.Random, int], Question]]] = {
    "addition": addition,
    "subtraction": subtraction,
    "comparison": comparison,
    "sequence": sequence,
    "letters": letters,
    "roman": roman,
    "logic": logic,
    "weekday": weekday,
    "units": units,
    "code": code,
}


def to_roman(value: int) -> str:
    """Roman numeral of `value`, 1 to 399."""
    numeral = ""
    for size, digits in ROMAN_DIGITS:
        while value >= size:
            numeral, value = numeral + digits, value - size
    return numeral


def normalise(text: str) -> str:
    """Lower case, letters and digits and operators only: two texts that differ in typography become equal."""
    return " ".join(re.findall(r"\w+|[-+*=]", text.lower()))


def make_benchmark(skill: str, seed: int, per_level: int = QUESTIONS_PER_LEVEL) -> tuple[Question, ...]:
    """`per_level` questions of each level of `skill`, all different, also after `normalise`."""
    rng = random.Random(f"{seed}/{skill}/benchmark")
    questions: dict[str, Question] = {}
    for level in LEVELS:
        while len(questions) < (level + 1) * per_level:
            question = SKILLS[skill](rng, level)
            questions.setdefault(normalise(question.text), question)
    return tuple(questions.values())


def make_training(skill: str, seed: int, size: int, held_out: Sequence[Question]) -> tuple[Question, ...]:
    """`size` questions of `skill` to train on, levels mixed, repeats allowed, none of them in `held_out`."""
    rng = random.Random(f"{seed}/{skill}/training")
    forbidden = {normalise(question.text) for question in held_out}
    questions: list[Question] = []
    while len(questions) < size:
        question = SKILLS[skill](rng, rng.choice(LEVELS))
        if normalise(question.text) not in forbidden:
            questions.append(question)
    return tuple(questions)


def make_material(seed: int, training_size: int) -> Material:
    """Benchmarks and training questions of every skill; no benchmark question is in any training set."""
    benchmarks = {skill: make_benchmark(skill, seed) for skill in SKILLS}
    training = {skill: make_training(skill, seed, training_size, benchmarks[skill]) for skill in SKILLS}
    return Material(benchmarks, training)


def _numeric(
    rng: random.Random,
    text: str,
    answer: int,
    level: int,
    *,
    lowest: int = 0,
    steps: Sequence[int] = (1, 2, 3, 5, 10),
) -> Question:
    """Distractors are the answer plus or minus one of `steps`: near misses, none below `lowest`."""
    near = sorted({answer + sign * step for step in steps for sign in (-1, 1)})
    wrong = rng.sample([str(n) for n in near if n >= lowest], 3)
    return Question(text, str(answer), (wrong[0], wrong[1], wrong[2]), level)


def _choose(rng: random.Random, text: str, answer: str, options: Sequence[str], level: int) -> Question:
    """Distractors are three of the `options` that are not the answer."""
    wrong = rng.sample([option for option in options if option != answer], 3)
    return Question(text, answer, (wrong[0], wrong[1], wrong[2]), level)
