import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.errors import TaskUnknown
from harness.registry import BenchmarkEntry
from harness.tasks import TaskIndex

PAPER = {  # task: metric, filter
    "mmlu": ("acc", "none"),
    "truthfulqa_mc1": ("acc", "none"),
    "social_iqa": ("acc", "none"),
    "piqa": ("acc_norm", "none"),
    "medmcqa": ("acc", "none"),
    "mathqa": ("acc", "none"),
    "logiqa": ("acc_norm", "none"),
    "gsm8k": ("exact_match", "strict-match"),
    "gpqa_main_n_shot": ("acc_norm", "none"),
    "asdiv": ("acc", "none"),
}


def benchmark(*tasks: str, metric: str = "acc", **fields: Any) -> BenchmarkEntry:
    return BenchmarkEntry(name="b", tasks=tasks, metric=metric, **fields)


def texts(folder: Path, *tasks: str) -> list[str]:
    return TaskIndex(folder).questions(benchmark(*tasks)).column("text").to_pylist()


@pytest.mark.slow
def test_tasks_of_the_paper_are_lm_evals_own() -> None:
    """lm-eval's whole index: seconds if the disk is warm, half a minute if not."""
    index = TaskIndex(None)
    index.check(benchmark(task, metric=m, filter=f) for task, (m, f) in PAPER.items())

    assert len(index.configs(benchmark("mmlu"))) == 57
    with pytest.raises(TaskUnknown, match=r"lm-eval has no task 'truthfulqa_mc3' in its own tasks; did you mean trut"):
        index.check([benchmark("truthfulqa_mc3")])


def test_tasks_dir_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(TaskUnknown, match=r"benchmark 'b': the registry's tasks_dir .*/none does not exist"):
        TaskIndex(tmp_path / "none").check([benchmark("capitals")])


def test_group_that_names_an_unknown_task(tasks_dir: Path) -> None:
    (tasks_dir / "g.yaml").write_text(yaml.safe_dump({"group": "g", "task": ["capitals", "missing"]}))
    with pytest.raises(TaskUnknown, match="lm-eval has no task 'missing', which group 'g' names"):
        TaskIndex(tasks_dir).check([benchmark("g")])


@pytest.mark.parametrize(
    "members",
    [
        ["world", "capitals"],
        [{"task": "south", "num_fewshot": 1}, "north", "capitals"],
        [{"group": "inner", "task": ["south", "north"]}, "capitals"],
    ],
)
def test_groups_come_down_to_the_tasks_that_lm_eval_loads(tasks_dir: Path, members: list[Any]) -> None:
    (tasks_dir / "g.yaml").write_text(yaml.safe_dump({"group": "g", "task": members}))
    index = TaskIndex(tasks_dir)

    assert list(index.configs(benchmark("g"))) == list(index.load(benchmark("g"))) == ["south", "north", "capitals"]


def test_tag_comes_down_to_its_tasks(tasks_dir: Path) -> None:
    for name in ("north", "south"):
        path = tasks_dir / f"{name}.yaml"
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"tag": "poles"}))
    index = TaskIndex(tasks_dir)

    assert list(index.configs(benchmark("poles"))) == list(index.load(benchmark("poles"))) == ["north", "south"]


def test_fewshot_count_is_the_benchmarks_unless_the_task_insists_on_none(tasks_dir: Path) -> None:
    path = tasks_dir / "north.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"num_fewshot": 0}))
    tasks = TaskIndex(tasks_dir).load(benchmark("world", num_fewshot=3))

    assert {name: task.get_config("num_fewshot") for name, task in tasks.items()} == {"south": 3, "north": 0}


CHOICE = {
    "output_type": "multiple_choice",
    "doc_to_text": "q",
    "doc_to_choice": "choices",
    "doc_to_target": "label",
}


@pytest.mark.parametrize(
    ("question", "choices", "text"),
    [
        ("Is 3 or 7 larger?", ["3", "7"], "Is 3 or 7 larger?"),
        ("Is 3 or 17 larger?", ["3", "7"], "Is 3 or 17 larger?\n- 3\n- 7"),
        ("Do you know it?\n", ["yes", "no"], "Do you know it?\n- yes\n- no"),
        ("Which?\nA. x\nB. y\nAnswer:", ["A", "B"], "Which?\nA. x\nB. y\nAnswer:"),
        ("Print ( x )", ["( x )", "(y)"], "Print ( x )\n- ( x )\n- (y)"),
    ],
)
def test_choices_are_appended_where_the_prompt_does_not_show_them(
    write_task: Callable[..., None], tmp_path: Path, question: str, choices: list[str], text: str
) -> None:
    write_task(tmp_path, "t", [{"q": question, "choices": choices, "label": 1}], CHOICE)

    assert texts(tmp_path, "t") == [text]


def test_question_text_has_no_fewshot_examples(tasks_dir: Path) -> None:
    shots = TaskIndex(tasks_dir).questions(benchmark("capitals", num_fewshot=3))

    assert shots.column("text").to_pylist() == texts(tasks_dir, "capitals")


def test_question_of_several_prompts_does_not_give_the_answer_away(
    write_task: Callable[..., None], tmp_path: Path
) -> None:
    rows = [  # as winogrande: doc_to_text is the number of the right prompt
        {"prompts": ["Ann saw Eve, so Ann", "Ann saw Eve, so Eve"], "right": right, "end": "waved"} for right in (0, 1)
    ]
    config = CHOICE | {"doc_to_text": "{{right}}", "doc_to_choice": "prompts", "doc_to_target": "end"}
    write_task(tmp_path, "t", rows, config)

    assert texts(tmp_path, "t") == ["Ann saw Eve, so Ann\nAnn saw Eve, so Eve\nwaved"] * 2


SHUFFLING = """
import random
rng = random.Random(42)
def process_docs(dataset):
    def shuffled(doc):
        choices = list(doc["choices"])
        rng.shuffle(choices)
        return {"choices": choices, "label": choices.index(doc["choices"][0])}
    return dataset.map(shuffled)
"""


@pytest.fixture
def shuffling_dir(write_task: Callable[..., None], tmp_path: Path) -> Path:
    """A task that, as GPQA, shuffles the choices with a generator of its module."""
    (tmp_path / "utils.py").write_text(SHUFFLING)
    rows = [{"q": f"Question {i}?", "choices": ["right", "a", "b", "c"], "label": 0} for i in range(20)]
    write_task(tmp_path, "t", rows, CHOICE)
    with (tmp_path / "t.yaml").open("a") as file:
        file.write("process_docs: !function utils.process_docs\n")
    return tmp_path


def test_shuffled_choices_stay_as_they_were_asked(shuffling_dir: Path) -> None:
    task = TaskIndex(shuffling_dir).load(benchmark("t"))["t"]
    first, second = ([doc["choices"] for doc in task.eval_docs] for _ in range(2))

    assert first == second
    assert len({doc["label"] for doc in task.eval_docs}) == 4  # they are shuffled


def test_shuffled_choices_are_the_same_in_every_process(shuffling_dir: Path) -> None:
    before = texts(shuffling_dir, "t")
    with_more_before = texts(shuffling_dir, "t")  # a second index of the same process, its module used already

    assert before == with_more_before


def test_definition_digest_covers_the_code_and_data_it_refers_to(shuffling_dir: Path) -> None:
    before = TaskIndex(shuffling_dir).configs(benchmark("t"))
    code = shuffling_dir / "utils.py"
    code.write_text(code.read_text().replace("42", "43"))
    other_code = TaskIndex(shuffling_dir).configs(benchmark("t"))
    data = shuffling_dir / "t.jsonl"
    data.write_text(data.read_text() + json.dumps({"q": "New?", "choices": ["right", "a"], "label": 0}) + "\n")
    other_data = TaskIndex(shuffling_dir).configs(benchmark("t"))

    assert len({before["t"], other_code["t"], other_data["t"]}) == 3


def test_definition_digest_covers_a_folder_of_data(tasks_dir: Path, tmp_path: Path) -> None:
    data = tmp_path / "data" / "test.jsonl"
    data.parent.mkdir()
    data.write_text((tasks_dir / "capitals.jsonl").read_text())
    task = yaml.safe_load((tasks_dir / "capitals.yaml").read_text())
    task |= {"task": "t", "dataset_path": str(data.parent), "dataset_kwargs": {}, "training_split": None}
    (tasks_dir / "t.yaml").write_text(yaml.safe_dump(task))
    before = TaskIndex(tasks_dir).configs(benchmark("t"))
    assert TaskIndex(tasks_dir).questions(benchmark("t")).num_rows == 4
    data.write_text(data.read_text().replace("Peru", "Chile"))

    assert TaskIndex(tasks_dir).configs(benchmark("t")) != before
