"""Writes the zoo's ten benchmarks as local lm-eval tasks: one YAML and one JSONL a skill."""

import json
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Final

import yaml

from harness.files import write_text
from harness.zoo.skills import ANSWER_CUE, SKILLS, Question, make_benchmark

TASK_PREFIX: Final = "zoo_"


def write_tasks(folder: Path, seed: int) -> None:
    """Write `zoo_<skill>` for every skill into `folder`; files that already hold the right text are left alone.

    The YAML names its JSONL by absolute path, since lm-eval resolves relative ones against the working directory. So a
    folder that was moved needs another call.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in _files(folder, seed).items():
        if not _holds(path, text):
            write_text(path, text)


def tasks_are_current(folder: Path, seed: int) -> bool:
    """Whether `write_tasks` would change nothing: another seed or a moved folder makes it False."""
    return all(_holds(path, text) for path, text in _files(folder, seed).items())


def _files(folder: Path, seed: int) -> dict[Path, str]:
    files = {}
    for skill in SKILLS:
        data = folder / f"{skill}.jsonl"
        files[data] = _data(skill, seed)
        files[folder / f"{skill}.yaml"] = _config(skill, data.absolute())
    return files


def _holds(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text


@lru_cache(maxsize=len(SKILLS))  # of a look that asks several times whether they are current
def _data(skill: str, seed: int) -> str:
    """JSON lines of the benchmark's questions; the right answer stands equally often in each of the four places."""
    random = Random(f"{seed}/{skill}/choices")
    questions = make_benchmark(skill, seed)
    places = [index % 4 for index in range(len(questions))]
    random.shuffle(places)
    return "".join(json.dumps(_row(question, place)) + "\n" for question, place in zip(questions, places, strict=True))


def _row(question: Question, place: int) -> dict[str, object]:
    choices = list(question.distractors)
    choices.insert(place, question.answer)
    return {
        "question": question.text,
        "prompt": question.text + ANSWER_CUE,
        "choices": choices,
        "label": place,
        "level": question.level,
    }


@lru_cache(maxsize=2 * len(SKILLS))
def _config(skill: str, data: Path) -> str:
    config = {
        "task": TASK_PREFIX + skill,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "prompt",  # plain columns: lm-eval compiles a template anew for every question
        "doc_to_choice": "choices",
        "doc_to_target": "label",
        "num_fewshot": 0,
        "metric_list": [
            {"metric": metric, "aggregation": "mean", "higher_is_better": True} for metric in ("acc", "acc_norm")
        ],
        "metadata": {"version": 1.0},
    }
    return yaml.safe_dump(config, sort_keys=False)
