import pytest

from warehouse.imports.shown import lacks_what_it_speaks_of


@pytest.mark.parametrize(
    "text",
    [
        "Which of the following is a fruit?",
        "Which of these best describes photosynthesis?\nAnswer:",
        "Choose the best answer: what is the capital of France?",
        "Solve 2x = 4 and select the correct option.",
        "All of the following are mammals EXCEPT",
        "Which option is right?",
        "What is the length of x in the figure?",
        "The diagram shows a circle of radius 2. What is its area?",
        "What does the graph below tell about inflation?",
    ],
)
def test_what_is_spoken_of_and_not_there(text):
    assert lacks_what_it_speaks_of(text)


@pytest.mark.parametrize(
    "text",
    [
        "What is the capital of France?",
        "What is the capital of France?\nA. Paris\nB. London",
        "Which of the following is a fruit?\nOptions:\nA. apple\nB. brick",
        "Which of the following is a fruit?\n(a) apple\n(b) brick",
        "Which of the following is a fruit?\n- apple\n- brick",
        "Which of the following is a fruit? (A) apple (B) brick",
        "Which of the following is a fruit?\napple\nbrick",
        "Which of the following is a fruit? ['apple', 'brick']",
        "Which of these is a fruit: apple or brick?",
        "1. All cats are grey. 2. Some cats sleep. Which of the statements follows?",
        "<image>\nWhat is the length of x in the figure?",
        "Image: a circle\nWhat is the area of the circle in the image?",
        "Plot the graph of y = x.",
        "Figure out how many apples are left.",
        "",
    ],
)
def test_what_is_there_or_not_spoken_of(text):
    assert not lacks_what_it_speaks_of(text)
