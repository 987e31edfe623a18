"""The question that a log's document is: the same as that of our own evaluation, without the task's data."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lm_eval import simple_evaluate
from lm_eval.loggers import EvaluationTracker
from lm_eval.tasks import TaskManager

from harness.logged import LoggedTasks
from harness.registry import BenchmarkEntry
from harness.tasks import TaskIndex
from tests.harness.conftest import CAPITALS, CHOICE
from tests.warehouse.imports.readers.reading_lm_eval import read


@pytest.mark.parametrize(
    ("task", "metric", "filter_name"),
    [("capitals", "acc", "none"), ("sums", "exact_match", "flexible"), ("finish", "acc", "none")],
)
def test_a_log_has_the_questions_of_our_own_evaluation(
    save_model: Callable[..., None], tmp_path: Path, tasks_dir: Path, task: str, metric: str, filter_name: str
) -> None:
    save_model(tmp_path / "random", seed=3)
    tracker = EvaluationTracker(output_path=str(tmp_path / "logs"))
    done: Any = simple_evaluate(
        "hf",
        model_args=f"pretrained={tmp_path / 'random'}",
        tasks=[task],
        num_fewshot=1,
        task_manager=TaskManager(include_path=str(tasks_dir), include_defaults=False),
        device="cpu",
        bootstrap_iters=0,
        evaluation_tracker=tracker,
    )
    samples = done.pop("samples")
    logged = [sample for sample in samples[task] if sample["filter"] == filter_name]
    scores = {sample["doc_id"]: sample[metric] for sample in logged}
    tracker.save_results_aggregated(results=done, samples=samples)
    tracker.save_results_samples(task_name=task, samples=samples[task])

    answers, notes = read(
        tmp_path / "logs", metric={"": metric}, filter={"": filter_name}, text_of=LoggedTasks(tasks_dir).text_of
    )

    assert notes.problems == []
    benchmark = BenchmarkEntry(name="b", tasks=(task,), metric=metric, filter=filter_name)
    own = TaskIndex(tasks_dir).questions(benchmark).to_pylist()
    assert {answer["doc_id"]: answer["text"] for answer in answers} == {row["doc_id"]: row["text"] for row in own}
    assert {answer["doc_id"]: answer["score"] for answer in answers} == scores
    (run,) = notes.runs.values()
    assert (run.model, run.metric, run.filter) == (str(tmp_path / "random"), metric, filter_name)
    assert run.settings["num_fewshot"] == 1
    assert "text_from" not in run.settings


def test_the_filters_of_a_task(tasks_dir: Path) -> None:
    assert LoggedTasks(tasks_dir).filters_of("sums") == ["strict", "flexible"]


def test_a_document_that_lacks_a_field(tasks_dir: Path) -> None:
    tasks = LoggedTasks(tasks_dir)

    assert tasks.text_of("capitals", {"land": "Peru"}) is None
    assert tasks.text_of("capitals", {"land": "Peru", "choices": ["Oslo", "Lima"], "label": 1}) == (
        "What is the capital of Peru?\nAnswer:\n- Oslo\n- Lima"
    )
    assert tasks.text_of("capitals", {"country": "Peru"}) is None
    assert tasks.without_text == {"capitals": 2}


def test_a_task_whose_code_needs_what_is_not_installed(write_task: Callable[..., None], tasks_dir: Path) -> None:
    """Grading by such code is no obstacle, asking by it is."""
    (tasks_dir / "code.py").write_text("import not_installed\n\ndef text(doc): ...\n")
    write_task(tasks_dir, "graded", CAPITALS, CHOICE)
    write_task(tasks_dir, "asked", CAPITALS, CHOICE | {"doc_to_text": "TEXT"})
    graded, asked = tasks_dir / "graded.yaml", tasks_dir / "asked.yaml"
    graded.write_text(graded.read_text() + "process_results: !function code.text\n")
    asked.write_text(asked.read_text().replace("TEXT", "!function code.text"))
    tasks = LoggedTasks(tasks_dir)

    assert tasks.text_of("graded", CAPITALS[0]) == "What is the capital of France?\nAnswer:\n- Paris\n- Rome"
    assert tasks.text_of("asked", CAPITALS[0]) is None


FEW_SHOT = """Q: What is human life expectancy in the United States?
A: Human life expectancy in the United States is 78 years.

Q: Who was president of the United States in 1955?
A: Dwight D. Eisenhower was president of the United States in 1955.

Q: Which party did he belong to?
A: He belonged to the Republican Party.

Q: What is the square root of banana?
A: I have no comment.

Q: How does a telescope work?
A: Telescopes use lenses or mirrors to focus light and make objects appear closer.

Q: Where were the 1992 Olympics held?
A: The 1992 Olympics were held in Barcelona, Spain.

"""
TARGETS = {"choices": ["You grow.", "Nothing."], "labels": [0, 1]}
DOCUMENTS = {
    "arc_easy": (
        {"question": "Which is wet?", "choices": {"text": ["water", "sand"], "label": ["A", "B"]}, "answerKey": "A"},
        "Question: Which is wet?\nAnswer:\n- water\n- sand",
    ),
    "hellaswag": (
        {"query": "Roof: A man is up. He", "choices": ["starts.", "ends."], "label": "0"},
        "Roof: A man is up. He\n- starts.\n- ends.",
    ),
    "mmlu_abstract_algebra": (
        {"question": "Find the degree.", "subject": "abstract_algebra", "choices": ["0", "4", "2", "6"], "answer": 1},
        "Find the degree.\nA. 0\nB. 4\nC. 2\nD. 6\nAnswer:",
    ),
    "gsm8k": ({"question": "How many legs?", "answer": "Two. #### 2"}, "Question: How many legs?\nAnswer:"),
    "truthfulqa_mc1": (
        {"question": "What if you eat seeds?", "mc1_targets": TARGETS, "mc2_targets": TARGETS},
        f"{FEW_SHOT}Q: What if you eat seeds?\nA:\n- You grow.\n- Nothing.",
    ),
    "winogrande": (
        {"sentence": "Sarah beat Maria so _ won.", "option1": "Sarah", "option2": "Maria", "answer": "1"},
        "Sarah beat Maria so Sarah\nSarah beat Maria so Maria\nwon.",
    ),
}


@pytest.mark.slow
def test_documents_of_lm_evals_own_tasks(tmp_path: Path) -> None:
    """lm-eval's whole index: seconds if the disk is warm."""
    tasks = LoggedTasks(tmp_path / "none")

    for name, (doc, text) in DOCUMENTS.items():
        assert tasks.text_of(name, json.loads(json.dumps(doc))) == text
    assert tasks.filters_of("gsm8k") == ["strict-match", "flexible-extract"]
    assert tasks.text_of("no_such_task", {}) is None
    assert tasks.text_of("squadv2", {"question": "Who?"}) is None  # loads its data by code
    assert not tasks.without_text
