"""Scores by question or by model: `{question, scores: {model: score}}`, as RouterDC and LLMRouter have them, and
`{subject_id, responses: {item: 0 or 1}}`, as py-irt has them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from .fields import as_dict, as_list, as_text, hand_on, parse_json, read_json
from .reader import Answer, Choices, LogFile, Notes, Refusal, Run, grade

__all__ = ["IrtReader", "ScoresReader", "json_rows"]

_QUESTION = ("question", "query", "prompt", "text")
_OBJECT = rb"[\xef\xbb\xbf\s]*\[?\s*{"
_NAMES = rb'"(question|query|prompt|text)"\s*:'
_QUESTIONS = re.compile(_OBJECT + rb"[^{]*?" + _NAMES + rb'\s*"(?:[^"\\]|\\.)*"[^{]*"scores"\s*:\s*{')
_SCORES_FIRST = re.compile(_OBJECT + rb'\s*"scores"\s*:\s*{[^{}]*}\s*,[^{]*' + _NAMES)
_SUBJECTS = re.compile(rb'[\xef\xbb\xbf\s]*{\s*"subject_id"\s*:\s*[^{]*"responses"\s*:\s*{')


class ScoresReader:
    format = "scores"

    def recognises(self, file: LogFile) -> bool:
        return bool(_QUESTIONS.match(file.head) or _SCORES_FIRST.match(file.head))

    def read(self, files: Sequence[LogFile], choices: Choices, notes: Notes) -> Iterator[tuple[LogFile, pa.Table]]:
        for file in files:
            yield from hand_on(file, _scored(file, choices, notes), notes)


class IrtReader:
    format = "py-irt"

    def recognises(self, file: LogFile) -> bool:
        return bool(_SUBJECTS.match(file.head))

    def read(self, files: Sequence[LogFile], choices: Choices, notes: Notes) -> Iterator[tuple[LogFile, pa.Table]]:
        for file in files:
            yield from hand_on(file, _answered(file, choices, notes), notes)


def json_rows(file: LogFile) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (number, object) of a JSON list or of JSON lines, without empty lines. Raises Refusal where a line is
    damaged or no object."""
    if file.head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
        rows = enumerate(as_list(read_json(file)), start=1)
        yield from ((row, _object(file, row, value)) for row, value in rows)
        return
    with file.path.open("rb") as lines:
        for row, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    value = parse_json(line)
                except ValueError as error:
                    raise Refusal(f"{file.name}, line {row} is no whole JSON ({error}); copy the file again") from None
                yield row, _object(file, row, value)


def _object(file: LogFile, row: int, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refusal(f"{file.name}, row {row} is {json.dumps(value)[:40]}, not an object with names")
    return value


def _category(file: LogFile, item: Mapping[str, Any], choices: Choices) -> str:
    """Return the benchmark of a question, which is asked for where neither the row nor the user tells it."""
    for name in ("task_name", "dataset", "dataset_name", "benchmark", "category"):
        if found := as_text(item.get(name)).strip():
            return found
    if choices.benchmark:
        return choices.benchmark
    choices.ask(file.name, f"{file.name} does not tell the benchmark of its questions; name it with --benchmark")
    return file.name


def _scored(file: LogFile, choices: Choices, notes: Notes) -> Iterator[Answer]:
    for row, item in json_rows(file):
        text = next((as_text(item[name]) for name in _QUESTION if isinstance(item.get(name), str)), "")
        if not text.strip():
            notes.leave_out(file, "questions without a text")
            continue
        category, scores = _category(file, item, choices), as_dict(item.get("scores"))
        if not scores:
            notes.leave_out(file, "questions without scores")
        for model, value in scores.items():
            graded = grade(value, choices.threshold, f"{file.name}, row {row}: the score of {model}")
            if graded is None:
                notes.leave_out(file, "answers without a score")
                continue
            if (model, category) not in notes.runs:
                notes.record(Run(as_text(model), category, file.name, "scores"))
            yield Answer(row, as_text(model), category, text, *graded, doc_id=row - 1)


def _answered(file: LogFile, choices: Choices, notes: Notes) -> Iterator[Answer]:
    """Yield the answers of each subject. An item is a text of its own where it has a space, else an id."""
    for row, line in json_rows(file):
        model = as_text(line.get("subject_id")).strip()
        if not model:
            raise Refusal(f"{file.name}, row {row} has no subject_id, which is the model")
        category, responses = _category(file, line, choices), as_dict(line.get("responses"))
        if not responses:
            notes.leave_out(file, "models without responses")
            continue
        notes.record(Run(model, category, file.name, "py-irt"))
        for item, value in responses.items():
            text = choices.questions.get(item, item if " " in item.strip() else None)
            if text is None:
                raise Refusal(
                    f"{file.name} has items such as {item!r}, which are no texts; give a table of ids and texts with "
                    "--questions"
                )
            graded = grade(value, choices.threshold, f"{file.name}, row {row}: the response to {item!r}")
            if graded is None:
                notes.leave_out(file, "answers without a grade")
                continue
            yield Answer(row, model, category, as_text(text), *graded, item=as_text(item))
