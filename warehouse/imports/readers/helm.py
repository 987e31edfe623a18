"""Runs of HELM: a folder of JSON documents each, as `helm-run` writes them or as `helm-summarize` does."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import pyarrow as pa

from .fields import (
    as_answer,
    as_dict,
    as_list,
    as_text,
    as_whole,
    finite,
    hand_on,
    measured,
    read_json,
    settings_of,
    text_of_target,
    user_turns,
    with_options,
)
from .reader import OLDER, Answer, Choices, LogFile, Notes, Refusal, Run, grade

__all__ = ["HelmReader"]

_START = re.compile(rb"[\xef\xbb\xbf\s]*")
_ROW = (
    rb'\[\s*{\s*"instance_id"\s*:\s*"[^"]*"\s*,\s*(?:"perturbation"\s*:\s*{[^{}]*}\s*,\s*)?'
    rb'"train_trial_index"\s*:\s*\d+'
)
_KINDS = {
    "run_spec": re.compile(rb'{\s*"name"\s*:\s*"[^"]*"\s*,\s*"scenario_spec"\s*:'),
    "scenario_state": re.compile(rb'{\s*"adapter_spec"\s*:\s*{'),
    "per_instance_stats": re.compile(_ROW + rb'\s*,\s*"stats"\s*:\s*\['),
    "display_predictions": re.compile(_ROW + rb'\s*,\s*"(?:predicted_text|base64_images|mapped_output)"'),
    "display_requests": re.compile(_ROW + rb'\s*,\s*"request"'),
    "instances": re.compile(rb'\[\s*{\s*"input"\s*:\s*{\s*"(?:text|messages|multimedia_content)"'),
    "stats": re.compile(rb'\[\s*{\s*"name"\s*:\s*{\s*"name"\s*:'),
    "scenario": re.compile(rb'{\s*"name"\s*:\s*"[^"]*"\s*,\s*"description"\s*:.*"definition_path"', re.DOTALL),
}
_NO_GRADE = re.compile(
    "(num|training|inference|estimated|finish_reason)_.*|batch_size|max_prob|logprob|prompt_truncated|predicted_index"
    "|perplexity|(bits|logprob)_per_byte"
)
_ADAPTING = (  # arguments of a run that are no part of what is asked
    *("model", "model_deployment", "tokenizer", "method", "temperature", "stop", "instructions", "prompt", "groups"),
    *(
        "data_augmentation",
        "max_train_instances",
        "max_eval_instances",
        "num_train_trials",
        "num_outputs",
        "eval_split",
    ),
    *("max_tokens", "increase_max_tokens", "output_format_instructions", "chatml", "use_chain_of_thought"),
    *("global_prefix", "global_suffix", "num_prompt_tokens", "num_output_tokens", "cleva_version", "chain_of_thought"),
)
_SETTINGS = (
    *("method", "instructions", "max_train_instances", "num_outputs", "temperature", "max_tokens", "stop_sequences"),
    *("model_deployment", "input_prefix", "output_prefix"),
)


_JOINT = "multiple_choice_joint"  # the method by which a model says a letter, and no more


class HelmReader:
    format = "helm"

    def recognises(self, file: LogFile) -> bool:
        return _kind(file) is not None

    def read(self, files: Sequence[LogFile], choices: Choices, notes: Notes) -> Iterator[tuple[LogFile, pa.Table]]:
        folders: dict[tuple[PurePath, PurePath], dict[str, LogFile]] = defaultdict(dict)
        for file in files:
            kind = _kind(file)
            if kind is not None:
                folders[file.path.parent, PurePath(file.name).parent][kind] = file
        runs: dict[tuple[str, str], list[_RunFolder]] = defaultdict(list)
        for found in folders.values():
            try:
                run = _RunFolder(found, choices)
                runs[run.model, run.category].append(run)
            except Refusal as problem:
                notes.refuse(str(problem))
        for same in runs.values():
            try:
                newest = _newest(same, notes)
            except Refusal as problem:
                notes.refuse(str(problem))
            else:
                yield from hand_on(newest.main, _answers(newest, choices, notes), notes)


def _kind(file: LogFile) -> str | None:
    start = _START.match(file.head)
    return next((kind for kind, form in _KINDS.items() if form.match(file.head, start.end() if start else 0)), None)


class _RunFolder:
    """The files of a run. Raises Refusal where they do not say what was asked of which model, or lack answers."""

    def __init__(self, files: Mapping[str, LogFile], choices: Choices) -> None:
        self.files = files
        shown = next(iter(files.values()))
        folder = PurePath(shown.name).parent
        spec = as_dict(self.document("run_spec"))
        self.adapter = as_dict(spec.get("adapter_spec"))
        if not self.adapter and "scenario_state" in files:
            self.adapter = as_dict(as_dict(self.document("scenario_state")).get("adapter_spec"))
        name = as_text(spec.get("name")) or (folder.name if "model=" in folder.name else "")
        self.category = _scenario(name) or choices.benchmark or ""
        self.model = as_text(self.adapter.get("model")) or choices.model or ""
        if not self.model or not self.category:
            raise Refusal(
                f"{shown.name} has no run_spec.json next to it, which names the model and the scenario; import the "
                "whole folder of the run, or say them with --model and --benchmark"
            )
        graded = next((files[kind] for kind in ("per_instance_stats", "display_predictions") if kind in files), None)
        if graded is None and "scenario_state" not in files:
            raise Refusal(
                f"{shown.name} has no answers next to it; import the whole folder of the run, with its "
                "per_instance_stats.json and scenario_state.json (or instances.json and display_predictions.json)"
            )
        self.main = files.get("scenario_state") or graded or shown

    def document(self, kind: str) -> Any:
        return read_json(self.files[kind]) if kind in self.files else None

    @property
    def method(self) -> str:
        """How the model was asked: multiple_choice_joint for a letter, …_separate_… once for each option."""
        return as_text(self.adapter.get("method"))

    def time(self) -> float:
        """Return when the last request was made, in seconds since 1970; 0 where the run does not say."""
        states = as_list(as_dict(self.document("scenario_state")).get("request_states"))
        results = (as_dict(as_dict(state).get("result")) for state in states)
        return max((finite(result.get("request_datetime")) or 0 for result in results), default=0)


def _scenario(name: str) -> str:
    """Return the scenario with its arguments: the name of a run without model, method and other ways of asking."""
    scenario, _, arguments = name.partition(":")
    kept = [part for part in re.split(r",(?=\w+=)", arguments) if part.partition("=")[0] not in ("", *_ADAPTING)]
    return f"{scenario}:{','.join(kept)}" if kept else scenario


def _newest(runs: Sequence[_RunFolder], notes: Notes) -> _RunFolder:
    if len(runs) == 1:
        return runs[0]
    times = {run.main.name: run.time() for run in runs}
    *older, newest = sorted(runs, key=lambda run: times[run.main.name])
    if times[older[-1].main.name] == times[newest.main.name]:
        raise Refusal(
            f"{older[-1].main.name} and {newest.main.name} are both runs of {newest.category} with {newest.model}, and "
            "do not say which is newer; import one of them"
        )
    for run in older:
        notes.leave_out(run.main, OLDER)
    return newest


@dataclass(frozen=True, slots=True)
class _Request:
    row: int
    id: str
    is_perturbed: bool
    trial: int
    said: object
    mapped: object
    stats: Mapping[str, float]
    has_failed: bool = False


def _requests(run: _RunFolder) -> tuple[list[_Request], dict[str, dict[str, Any]]]:
    """Return what was asked, in order, and the instances by id."""
    instances: dict[str, dict[str, Any]] = {}
    listed = as_list(run.document("instances"))
    predictions = as_list(run.document("display_predictions")) if listed else []
    requests = []
    if predictions or (listed and "scenario_state" not in run.files):
        rows = predictions or as_list(run.document("per_instance_stats"))
        for row, raw in enumerate(rows, 1):
            one = as_dict(raw)
            stats = {as_text(name): value for name, value in as_dict(one.get("stats")).items()}
            numbers = {name: number for name, value in stats.items() if (number := finite(value)) is not None}
            said, mapped = one.get("predicted_text"), one.get("mapped_output")
            requests.append(_Request(row, *_place(one, one.get("instance_id")), said, mapped, numbers))
    else:
        states = as_list(as_dict(run.document("scenario_state")).get("request_states"))
        for row, state in enumerate(map(as_dict, states), 1):
            instance = as_dict(state.get("instance"))
            listed.append(instance)
            result = as_dict(state.get("result"))
            completions = as_list(result.get("completions"))
            said = as_dict(completions[0]).get("text") if completions else None
            mapped = as_dict(state.get("output_mapping")).get(as_text(said).strip())
            place = _place({**instance, "train_trial_index": state.get("train_trial_index")}, instance.get("id"))
            requests.append(_Request(row, *place, said, mapped, {}, result.get("success") is False))
    for instance in map(as_dict, listed):
        if not instance.get("perturbation"):
            instances.setdefault(as_text(instance.get("id")), instance)
    return requests, instances


def _place(row: Mapping[str, Any], id: object) -> tuple[str, bool, int]:  # noqa: A002
    return as_text(id), bool(row.get("perturbation")), as_whole(row.get("train_trial_index")) or 0


def _statistics(run: _RunFolder) -> dict[str, dict[str, float]]:
    """Return the statistics of each instance by its id, without perturbed copies, of the first trial."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for row in map(as_dict, as_list(run.document("per_instance_stats"))):
        id_, is_perturbed, trial = _place(row, row.get("instance_id"))
        for stat in map(as_dict, as_list(row.get("stats")) if not is_perturbed and trial == 0 else []):
            name, count, mean = as_dict(stat.get("name")), finite(stat.get("count")), finite(stat.get("mean"))
            if mean is None and count and (total := finite(stat.get("sum"))) is not None:
                mean = total / count
            if mean is not None and count != 0 and not name.get("perturbation"):
                found[id_][as_text(name.get("name"))] = mean
    return found


def _answers(run: _RunFolder, choices: Choices, notes: Notes) -> Iterator[Answer]:
    statistics = _statistics(run)
    requests, instances = _requests(run)
    asked: dict[str, _Request] = {}
    splits = {id_: as_text(instance.get("split")) for id_, instance in instances.items()}
    tested = "test" in splits.values()  # else they are all of the split valid, by which HELM then reports
    for request in requests:
        if request.is_perturbed:
            notes.leave_out(run.main, "perturbed copies")
        elif request.trial:
            notes.leave_out(run.main, "further trials, with other few-shot examples than the first")
        elif tested and splits.get(request.id, "test") != "test":
            notes.leave_out(run.main, f"questions of the split {splits[request.id]}; HELM reports those of test")
        else:
            asked.setdefault(request.id, request)
    stats = {id_: {**request.stats, **statistics.get(id_, {})} for id_, request in asked.items()}
    metric = _metric(run, stats, any(request.mapped is not None for request in asked.values()), choices)
    settings = settings_of(run.adapter, _SETTINGS)
    notes.record(
        Run(run.model, run.category, run.main.name, "helm", metric=metric or "mapped_output", settings=settings)
    )
    for id_, request in asked.items():
        question = _Question(instances.get(id_, {}), run.method)
        text = question.text or choices.questions.get(id_, "")
        value = question.grade(request) if metric is None else stats[id_].get(metric)
        result = grade(value, choices.threshold, f"{run.main.name}: {metric} of instance {id_}")
        if request.has_failed:
            notes.leave_out(run.main, "failed requests")
        elif result is None:
            what = f"a grade ({metric} is missing)" if metric else "the chosen option, or the right one"
            notes.leave_out(run.main, f"answers without {what}")
        elif not text.strip():
            notes.leave_out(
                run.main,
                "answers without a text; scenario_state.json or instances.json has it, or --questions gives it",
            )
        else:
            took = stats[id_]
            said = None if "_separate" in run.method else request.said  # of the first option alone
            yield Answer(
                row=request.row,
                model=run.model,
                category=run.category,
                text=with_options(text, question.options),
                correct=result[0],
                score=result[1],
                item=id_,
                doc_id=as_whole(id_.removeprefix("id")),
                target=text_of_target(question.right),
                answer=as_answer(request.mapped) or as_answer(said) if choices.keep_answers else None,
                tokens_in=as_whole(took.get("num_prompt_tokens")),
                tokens_out=as_whole(took.get("num_output_tokens", took.get("num_completion_tokens"))),
                latency_s=measured(took.get("inference_runtime")),
            )


class _Question:
    def __init__(self, instance: Mapping[str, Any], method: str) -> None:
        asked = as_dict(instance.get("input"))
        self.text = as_text(asked.get("text")) or user_turns(as_list(asked.get("messages")))
        references = [as_dict(reference) for reference in as_list(instance.get("references"))]
        texts = [as_text(as_dict(reference.get("output")).get("text")) for reference in references]
        self.answers = texts
        self.options = texts if method.startswith("multiple_choice") else []
        self.letters = [chr(ord("A") + number) for number in range(len(texts))] if method == _JOINT else []
        tags = [as_list(reference.get("tags")) for reference in references]
        self.right = [text for text, of_one in zip(texts, tags, strict=True) if "correct" in of_one]

    def grade(self, request: _Request) -> float | None:
        """Return 1 where the option that was chosen is right, 0 where it is not, or where the model said the letter of
        no option at all. None where the log does not say."""
        if not self.right:
            return None
        if request.mapped is not None:
            chosen = as_text(request.mapped)
            return float(chosen in self.right) if chosen in self.answers else None
        is_none = isinstance(request.said, str) and self.letters and request.said.strip() not in self.letters
        return 0.0 if is_none else None


def _metric(
    run: _RunFolder, stats: Mapping[str, Mapping[str, float]], has_mapped: bool, choices: Choices
) -> str | None:
    """Return the statistic that grades a run; None where the options that were chosen do. Raises Refusal.

    Without a choice, it is `exact_match` or one of its kin; where these agree on every answer, there is nothing to
    choose between them.
    """
    names = {name for of_one in stats.values() for name in of_one if not _NO_GRADE.fullmatch(name)}
    if choices.metric.get(run.category, choices.metric.get("")) is not None:
        return choices.choose("metric", names, run.category)
    kin = {name for name in names if name.endswith("exact_match")}
    if kin and len({tuple(of_one.get(name) for of_one in stats.values()) for name in kin}) == 1:
        return min(kin, key=lambda name: (len(name), name))
    if kin:
        return choices.choose("metric", kin, run.category)
    if has_mapped:
        return None
    names = {name for name in names if "@" not in name} or names
    if not names:
        raise Refusal(
            f"{run.main.name}: no statistic grades the answers; import the whole folder of the run, with its "
            "per_instance_stats.json"
        )
    return choices.choose("metric", names, run.category)
