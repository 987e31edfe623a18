"""Every Eval Ever, 0.2 and 0.3, instance level: `<uuid>_samples.jsonl` next to `<uuid>.json` of the whole."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import pyarrow as pa

from .fields import (
    as_answer,
    as_dict,
    as_list,
    as_text,
    as_whole,
    finite,
    grade_of_repeats,
    hand_on,
    measured,
    read_json,
    text_of_target,
    user_turns,
    with_options,
)
from .reader import Answer, Choices, LogFile, Notes, Refusal, Run, grade
from .scores import json_rows

__all__ = ["COST", "EveryEvalEverReader"]

COST = "cost_usd"
"""US$ of an answer, in `performance.additional_details`, where `embedllm export` writes it."""

_VERSION = re.compile(rb'"schema_version"\s*:\s*"(instance_level_eval_)?0\.\d')
_SAMPLE = re.compile(rb'"sample_id"\s*:')
_WHOLE = re.compile(rb'"evaluation_results"\s*:\s*\[')
_SPLITS = ("train", "val", "test")
_LATENCIES = ("latency_ms", "generation_time_ms")  # of which the first that is given counts


class EveryEvalEverReader:
    format = "eee"

    def recognises(self, file: LogFile) -> bool:
        head = file.head
        return bool(_VERSION.search(head[:4096]) and (_SAMPLE.search(head) or _WHOLE.search(head)))

    def read(self, files: Sequence[LogFile], choices: Choices, notes: Notes) -> Iterator[tuple[LogFile, pa.Table]]:
        samples, wholes = [], dict[str, Mapping[str, Any]]()
        for file in files:
            if _SAMPLE.search(file.head):
                samples.append(file)
                continue
            try:
                whole = as_dict(read_json(file))
            except Refusal as problem:
                notes.refuse(str(problem))
                continue
            wholes[as_text(whole.get("evaluation_id"))] = whole
        if not samples:
            notes.refuse(f"{files[0].name} holds totals only; import the file that ends in _samples.jsonl as well")
        for file in samples:
            yield from hand_on(file, _answers(file, wholes, choices, notes), notes)


def _less_is_better(whole: Mapping[str, Any], row: _Row) -> bool:
    """Return whether the document of the whole says so of the metric of a row."""
    results = map(as_dict, as_list(whole.get("evaluation_results")))
    names = {as_text(row.item.get("evaluation_result_id")), as_text(row.item.get("evaluation_name"))} - {""}
    configs = [
        as_dict(result.get("metric_config"))
        for result in results
        if names.intersection(as_text(result.get(name)) for name in ("evaluation_result_id", "evaluation_name"))
    ]
    return bool(configs) and all(config.get("lower_is_better") is True for config in configs)


@dataclass(frozen=True)
class _Row:
    """A line of a samples file."""

    number: int
    item: Mapping[str, Any]
    model: str
    category: str
    metric: str
    filter: str

    @property
    def question(self) -> str:
        return as_text(self.item.get("sample_id")) or as_text(self.item.get("sample_hash"))


def _answers(
    file: LogFile, wholes: Mapping[str, Mapping[str, Any]], choices: Choices, notes: Notes
) -> Iterator[Answer]:
    groups: dict[tuple[str, str], list[_Row]] = defaultdict(list)
    for number, item in json_rows(file):
        row = _row(file, number, item, choices)
        groups[row.model, row.category].append(row)
    for (model, category), rows in groups.items():
        metric = choices.choose("metric", {row.metric for row in rows}, category)
        of_metric = [row for row in rows if row.metric == metric]
        chosen = choices.choose("filter", {row.filter for row in of_metric}, category)
        whole = wholes.get(as_text(rows[0].item.get("evaluation_id")), {})
        tool = as_dict(whole.get("eval_library"))
        if _less_is_better(whole, of_metric[0]):
            raise Refusal(f"{file.name}: {metric} cannot grade {category}, as its results say: the less, the better")
        notes.record(
            Run(
                *(model, category, file.name, as_text(tool.get("name")) or "every-eval-ever"),
                version=as_text(tool.get("version")) or None,
                metric=metric,
                filter=chosen,
            )
        )
        graded = [row for row in of_metric if row.filter == chosen]
        _remark_partial(file, graded, choices, notes)
        tries: dict[str, list[_Row]] = defaultdict(list)
        for row in graded:
            tries[row.question].append(row)
        for own in tries.values():
            if answer := _answer(file, own, choices, notes):
                yield answer


def _remark_partial(file: LogFile, rows: Sequence[_Row], choices: Choices, notes: Notes) -> None:
    count = sum(_partial(as_dict(row.item.get("evaluation"))) is not None for row in rows)
    if count and choices.threshold is None:
        notes.remark(
            f"{file.name} has {count:,} scores that are neither 0 nor 1; its is_correct says which are right, unless "
            "--threshold does."
        )


def _partial(evaluation: Mapping[str, Any]) -> tuple[bool, float] | None:
    """Return the grade of a score between right and wrong that comes with a word on which of them it is."""
    score, correct = finite(evaluation.get("score")), evaluation.get("is_correct")
    return (correct, score) if score is not None and score not in (0, 1) and isinstance(correct, bool) else None


def _row(file: LogFile, number: int, item: Mapping[str, Any], choices: Choices) -> _Row:
    metadata = as_dict(item.get("metadata"))
    name, chosen = as_text(item.get("evaluation_name")), as_text(metadata.get("filter"))
    result = as_text(item.get("evaluation_result_id"))
    category = name.removesuffix(f"/{chosen}") if chosen else name
    if as_text(metadata.get("split")) in _SPLITS:  # `embedllm export` wrote it
        category = as_text(metadata.get("category")) or category
    category = category or as_text(choices.benchmark)
    model = as_text(item.get("model_id")) or as_text(choices.model)
    if not category or not model:
        raise Refusal(f"{file.name}, line {number} has no {'model_id' if category else 'evaluation_name'}")
    metric = re.sub(r":(test|validation|val|train)$", "", result).removeprefix(name).strip("./:# ")
    return _Row(number, item, model, category, metric or "score", chosen or "none")


def _answer(file: LogFile, tries: Sequence[_Row], choices: Choices, notes: Notes) -> Answer | None:
    """Return the answer to a question, which may have been asked several times; None where it is left out."""
    first = tries[0].item
    known = [graded for row in tries if (graded := _grade(file, row, choices)) is not None]
    graded = grade_of_repeats(known, choices.epochs) if known else None
    text = _text(first)
    if graded is None or not text.strip():
        notes.leave_out(file, "samples without a text" if known and graded else "samples without a grade, or ties")
        return None
    usage, metadata = as_dict(first.get("token_usage")), as_dict(first.get("metadata"))
    took = as_dict(first.get("performance"))
    latency = next((ms for name in _LATENCIES if (ms := measured(took.get(name))) is not None), None)
    said = as_dict(first.get("output")).get("raw")
    right = as_dict(first.get("input")).get("reference")
    split = as_text(metadata.get("split"))
    return Answer(
        tries[0].number,
        tries[0].model,
        tries[0].category,
        text,
        *graded,
        item=tries[0].question,
        doc_id=as_whole(metadata.get("doc_id")),
        split=cast("Literal['train', 'val', 'test']", split) if split in _SPLITS else None,
        target=text_of_target(right if isinstance(right, list) else [right]),
        answer=as_answer(next(iter(said), None) if isinstance(said, list) else said),
        tokens_in=as_whole(usage.get("input_tokens")),
        tokens_out=as_whole(usage.get("output_tokens")),
        cost=_number(as_dict(took.get("additional_details")).get(COST)),
        latency_s=None if latency is None else latency / 1000,
    )


def _grade(file: LogFile, row: _Row, choices: Choices) -> tuple[bool, float] | None:
    """Return the grade by `score`; of one between 0 and 1 without a threshold, what `is_correct` says. A failed sample
    has none."""
    if row.item.get("error") not in (None, "", {}):
        return None
    evaluation = as_dict(row.item.get("evaluation"))
    score, correct = evaluation.get("score"), evaluation.get("is_correct")
    if choices.threshold is None and (partial := _partial(evaluation)) is not None:
        return partial
    graded = grade(score, choices.threshold, f"{file.name}, line {row.number}: the score")
    if graded and score in (0, 1) and isinstance(correct, bool) and correct != bool(score):
        raise Refusal(
            f"{file.name}, line {row.number}: the score is {score} and is_correct is {str(correct).lower()}; "
            "correct one of them"
        )
    return graded


def _number(text: object) -> float | None:
    try:
        return measured(float(as_text(text)))
    except ValueError:
        return None


def _text(item: Mapping[str, Any]) -> str:
    asked = as_dict(item.get("input"))
    raw = asked.get("raw")
    turns = as_list(item.get("interactions")) or as_list(item.get("messages"))
    text = user_turns(raw) if isinstance(raw, list) else as_text(raw)
    return with_options(text or user_turns(turns), [as_text(option) for option in as_list(asked.get("choices"))])
