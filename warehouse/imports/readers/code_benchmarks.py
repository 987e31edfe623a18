"""Results of EvalPlus (HumanEval+, MBPP+) and BigCodeBench: `<model>_…_eval_results.json`, without texts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any

import pyarrow as pa

from .fields import as_answer, as_dict, as_list, grade_of_repeats, hand_on, read_json
from .questions import read_questions
from .reader import Answer, Choices, LogFile, Notes, Refusal, Run

__all__ = ["CodeBenchmarkReader"]

_BEGINNING = re.compile(rb'[\xef\xbb\xbf\s]*{\s*("(date|hash|eval)"\s*:)')
_EVAL = re.compile(rb'"eval"\s*:\s*{')
_BACKENDS = "vllm|hf|openai|anthropic|google|bedrock|ollama|gptqmodel|mistral"
_NAME = re.compile(rf"(?P<model>.+?)(?:_(?:{_BACKENDS})(?:_.*)?|_temp_.*|(?:--main)?--bigcodebench-.*)$")
"""How the tools name their results; any other name may be whatever a user liked."""

_SETTINGS = re.compile(r"_temp_(?P<temperature>\d+(?:\.\d+)?)")
_ENDING = re.compile(r"[-_.]?(sanitized|sanitized[-_]calibrated|calibrated)?[-_.]?eval_results$")
_MEANINGS = {"pass": True, "fail": False, "timeout": False, "success": True, "failed": False}
_PLUS, _BASE = "plus", "base"


class CodeBenchmarkReader:
    format = "evalplus"

    def recognises(self, file: LogFile) -> bool:
        return bool(_BEGINNING.match(file.head) and _EVAL.search(file.head))

    def read(self, files: Sequence[LogFile], choices: Choices, notes: Notes) -> Iterator[tuple[LogFile, pa.Table]]:
        for file in files:
            yield from hand_on(file, _answers(file, choices, notes), notes)


def _answers(file: LogFile, choices: Choices, notes: Notes) -> Iterator[Answer]:
    tasks = as_dict(as_dict(read_json(file)).get("eval"))
    if not tasks:
        raise Refusal(f"{file.name} has no results under `eval`; run the evaluation again")
    model, settings = _model(file, choices)
    category = _category(file, tasks, choices)
    statuses = {task: _statuses(of_task) for task, of_task in tasks.items()}
    gradings = {name for of_task in statuses.values() for one in of_task for name in one}
    if not gradings:
        raise Refusal(f"{file.name} says of no solution whether it passed; run the evaluation again")
    wanted = choices.metric.get(category, choices.metric.get(""))
    if wanted in (_BASE, _PLUS) and gradings <= {_BASE, _PLUS} and wanted not in gradings:
        raise Refusal(f"{file.name} says of no solution whether it passed the {wanted} tests; run the evaluation again")
    grading = choices.choose("metric", gradings, category)
    texts = choices.questions or _installed_texts(category)
    if lacking := [task for task in tasks if task not in texts]:
        raise Refusal(
            f"{file.name} has no texts, and {len(lacking)} of its {len(tasks)} tasks ({lacking[0]}, …) are not among "
            "those that are known; give a table of task_id and prompt with --questions, such as HumanEvalPlus.jsonl, "
            "MbppPlus.jsonl or BigCodeBench's data set"
        )
    notes.record(Run(model, category, file.name, "evalplus", metric=grading, settings=settings))
    for row, (task, samples) in enumerate(tasks.items(), start=1):
        grades = [(one[grading], float(one[grading])) for one in statuses[task] if grading in one]
        graded = grade_of_repeats(grades, choices.epochs) if grades else None
        if graded is None:
            notes.leave_out(file, "tasks with as many passes as failures" if grades else "tasks without a status")
            continue
        first = as_dict(next(iter(as_list(samples)), None))
        said = as_answer(first.get("solution", first.get("completion")))
        yield Answer(row, model, category, texts[task], *graded, item=task, answer=said)


def _statuses(samples: object) -> list[dict[str, bool]]:
    """Return, for each sample of a task, whether it passed by each grading. As EvalPlus counts, `plus` takes passing
    the base tests as well. Results before 2024 have lists of [status, tests] under `base` and `plus`."""
    if isinstance(samples, dict):
        older = {name: [as_list(one)[:1] for one in as_list(samples.get(name))] for name in (_BASE, _PLUS)}
        count = max(map(len, older.values()))
        rows = [{name: own[i][0] for name, own in older.items() if i < len(own) and own[i]} for i in range(count)]
    else:
        rows = [
            {_BASE: one.get("base_status"), _PLUS: one.get("plus_status"), "status": one.get("status")}
            for one in map(as_dict, as_list(samples))
        ]
    found = [
        {name: _MEANINGS[value] for name, value in row.items() if isinstance(value, str) and value in _MEANINGS}
        for row in rows
    ]
    for one in found:
        if one.get(_PLUS):
            if _BASE in one:
                one[_PLUS] = one[_BASE]
            else:  # it is not known whether the base tests were passed as well
                del one[_PLUS]
    return found


def _category(file: LogFile, tasks: dict[str, Any], choices: Choices) -> str:
    first = next(iter(tasks)).partition("/")[0]
    known = {"HumanEval": "humaneval", "Mbpp": "mbpp", "BigCodeBench": "bigcodebench"}.get(first)
    if category := known or choices.benchmark:
        return category
    first = next(iter(tasks))
    choices.ask(file.name, f"{file.name} has tasks such as {first}, of no known benchmark; name it with --benchmark")
    return file.name


def _model(file: LogFile, choices: Choices) -> tuple[str, dict[str, Any]]:
    """Return the model and the settings that the name of the file tells."""
    stem = _ENDING.sub("", PurePath(file.name).name.removesuffix(".json"))
    found = _NAME.match(stem)
    guess = stem if stem not in ("samples", "results") else ""
    named = (found["model"] if found else guess).replace("--", "/", 1)
    if not (model := named if found else choices.model or named):
        choices.ask(file.name, f"the name of {file.name} tells no model; say it with --model")
    settings = _SETTINGS.search(stem)
    return model or file.name, {"temperature": float(settings["temperature"])} if settings else {}


def _installed_texts(category: str) -> dict[str, str]:
    """Return the texts that the package evalplus has downloaded before, if it is installed; it would download them."""
    name = {"humaneval": "HumanEvalPlus", "mbpp": "MbppPlus"}.get(category)
    try:
        from evalplus.data.utils import CACHE_DIR  # type: ignore[import-not-found]
    except ImportError:
        return {}
    versions = Path(CACHE_DIR).glob(f"{name}-v*.jsonl") if name else ()
    newest = max(versions, key=lambda path: path.stat().st_mtime, default=None)
    return read_questions(newest) if newest else {}
