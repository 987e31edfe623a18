"""Logs of Inspect: a `.json` document or a `.eval` archive a run."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from .eval_archive import DAMAGED, EvalArchive
from .fields import (
    as_answer,
    as_dict,
    as_list,
    as_text,
    as_whole,
    grade_of_repeats,
    hand_on,
    mean_of,
    measured,
    read_json,
    settings_of,
    text_of_messages,
    text_of_target,
    user_turns,
    with_options,
)
from .reader import OLDER, Answer, Choices, LogFile, Notes, Refusal, Run, grade

__all__ = ["InspectReader"]

_ZIP = b"PK\x03\x04"
_STATUS = re.compile(rb'"status"\s*:\s*"(started|success|cancelled|error)"')
_EVAL = re.compile(rb'"eval"\s*:\s*(?={[^{}]*"task)')
_LETTERS = {"C": 1, "I": 0, "P": 0.5, "N": 0, "yes": 1, "no": 0}  # correct, incorrect, partial, no answer
_INTERRUPTED = "interrupted runs of a task, of which a whole run of the same model is there"
_SETTINGS = ("task_args", "solver", "model_generate_config", "model_args")


class InspectReader:
    format = "inspect"

    def recognises(self, file: LogFile) -> bool:
        if not file.head.startswith(_ZIP):
            status = _STATUS.search(file.head)
            is_object = file.head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")
            return is_object and status is not None and _EVAL.search(file.head, status.end()) is not None
        try:
            with EvalArchive(file.path) as archive:
                return archive.is_log
        except DAMAGED:  # where it is cut off, it has no list of contents
            return b"_journal/start.json" in file.head[:200]

    def read(self, files: Sequence[LogFile], choices: Choices, notes: Notes) -> Iterator[tuple[LogFile, pa.Table]]:
        tasks: dict[tuple[str, str], list[_Log]] = defaultdict(list)
        for file in files:
            try:
                log = _Log(file, choices)
                tasks[log.model, log.task].append(log)
            except Refusal as problem:
                notes.refuse(str(problem))
        for logs in tasks.values():
            answered: set[int] = set()  # hashes of texts, by runs of the task with other arguments
            for log in _newest_of_each_kind(logs, notes):
                yield from hand_on(log.file, _answers(log, answered, choices, notes), notes)


def _newest_of_each_kind(logs: Sequence[_Log], notes: Notes) -> Iterator[_Log]:
    """Yield, newest first, a run with each set of arguments: the newest that was not interrupted, or else of all."""
    kinds: dict[str, _Log] = {}
    for log in sorted(logs, key=lambda log: (log.is_whole, log.created, log.file.name), reverse=True):
        newest = kinds.setdefault(json.dumps(log.spec.get("task_args"), sort_keys=True), log)
        if newest is not log:
            notes.leave_out(log.file, OLDER if newest.is_whole == log.is_whole else _INTERRUPTED)
            if newest.limit is not None and newest.limit != log.limit:
                notes.remark(
                    f"{newest.file.name} was run with a limit of {newest.limit} samples, and {log.file.name}, which is "
                    "left out as older, with another or none; to have its answers, import that file alone."
                )
    yield from kinds.values()


class _Log:
    """The head of a log. Raises Refusal where it is damaged."""

    def __init__(self, file: LogFile, choices: Choices) -> None:
        self.file = file
        spec, status = self._head()
        self.spec = as_dict(spec)
        self.task = as_text(self.spec.get("task")).strip() or choices.benchmark or ""
        self.model = as_text(self.spec.get("model")).strip() or choices.model or ""
        self.created = _instant(as_text(self.spec.get("created")))
        self.status = as_text(status) or "unknown"
        self.is_whole = status == "success"
        self.limit = as_dict(self.spec.get("config")).get("limit")  # of samples: a number, or the first and the last
        for field, option in ((self.task, "benchmark"), (self.model, "model")):
            if not field:
                choices.ask(file.name, f"{file.name} does not say its {option}; say it with --{option}")
        self.task, self.model = self.task or file.name, self.model or file.name

    @property
    def is_archive(self) -> bool:
        return self.file.head.startswith(_ZIP)

    def _head(self) -> tuple[object, object]:
        if self.is_archive:
            try:
                with EvalArchive(self.file.path) as archive:
                    document = as_dict(archive.header())
            except DAMAGED as error:
                raise _damaged(self.file, error) from None
            return document.get("eval"), document.get("status")
        status, start = _STATUS.search(self.file.head), _EVAL.search(self.file.head)
        try:  # it is the first thing in a log, which may be large
            spec = self.file.head[start.end() if start else 0 :].decode(errors="ignore")
            return json.JSONDecoder().raw_decode(spec)[0], status and status[1].decode()
        except (ValueError, RecursionError):
            document = as_dict(read_json(self.file))
            return document.get("eval"), document.get("status")

    @property
    def version(self) -> str | None:
        return as_text(as_dict(self.spec.get("packages")).get("inspect_ai")) or None

    @property
    def asked(self) -> int | None:
        """How many answers a whole run would have; None where the log does not say."""
        data = as_dict(self.spec.get("dataset"))
        samples = len(as_list(data.get("sample_ids"))) or as_whole(data.get("samples"))
        return samples and samples * (as_whole(as_dict(self.spec.get("config")).get("epochs")) or 1)

    def samples(self) -> Iterator[Any]:
        if not self.is_archive:
            yield from as_list(as_dict(read_json(self.file)).get("samples"))
            return
        try:
            with EvalArchive(self.file.path) as archive:
                yield from archive.samples()
        except DAMAGED as error:
            raise _damaged(self.file, error) from None


def _instant(time: str) -> float:
    """Return a time in seconds since 1970; 0 where it is none."""
    try:
        moment = datetime.fromisoformat(time)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def _damaged(file: LogFile, error: Exception) -> Refusal:
    what = " ".join(str(error).split()) or type(error).__name__
    return Refusal(f"{file.name} is no whole archive of Inspect ({what}); it may be cut off: copy it again")


@dataclass(frozen=True, slots=True)
class _Sample:
    row: int
    id: str
    epoch: int
    system: str
    text: str
    target: str | None
    scores: Mapping[str, Any]  # by scorer, or scorer/key where a scorer gives several
    answers: Mapping[str, str | None]  # by scorer
    completion: str | None
    tokens_in: float | None
    tokens_out: float | None
    cost: float | None
    latency_s: float | None


def _answers(log: _Log, answered: set[int], choices: Choices, notes: Notes) -> Iterator[Answer]:
    samples = _scored_samples(log, notes)
    if not samples:
        return
    usable = {name for sample in samples for name, value in sample.scores.items() if _can_grade(value)}
    scorer = choices.choose("scorer", usable or {name for s in samples for name in s.scores}, log.task)
    settings = settings_of(log.spec, _SETTINGS)
    limits = settings_of(as_dict(log.spec.get("config")), ("epochs", "limit"))
    notes.record(
        Run(log.model, log.task, log.file.name, "inspect", log.version, filter=scorer, settings={**settings, **limits})
    )
    shows_system = len({sample.system for sample in samples}) > 1
    questions: dict[str, list[_Sample]] = defaultdict(list)
    for sample in samples:
        questions[sample.id].append(sample)
    new: set[int] = set()
    for epochs in questions.values():
        epochs.sort(key=lambda sample: sample.epoch)
        text = "\n\n".join(filter(None, (epochs[0].system if shows_system else "", epochs[0].text)))
        if hash(text) in answered:
            notes.leave_out(log.file, "questions that a newer run with other task_args has as well")
        elif (answer := _graded(log, epochs, scorer, choices, notes)) is not None:
            new.add(hash(text))
            yield Answer(text=text, model=log.model, category=log.task, **answer)
    answered |= new


def _graded(log: _Log, epochs: Sequence[_Sample], scorer: str, choices: Choices, notes: Notes) -> dict[str, Any] | None:
    """Return the grade of a question and what it took, over its epochs; None where it has none."""
    graded: list[tuple[_Sample, tuple[bool, float]]] = []
    for sample in epochs:
        what = f"{log.file.name}: score {scorer} of sample {sample.id}"
        result = grade(_as_number(sample.scores.get(scorer)), choices.threshold, what)
        if result is None:
            notes.leave_out(log.file, f"samples without a score by {scorer}")
        else:
            graded.append((sample, result))
    if not graded:
        return None
    result = grade_of_repeats([result for _, result in graded], choices.epochs)
    if result is None:
        notes.leave_out(log.file, "ties between the epochs of a sample; --epochs says how to settle them")
        return None
    counted = [sample for sample, _ in graded]
    shown = counted[-1] if choices.epochs == "last" else counted[0]
    asked = {"first": counted[:1], "last": counted[-1:]}.get(choices.epochs, counted)
    said = shown.answers.get(scorer.split("/")[0]) or shown.completion
    return {
        "row": shown.row,
        "correct": result[0],
        "score": result[1],
        "item": shown.id,
        "doc_id": as_whole(shown.id),
        "target": shown.target,
        "answer": said if choices.keep_answers else None,
        "tokens_in": _rounded(mean_of(sample.tokens_in for sample in asked)),
        "tokens_out": _rounded(mean_of(sample.tokens_out for sample in asked)),
        "cost": mean_of(sample.cost for sample in asked),
        "latency_s": mean_of(sample.latency_s for sample in asked),
    }


def _rounded(value: float | None) -> int | None:
    return None if value is None else round(value)


def _as_number(value: object) -> object:
    return _LETTERS.get(value, value) if isinstance(value, str) else value


def _can_grade(value: object) -> bool:
    try:
        return grade(_as_number(value), 0.5, "") is not None
    except Refusal:
        return False


def _scored_samples(log: _Log, notes: Notes) -> list[_Sample]:
    """Return the samples that were answered and scored. Raises Refusal where the log holds none at all."""
    found: list[_Sample] = []
    row = 0
    for row, raw in enumerate(log.samples(), 1):
        sample = as_dict(raw)
        scores = _scores(sample)
        if sample.get("error"):
            notes.leave_out(log.file, "samples that ended in an error")
        elif sample.get("invalidation"):
            notes.leave_out(log.file, "samples that were declared invalid")
        elif not scores:
            notes.leave_out(log.file, "samples without a score (`inspect score` scores a log)")
        elif not (read := _read_sample(row, sample, scores, log.model)).text.strip():
            notes.leave_out(log.file, "samples without a text")
        else:
            found.append(read)
    if not row:
        nothing = "logs without samples, which hold their header only"
        notes.leave_out(log.file, nothing if log.is_whole else "runs that ended before a sample was answered")
    elif not log.is_whole:
        had = f"{len(found):,} scored samples{f' of {log.asked:,}' if log.asked is not None else ''}"
        notes.remark(f"{log.file.name} was interrupted (status {log.status}) and has {had}; they are read.")
    return found


def _scores(sample: Mapping[str, Any]) -> dict[str, Any]:
    """Return a sample's values by scorer; each key or place of a value that is not single is a scorer of its own."""
    scores = as_dict(sample.get("scores")) or ({"score": sample["score"]} if sample.get("score") else {})
    values: dict[str, Any] = {}
    for raw_name, score in scores.items():
        name, value = as_text(raw_name), as_dict(score).get("value")
        if isinstance(value, dict | list):
            places: Iterable[tuple[object, object]] = value.items() if isinstance(value, dict) else enumerate(value)
            values |= {f"{name}/{as_text(place)}": part for place, part in places}
        else:
            values[name] = value
    return values


def _read_sample(row: int, sample: Mapping[str, Any], scores: Mapping[str, Any], model: str) -> _Sample:
    attached = as_dict(sample.get("attachments")) or as_dict(as_dict(sample.get("transcript")).get("content"))
    asked = _resolved(sample.get("input"), attached)
    is_chat = isinstance(asked, list)
    options = [as_text(_resolved(choice, attached)) for choice in as_list(sample.get("choices"))]
    target = sample.get("target")
    output = as_dict(sample.get("output"))
    used = _usage(sample, output, model)
    tokens_out, total = measured(used.get("output_tokens")), measured(used.get("total_tokens"))
    read_in = measured(used.get("input_tokens"))
    if total is not None and tokens_out is not None and total - tokens_out >= (read_in or 0):
        read_in = total - tokens_out  # what came from a cache was read, too
    return _Sample(
        row=row,
        id=as_text(sample.get("id")) or f"in row {row}",
        epoch=as_whole(sample.get("epoch")) or 1,
        system=text_of_messages(asked, ("system",)) if is_chat else "",
        text=with_options(user_turns(asked) if is_chat else as_text(asked), options),
        target=text_of_target(target if isinstance(target, list) else [target]),
        scores=scores,
        answers={as_text(name): _answer(score, attached) for name, score in as_dict(sample.get("scores")).items()},
        completion=as_answer(_resolved(_completion(output), attached)),
        tokens_in=read_in,
        tokens_out=tokens_out,
        cost=measured(used.get("total_cost")),
        latency_s=measured(sample.get("total_time")),
    )


def _usage(sample: Mapping[str, Any], output: Mapping[str, Any], model: str) -> dict[str, Any]:
    """Return what a sample took of the model. Logs of 2024 have it with its output, which is that of the last call."""
    usage = as_dict(sample.get("model_usage"))
    calls = [one for one in map(as_dict, as_list(sample.get("messages"))) if one.get("source") == "generate"]
    if not usage and len(calls) == 1:
        return as_dict(output.get("usage"))
    return as_dict(usage.get(model) or (next(iter(usage.values())) if len(usage) == 1 else None))


def _completion(output: Mapping[str, Any]) -> Any:
    first = as_dict(next(iter(as_list(output.get("choices"))), None))
    return output.get("completion") or as_dict(first.get("message")).get("content")


def _answer(score: object, attached: Mapping[str, Any]) -> str | None:
    return as_answer(_resolved(as_dict(score).get("answer"), attached))


def _resolved(value: Any, attached: Mapping[str, Any]) -> Any:
    """Put texts back that a log keeps apart because they are long."""
    if isinstance(value, str):
        return attached.get(value.removeprefix("attachment://"), value) if value.startswith("attachment://") else value
    if isinstance(value, list):
        return [_resolved(part, attached) for part in value]
    return {key: _resolved(part, attached) for key, part in value.items()} if isinstance(value, dict) else value
