"""Runs of OpenCompass: `<time>/results/<model>/<data set>.json`, with the details of `--dump-eval-details`."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import PurePath
from typing import Any

import pyarrow as pa

from .fields import (
    as_answer,
    as_dict,
    as_text,
    as_whole,
    grade_of_repeats,
    hand_on,
    read_json,
    text_of_messages,
    text_of_target,
    with_options,
)
from .reader import OLDER, Answer, Choices, LogFile, Notes, Refusal, Run, grade

__all__ = ["OpenCompassReader"]

_SCALAR = rb'(?:-?[\d.]+(?:[eE][-+]?\d+)?|"[^"]*"|null|true|false|-?Infinity|NaN)'
_SCALARS = rb'(?:\s*"[^"]*"\s*:\s*(?:' + _SCALAR + rb"|{[^{}]*})\s*,)*"
_BEGINNING = rb"[\xef\xbb\xbf\s]*{"
_DETAILS = re.compile(_BEGINNING + _SCALARS + rb'\s*"details"\s*:\s*[\[{]')
_DETAILS_AFTER_MORE = re.compile(rb'^ {4}"details"\s*:\s*[\[{]', re.MULTILINE)  # as OpenCompass indents its documents
_TOTALS = re.compile(_BEGINNING + _SCALARS + rb'\s*"[^"]*"\s*:\s*' + _SCALAR + rb"\s*}\s*$")
_PREDICTIONS = re.compile(_BEGINNING + rb'\s*"\d+"\s*:\s*{')
_PROMPT = re.compile(rb'"(?:origin_prompt|label: [^"]*)"\s*:')
_TIME = re.compile(r"\d{8}_\d{6}")  # of a run
_PART = re.compile(r"_\d+$")  # of a data set whose predictions are in several files

_GRADES = ("cascade_correct", "correct", "is_correct")
_GRADE_OF_MODEL = "model_extract_correct"  # of an answer that another model picked out of the reply

_USER = re.compile(  # where a user's turn begins in the templates of chats
    r"<\|im_start\|>user\n?|<\|start_header_id\|>user<\|end_header_id\|>\n*|<start_of_turn>user\n?|<\|user\|>\n?"
    r"|\[INST\] ?|<reserved_106>|<_user>|<\|Human\|>[:：]? ?|<｜User｜>"
)
_END = re.compile(
    r"<\|im_end\|>|<\|eot_id\|>|<end_of_turn>|<\|assistant\|>|<\|end\|>| ?\[/INST\]|</s>|<reserved_107>|<_end>|<eoh>"
    r"|<\|Assistant\|>|<｜Assistant｜>"
)


class OpenCompassReader:
    format = "opencompass"

    def recognises(self, file: LogFile) -> bool:
        return _kind(file) is not None

    def read(self, files: Sequence[LogFile], choices: Choices, notes: Notes) -> Iterator[tuple[LogFile, pa.Table]]:
        results: dict[tuple[str, str], list[_Place]] = defaultdict(list)
        predictions: dict[tuple[str, str, str], LogFile] = {}
        for file in files:
            try:
                place = _place(file, choices)
            except Refusal as problem:
                notes.refuse(str(problem))
                continue
            if _kind(file) == "predictions":
                predictions[place.time, place.model, place.dataset] = file
            else:
                results[place.model, place.dataset].append(place)
        _refuse_ungraded(predictions, results, notes)
        for runs in results.values():
            *older, newest = sorted(runs, key=lambda run: (run.time, run.file.name))
            for run in older:
                notes.leave_out(run.file, OLDER)
            yield from hand_on(newest.file, _answers(newest, predictions, choices, notes), notes)


def _kind(file: LogFile) -> str | None:
    if _DETAILS.match(file.head):
        return "results"
    if _PREDICTIONS.match(file.head) and _PROMPT.search(file.head):
        return "predictions"
    if "results" not in PurePath(file.path).parts[-3:-2]:
        return None
    if re.match(_BEGINNING, file.head) and _DETAILS_AFTER_MORE.search(file.head):
        return "results"
    return "totals" if _TOTALS.match(file.head) else None


@dataclass(frozen=True)
class _Place:
    file: LogFile
    time: str  # the folder of the run
    model: str
    dataset: str


def _place(file: LogFile, choices: Choices) -> _Place:
    """Return what the folders of a file say."""
    is_unpacked = file.path.as_posix().endswith(file.name)
    *folders, name = PurePath(file.path if is_unpacked else file.name).parts
    time, stage, model = ["", "", "", *folders][-3:]
    model = model if stage in ("results", "predictions") else choices.model
    if not model:
        choices.ask(
            file.name,
            f"{file.name} does not lie in results/<model>, which names its model; import the folder of the run, or say "
            "it with --model",
        )
    return _Place(
        file, time if _TIME.fullmatch(time) else "", as_text(model or file.name), as_text(PurePath(name).stem)
    )


def _refuse_ungraded(
    predictions: Mapping[tuple[str, str, str], LogFile], results: Mapping[tuple[str, str], object], notes: Notes
) -> None:
    for (time, model, dataset), file in predictions.items():
        if not {(model, dataset), (model, _PART.sub("", dataset))} & results.keys():
            notes.refuse(
                f"{file.name} holds predictions that are not graded; grade them with `opencompass CONFIG --mode eval "
                f"--reuse {time or 'TIME'} --dump-eval-details`, and import the folder results, too"
            )


def _answers(
    run: _Place, predictions: Mapping[tuple[str, str, str], LogFile], choices: Choices, notes: Notes
) -> Iterator[Answer]:
    details = _details(run, notes)
    replies = _predictions(run, predictions)
    found = {"correct" if name in _GRADES else name for item in details.values() for name in item}
    metric = choices.choose("metric", found & {"correct", _GRADE_OF_MODEL} or {"correct"}, run.dataset)
    names = _GRADES if metric == "correct" else (_GRADE_OF_MODEL,)
    if not any(name in item for item in details.values() for name in names):
        raise Refusal(
            f"{run.file.name}: the details say of no answer whether it is correct; its evaluator grades the data set "
            "as a whole, so that it cannot be imported"
        )
    settings = {"run": run.time, "data_set": run.dataset} if run.time else {}
    notes.record(Run(run.model, run.dataset, run.file.name, "opencompass", metric=metric, settings=settings))
    has_text = False
    for row, (key, item) in enumerate(details.items(), 1):
        index = as_whole(key.rpartition("_")[2])
        reply = replies.get(str(index), {})
        text = _text(item, reply) or choices.questions.get(key, "")
        has_text = has_text or bool(text.strip())
        values = next((item[name] for name in names if item.get(name) is not None), None)
        result = _grade(values, f"{run.file.name}: {metric} of answer {key}", choices)
        if result is None:
            notes.leave_out(run.file, "answers without a grade, or whose repetitions are a tie")
        elif not text.strip():
            notes.leave_out(run.file, "answers without a prompt")
        else:
            said = as_answer(_first(item, "origin_prediction", "predictions", "pred") or reply.get("prediction"))
            right = _first(item, "references", "answer", "refr", "ref", "gold") or reply.get("gold")
            yield Answer(
                row=row,
                model=run.model,
                category=run.dataset,
                text=text,
                correct=result[0],
                score=result[1],
                item=key,
                doc_id=index,
                target=text_of_target(right if isinstance(right, list) else [right]),
                answer=said if choices.keep_answers else None,
            )
    if not has_text:
        raise Refusal(
            f"{run.file.name} has no prompts; import the folder of the run, with predictions/{run.model}/"
            f"{run.dataset}.json, or give texts with --questions"
        )


def _grade(values: object, what: str, choices: Choices) -> tuple[bool, float] | None:
    """Return the grade of an answer, which may have been asked for several times."""
    graded = [grade(value, choices.threshold, what) for value in (values if isinstance(values, list) else [values])]
    known = [one for one in graded if one is not None]
    return grade_of_repeats(known, choices.epochs) if known else None


def _details(run: _Place, notes: Notes) -> dict[str, dict[str, Any]]:
    """Return the details by the answer's number or `<data set>_<number>`. Raises Refusal where there are none."""
    details = as_dict(read_json(run.file)).get("details")
    if isinstance(details, list):
        items = [
            (as_text(as_dict(item).get("example_abbr")) or str(number), item) for number, item in enumerate(details)
        ]
    else:
        items = [(key, item) for key, item in as_dict(details).items() if key != "type"]
    found = {key: item for key, item in items if isinstance(item, dict)}
    if found and len(found) < len(items):
        notes.leave_out(run.file, "details that are no objects, or have the name of another", len(items) - len(found))
    if not found:
        raise Refusal(
            f"{run.file.name} holds totals only; move the folder results away, and grade again with `opencompass "
            f"CONFIG --mode eval --reuse {run.time or 'TIME'} --dump-eval-details`"
        )
    return found


def _predictions(run: _Place, predictions: Mapping[tuple[str, str, str], LogFile]) -> dict[str, dict[str, Any]]:
    """Return what was asked and said, by number; of a large data set, it stands in several files."""
    found: dict[str, dict[str, Any]] = {}
    whole = predictions.get((run.time, run.model, run.dataset))
    parts = (predictions.get((run.time, run.model, f"{run.dataset}_{part}")) for part in count())
    before = 0  # answers in the files before
    for file in filter(None, [whole] if whole else takewhile(bool, parts)):
        numbers = {as_whole(key): as_dict(item) for key, item in as_dict(read_json(file)).items()}
        replies = {number: item for number, item in numbers.items() if number is not None}
        found |= {str(before + number): item for number, item in replies.items()}
        before += max(replies, default=-1) + 1
    return found


def _first(item: Mapping[str, Any], *names: str) -> Any:
    """Return the first of some fields that is there; of an answer that was repeated, the first time."""
    value = next(
        (item[name] for name in names if item.get(name) not in (None, "") and type(item[name]) is not dict), None
    )
    return value[0] if isinstance(value, list) and value and "example_abbr" in item else value


def _text(item: Mapping[str, Any], reply: Mapping[str, Any]) -> str:
    """Return what the model was asked, without examples as far as the chat's turns tell them apart."""
    asked = reply.get("origin_prompt") or item.get("prompt")
    if asked:
        return _last_turn(asked)
    labelled = {key: value for key, value in reply.items() if key.startswith("label: ")}
    labelled = labelled or as_dict(item.get("origin_prediction"))
    tried = [as_dict(one) for one in labelled.values()]
    texts = [_last_turn(one.get("testing input") or one.get("prompt")) for one in tried if len(one) > 1]
    texts = [text for text in texts if text]
    if not texts:
        return ""
    lengths = (number for number, letters in enumerate(zip(*texts, strict=False)) if len(set(letters)) > 1)
    shared = texts[0][: next(lengths, min(map(len, texts)))]
    shared = shared if shared in texts else re.sub(r"\S*$", "", shared)  # not half of a word
    return with_options(shared.strip(), [text[len(shared) :] for text in texts])


def _last_turn(prompt: object) -> str:
    if isinstance(prompt, list):
        turns = [as_dict(turn) for turn in prompt if isinstance(turn, dict)]
        users = [number for number, turn in enumerate(turns) if as_text(turn.get("role")).upper() in ("HUMAN", "USER")]
        asked = turns[users[-1] :] if users else turns
        return text_of_messages(asked, ("human", "user", "bot", "assistant")).strip()
    text = as_text(prompt)
    begun = [found.end() for found in _USER.finditer(text)]
    return _END.split(text[begun[-1] :], maxsplit=1)[0].strip() if begun else text.strip()
