"""What benchmarks of routers record: LLMRouterBench's runs of a model on a data set, and RouterArena's choices."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePath

import pyarrow as pa

from .fields import as_answer, as_dict, as_list, as_text, as_whole, hand_on, measured, read_json, text_of_turns
from .reader import OLDER, Answer, Choices, LogFile, Notes, Refusal, Run, grade
from .scores import json_rows

__all__ = ["RouterArenaReader", "RouterBenchRunReader"]

_RUN = re.compile(
    rb'[\xef\xbb\xbf\s]*{(?=[^\x00]*"model_name"\s*:)(?=[^\x00]*"dataset_name"\s*:)[^\x00]*"(records|demo)"\s*:'
)
_CHOICE = re.compile(rb'[\xef\xbb\xbf\s]*\[?\s*{(?=[^\x00]*"global_index"\s*:)[^\x00]*"llm_selected"\s*:')
_TIME = re.compile(r"(\d{8}[-_T]?\d{4,6}|\d{4}-\d\d-\d\d[-_T ]\d\d[-:]\d\d[-:]\d\d|\d{10,})$")


class RouterBenchRunReader:
    format = "llmrouterbench"

    def recognises(self, file: LogFile) -> bool:
        return bool(_RUN.match(file.head))

    def read(self, files: Sequence[LogFile], choices: Choices, notes: Notes) -> Iterator[tuple[LogFile, pa.Table]]:
        newest: dict[tuple[str, str, str], tuple[LogFile, int]] = {}
        for file in sorted(files, key=_time_of):
            try:
                run = as_dict(read_json(file))
            except Refusal as problem:
                notes.refuse(str(problem))
                continue
            if run.get("demo") is True:
                notes.leave_out(file, "demonstrations, which ask a part of the questions")
                continue
            model = as_text(run.get("model_name")) or choices.model or ""
            dataset = as_text(run.get("dataset_name")) or choices.benchmark or ""
            key = (model, dataset, as_text(run.get("split")))
            count = len(as_list(run.get("records")))
            if key in newest:
                older, before = newest[key]
                notes.leave_out(older, OLDER)
                notes.remark_if_shorter(file, count, older, before)
            newest[key] = file, count
        for (model, dataset, split), (file, _) in newest.items():
            yield from hand_on(file, _records(file, model, dataset, split, choices, notes), notes)


class RouterArenaReader:
    format = "routerarena"

    def recognises(self, file: LogFile) -> bool:
        return bool(_CHOICE.match(file.head))

    def read(self, files: Sequence[LogFile], choices: Choices, notes: Notes) -> Iterator[tuple[LogFile, pa.Table]]:
        for file in files:
            yield from hand_on(file, _chosen(file, choices, notes), notes)


def _time_of(file: LogFile) -> tuple[str, str]:
    found = _TIME.search(PurePath(file.name).stem)
    return (re.sub(r"\D", "", found[1]) if found else "", file.name)


def _records(file: LogFile, model: str, dataset: str, split: str, choices: Choices, notes: Notes) -> Iterator[Answer]:
    if not model or not dataset:
        raise Refusal(f"{file.name} lacks model_name or dataset_name; say it with --model or --benchmark")
    run = as_dict(read_json(file))
    records, count = as_list(run.get("records")), as_whole(run.get("counts"))
    if not records:
        raise Refusal(f"{file.name} has no records; copy the file again")
    if count is not None and count > len(records):
        notes.remark(f"{file.name} has {len(records):,} records of the {count:,} that it counts.")
    notes.record(Run(model, dataset, file.name, "llmrouterbench", settings={"split": split} if split else {}))
    for row, record in enumerate(map(as_dict, records), start=1):
        text = text_of_turns(record.get("prompt")) or as_text(record.get("origin_query"))
        graded = grade(record.get("score"), choices.threshold, f"{file.name}, record {row}: the score")
        if graded is None or not text.strip():
            notes.leave_out(file, "records without a score" if graded is None else "records without a prompt")
            continue
        yield Answer(
            row,
            model,
            dataset,
            text,
            *graded,
            item=as_text(record.get("index")) or str(row),
            doc_id=as_whole(record.get("index")),
            target=as_text(record.get("ground_truth")) or None,
            answer=as_answer(record.get("prediction")),
            tokens_in=as_whole(record.get("prompt_tokens")),
            tokens_out=as_whole(record.get("completion_tokens")),
            cost=measured(record.get("cost")),
        )


def _chosen(file: LogFile, choices: Choices, notes: Notes) -> Iterator[Answer]:
    for row, item in json_rows(file):
        text, model = as_text(item.get("question")), as_text(item.get("llm_selected")).strip()
        result = as_dict(item.get("evaluation_result"))
        graded = grade(result.get("score"), choices.threshold, f"{file.name}, row {row}: evaluation_result.score")
        if item.get("success") is False:
            notes.leave_out(file, "failed requests")
            continue
        if graded is None or not text.strip() or not model:
            notes.leave_out(file, "choices without a score" if graded is None else "choices without question or model")
            continue
        index = as_text(item.get("global_index"))
        category = index.rpartition("_")[0] or choices.benchmark or "routerarena"
        usage = as_dict(item.get("token_usage"))
        if (model, category) not in notes.runs:
            notes.record(Run(model, category, file.name, "routerarena"))
        yield Answer(
            row,
            model,
            category,
            text,
            *graded,
            item=index or str(row),
            doc_id=as_whole(index.rpartition("_")[2]),
            target=as_text(result.get("ground_truth")) or None,
            answer=as_answer(
                item.get("generated_answer") or as_dict(item.get("generated_result")).get("generated_answer")
            ),
            tokens_in=as_whole(usage.get("input_tokens")),
            tokens_out=as_whole(usage.get("output_tokens")),
            cost=measured(item.get("cost", result.get("inference_cost"))),
        )
