import json

import pytest

from embedder.downstream.text_forms import AS_ASKED, FORMS, NONSENSE, digest, rewrite, write_nonsense

LETTERED = "Which is a bird?\nOptions:\nA. hen\nB. cat\nC. dog"
BULLETS = "Add 4 and 5.\nAnswer:\n- 9\n- 7"
OPEN = "How many legs have two hens?"
CODE = "Complete the assertion.\n\ndef f(x):\n    return x - 1\nassert f(2) == ??"


@pytest.mark.parametrize(
    ("form", "text", "written"),
    [
        (AS_ASKED, LETTERED, LETTERED),
        ("no_options", LETTERED, "Which is a bird?"),
        ("no_options", BULLETS, "Add 4 and 5.\nAnswer:"),
        ("no_options", "Which?\r\n\r\n(a) hen\r\n(b) cat\r\n", "Which?"),
        ("no_options", "Which?\n1) hen\n2) cat\nAnswer:", "Which?\nAnswer:"),
        ("no_options", "Which?\nChoices:\nA: hen\nwith wings\nB: cat\nwith tail\n\nSay why.", "Which?\n\nSay why."),
        ("no_options", "1. It flies.\n2. It sings.\nWhy?\nA. hen\nB. cat", "1. It flies.\n2. It sings.\nWhy?"),
        ("roman_labels", LETTERED, "Which is a bird?\nOptions:\n(i) hen\n(ii) cat\n(iii) dog"),
        ("roman_labels", BULLETS, "Add 4 and 5.\nAnswer:\n(i) 9\n(ii) 7"),
        ("digit_labels", LETTERED, "Which is a bird?\nOptions:\n1) hen\n2) cat\n3) dog"),
        ("no_cues", LETTERED, "Which is a bird?\nA. hen\nB. cat\nC. dog"),
        ("no_cues", BULLETS, "Add 4 and 5.\n- 9\n- 7"),
        ("no_cues", f"Question: {OPEN}\nThe answer is: ", OPEN),
        ("no_cues", "Find the exact answer: 1 + 2", "Find the exact answer: 1 + 2"),
        ("one_line", LETTERED, "Which is a bird? Options: A. hen B. cat C. dog"),
        ("one_line", CODE, "Complete the assertion. def f(x): return x - 1 assert f(2) == ??"),
        ("lower_case", BULLETS, "add 4 and 5.\nanswer:\n- 9\n- 7"),
        ("typed", LETTERED, "which is a bird"),
        ("typed", BULLETS, "add 4 and 5"),
        ("typed", OPEN, "how many legs have two hens"),
        ("full_width", 'Is "a, b" (or 1,000) right?', "Is “a， b” （or 1,000） right？"),
        ("full_width", "It's late. Answer:", "It’s late。 Answer："),
        ("full_width", "A. hen\nB. cat", "A. hen\nB. cat"),
    ],
)  # fmt: skip
def test_written_in_a_form(form, text, written):
    assert rewrite(form, text) == written


@pytest.mark.parametrize(
    ("form", "text"),
    [
        *((form, OPEN) for form in ("no_options", "roman_labels", "digit_labels", "no_cues", "one_line")),
        *((form, CODE) for form in ("no_options", "roman_labels", "digit_labels", "no_cues")),
        ("no_options", "A. hen\nB. cat"),
        ("no_options", "Complete:\n- the sentence"),
        ("roman_labels", "The U.S. won.\nA. hen\nC. dog"),
        ("no_cues", "Answer:"),
        ("lower_case", "why?"),
        ("typed", "?"),
    ],
)
def test_what_has_not_what_a_form_changes_stays(form, text):
    assert rewrite(form, text) == text


def test_a_greeting_comes_before_the_question():
    greeting, _, rest = rewrite("greeting", BULLETS).partition("\n\n")
    assert rest == BULLETS
    assert greeting
    assert len({rewrite("greeting", f"{n}?").partition("\n\n")[0] for n in range(40)}) == 4


def test_chat_messages_hold_the_question():
    system, user = json.loads(rewrite("chat_messages", "Is “é” a\nletter?"))
    assert user == {"role": "user", "content": "Is “é” a\nletter?"}
    assert system["role"] == "system"
    assert "é" in rewrite("chat_messages", "Is é a letter?")


def test_examples_come_before_the_question_with_an_answer_each():
    written = rewrite("few_shot", LETTERED, [BULLETS, LETTERED, OPEN])
    bullets, lettered, free, asked = written.split("\n\n")
    assert bullets in ("Add 4 and 5.\nAnswer: 9", "Add 4 and 5.\nAnswer: 7")
    assert lettered.rpartition("\nAnswer: ")[0] == LETTERED
    assert lettered[-1] in "ABC"
    assert free.rpartition(" ")[0] == f"{OPEN}\nAnswer:"
    assert asked == LETTERED
    assert rewrite("few_shot", LETTERED) == LETTERED


@pytest.mark.parametrize("form", FORMS)
def test_the_same_text_always_comes_out_the_same(form):
    assert rewrite(form, LETTERED, [BULLETS]) == rewrite(form, LETTERED, [BULLETS])
    assert rewrite(form, LETTERED, [BULLETS]).strip()


def test_a_digest_is_the_same_on_every_machine():
    assert digest("asdf") == 0xF0E4C2F76C58916E
    assert digest("asdg") != digest("asdf")


@pytest.mark.parametrize("kind", NONSENSE)
def test_nonsense_is_always_the_same_and_each_text_another(kind):
    texts = write_nonsense(kind, 15)
    assert texts == write_nonsense(kind, 15)
    assert len(set(texts)) == 15
    assert texts[:5] == write_nonsense(kind, 5)


def test_asdf_is_among_it():
    assert write_nonsense("nonsense_keys", 3)[0] == "asdf"


def test_what_does_not_exist_is_refused():
    with pytest.raises(KeyError):
        rewrite("backwards", "a")
    with pytest.raises(ValueError, match="nonsense_keys, nonsense_short, nonsense_words"):
        write_nonsense("poems", 3)
