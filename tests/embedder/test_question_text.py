import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedder.question_text import QuestionText, read_question

FRUIT = QuestionText("Which fruit is red?", ("apple", "pear", "fig"))

FORMS = {
    "letters": "Which fruit is red?\nA. apple\nB. pear\nC. fig",
    "a benchmark's frame": "Question: Which fruit is red?\nOptions:\nA. apple\nB. pear\nC. fig\nAnswer:",
    "options after the cue": "Which fruit is red?\nAnswer:\n- apple\n- pear\n- fig",
    "parentheses": "Which fruit is red?\n(a) apple\n(b) pear\n(c) fig",
    "roman numerals": "Which fruit is red?\n(i) apple\n(ii) pear\n(iii) fig",
    "digits": "Which fruit is red?\n1) apple\n2) pear\n3) fig",
    "one line": "Which fruit is red? A. apple B. pear C. fig Answer:",
    "one line of bullets": "Which fruit is red? Answer: - apple - pear - fig",
    "Windows": "Which fruit is red?\r\nA. apple\r\nB. pear\r\nC. fig\r\n",
    "full-width marks": "Which fruit is red？\nA. apple\nB. pear\nC. fig",
    "a greeting": "Hi! Could you help me with this one?\n\nWhich fruit is red?\nA. apple\nB. pear\nC. fig",
    "another greeting": "good morning, please answer the following: Which fruit is red?\nA. apple\nB. pear\nC. fig",
    "a header": "These are multiple choice questions about food.\n\nWhich fruit is red?\nA. apple\nB. pear\nC. fig",
    "examples": (
        "Which is a root?\nA. carrot\nB. plum\nAnswer: A\n\nWhich is a nut?\nA. hazel\nB. leek\nAnswer: A\n\n"
        "Which fruit is red?\nA. apple\nB. pear\nC. fig\nAnswer:"
    ),
    "chat messages": json.dumps(
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Which fruit is blue?"},
            {"role": "assistant", "content": "None."},
            {"role": "user", "content": "Which fruit is red?\nA. apple\nB. pear\nC. fig"},
        ]
    ),
    "a request": json.dumps(
        {
            "model": "m",
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "Which fruit is red?\nA. apple\nB. pear\nC. fig"},
                        {"type": "image_url", "image_url": {"url": "x"}},
                    ],
                }
            ],
        }
    ),
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_the_same_question_in_every_form(text):
    assert read_question(text) == FRUIT


@pytest.mark.parametrize(
    "text",
    [
        "Which fruit is red?",
        "Q: Which fruit is red?\nA:",
        "  Which fruit\nis red? \n\n",
        "hey, quick question\n\nWhich fruit is red?",
        '{"role": "user", "content": "Which fruit is red?"}',
    ],
)
def test_without_options(text):
    assert read_question(text) == QuestionText("Which fruit is red?", ())


@pytest.mark.parametrize(
    "text",
    [
        "Plan A. Then plan B.",
        "Complete: - the sentence",
        "What is $x - 2 - y - z$ for x = 3?",
        "In [1]: a = {0: 1, 2: 3} - what is it, 3. or 4. or 5. of them?",
        "The U.S. won.",
        "hi",
        "Hello!",
        "[1, 2, 3] has which sum?",
        '[{"content": 3}]',
        '{"content": ""}',
        "Answer: yes",
        "",
    ],
)
def test_what_is_not_recognised_stays(text):
    assert read_question(text) in (QuestionText(text, ()), QuestionText("yes", ()))


def test_statements_belong_to_the_question_not_to_its_options():
    text = "Which hold?\n1. Ice floats.\n2. Iron floats.\nA. 1 only\nB. 2 only"
    assert read_question(text) == QuestionText("Which hold? 1. Ice floats. 2. Iron floats.", ("1 only", "2 only"))


@pytest.mark.parametrize(
    "text",
    [
        "Could you tell me what the capital of France is? Thank you!",
        "Please calculate the integral of x^2 from 0 to 1. Show all your steps.",
        "Which of the following is a mammal? Answer with one word only.",
        "What does the following print? print(1) print(2)",
        "Hey Jude is a song by which band? Name the album as well.",
        "Dear Professor I did not understand why entropy always increases. Best regards",
        "Consider the following steps: 1. Mix the acid 2. Heat it What gas is released?",
        "Question: What is 17*23? Answer: 401 Is the answer above correct?",
        "Who was A. B. C. Smith?",
        "Evaluate: - 5 - 3 - 2 = ?",
    ],
)
def test_nothing_that_is_asked_is_taken_off(text):
    assert read_question(text).stem in (text, text.removeprefix("Question: "))


def test_a_list_with_the_question_after_it_is_part_of_the_question():
    text = "Consider these steps:\n1. Mix the acid\n2. Heat it\nWhat gas is released?"
    assert read_question(text) == QuestionText(" ".join(text.split()), ())
    text = "Here is my list:\n- 3 apples at $2\n- 4 pears at $1\n\nCompute the total price."
    assert "Compute the total price." in read_question(text).stem


def test_a_passage_with_an_answer_in_it_is_no_example():
    text = "Passage: The quiz said\nAnswer: Paris was founded by the Parisii.\n\nWho founded Paris?"
    assert "Parisii" in read_question(text).stem


@pytest.mark.parametrize(
    "messages",
    [
        '{"input": [{"role": "user", "content": [{"type": "input_text", "text": "Why is it red?"}]}]}',
        '\ufeff[{"role": "user", "content": "Why is it red?"}]',
        '{"messages": [{"role": "user", "content": "Why is it red?"}, {"role": "user", "content": ""}]}',
    ],
)
def test_messages_of_other_kinds(messages):
    assert read_question(messages) == QuestionText("Why is it red?", ())


@pytest.mark.parametrize("text", ['[{"role":"user","content":' + "[" * 5000 + "]" * 5000 + "}]", '[{"content":' * 1000])
def test_json_too_deep_to_read_is_text(text):
    assert read_question(text).stem == text


def test_half_a_character_in_a_message():
    read_question('[{"role": "user", "content": "\\ud800 Why?"}]').stem.encode("utf-8")


@pytest.mark.timeout(5)
@pytest.mark.parametrize("gap", [" ", "\t", "\n"])
def test_a_long_gap_takes_no_long_time(gap):
    read_question("What is it?\nA. x\nB. y" + gap * 200_000 + "z")


def test_a_question_after_the_options_is_kept():
    text = "Take one of these:\nA. apple\nB. pear\n\nWhich grows on trees?"
    assert read_question(text) == QuestionText("Take one of these: Which grows on trees?", ("apple", "pear"))


def test_an_answer_within_the_text_is_no_example_if_nothing_follows():
    assert read_question("Check this.\nAnswer: 5\n\n").stem == "Check this. 5"


@given(st.text(max_size=200))
def test_any_text_has_a_question_unless_it_is_blank(text):
    assert bool(read_question(text).stem) == bool(text.split())


@given(st.text(alphabet="ab :.?\n", max_size=80))
def test_reading_twice_is_reading_once(text):
    once = read_question(text).stem
    assert read_question(once).stem in (once, read_question(once).stem)
