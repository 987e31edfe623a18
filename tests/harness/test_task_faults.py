"""Tasks that lm-eval would ask without a word, and to which no model could give a right answer."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.errors import DataUnreachable, TaskFaulty
from harness.registry import BenchmarkEntry
from harness.tasks import TaskIndex

T = BenchmarkEntry(name="b", tasks=("t",), metric="acc")
CHOICE = {
    "output_type": "multiple_choice",
    "doc_to_text": "q",
    "doc_to_choice": "choices",
    "doc_to_target": "label",
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
}
FREE = {
    "output_type": "generate_until",
    "doc_to_text": "q",
    "doc_to_target": "answer",
    "generation_kwargs": {"until": ["\n"]},
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
}
RIGHT = {"q": "Odd?", "choices": ["3", "4"], "label": 0, "answer": "3"}

Questions = Callable[..., list[str]]


@pytest.fixture
def questions(tmp_path: Path, write_task: Callable[..., None]) -> Questions:
    """Texts of the questions of a task with these rows."""

    def read(rows: list[dict[str, Any]], config: dict[str, Any]) -> list[str]:
        write_task(tmp_path, "t", rows, config)
        return TaskIndex(tmp_path).questions(T)["text"].to_pylist()

    return read


@pytest.mark.parametrize(
    ("right", "wrong"), [("3", "2"), ("3", "zero"), (0, -1), (0, 2), (0, None), ([0], [0, 7]), ([0], [])]
)
def test_a_label_that_is_no_choice_names_document_and_choices(questions: Questions, right: Any, wrong: Any) -> None:
    with pytest.raises(TaskFaulty, match=r"document 1 of task 't' has .*right answer"):
        questions([{**RIGHT, "label": right}, {**RIGHT, "label": wrong}], CHOICE)


def test_labels_that_are_numbers_as_text_say_what_to_do(questions: Questions) -> None:
    rows = [{"q": "Add 4 and 5.", "choices": ["9", "7", "4", "8"], "label": "0"}]
    with pytest.raises(TaskFaulty) as caught:
        questions(rows, CHOICE)
    assert str(caught.value) == (
        "benchmark 'b': document 0 of task 't' has '0' for its right answer, which is none of its 4 choices "
        "('9', '7', '4', '8'): give the number of the right choice, the first being 0, as a whole number and not as "
        "text, or the choice's own text"
    )


@pytest.mark.parametrize("label", [0, 1, "3", [0], [0, 1]])
def test_a_label_is_a_number_a_choice_or_a_list_of_numbers(questions: Questions, label: Any) -> None:
    assert questions([{**RIGHT, "label": label}], CHOICE) == ["Odd?\n- 3\n- 4"]


@pytest.mark.parametrize(
    ("field", "value", "config", "problem"),
    [
        (
            "doc_to_text",
            "question",
            CHOICE,
            r"doc_to_text of task 't' is 'question', which is no column of its data \(they",
        ),
        ("doc_to_text", "Q", CHOICE, "have q, choices, label, answer"),
        (
            "doc_to_choice",
            "choice",
            CHOICE,
            "do not fit together .*: t: doc_to_text 'q', doc_to_choice 'choice'",
        ),
        ("doc_to_target", "lable", CHOICE, "perhaps 'label' is meant, or write a template with {{ }}"),
        ("doc_to_target", "answr", FREE, "doc_to_target of task 't' is 'answr', .*perhaps 'answer' is meant"),
        ("doc_to_text", "Answer the question.", FREE, "doc_to_text of task 't' is 'Answer the question.'"),
        ("doc_to_text", "{{question}}", FREE, "'question' is undefined"),
        ("doc_to_text", "{{choices[7]}}", FREE, "(does|do) not fit"),
        ("doc_to_target", "{{choices.index('not there')}}", CHOICE, "'not there' is not in list"),
        ("doc_to_choice", "{{label}}", CHOICE, "(does|do) not fit"),
    ],
)
def test_a_field_that_does_not_fit_the_data(
    questions: Questions, field: str, value: str, config: dict[str, Any], problem: str
) -> None:
    with pytest.raises(TaskFaulty, match=problem):
        questions([RIGHT, RIGHT], config | {field: value})


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (CHOICE | {"doc_to_text": ""}, "\n- 3\n- 4"),
        (CHOICE | {"doc_to_text": "Which is odd?"}, "Which is odd?\n- 3\n- 4"),  # each document has its own choices
        (CHOICE | {"doc_to_choice": ["yes", "no"], "doc_to_target": 1}, "Odd?\n- yes\n- no"),
        (CHOICE | {"doc_to_target": "0"}, "Odd?\n- 3\n- 4"),
        (FREE | {"doc_to_text": "Now: {{q}}"}, "Now: Odd?"),
        (FREE | {"doc_to_target": "the {{answer}}"}, "Odd?"),
    ],
)
def test_what_is_the_same_for_every_document_where_it_may_be(
    questions: Questions, config: dict[str, Any], text: str
) -> None:
    assert questions([RIGHT], config) == [text]


@pytest.mark.parametrize(("field", "value"), [("q", None), ("q", ""), ("answer", None)])
def test_a_document_without_a_text_or_an_answer(questions: Questions, field: str, value: str | None) -> None:
    with pytest.raises(TaskFaulty, match=r"document 1 of task 't' has no (text|right answer)"):
        questions([RIGHT, {**RIGHT, field: value}], FREE)


@pytest.mark.parametrize("content", ["", "\n"])
def test_an_empty_data_file_is_named(tmp_path: Path, write_task: Callable[..., None], content: str) -> None:
    write_task(tmp_path, "t", [RIGHT], CHOICE)
    (tmp_path / "t.jsonl").write_text(content)
    with pytest.raises(DataUnreachable, match=r"benchmark 'b': the .*(t.jsonl|Zero)"):
        TaskIndex(tmp_path).questions(T)


@pytest.mark.parametrize(
    ("row", "config", "problem"),
    [
        ({"a": None}, {"doc_to_target": "{{a}}"}, "has no a, for which doc_to_target would write 'None'"),
        ({"a": None}, {"output_type": "loglikelihood", "doc_to_target": " {{a}}"}, "has no a, for which doc_to_target"),
        ({"q": None}, {"doc_to_text": "Q: {{q}}"}, "has no q, for which doc_to_text would write 'None'"),
        ({"label": -1}, {"doc_to_choice": "choices", "doc_to_target": "label"}, "has -1 for its right answer"),
        ({"label": 2}, {"doc_to_choice": "choices", "doc_to_target": "label"}, "has 2 for its right answer"),
        (
            {"choices": ["3", None]},
            {"doc_to_choice": "choices", "doc_to_target": "label"},
            r"has \['3', None\] for its choices, which must be a list of texts",
        ),
    ],
)
def test_an_answer_that_could_only_be_wrong(
    questions: Questions, row: dict[str, Any], config: dict[str, Any], problem: str
) -> None:
    right = {"q": "Odd?", "a": "3", "choices": ["3", "4"], "label": 0}
    with pytest.raises(TaskFaulty, match=f"document 1 of task 't' {problem}"):
        questions([right, {**right, **row}], FREE | {"doc_to_target": "a"} | config)


@pytest.mark.parametrize("hidden", ["", " ", []])
def test_labels_that_are_kept_back(questions: Questions, hidden: Any) -> None:
    rows = [{**RIGHT, "answer": hidden}] * 2
    with pytest.raises(TaskFaulty, match="none of the 2 documents of task 't' has a right answer"):
        questions(rows, FREE)
    if hidden == "":  # one of several may be empty
        assert len(questions([RIGHT, {**RIGHT, "answer": ""}], FREE)) == 2


def test_labels_may_be_numbers_of_numpy(tmp_path: Path, write_task: Callable[..., None]) -> None:
    write_task(tmp_path, "t", [RIGHT], CHOICE)
    config = yaml.safe_load((tmp_path / "t.yaml").read_text())
    del config["doc_to_target"]
    (tmp_path / "t.yaml").write_text(yaml.safe_dump(config) + "doc_to_target: !function labels.label\n")
    (tmp_path / "labels.py").write_text("import numpy as np\ndef label(doc):\n    return np.int32(doc['label'])\n")
    assert TaskIndex(tmp_path).questions(T).num_rows == 1


def _digest(folder: Path) -> str:
    return TaskIndex(folder).configs(T)["t"]


@pytest.mark.parametrize(
    "files", ["t.jsonl", ["t.jsonl"], {"test": "t.jsonl"}, {"test": "*.jsonl"}, {"test": "./t.json?"}]
)
def test_a_relative_data_file_is_known_by_what_is_in_it(
    tmp_path: Path, write_task: Callable[..., None], monkeypatch: pytest.MonkeyPatch, files: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    write_task(tmp_path, "t", [RIGHT], CHOICE | {"dataset_kwargs": {"data_files": files}})
    before = _digest(tmp_path)
    (tmp_path / "t.jsonl").write_text(json.dumps({**RIGHT, "label": 1}) + "\n")
    assert _digest(tmp_path) != before


def test_code_that_a_task_imports_from_its_folder_counts(tmp_path: Path, write_task: Callable[..., None]) -> None:
    write_task(tmp_path, "t", [RIGHT], CHOICE)
    config = yaml.safe_load((tmp_path / "t.yaml").read_text())
    del config["doc_to_text"]
    (tmp_path / "t.yaml").write_text(yaml.safe_dump(config) + "doc_to_text: !function utils.ask\n")
    (tmp_path / "utils.py").write_text("from helper import shout\ndef ask(doc):\n    return shout(doc['q'])\n")
    (tmp_path / "helper.py").write_text("import other\ndef shout(text):\n    return text\n")
    (tmp_path / "other.py").write_text("")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "part.py").write_text("")
    digests = {_digest(tmp_path)}
    for name, code in (
        ("utils", "def ask(doc):\n    return doc['q']\nimport helper"),
        ("helper", "import other\nfrom package import part"),
        ("other", "x = 1"),
        ("package/part", "x = 1"),
        ("package/__init__", "x = 1"),
    ):
        (tmp_path / f"{name}.py").write_text(code)
        digests.add(_digest(tmp_path))
    assert len(digests) == 6
    (tmp_path / "stranger.py").write_text("x = 1")
    assert _digest(tmp_path) in digests
