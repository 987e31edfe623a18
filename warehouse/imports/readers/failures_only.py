"""Results that name what failed, or what was solved, and leave the rest to the reader: BFCL and SWE-bench."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import pyarrow as pa

from .fields import as_dict, as_list, as_text, as_whole, hand_on, measured, read_json, text_of_turns
from .reader import Answer, Choices, LogFile, Notes, Refusal, Run
from .scores import json_rows

__all__ = ["BfclReader", "SweBenchReader"]

_TOTALS = re.compile(rb'[\xef\xbb\xbf\s]*{(?=[^\n]*"accuracy"\s*:)(?=[^\n]*"correct_count"\s*:)[^\n]*"total_count"\s*:')
_RESOLVED = re.compile(rb'[\xef\xbb\xbf\s]*{(?=[^\x00]*"(resolved|resolved_ids)"\s*:\s*\[)')
_SWE_ASKED = ("submitted_ids", "completed_ids", "unresolved_ids", "generated", "with_logs", "applied")
_DETAILED = re.compile(rb'[\xef\xbb\xbf\s]*{\s*"[^"\s]+__[^"\s]+-\d+"\s*:\s*{[^{}]*"resolved"\s*:')
_SWE_FILES = ("results", "per_instance_details")  # which do not name their model
_SWE_OF_LEADERBOARD = ("no_generation", "no_logs")
_SWE_LISTS = (*_SWE_ASKED, "empty_patch_ids", "error_ids", *_SWE_OF_LEADERBOARD)
_SWE_SPLITS = {"lite": 300, "verified": 500, "test": 2294}  # instances by folder of the leaderboard's submissions
_BFCL_FOLDERS = frozenset("score live non_live multi_turn agentic memory kv vector rec_sum format_sensitivity".split())  # noqa: SIM905
_SUBMISSION = re.compile(r"\d{8}_.")
_ID_END = re.compile(r"[_-](\d+)(?:-\d+)*$")


class BfclReader:
    """Score files of the Berkeley function-calling leaderboard: `score/<model>/…/<name>_<category>_score.json`."""

    format = "bfcl"

    def recognises(self, file: LogFile) -> bool:
        return bool(_TOTALS.match(file.head))

    def read(self, files: Sequence[LogFile], choices: Choices, notes: Notes) -> Iterator[tuple[LogFile, pa.Table]]:
        runs, texts = [], defaultdict[str, dict[str, str]](dict)
        for file in files:
            try:
                runs.append(run := _BfclRun(file, choices))
            except Refusal as problem:
                notes.refuse(str(problem))
                continue
            texts[run.category] |= run.texts
        for category, known in texts.items():
            known.update({key: text for key, text in choices.questions.items() if _is_of(key, category)})
        for run in runs:
            yield from hand_on(run.file, run.answers(texts[run.category], notes), notes)


class _BfclRun:
    """The failures of one model in one category, and how many questions there were."""

    def __init__(self, file: LogFile, choices: Choices) -> None:
        self.file = file
        rows = json_rows(file)
        _, totals = next(rows)
        total, right = as_whole(totals.get("total_count")), as_whole(totals.get("correct_count"))
        if total is None or right is None or right > total:
            raise Refusal(f"{file.name}, line 1: correct_count or total_count is no whole number, or they do not fit")
        self.total = total
        name = PurePath(file.name)
        stem = re.sub(r"^BFCL_v\d+_", "", name.stem.removesuffix("_score"))
        folders = [part for part in name.parts[:-1] if part not in _BFCL_FOLDERS]
        self.category = f"bfcl_{stem}"
        self.texts: dict[str, str] = {}
        self.failed: dict[str, int] = {}
        model = ""
        for row, item in rows:
            prompt = as_dict(item.get("prompt"))
            key = as_text(item.get("id")) or as_text(prompt.get("id"))
            if not key:
                raise Refusal(f"{file.name}, line {row} has no id")
            model = model or as_text(item.get("model_name"))
            self.failed[key] = row
            turns = item["prompt"] if isinstance(item.get("prompt"), list) else prompt.get("question")
            if (text := text_of_turns(turns or item.get("question"))).strip():
                self.texts[key] = text
        if len(self.failed) != total - right:
            raise Refusal(
                f"{file.name} names {len(self.failed)} failures, but its first line says {total} questions of which "
                f"{right} are right; it may be cut off: copy it again"
            )
        # In score/ the folder is called as the model, with _ for its /; elsewhere a folder may be any.
        folder = folders[-1].replace("_", "/", 1) if folders else ""
        self.model = (folder if "score" in name.parts[:-1] else model or choices.model) or folder
        if not self.model:
            choices.ask(file.name, f"{file.name} lies in no folder that names its model; say it with --model")
            self.model = file.name

    def answers(self, texts: Mapping[str, str], notes: Notes) -> Iterator[Answer]:
        """Yield an answer for each question: a failure, or else a success."""
        if len(texts) > self.total or not self.failed.keys() <= texts.keys():
            raise Refusal(
                f"{self.file.name} speaks of {self.total} questions, but {len(texts)} are known, or not the same; give "
                "the questions of its version with --questions (BFCL_v3_<category>.json)"
            )
        if len(texts) < self.total:
            unknown = self.total - len(texts)
            raise Refusal(
                f"{self.file.name} names only failures, and the texts of {unknown} of its {self.total} questions stand "
                "in no file of another model; give them with --questions (BFCL_v3_<category>.json)"
            )
        notes.record(Run(self.model, self.category, self.file.name, "bfcl"))
        for key, text in sorted(texts.items(), key=lambda item: (self.failed.get(item[0], 0), item[0])):
            right, number = key not in self.failed, _ID_END.search(key)
            doc_id = int(number[1]) if number and len(number[1]) < 18 else None
            row = self.failed.get(key, 1)
            yield Answer(row, self.model, self.category, text, right, float(right), item=key, doc_id=doc_id)


def _is_of(key: str, category: str) -> bool:
    """Return whether an id such as simple_12, memory_kv_3-finance-2 is of the category bfcl_simple, bfcl_memory_kv,
    by BFCL's own rule."""
    return key.partition(":")[0].rpartition("_")[0] == category.removeprefix("bfcl_")


class SweBenchReader:
    """Results of SWE-bench: which instances were resolved, of those that were submitted."""

    format = "swe-bench"

    def recognises(self, file: LogFile) -> bool:
        head = file.head
        listed = _RESOLVED.match(head) and any(f'"{name}"'.encode() in head for name in _SWE_LISTS)
        return bool(listed or _DETAILED.match(head))

    def read(self, files: Sequence[LogFile], choices: Choices, notes: Notes) -> Iterator[tuple[LogFile, pa.Table]]:
        for file in files:
            answers = _detailed if _DETAILED.match(file.head) else _instances
            yield from hand_on(file, answers(file, choices, notes), notes)


def _detailed(file: LogFile, choices: Choices, notes: Notes) -> Iterator[Answer]:
    """Yield the answers of `{instance: {resolved, cost, …}}`, which names all that was asked."""
    instances = {one: as_dict(said) for one, said in as_dict(read_json(file)).items()}
    model, category = _submission(file, choices), choices.benchmark or "swe-bench"
    _refuse_without_text(file, list(instances), choices)
    notes.record(Run(model, category, file.name, "swe-bench"))
    for row, (one, said) in enumerate(instances.items(), start=1):
        right = said.get("resolved")
        if isinstance(right, bool):
            cost = measured(said.get("cost"))
            yield Answer(row, model, category, choices.questions[one], right, float(right), item=one, cost=cost)
        else:
            notes.leave_out(file, "instances of which it is not said whether they were resolved")


def _instances(file: LogFile, choices: Choices, notes: Notes) -> Iterator[Answer]:
    """Yield an answer for each instance. The benchmark counts every instance that the model was given as asked, so one
    with an empty patch or an error is a failure; instances that no list names were not asked.

    The leaderboard's submissions list no failures but those without a patch or logs: all instances of their split were
    asked, which are those of --questions.
    """
    results = as_dict(read_json(file))
    resolved = set(_ids(file, results, "resolved", "resolved_ids"))
    asked = sorted(resolved.union(_ids(file, results, *_SWE_LISTS)))
    if not asked:
        raise Refusal(f"{file.name} names no instances; the lists resolved and submitted_ids are empty")
    if not any(as_list(results.get(name)) for name in _SWE_ASKED) and results.keys() & set(_SWE_OF_LEADERBOARD):
        asked = _instances_of_split(file, resolved.union(asked), choices, notes)
    elif asked == sorted(resolved):
        raise Refusal(
            f"{file.name} names only resolved instances; without submitted_ids or unresolved_ids it is not known which "
            "others were asked"
        )
    model, category = _submission(file, choices), choices.benchmark or "swe-bench"
    _refuse_without_text(file, asked, choices)
    notes.record(Run(model, category, file.name, "swe-bench"))
    for row, one in enumerate(asked, start=1):
        right = one in resolved
        yield Answer(row, model, category, choices.questions[one], right, float(right), item=one)


def _refuse_without_text(file: LogFile, asked: Sequence[str], choices: Choices) -> None:
    if lacking := [one for one in asked if one not in choices.questions]:
        raise Refusal(
            f"{file.name} has ids only, and {len(lacking)} of {len(asked)} ({lacking[0]}, …) have no text; give a "
            "table of instance_id and problem_statement with --questions"
        )


def _instances_of_split(file: LogFile, named: set[str], choices: Choices, notes: Notes) -> list[str]:
    """Return all instances of --questions, for results that do not list what was asked."""
    asked = sorted(choices.questions)
    split = next((part for part in reversed(PurePath(file.name).parts) if part in _SWE_SPLITS), None)
    if not asked or (split is not None and len(asked) != _SWE_SPLITS[split]):
        which = (
            f"the {_SWE_SPLITS[split]} instances of {split}" if split else "the instances of its split, and no others"
        )
        raise Refusal(
            f"{file.name} does not list what was asked (submitted_ids), only what was resolved, so that what is not is "
            f"the rest of its split; give {which}, with --questions (a table of instance_id and problem_statement)"
        )
    notes.remark(
        f"{file.name} does not list what was asked: of the {len(asked):,} instances of --questions, "
        f"{len(set(asked) - named):,} that it does not name count as not resolved."
    )
    return sorted(named.union(asked))


def _ids(file: LogFile, results: Mapping[str, Any], *names: str) -> list[str]:
    found = [(name, as_text(one)) for name in names for one in as_list(results.get(name))]
    if nameless := [name for name, one in found if not one.strip()]:
        raise Refusal(f"{file.name}: the list {nameless[0]} has something that is no id; get the file once more")
    return [one for _, one in found]


def _submission(file: LogFile, choices: Choices) -> str:
    """Return the model: the folder of a submission, with its date (20240402_sweagent_gpt4), since an agent has several;
    or <model>.<run>.json of a report. --model goes before a name that may be any."""
    path = PurePath(file.name)
    folders = [part for part in path.parts[:-1] if part not in ("results", "/")]
    if path.stem not in _SWE_FILES:
        model, run, _ = path.stem.partition(".")
        model = model.replace("__", "/", 1)
        return model if run else choices.model or model
    is_submission = bool(folders) and (path.parts[-2] == "results" or _SUBMISSION.match(folders[-1]) is not None)
    if model := folders[-1] if is_submission else choices.model or (folders[-1] if folders else ""):
        return model
    choices.ask(file.name, f"{file.name} lies in no folder that names its model; say it with --model")
    return file.name
