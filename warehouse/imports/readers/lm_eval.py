"""The samples that lm-evaluation-harness logs with --log_samples, as it has written them since 2023."""

from __future__ import annotations

import filecmp
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import pyarrow as pa

from .fields import nested_too_deeply
from .lm_eval_grades import Row, by_filter, choose_metric, graded_answers
from .lm_eval_runs import RunResults, Samples, TaskSettings, find_samples, is_results, read_results
from .lm_eval_texts import Request, logged_text, requests_of, said_of, target_of
from .reader import HEAD, OLDER, Answer, Choices, LogFile, Notes, Refusal, Run, tables_of

__all__ = ["LmEval"]

_NO_METRIC = frozenset(
    "doc_id doc target arguments resps filtered_resps filter metrics doc_hash prompt_hash target_hash bypass".split()  # noqa: SIM905
)
_START = re.compile(rb'\s*(?:\[\s*)?\{\s*"doc_id"\s*:\s*-?\d+\s*,\s*"doc"\s*:')
_MARKS = (b'"doc_id"', b'"doc"', b'"arguments"')
_BOM = b"\xef\xbb\xbf"


class LmEval:
    """Samples of lm-eval, with the results_*.json of their runs."""

    format = "lm-eval"

    def recognises(self, file: LogFile) -> bool:
        head = file.head
        return _is_samples(head) or is_results(head)

    def read(self, files: Sequence[LogFile], choices: Choices, notes: Notes) -> Iterator[tuple[LogFile, pa.Table]]:
        results, logs = _read_all_results(files, notes)
        samples, problems = find_samples(logs, results, choices, _first_doc)
        for problem in problems:
            notes.refuse(problem)
        if results and not logs:
            names = ", ".join(run.file.name for run in results[:3])
            notes.refuse(
                f"{names}: aggregated results hold no answers; evaluate with --log_samples, and import that folder"
            )
        # All files of a task follow each other, so that what its documents say need be found out only once.
        order = sorted(samples, key=lambda log: (log.task, log.model, log.file.name))
        for task, of_task in groupby(order, key=lambda log: log.task):
            texts = _Texts(task, choices)
            for _, runs in groupby(of_task, key=lambda log: log.model):
                yield from _read_newest(list(runs), texts, choices, notes)


def _is_samples(head: bytes) -> bool:
    start = head.removeprefix(_BOM)
    if _START.match(start):
        return True
    line, end, _ = start.lstrip(b" \t\r\n[").partition(b"\n")
    if not line.startswith(b"{"):
        return False
    if end or len(head) < HEAD:
        try:
            first = json.loads(line.rstrip(b"\r],"))
            return (
                isinstance(first, dict)
                and "doc" in first
                and bool(first.keys() & {"arguments", "resps", "filtered_resps"})
            )
        except (ValueError, RecursionError):
            pass  # an object of many lines
    return all(mark in start for mark in _MARKS)


def _read_all_results(files: Sequence[LogFile], notes: Notes) -> tuple[list[RunResults], list[LogFile]]:
    """Return the results among `files`, and the other files."""
    results, logs = [], []
    for file in files:
        if not is_results(file.head):
            logs.append(file)
            continue
        try:
            results.append(read_results(file))
        except Refusal as refusal:
            notes.refuse(str(refusal))
    return results, logs


def _first_doc(file: LogFile) -> Any:
    try:
        return next((sample.get("doc") for _, sample in _samples(file)), None)
    except Refusal:
        return None


def _samples(file: LogFile) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the samples of a file with their rows (1 is the first): JSON lines, or one array. Raises Refusal."""
    with file.path.open("rb") as lines:
        is_array = lines.read(64).removeprefix(_BOM).lstrip().startswith(b"[")
        lines.seek(0)
        for row, line in enumerate([lines.read()] if is_array else lines, 1):
            if row == 1:
                line = line.removeprefix(_BOM)
            try:
                said = json.loads(line.decode()) if not line.isspace() else []
            except (ValueError, RecursionError) as error:
                where = file.name if is_array else f"row {row} of {file.name}"
                raise Refusal(f"{where} is not whole JSON ({_cause(error)}); get the file once more") from error
            for number, sample in enumerate(said if isinstance(said, list) else [said], row):
                if not isinstance(sample, dict):
                    raise Refusal(f"row {number} of {file.name} is no object but {str(sample)[:40]!r}; remove it")
                yield number, sample


def _cause(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)[:100]


@dataclass
class _Texts:
    """The questions of a task. A document that several models were asked, in the same words, is looked at once."""

    task: str
    choices: Choices
    _known: dict[tuple[Any, ...], str] = field(default_factory=dict)

    def find(self, sample: Mapping[str, Any], requests: Sequence[Request]) -> tuple[str, bool]:
        """Return the text of a question, and whether it is that of our own evaluation, as of a task that is known."""
        doc, digest, prompt = sample.get("doc"), sample.get("doc_hash"), sample.get("prompt_hash")
        doc_id = sample.get("doc_id")
        own = (doc_id if isinstance(doc_id, int | str) else None, digest if _is_digest(digest) else repr(doc))
        if (text := self._known.get(own)) is not None:
            return text, True
        if isinstance(doc, dict) and (text := self.choices.text_of(self.task, doc)) is not None:
            self._known[own] = text
            return text, True
        logged = (*own, prompt)
        if not _is_digest(prompt) or (text := self._known.get(logged)) is None:
            text = logged_text(requests, doc)
            if _is_digest(prompt):
                self._known[logged] = text
        return text, False


def _is_digest(logged: object) -> bool:
    return isinstance(logged, str) and len(logged) == 64


def _read_newest(
    runs: Sequence[Samples], texts: _Texts, choices: Choices, notes: Notes
) -> Iterator[tuple[LogFile, pa.Table]]:
    """Yield the answers of the newest of a model's runs of a task that has answers."""
    newest_first = sorted(runs, key=lambda log: log.time, reverse=True)
    for number, log in enumerate(newest_first):
        older = newest_first[number + 1 :]
        copies = [other for other in older if other.time == log.time]
        for copy in copies:
            if not filecmp.cmp(copy.file.path, log.file.path, shallow=False):
                notes.refuse(
                    f"{log.file.name} and {copy.file.name} hold answers of {log.model} to {log.task}, and nothing "
                    "tells which are newer; import one of them"
                )
                return
        try:
            answers = _read_samples(log, texts, choices, notes)
        except Refusal as refusal:
            notes.refuse(str(refusal))
            return
        except RecursionError:
            notes.refuse(nested_too_deeply(log.file))
            return
        if answers:
            for other in older:
                if other in copies:
                    notes.leave_out(other.file, "copies of another file")
                    continue
                notes.leave_out(other.file, OLDER)
                notes.remark_if_shorter(log.file, _count_documents(log.file), other.file, _count_documents(other.file))
            for table in tables_of(answers):
                yield log.file, table
            return


def _count_documents(file: LogFile) -> int:
    """Return how many documents a file has; 0 where it is damaged."""
    try:
        return len({repr(sample.get("doc_id", row)) for row, sample in _samples(file)})
    except (Refusal, RecursionError):
        return 0


def _read_samples(log: Samples, texts: _Texts, choices: Choices, notes: Notes) -> list[Answer]:
    """Return the graded answers of a file, and note what is left out. Raises Refusal."""
    rows: list[Row] = []
    settings: Mapping[str, Any] = {}
    for number, sample in _samples(log.file):
        rows.append(_row_of(number, sample, log, texts, choices))
        if len(rows) == 1:
            settings = _settings_in(sample)
    said = log.results.tasks.get(log.task, TaskSettings()) if log.results is not None else TaskSettings()
    metric = choose_metric(rows, log, said, choices, notes)
    if metric is None:
        return []
    if said.documents and (found := len({row.doc for row in rows})) < said.documents:
        notes.remark(f"{log.file.name} has {found:,} of the {said.documents:,} documents that its results count.")
    of_filter = by_filter(rows, metric, log, said, choices)
    chosen = choices.choose("filter", of_filter, log.task)
    if others := sum(len(of) for name, of in of_filter.items() if name != chosen):
        notes.leave_out(log.file, "answers as other filters see them", others)
    answers = graded_answers(of_filter[chosen], metric, log, choices, notes)
    if answers:
        logged = sum(not row.is_own_text for row in of_filter[chosen])
        text = {"text_from": "the logged prompt, without examples"} if logged else {}
        every = log.results.settings if log.results is not None else {}
        notes.record(
            Run(
                model=log.model,
                category=log.task,
                file=log.file.name,
                tool="lm-eval",
                version=log.results.tool_version if log.results is not None else None,
                metric=metric,
                filter=chosen,
                settings={**every, **settings, **said.settings, **text},
                labels=log.results.labels if log.results is not None else {},
            )
        )
    return answers


def _row_of(number: int, sample: Mapping[str, Any], log: Samples, texts: _Texts, choices: Choices) -> Row:
    requests = requests_of(sample.get("arguments"))
    text, is_own = texts.find(sample, requests)
    if not text or text.isspace():
        raise Refusal(f"row {number} of {log.file.name} has no question: neither its arguments nor its doc give a text")
    doc_id, filtered_by = sample.get("doc_id"), sample.get("filter")
    listed = sample.get("metrics")
    names = listed if isinstance(listed, list) else sample
    return Row(
        number=number,
        doc=doc_id if isinstance(doc_id, int | str) and not isinstance(doc_id, bool) else (None, number),
        filter=filtered_by if isinstance(filtered_by, str) and filtered_by.strip() else None,
        grades={name: sample.get(name) for name in names if isinstance(name, str) and name not in _NO_METRIC},
        text=text,
        is_own_text=is_own,
        target=target_of(sample, requests),
        said=said_of(sample, requests) if choices.keep_answers else None,
    )


def _settings_in(sample: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return how answers were generated, as the arguments of a request have it."""
    arguments = sample.get("arguments")
    listed = list(arguments.values()) if isinstance(arguments, dict) else arguments
    first = listed[0] if isinstance(listed, list) and listed else None
    second = list(first.values())[1:2] if isinstance(first, dict) else first[1:2] if isinstance(first, list) else []
    return {"generation": second[0]} if second and isinstance(second[0], dict) else {}
