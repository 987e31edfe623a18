"""From the task names of a benchmark to its questions: names are checked, data loaded, texts put together."""

import difflib
import inspect
import logging
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from lm_eval.api.registry import DEFAULT_METRIC_REGISTRY
from lm_eval.api.task import Task
from lm_eval.tasks import TaskManager

from .answer_texts import choices_of, text_of_target
from .checks import shortened
from .digests import digest_of
from .errors import (
    UNEXPLAINED,
    DataUnreachable,
    HarnessError,
    Stage,
    TaskFaulty,
    TaskUnknown,
    explained,
    first_sentence,
)
from .registry import BenchmarkEntry
from .task_checks import check_columns, check_nothing_is_none, check_target, describe_fields
from .task_files import included_files, portable, referred_paths

__all__ = ["QUESTIONS", "TaskIndex", "question_text"]

QUESTIONS = pa.schema(
    [
        ("task", pa.string()),
        ("doc_id", pa.int64()),
        ("text", pa.string()),
        ("category", pa.string()),
        ("target", pa.string()),  # what is right (answer_texts); null where only the task's code knows it
    ]
)


_ASKING = ("output_type", "use_prompt", "description", "doc_to_text", "doc_to_target", "doc_to_choice")
"""The fields of a definition that make the text of a question."""


class TaskIndex:
    """The lm-eval tasks that exist: those of `tasks_dir`, or else those that lm-eval brings.

    Indexing lm-eval's own takes seconds (half a minute from a cold disk), and is put off until a name is looked up.
    Tasks that were loaded are kept.
    """

    def __init__(self, tasks_dir: Path | None) -> None:
        self._tasks_dir = tasks_dir
        self._manager: TaskManager | None = None
        self._loaded: dict[BenchmarkEntry, dict[str, Task]] = {}
        self._questions: dict[BenchmarkEntry, pa.Table] = {}

    def check(self, benchmarks: Iterable[BenchmarkEntry]) -> None:
        """Raise TaskUnknown for the first benchmark whose task, metric or filter lm-eval does not have.

        Reads task definitions only: no data, no weights, no network.
        """
        for benchmark in benchmarks:
            with explained(Stage.DATA, benchmark=benchmark.name):
                for name, config in self._leaves(benchmark):
                    _check_offered("metric", benchmark.metric, name, _metrics(config))
                    _check_offered("filter", benchmark.filter, name, _filters(config))

    def configs(self, benchmark: BenchmarkEntry) -> dict[str, Any]:
        """Return leaf task → digest of its definition, the code and the local files it refers to. Loads no data."""
        return {name: digest_of(portable(config)) for name, config in self._leaves(benchmark)}

    def local_files(self, benchmark: BenchmarkEntry) -> set[Path]:
        """Return the files and folders on this machine that the definitions of the benchmark's tasks refer to."""
        found: set[Path] = set()
        for name, config in self._leaves(benchmark):
            found |= set(referred_paths(config))
            entry = self._index().task_index.get(name)  # a task that is defined within a group has none
            if entry is not None and entry.yaml_path is not None:
                found |= set(included_files(Path(entry.yaml_path)))
        return found

    def load(self, benchmark: BenchmarkEntry) -> dict[str, Task]:
        """Return the leaf tasks by name in the benchmark's order, with their data.

        Raises TaskUnknown, TaskFaulty, DataUnreachable, EvaluationFailed.
        """
        if benchmark not in self._loaded:
            self.check([benchmark])
            with explained(Stage.DATA, benchmark=benchmark.name):
                # A few tasks (GPQA) shuffle choices as they load. What a question says must not depend on the
                # evaluation's seed, so these seeds are always lm-eval's own.
                random.seed(0)
                np.random.seed(1234)
                tasks = self._load(benchmark)
                for task in tasks.values():
                    # As in `lm_eval.simple_evaluate`: a task that says 0 itself keeps 0, whatever is asked for.
                    own, asked = task.get_config("num_fewshot"), benchmark.num_fewshot
                    if own is None or (asked is not None and own != 0):
                        task.set_config(key="num_fewshot", value=asked or 0)
                    _settle_docs(task)
                    check_columns(task)
                self._loaded[benchmark] = tasks
        return self._loaded[benchmark]

    def knows(self, task: str) -> bool:
        """Return whether there is a leaf task of this name, and its definition says where its data are, not code."""
        entry = self._index().task_index.get(task)
        return entry is not None and entry.kind.name == "TASK"

    def filters(self, task: str) -> list[str]:
        """Return the names of the filters of a task that `knows` knows, in the order in which lm-eval applies them."""
        return _filters(self._index().task_index[task].cfg or {}) or []

    def load_without_data(self, task: str, doc: dict[str, Any]) -> Task:
        """Return a task that `knows` knows as it would be if `doc`, already processed, were all its data.

        Raises UNEXPLAINED where the task's definition does not fit `doc`; what its code raises, if there is any.
        """
        only = {
            "task": task,
            "custom_dataset": lambda **_: {"logged": _Docs([doc])},
            **dict.fromkeys(("dataset_kwargs", "process_docs", "training_split", "validation_split", "fewshot_split")),
            **dict.fromkeys(("fewshot_config", "filter_list", "metric_list", "process_results")),
            "test_split": "logged",
        }
        config = self._index().task_index[task].cfg or {}
        asking = {name: config[name] for name in _ASKING if name in config}
        if any(True for _ in referred_paths(asking)):
            # lm-eval takes what is to differ from a definition only from a group. It imports the task's code, which
            # may need other packages, and may load what it grades with.
            wanted: dict[str, Any] = {"group": "logged", "task": [only]}
        else:
            wanted = {**asking, **only}
        index, logger = self._index(), logging.getLogger("lm_eval")
        level = logger.level
        logger.setLevel(logging.ERROR)  # it warns of what is missing here on purpose
        try:
            return index.load([wanted])["tasks"][task]
        finally:
            logger.setLevel(level)

    def questions(self, benchmark: BenchmarkEntry) -> pa.Table:
        """Return every question of the benchmark, in dataset order (schema QUESTIONS).

        Raises TaskFaulty where a document has no text, or a right answer that is none of its choices.
        """
        if benchmark not in self._questions:
            tasks = self.load(benchmark)
            with explained(Stage.DATA, benchmark=benchmark.name):
                rows = [row for name, task in tasks.items() for row in _rows(name, task)]
                self._questions[benchmark] = pa.Table.from_pylist(rows, schema=QUESTIONS)
        return self._questions[benchmark]

    def _load(self, benchmark: BenchmarkEntry) -> dict[str, Task]:
        """Have lm-eval load the data, and try the definition on the first document."""
        try:
            return self._index().load(list(benchmark.tasks))["tasks"]
        except UNEXPLAINED as error:
            files = ", ".join(sorted(str(path) for path in self.local_files(benchmark)))
            if isinstance(error, StopIteration) or "corresponds to no data" in str(error):
                where = f" ({files})" if files else ""
                names = ", ".join(benchmark.tasks)
                problem = f"the data of {names}{where} hold no document; see that no file is empty"
                raise DataUnreachable(problem) from error
            fields = "; ".join(describe_fields(name, config) for name, config in self._leaves(benchmark))
            raise TaskFaulty(
                f"the task's definition and its data do not fit together ({type(error).__name__}: "
                f"{first_sentence(error)}); compare what it names with the columns of the data: "
                f"{shortened(fields, 300)}"
            ) from error

    def _index(self) -> TaskManager:
        if self._manager is None:
            if self._tasks_dir is not None and not self._tasks_dir.is_dir():
                raise TaskUnknown(
                    f"the registry's tasks_dir {self._tasks_dir} does not exist; "
                    "correct the path or make the tasks first"
                )
            path = None if self._tasks_dir is None else str(self._tasks_dir)
            self._manager = TaskManager(include_path=path, include_defaults=path is None)
        return self._manager

    def _leaves(self, benchmark: BenchmarkEntry) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the tasks that a benchmark consists of, with their definitions, functions named but not imported."""
        index = self._index()
        for name in benchmark.tasks:
            if name not in index.task_index:
                near = difflib.get_close_matches(name, index.all_tasks, n=3)
                hint = f"did you mean {' or '.join(near)}?" if near else "see `lm-eval ls tasks`"
                raise TaskUnknown(f"lm-eval has no task '{name}' in {self._tasks_dir or 'its own tasks'}; {hint}")
            yield from _expanded(name, {}, index)


class _Docs(list[dict[str, Any]]):
    """Documents, as far as lm-eval looks at a data set."""

    @property
    def features(self) -> dict[str, Any]:
        return self[0]


def _expanded(name: str, overrides: dict[str, Any], index: TaskManager) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a task, or the members of a group or tag, as lm-eval's TaskFactory does, without loading anything."""
    entry = index.task_index.get(name)
    if entry is None:
        raise TaskUnknown(f"lm-eval has no task '{name}', which a group refers to; correct the group's definition")
    config = {**(entry.cfg or {}), **overrides}
    if entry.kind.name == "TAG":
        for member in sorted(entry.tags):
            yield from _expanded(member, overrides, index)
    elif entry.kind.name == "GROUP":
        yield from _members(name, config["task"], overrides, index)
    else:
        yield name, config


def _members(
    group: str, members: list[str | dict[str, Any]], overrides: dict[str, Any], index: TaskManager
) -> Iterator[tuple[str, dict[str, Any]]]:
    for member in members:
        own = {} if isinstance(member, str) else member
        name = member if isinstance(member, str) else member.get("group", member.get("task"))
        merged = {**overrides, **{key: value for key, value in own.items() if key not in ("group", "task")}}
        if isinstance(name, str) and name in index.task_index:
            yield from _expanded(name, merged, index)
        elif "group" in own:  # a group defined within the group
            yield from _members(f"{group}::{name}", own["task"], overrides, index)
        elif "dataset_path" in own:  # a task defined within the group
            yield f"{group}::{name}", merged
        else:
            raise TaskUnknown(f"lm-eval has no task '{name}', which group '{group}' names; correct the group")


def _metrics(config: dict[str, Any]) -> list[str] | None:
    """Return what the task can be graded by; None if only its code knows."""
    if "class" in config or config.get("process_results"):
        return None
    listed = config.get("metric_list")
    names = [m["metric"] for m in listed] if listed else DEFAULT_METRIC_REGISTRY[config["output_type"]]
    return None if any("/" in name for name in names) else names  # a path: a function, which names metrics itself


def _filters(config: dict[str, Any]) -> list[str] | None:
    if "class" in config:
        return None
    return [f["name"] for f in config.get("filter_list") or ()] or ["none"]


def _check_offered(what: str, wanted: str, task: str, offered: list[str] | None) -> None:
    if offered is not None and wanted not in offered:
        raise TaskUnknown(
            f"task '{task}' has no {what} '{wanted}'; it offers {', '.join(offered)}; correct {what} in benchmarks.yaml"
        )


def _settle_docs(task: Task) -> None:
    """Process the documents of a task once and for all.

    lm-eval runs `process_docs` whenever it looks at the documents. Where that draws random numbers (GPQA shuffles its
    choices with a generator of its module), the question asked is not the question graded, unless a warm cache of
    `datasets` hides it; and the questions would differ from machine to machine.
    """
    process_docs: Callable[[Any], Any] | None = task.get_config("process_docs")
    if process_docs is None:
        return
    # The function's module gets its initial state back; lm-eval's loader marks modules of tasks with `__mtime__`.
    module = sys.modules.get(getattr(inspect.unwrap(process_docs), "__module__", ""))
    if module is not None and hasattr(module, "__mtime__") and module.__spec__ and module.__spec__.loader:
        module.__spec__.loader.exec_module(module)
    split = task.get_config("test_split") or task.get_config("validation_split")
    task.dataset[split] = process_docs(task.dataset[split])
    task.set_config(key="process_docs", value=None)


def _rows(name: str, task: Task) -> Iterator[dict[str, Any]]:
    blank = 0
    doc_id = -1
    for doc_id, doc in enumerate(task.eval_docs):
        try:
            blank += not check_target(task, doc)
            check_nothing_is_none(task, doc)
            text, target = question_text(task, doc), text_of_target(task, doc)
        except HarnessError as error:
            raise TaskFaulty(f"document {doc_id} of task '{name}' {error.problem}") from error
        except Exception as error:
            kind, columns = type(error).__name__, ", ".join(doc) if isinstance(doc, dict) else "no columns"
            raise TaskFaulty(
                f"document {doc_id} of task '{name}' does not fit the task's definition ({kind}: "
                f"{first_sentence(error)}); it has {columns}"
            ) from error
        yield {"task": name, "doc_id": doc_id, "text": text, "category": name, "target": target}
    if blank and blank == doc_id + 1:
        raise TaskFaulty(
            f"none of the {blank} documents of task '{name}' has a right answer (doc_to_target is empty in each, as "
            "where the labels of a test split are kept back); take another split, or correct doc_to_target"
        )


def question_text(task: Task, doc: Any) -> str:
    """Return what a model is asked, without few-shot examples and answer, with the choices if the prompt lacks them."""
    prompt = task.doc_to_text(doc)
    choices = [str(choice).strip() for choice in choices_of(task, doc)]
    if prompt is None or (isinstance(prompt, str) and not prompt.strip() and not choices):
        raise TaskFaulty("has no text (doc_to_text gives nothing); correct the data or doc_to_text")
    if not isinstance(prompt, str):  # the choices are the prompts, and doc_to_text is the number of the right one
        return "\n".join([*choices, str(task.doc_to_target(doc)).strip()])
    prompt = prompt.strip()
    if all(_shows(prompt, choice) for choice in choices):
        return prompt
    return "\n".join([prompt, *(f"- {choice}" for choice in choices)])


def _shows(prompt: str, choice: str) -> bool:
    """Whether the choice stands in the prompt as words of its own ("no" is not in "know")."""
    at = prompt.find(choice)
    while at >= 0:
        before, after = prompt[at - 1 : at], prompt[at + len(choice) : at + len(choice) + 1]
        if not (choice[:1].isalnum() and before.isalnum()) and not (choice[-1:].isalnum() and after.isalnum()):
            return True
        at = prompt.find(choice, at + 1)
    return False
