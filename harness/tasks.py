"""From the task names of a benchmark to its questions: names are checked, data loaded, texts put together."""

import ast
import difflib
import inspect
import random
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from lm_eval.api.registry import DEFAULT_METRIC_REGISTRY
from lm_eval.api.task import ConfigurableTask, Task
from lm_eval.tasks import TaskManager

from harness.checks import shortened
from harness.digests import digest_of, file_digest
from harness.entries import BenchmarkEntry
from harness.errors import (
    UNEXPLAINED,
    DataUnreachable,
    HarnessError,
    Stage,
    TaskFaulty,
    TaskUnknown,
    explained,
    first_sentence,
)

__all__ = ["QUESTIONS", "TaskIndex"]

QUESTIONS = pa.schema(
    [
        ("task", pa.string()),
        ("doc_id", pa.int64()),
        ("text", pa.string()),
        ("category", pa.string()),
    ]
)


FIELDS = ("doc_to_text", "doc_to_choice", "doc_to_target")


class TaskIndex:
    """The lm-eval tasks there are: those of `tasks_dir`, or else those that lm-eval brings.

    Indexing lm-eval's own takes seconds (half a minute from a cold disk) and is put off until a name is
    looked up; tasks, once loaded, are kept.
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
        """Leaf task → digest of its definition, the code and the local files it refers to. Loads no data."""
        return {name: digest_of(_portable(config)) for name, config in self._leaves(benchmark)}

    def local_files(self, benchmark: BenchmarkEntry) -> set[Path]:
        """The files and folders on this machine that the definitions of the benchmark's tasks refer to."""
        return {path for _, config in self._leaves(benchmark) for path in _referred_paths(config)}

    def load(self, benchmark: BenchmarkEntry) -> dict[str, Task]:
        """Leaf tasks by name in the benchmark's order, with their data.

        Raises TaskUnknown, TaskFaulty, DataUnreachable, EvaluationFailed.
        """
        if benchmark not in self._loaded:
            self.check([benchmark])
            with explained(Stage.DATA, benchmark=benchmark.name):
                # A few tasks (GPQA) shuffle choices as they load. What a question says must not depend on the
                # evaluation's seed, so these are always lm-eval's own.
                random.seed(0)
                np.random.seed(1234)
                tasks = self._load(benchmark)
                for task in tasks.values():
                    _set_num_fewshot(task, benchmark.num_fewshot)
                    _settle_docs(task)
                    _check_columns(task)
                self._loaded[benchmark] = tasks
        return self._loaded[benchmark]

    def questions(self, benchmark: BenchmarkEntry) -> pa.Table:
        """Every question of the benchmark, in dataset order (schema QUESTIONS).

        Raises TaskFaulty where a document has no text, or a right answer that is none of its choices.
        """
        if benchmark not in self._questions:
            tasks = self.load(benchmark)
            with explained(Stage.DATA, benchmark=benchmark.name):
                rows = [row for name, task in tasks.items() for row in _rows(name, task)]
                self._questions[benchmark] = pa.Table.from_pylist(rows, schema=QUESTIONS)
        return self._questions[benchmark]

    def _load(self, benchmark: BenchmarkEntry) -> dict[str, Task]:
        """lm-eval loads the data, and tries the definition on the first document."""
        try:
            return self._index().load(list(benchmark.tasks))["tasks"]
        except UNEXPLAINED as error:
            files = ", ".join(sorted(str(path) for path in self.local_files(benchmark)))
            if isinstance(error, StopIteration) or "corresponds to no data" in str(error):
                where = f" ({files})" if files else ""
                names = ", ".join(benchmark.tasks)
                raise DataUnreachable(
                    f"the data of {names}{where} hold no document; see that no file is empty"
                ) from error
            fields = "; ".join(_described_fields(name, config) for name, config in self._leaves(benchmark))
            raise TaskFaulty(
                f"the first document does not fit the task's definition ({type(error).__name__}: "
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
        """The tasks a benchmark comes down to, with their definitions, functions named but not imported."""
        index = self._index()
        for name in benchmark.tasks:
            if name not in index.task_index:
                near = difflib.get_close_matches(name, index.all_tasks, n=3)
                hint = f"did you mean {' or '.join(near)}?" if near else "see `lm-eval ls tasks`"
                raise TaskUnknown(f"lm-eval has no task '{name}' in {self._tasks_dir or 'its own tasks'}; {hint}")
            yield from _expanded(name, {}, index)


def _expanded(name: str, overrides: dict[str, Any], index: TaskManager) -> Iterator[tuple[str, dict[str, Any]]]:
    """A task as itself, a group or tag as its members: lm-eval's TaskFactory without loading anything."""
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
    """What the task can be graded by; None if only its code knows."""
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


def _set_num_fewshot(task: Task, num_fewshot: int | None) -> None:
    """As `lm_eval.simple_evaluate`: a task that says 0 itself keeps 0, whatever is asked for."""
    own = task.get_config("num_fewshot")
    if own is None or (num_fewshot is not None and own != 0):
        task.set_config(key="num_fewshot", value=num_fewshot or 0)


def _settle_docs(task: Task) -> None:
    """Process the documents of a task once and for all.

    lm-eval runs `process_docs` whenever it looks at the documents. Where that draws random numbers (GPQA
    shuffles its choices with a generator of its module), a question asked is not the question graded, unless
    a warm cache of `datasets` hides it; and the questions would differ from machine to machine.
    """
    process_docs: Callable[[Any], Any] | None = task.get_config("process_docs")
    if process_docs is None:
        return
    split = task.get_config("test_split") or task.get_config("validation_split")
    _rerun_module(process_docs)
    docs = process_docs(task.dataset[split])
    task.dataset[split] = docs
    task.set_config(key="process_docs", value=None)


def _rerun_module(function: Callable[..., Any]) -> None:
    """Give the module of a task's function its initial state again; lm-eval's loader marks such modules."""
    module = sys.modules.get(getattr(inspect.unwrap(function), "__module__", ""))
    if module is not None and hasattr(module, "__mtime__") and module.__spec__ and module.__spec__.loader:
        module.__spec__.loader.exec_module(module)


def _described_fields(name: str, config: dict[str, Any]) -> str:
    """`t: doc_to_text 'q', doc_to_choice 'choices', doc_to_target 'label'`."""
    fields = [f"{field} {config[field]!r}" for field in FIELDS if field in config]
    return f"{name}: {', '.join(fields)}"


def _check_columns(task: Task) -> None:
    """Raise TaskFaulty where a field of the definition is neither a column of the data nor a template.

    lm-eval would take the word itself for the prompt, or for the right answer, of every document.
    """
    if not isinstance(task, ConfigurableTask) or task.prompt is not None:
        return
    fields = {"doc_to_text": task.config.doc_to_text, "doc_to_choice": task.config.doc_to_choice}
    if task.config.process_results is None:  # else the task's own code knows the right answer
        fields["doc_to_target"] = task.config.doc_to_target
    for field, value in fields.items():
        if isinstance(value, str) and value not in task.features and _is_constant(field, value, task):
            near = difflib.get_close_matches(str(value), task.features, n=1)
            remedy = f"perhaps '{near[0]}' is meant" if near else "name a column"
            raise TaskFaulty(
                f"{field} of task '{task.config.task}' is '{shortened(value)}', which is no column of its data "
                f"(they have {', '.join(task.features)}); {remedy}, or write a template with {{{{ }}}}"
            )


def _is_constant(field: str, value: str, task: ConfigurableTask) -> bool:
    """Whether the field would be the same for every document where they must differ."""
    if re.fullmatch(r"[^\W\d][\w.-]*", value):  # a word: the name of a column that is not there
        return True
    differ = isinstance(task.config.doc_to_choice, (str, Callable))  # the choices, of which each document has its own
    return field == "doc_to_text" and bool(value) and not differ and "{{" not in value and "{%" not in value


def _rows(name: str, task: Task) -> Iterator[dict[str, Any]]:
    for doc_id, doc in enumerate(task.eval_docs):
        try:
            _check_target(task, doc)
            text = _question_text(task, doc)
        except HarnessError as error:
            raise TaskFaulty(f"document {doc_id} of task '{name}' {error.problem}") from error
        except Exception as error:
            kind, columns = type(error).__name__, ", ".join(doc) if isinstance(doc, dict) else "no columns"
            raise TaskFaulty(
                f"document {doc_id} of task '{name}' does not fit the task's definition ({kind}: "
                f"{first_sentence(error)}); it has {columns}"
            ) from error
        yield {"task": name, "doc_id": doc_id, "text": text, "category": name}


def _check_target(task: Task, doc: Any) -> None:
    """Raise TaskFaulty where the right answer of a document is missing, or is none of its choices."""
    if not isinstance(task, ConfigurableTask) or task.config.process_results is not None:
        return
    target = task.doc_to_text(doc) if task.multiple_input else task.doc_to_target(doc)
    if target is None:
        raise TaskFaulty("has no right answer (doc_to_target gives nothing); correct the data or doc_to_target")
    if task.OUTPUT_TYPE != "multiple_choice":
        return
    choices = task.doc_to_choice(doc)
    targets = target if isinstance(target, list) else [target]
    if not targets or not all(_is_choice(one, choices) for one in targets):
        shown = ", ".join(repr(choice) for choice in choices[:6])
        raise TaskFaulty(
            f"has {target!r} for its right answer, which is none of its {len(choices)} choices ({shown}): give the "
            "number of the right choice, the first being 0, as a number and not as text, or the choice's own text"
        )


def _is_choice(target: Any, choices: Sequence[Any]) -> bool:
    """As lm-eval understands it: a number is a position, a text one of the choices."""
    if isinstance(target, str):
        return target in choices
    return isinstance(target, (int, float)) and 0 <= target < len(choices) and target == int(target)


def _question_text(task: Task, doc: Any) -> str:
    """What a model is asked: no few-shot examples, no answer, and the choices if the prompt lacks them."""
    prompt = task.doc_to_text(doc)
    choices = _choices(task, doc)
    if prompt is None or (isinstance(prompt, str) and not prompt.strip() and not choices):
        raise TaskFaulty("has no text (doc_to_text gives nothing); correct the data or doc_to_text")
    if not isinstance(prompt, str):  # the choices are the prompts, and doc_to_text is the number of the right one
        return "\n".join([*choices, str(task.doc_to_target(doc)).strip()])
    prompt = prompt.strip()
    if all(_shows(prompt, choice) for choice in choices):
        return prompt
    return "\n".join([prompt, *(f"- {choice}" for choice in choices)])


def _choices(task: Task, doc: Any) -> list[str]:
    if not isinstance(task, ConfigurableTask) or task.config.doc_to_choice is None:
        return []
    return [str(choice).strip() for choice in task.doc_to_choice(doc)]


def _shows(prompt: str, choice: str) -> bool:
    """Whether the choice stands in the prompt as words of its own ("no" is not in "know")."""
    at = prompt.find(choice)
    while at >= 0:
        before, after = prompt[at - 1 : at], prompt[at + len(choice) : at + len(choice) + 1]
        if not (choice[:1].isalnum() and before.isalnum()) and not (choice[-1:].isalnum() and after.isalnum()):
            return True
        at = prompt.find(choice, at + 1)
    return False


def _portable(value: Any, key: str = "") -> Any:
    """A definition with paths replaced by what they point at, so that it reads alike on every machine."""
    if isinstance(value, dict):
        return {str(k): _portable(v, key=key if key == "dataset_kwargs" else str(k)) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_portable(item, key=key) for item in value]
    if not isinstance(value, str) or "\n" in value or len(value) > 1000:
        return value
    if key in ("dataset_path", "dataset_kwargs") and (found := _data_files(value)):
        return _content(found[0]) if found == [Path(value)] else [_content(path) for path in found]
    if (module := _module_file(value)) is not None:
        return f"{value.rpartition('.')[2]} of sha256:{_code_digest(module)}"
    return value


def _referred_paths(value: Any, key: str = "") -> Iterator[Path]:
    """Files and folders on this machine that a definition refers to, as `_portable` finds them."""
    if isinstance(value, dict):
        for k, item in value.items():
            yield from _referred_paths(item, key=key if key == "dataset_kwargs" else str(k))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _referred_paths(item, key=key)
    elif isinstance(value, str) and "\n" not in value and len(value) <= 1000:
        if key in ("dataset_path", "dataset_kwargs") and (found := _data_files(value)):
            yield from (
                found if found == [Path(value)] else {file.parent for file in found}
            )  # of a pattern, new files too
        if (module := _module_file(value)) is not None:
            yield from [module, *_imported_beside(module)]


def _data_files(value: str) -> list[Path]:
    """What a path or pattern means to `datasets`: from the current folder, if it is relative.

    A bare word is a file only with a suffix: `json` names a kind of data set, whatever lies next to it.
    """
    path = Path(value)
    if not ("/" in value or path.suffix) or "://" in value:
        return []
    if any(sign in value for sign in "*?["):
        root = Path("/") if path.is_absolute() else Path()
        return sorted(file for file in root.glob(value.lstrip("/")) if file.is_file())
    return [path] if path.exists() else []


def _content(path: Path) -> Any:
    if path.is_dir():
        files = (file for file in path.rglob("*") if file.is_file())
        return {file.relative_to(path).as_posix(): file_digest(file) for file in files}
    return f"sha256:{file_digest(path)}"


def _module_file(value: str) -> Path | None:
    """The file of a function that lm-eval's index names as /folder/module.function."""
    module = Path(f"{value.rpartition('.')[0]}.py")
    return module if value.startswith("/") and module.is_file() else None


def _code_digest(module: Path) -> str:
    """Of a module, and of those in its folder that it imports."""
    others = _imported_beside(module)
    if not others:
        return file_digest(module)
    return digest_of({file.name: file_digest(file) for file in (module, *others)})


def _imported_beside(module: Path) -> list[Path]:
    """Files in the folder of `module` that it imports, or that these import, sorted."""
    found: set[Path] = set()
    waiting = [module]
    while waiting:
        for name in _imported_names(waiting.pop()):
            file = module.parent / f"{name}.py"
            if file != module and file not in found and file.is_file():
                found.add(file)
                waiting.append(file)
    return sorted(found)


def _imported_names(module: Path) -> set[str]:
    """First parts of the names that a module imports; none where it is no Python."""
    try:
        tree = ast.parse(module.read_bytes())
    except (SyntaxError, ValueError):
        return set()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            named = [node.module] if node.module else [alias.name for alias in node.names]
            names |= {name.split(".")[0] for name in named}
    return names
