"""Which of lm-eval's files belong together: samples of a task, and the results of the run that they are from."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from .reader import Choices, LogFile, Refusal

__all__ = ["RunResults", "Samples", "TaskSettings", "find_samples", "is_results", "read_results"]

_TIME = r"\d{4}-\d{2}-\d{2}T\d{2}[-:]\d{2}[-:]\d{2}(?:\.\d+)?|\d{8}T\d{6}"
_TIME_AT_END = re.compile(rf"_({_TIME})$")
_NAMING = ("peft", "delta", "pretrained", "model", "path", "engine")
"""The arguments of a model that name it, as lm-eval ranks them."""

_SETTINGS = (
    *("model_dtype", "model_revision", "model_sha", "gen_kwargs", "limit"),
    *("random_seed", "numpy_seed", "torch_seed", "fewshot_seed"),
)

_RESULTS = re.compile(rb'"results"\s*:\s*\{')
_OF_LM_EVAL = re.compile(
    rb'"(?:group_subtasks|n-shot|higher_is_better|lm_eval_version|pretty_env_info)"\s*:'
    rb'|"results"\s*:\s*\{\s*"[^"]+"\s*:\s*\{\s*"(?:alias"|[^"]+(?:,none|_stderr)")'
)


@dataclass(frozen=True)
class TaskSettings:
    """What the results of a run say about a task."""

    filters: tuple[str, ...] = ()  # in the order in which samples follow each other
    lower_is_better: frozenset[str] = frozenset()
    documents: int | None = None  # that the model was asked
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RunResults:
    """A results_*.json."""

    file: LogFile
    time: str  # "" if not known
    model: str | None
    args: str | None  # of the model, as they were given
    tool_version: str | None
    settings: Mapping[str, Any]  # of all tasks
    labels: Mapping[str, Any]
    tasks: Mapping[str, TaskSettings]


@dataclass(frozen=True)
class Samples:
    """A file with the answers of a model to a task."""

    file: LogFile
    model: str
    task: str
    time: str  # that can be compared; "" if not known
    results: RunResults | None


def is_results(head: bytes) -> bool:
    """Return whether a file that begins so holds the aggregated results of a run."""
    is_object = head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")
    return is_object and b'"config_general"' not in head and bool(_RESULTS.search(head) and _OF_LM_EVAL.search(head))


def read_results(file: LogFile) -> RunResults:
    """Raises Refusal where the file is damaged."""
    try:
        said = json.loads(file.path.read_bytes().decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise Refusal(f"{file.name} is not whole ({error}); get it once more, or remove it") from error
    config = _mapping(said.get("config"))
    args, model_name = config.get("model_args"), said.get("model_name")
    named = _named_in(args) or (None if _is_made_up(model_name, args) else model_name)
    every = {
        "chat_template": said.get("chat_template_sha") or bool(said.get("chat_template")) or None,
        "system_instruction": said.get("system_instruction_sha") or said.get("system_instruction"),
        "fewshot_as_multiturn": said.get("fewshot_as_multiturn"),
        "git_hash": said.get("git_hash"),
        "backend": config.get("model"),
        **{name: config.get(name) for name in _SETTINGS},
    }
    parameters, version = config.get("model_num_parameters"), said.get("lm_eval_version")
    return RunResults(
        file=file,
        time=_time_of(file) or _time_of_date(said.get("date")),
        model=named if isinstance(named, str) and named.strip() else None,
        args=args if isinstance(args, str) else None,
        tool_version=version if isinstance(version, str) else None,
        settings={name: value for name, value in every.items() if value is not None},
        labels={"size_b": round(parameters / 1e9, 3)} if type(parameters) is int and 0 < parameters < 10**15 else {},
        tasks={task: _task_settings(task, said) for task in _mapping(said.get("results")) if isinstance(task, str)},
    )


def _task_settings(task: str, said: Mapping[str, Any]) -> TaskSettings:
    config = _mapping(_mapping(said.get("configs")).get(task))
    listed = config.get("filter_list")
    filters = [one.get("name") for one in listed if isinstance(one, Mapping)] if isinstance(listed, list) else []
    if not filters:  # its metrics are called exact_match,strict-match
        names = [name.partition(",") for name in _mapping(_mapping(said.get("results")).get(task))]
        filters = list(dict.fromkeys(of for metric, comma, of in names if comma and not metric.endswith("_stderr")))
    better = _mapping(_mapping(said.get("higher_is_better")).get(task))
    asked = _mapping(_mapping(said.get("n-samples")).get(task)).get("effective")
    settings = {
        "num_fewshot": _mapping(said.get("n-shot")).get(task, config.get("num_fewshot")),
        "task_version": _mapping(said.get("versions")).get(task),
        "generation": config.get("generation_kwargs"),
        "repeats": config.get("repeats"),
    }
    return TaskSettings(
        tuple(name for name in filters if isinstance(name, str)),
        frozenset(metric for metric, higher in better.items() if higher is False),
        asked if type(asked) is int else None,
        {name: value for name, value in settings.items() if value is not None},
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _named_in(args: object) -> str | None:
    """Return the model that `model_args` name: pretrained=EleutherAI/pythia-2.8b,dtype=float."""
    if isinstance(args, str):
        args = dict(part.strip().split("=", 1) for part in args.split(",") if "=" in part)
    return next((str(args[key]) for key in _NAMING if args.get(key)), None) if isinstance(args, Mapping) else None


def _is_made_up(model_name: object, args: object) -> bool:
    """Return whether lm-eval drew a name at random, as it does for a model without one."""
    return isinstance(model_name, str) and not args and re.fullmatch("[a-z0-9]{8}", model_name) is not None


def _time_of(file: LogFile) -> str:
    """Return the time in a file's name as digits that can be compared; "" if it has none."""
    match = _TIME_AT_END.search(_stem(file))
    return re.sub(r"[-:]", "", match[1]) if match else ""


def _time_of_date(date: object) -> str:
    if isinstance(date, bool) or not isinstance(date, int | float) or not 0 < date < 10**11:
        return ""
    return datetime.fromtimestamp(date, UTC).strftime("%Y%m%dT%H%M%S")


def _stem(file: LogFile) -> str:
    name = PurePosixPath(file.name).name
    return re.sub(r"\.jsonl?$", "", name, flags=re.IGNORECASE)


def find_samples(
    files: Sequence[LogFile], results: Sequence[RunResults], choices: Choices, first_doc: Callable[[LogFile], Any]
) -> tuple[list[Samples], list[str]]:
    """Return whose answers to what each of `files` holds, and what is wrong with those of which it cannot be told.

    `first_doc` gives the first document of a file.
    """
    by_folder: dict[str, list[RunResults]] = {}
    for run in results:
        by_folder.setdefault(_folder(run.file), []).append(run)
    found, problems = [], []
    for file in files:
        folder = _folder(file)
        try:
            if folder not in by_folder:
                by_folder[folder] = _results_beside(file)
            nearby = by_folder[folder]
            found.append(_samples_of(file, nearby, choices, first_doc))
        except Refusal as refusal:
            problems.append(str(refusal))
    return found, problems


def _folder(file: LogFile) -> str:
    return str(PurePosixPath(file.name).parent)


def _results_beside(file: LogFile) -> list[RunResults]:
    """Return the results next to a file that was named alone. What was unpacked has another name than its path."""
    if file.path.name != PurePosixPath(file.name).name:
        return []
    paths = [path for path in sorted(file.path.parent.glob("*results*.json")) if path.is_file()]
    found = [LogFile(path, path.as_posix()) for path in paths]
    return [read_results(file) for file in found if is_results(file.head)]


def _samples_of(
    file: LogFile, nearby: Sequence[RunResults], choices: Choices, first_doc: Callable[[LogFile], Any]
) -> Samples:
    stem, time = _stem(file), _time_of(file)
    model = None
    if stem.lower().startswith("samples_"):
        task: str | None = _TIME_AT_END.sub("", stem)[len("samples_") :]
        model = _model_of_folder(file, nearby)
    else:
        task, model = _split_name(stem, nearby, choices, lambda task: _is_known(task, choices, first_doc(file)))
    run = next((run for run in nearby if time and run.time == time), None)
    if run is None:
        fitting = [run for run in nearby if task in run.tasks and (model is None or run.model in (model, None))]
        undated = [run for run in fitting if not time or not _time_of(run.file)]
        run = max(undated, key=lambda run: run.time, default=None)
    model = (run.model if run is not None else None) or model or choices.model
    task = task or choices.benchmark
    if not task:
        choices.ask(file.name, f"the name of {file.name} does not tell which task it holds; say it with --benchmark")
    if not model:
        choices.ask(
            file.name,
            f"neither the folder nor the name of {file.name} tells whose answers it holds, and no results_*.json of "
            "its run is next to it; say it with --model",
        )
    return Samples(file, model or file.name, task or file.name, time or (run.time if run is not None else ""), run)


def _model_of_folder(file: LogFile, nearby: Sequence[RunResults]) -> str | None:
    """Return the model after which lm-eval has named the folder of a file."""
    folder = PurePosixPath(file.name).parent.name
    models = {run.model for run in nearby if run.model and _sanitized(run.model) == folder}
    if len(models) == 1:
        return models.pop()
    owner, mark, name = folder.partition("__")
    return f"{owner}/{name}" if owner and mark and name else None


def _sanitized(model: str) -> str:
    return re.sub(r'["<>:/|\\?*\[\]]+', "__", model)


def _is_known(task: str, choices: Choices, doc: object) -> bool:
    return isinstance(doc, Mapping) and choices.text_of(task, doc) is not None


def _split_name(
    stem: str, nearby: Sequence[RunResults], choices: Choices, is_known: Callable[[str], bool]
) -> tuple[str | None, str | None]:
    """Return task and model of <model_args>_<task>, as files were called until 0.4.2, with = and / as __."""
    for run in nearby:
        for args in (re.sub(sign, "__", run.args or "") for sign in ("/", "/|=")):
            task = stem.removeprefix(f"{args}_")
            if task != stem and task in run.tasks:
                return task, run.model
    if stem.startswith("_"):
        return stem[1:] or None, None
    if choices.benchmark and stem.endswith(f"_{choices.benchmark}"):
        return choices.benchmark, _model_in_name(stem.removesuffix(f"_{choices.benchmark}"))
    last = max((match.end() for match in re.finditer("=|__", stem)), default=0)
    cuts = [match.start() for match in re.finditer("(?<!_)_(?!_)", stem) if match.start() > last] if last else []
    for cut in cuts:
        if is_known(stem[cut + 1 :]):
            return stem[cut + 1 :], _model_in_name(stem[:cut])
    if cuts:  # names of models have an underscore less often than names of tasks
        return stem[cuts[0] + 1 :], _model_in_name(stem[: cuts[0]])
    return (stem if is_known(stem) else None), None


def _model_in_name(args: str) -> str | None:
    """Return the model that pretrained=EleutherAI__pythia-2.8b or pretrained__EleutherAI__pythia-2.8b names."""
    given: dict[str, str] = {}
    for part in args.split(","):
        key, mark, value = re.split("(=|__)", part, maxsplit=1) if re.search("=|__", part) else (part, "", "")
        if mark:
            given[key] = value.replace("__", "/")
    return _named_in(given)
