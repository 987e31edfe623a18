import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedder.lexical import LEXICAL_FEATURES, lexical_features


def features(text: str) -> dict[str, float]:
    return dict(zip(LEXICAL_FEATURES, lexical_features([text])[0].tolist(), strict=True))


def count(feature: str, text: str) -> int:
    """What was counted: counts and lengths come as log(1 + x)."""
    return round(np.expm1(features(text)[feature]))


OPTION_STYLES = {
    "A. x": "Pick a fruit.\nA. apple\nB. pear\nC. fig",
    "A) x": "Pick a fruit.\nA) apple\nB) pear\nC) fig",
    "(b) x": "Pick a fruit.\n(a) apple\n(b) pear\n(c) fig",
    "3) x": "Pick a fruit.\n1) apple\n2) pear\n3) fig",
    "- x": "Pick a fruit.\n- apple\n- pear\n- fig",
    "A: x, indented": "Pick a fruit.\n  A: apple\n\tB: pear\n  C: fig",
    "two digits": "Pick a fruit.\n9. apple\n10. pear\n11. fig",
    "lines end as on Windows": "Pick a fruit.\r\nA. apple\r\nB. pear\r\nC. fig",
}


@pytest.mark.parametrize("text", OPTION_STYLES.values(), ids=OPTION_STYLES)
def test_options_of_every_style(text):
    found = features(text)
    assert found["options"] == pytest.approx(0.3)
    assert np.expm1(found["option_length"]) == pytest.approx((len("apple") + len("pear") + len("fig")) / 3)
    assert np.expm1(found["option_length_spread"]) == pytest.approx(np.std([5, 4, 3]), rel=1e-6)
    assert count("characters", text) == len("Pick a fruit.")


@pytest.mark.parametrize(
    "text", ["What is the capital of France?", "Complete:\n- the sentence", "Plan A. Then plan B.", "The U.S. won."]
)
def test_no_options(text):
    """What they are like is not known: they may have been left out."""
    found = features(text)
    of_options = [name for name in LEXICAL_FEATURES if "option" in name or "whole" in name] + ["none_of", "all_of"]
    assert len(of_options) == 23
    assert np.isnan([found[name] for name in of_options]).all()


def test_what_options_say():
    found = features("How far?\nA. 5\nB. -2.5\nC. $30\nD. None of the above")
    assert (found["numeric_options"], found["none_of"], found["all_of"]) == (0.75, 1, 0)
    found = features("Which?\nA. rain\nB. snow\nC. Both A and B\nD. All of these")
    assert (found["numeric_options"], found["all_of"], found["compound_options"]) == (0, 1, 1)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_same_option_twice(end):
    assert features(end.join(["Which?", "A. rain", "B. snow"]))["repeated_options"] == 0
    assert features(end.join(["Which?", "A. rain", "B. rain"]))["repeated_options"] == 1


def test_the_question_is_told_from_its_options():
    """Negation, numbers and the question's ending are looked for before the options."""
    found = features("Which 2 are birds?\nA. not a hen\nB. 3 owls\nC. no")
    assert found["negations"] == 0
    assert np.expm1(found["numbers"]) == pytest.approx(1)
    assert found["ends_as_question"] == 1


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("Which is a mammal?", 0),
        ("Which is NOT a mammal?", 1),
        ("All are true EXCEPT", 1),
        ("It isn't, and it never was.", 2),
        ("It isn’t so.", 1),
        ("Notice the knots in another note.", 0),
    ],
)
def test_negation(text, n):
    assert count("negations", text) == n


@pytest.mark.parametrize(
    ("text", "blank"), [("The sky is ____.", 1), ("The sky is ......", 1), ("a_b and so on...", 0)]
)
def test_a_blank_to_fill_in(text, blank):
    assert features(text)["blank"] == blank


@pytest.mark.parametrize(
    ("feature", "text", "n"),
    [
        ("code", "def area(r):\n    return 3 * r * r\n", 2),
        ("code", "def area(r): return 3 * r * r", 2),
        ("code", "#include <stdio.h>", 1),
        ("code", "What does print(1) show?", 1),
        ("code", "Import duties are due upon return of the goods.", 0),
        ("code", "Which taxes on import and export are legal?", 0),
        ("digits", "7 of 12", 3),
        ("numbers", "Add 1,000 and 2.5 to 7.", 3),
        ("parentheses", "f(x) in [0, 1]", 4),
        ("operators", "2 + 3 * 4 < 20", 3),
        ("words", "to be or not to be", 6),
        ("characters", "to be or not to be", 18),
        ("stops", "It rained. Was it cold? Yes: very!", 3),
        ("question_marks", "It rained. Was it cold? Yes: very!", 1),
    ],
)
def test_counts_what_is_plainly_there(feature, text, n):
    assert count(feature, text) == n


@pytest.mark.parametrize(
    "text",
    [
        "Statement 1 | Every field is a ring. Statement 2 | Every ring is a field.",
        "Consider: (I) ice floats (II) iron floats",
        "Which hold?\nI. Ice floats.\nII. Iron floats.\nA. I\nB. II",
    ],
)
def test_numbered_statements(text):
    assert features(text)["statements"] == 1


@pytest.mark.parametrize(
    "text",
    [
        "I say that ice floats, in 2 sentences.",
        "Which statement is true?",
        "It lies 4,000 km off Hawaii. How long is it?",
    ],
)
def test_no_numbered_statements(text):
    assert features(text)["statements"] == 0


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("Which of these floats?", {"asks_which"}),
        ("WHAT floats?", {"asks_what"}),
        ("Who discovered radium?", {"asks_who_when_where"}),
        ("Why does ice float?", {"asks_why_how"}),
        ("How does ice float?", {"asks_why_how"}),
        ("How many moons are there?", {"asks_why_how", "asks_amount"}),
        ("How are there so many?", {"asks_why_how"}),
        ("Calculate the mass.", {"asks_to_compute"}),
        ("Whatever floats, somehow.", set()),
    ],
)
def test_what_is_asked_for(text, asks):
    found = features(text)
    assert {name for name in LEXICAL_FEATURES if name.startswith("asks_") and found[name]} == asks


def test_shares_are_of_the_characters():
    found = features("AB12 éab")
    assert found["digit_share"] == 2 / 8
    assert found["not_ascii_share"] == 1 / 8
    assert features("水の沸点は何度ですか")["not_ascii_share"] == 1


@pytest.mark.parametrize("space", [" ", "\n", "\t", "\r\n"])
def test_whatever_separates_words_is_no_part_of_them(space):
    found = features(space.join(["four", "word", "long"]))
    assert np.expm1(found["words"]) == pytest.approx(3)
    assert found["word_length"] == 4


@pytest.mark.parametrize(
    ("text", "question", "sentence"),
    [("Why?", 1, 0), ("Add 2 to 3.", 0, 1), ("Complete:", 0, 1), ("Go!", 0, 0), ("why", np.nan, np.nan)],
)
def test_how_it_ends(text, question, sentence):
    """A mark that is left out says nothing, as it is when people type."""
    found = features(text)
    np.testing.assert_equal((found["ends_as_question"], found["ends_as_sentence"]), (question, sentence))


def test_a_text_without_capitals_says_nothing_of_them():
    assert features("AB12 éab")["capital_share"] == 2 / 8
    text = "Which of these is NOT a Prime?\nA. Seven\nB. None of the above"
    typed = features(text.lower())
    assert np.isnan(typed.pop("capital_share"))
    whole = features(text)
    assert whole.pop("capital_share") > 0
    np.testing.assert_equal(typed, whole)


def test_the_whole_is_the_question_with_its_options():
    assert count("whole_digits", "Add 12 to 7.\nA. 19\nB. 20") == 7
    assert count("whole_words", "Add 12 to 7.\nA. 19\nB. 20") == 6
    assert np.isnan(features("Add 12 to 7.")["whole_digits"])


def test_the_empty_text_is_all_zeros_but_for_what_is_not_known():
    assert {name for name, value in features("").items() if value > 0} == {"words"}


def test_no_texts():
    assert lexical_features([]).shape == (0, len(LEXICAL_FEATURES))


def test_names_are_distinct():
    assert len(set(LEXICAL_FEATURES)) == len(LEXICAL_FEATURES)


def test_a_lone_surrogate_is_a_character_outside_ascii():
    found = features("a\ud800")
    assert found["not_ascii_share"] == 0.5
    assert found["question_marks"] == 0


def test_an_array_of_texts():
    texts = ["Which?\nA. x\nB. y", "Why not?"]
    np.testing.assert_array_equal(lexical_features(np.array(texts, object)), lexical_features(texts))


LONG = {
    "prose": "The quick brown fox, born in 1914, does not jump. ",
    "options": "A. x\n",
    "one word": "a",
    "no spaces between words": "水",
    "enumeration": "1. ",
    "return on one line": "return ",
    "underscores": "_",
    "digits": "1",
    "spaces": " ",
    "newlines": "\n",
    "dollars": "$ ",
    "backslashes": "\\",
}


@pytest.mark.timeout(5)
@pytest.mark.parametrize("piece", LONG.values(), ids=LONG)
def test_time_is_linear_in_the_length(piece):
    """200,000 characters take a fraction of a second; in quadratic time they would take minutes."""
    text = piece * (200_000 // len(piece))
    assert not np.isinf(lexical_features([text])).any()


# Anything at all, lone surrogates included, and pieces that look like the forms that are recognised.
ANYTHING = st.text(st.characters(exclude_categories=()), max_size=60)
PIECES = ("\nA. ", "\n(b) ", "\n- ", "\r\n", "$", "\\frac{1}", "n't", "____", "1. ", " II. ", "return ", "f(x).", "é")
TEXTS = st.one_of(ANYTHING, st.lists(st.one_of(st.sampled_from(PIECES), ANYTHING), max_size=12).map("".join))


@given(TEXTS)
def test_always_finite_and_never_negative(text):
    found = lexical_features([text])
    assert found.shape == (1, len(LEXICAL_FEATURES))
    assert found.dtype == np.float32
    assert not np.isinf(found).any()
    assert (found[~np.isnan(found)] >= 0).all()
    for name, value in features(text).items():
        assert not value > 1 or not name.endswith("_share"), name


@given(st.lists(TEXTS, min_size=1, max_size=6), st.randoms())
def test_order_of_texts_is_irrelevant(texts, random):
    order = list(range(len(texts)))
    random.shuffle(order)
    np.testing.assert_array_equal(lexical_features([texts[i] for i in order]), lexical_features(texts)[order])


@given(st.lists(TEXTS, min_size=1, max_size=6))
def test_each_text_is_described_by_itself(texts):
    np.testing.assert_array_equal(lexical_features(texts), np.vstack([lexical_features([text]) for text in texts]))
