"""Reads the registry, which models are asked which benchmarks, from two YAML files (docs/registry.md).

Reading is strict, so that a slip shows here, in one sentence, and not hours later in an evaluation.
"""

import difflib
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, Field, ValidationError

from .entries import BenchmarkEntry, ModelEntry, Price, Resources, StrictModel, Text, Upstream
from .policies import BUILT_IN, FILE, Policies, Policy

_MAPPINGS: dict[str, type[StrictModel]] = {"price": Price, "resources": Resources, "upstream": Upstream}
UNKNOWN_FIELD = ("extra_forbidden", "invalid_key")  # pydantic's names for it


class RegistryError(ValueError):
    """A registry that cannot be used: one sentence with file, entry, what was found and what to do."""


class _ModelsFile(StrictModel):
    made_by: Literal["zoo"] | None = Field(default=None, description="zoo, or left out")
    models: list[Any] = Field(description="a list of entries")


class _BenchmarksFile(StrictModel):
    tasks_dir: Text | None = Field(default=None, description="the folder of your own lm-eval tasks")
    benchmarks: list[Any] = Field(description="a list of entries")


class _PoliciesFile(StrictModel):
    default: Text | None = Field(default=None, description="the name of one of the policies")
    policies: list[Any] = Field(description="a list of entries")


@dataclass(frozen=True)
class Registry:
    """Models and benchmarks in force, in file order."""

    folder: Path
    models: tuple[ModelEntry, ...]
    benchmarks: tuple[BenchmarkEntry, ...]
    tasks_dir: Path | None = None  # when set, lm-eval knows the tasks in it and no others
    made_by: Literal["zoo"] | None = None  # the zoo trains these models before they are asked

    def model(self, name: str) -> ModelEntry:
        """Return the entry of that name, or raise RegistryError."""
        return _named(name, self.models, "model", self.folder / "models.yaml")

    def benchmark(self, name: str) -> BenchmarkEntry:
        """Return the entry of that name, or raise RegistryError."""
        return _named(name, self.benchmarks, "benchmark", self.folder / "benchmarks.yaml")

    def benchmarks_of(self, model: ModelEntry) -> tuple[BenchmarkEntry, ...]:
        """Return the benchmarks that the entry of `model` says to ask, in file order."""
        return tuple(benchmark for benchmark in self.benchmarks if model.asks(benchmark.name))

    def benchmark_of(self, category: str) -> str:
        """Return the benchmark that a published category belongs to.

        A category with a benchmark's name belongs to that benchmark; any other to the first benchmark in the file that
        covers it; where none does, the category is a benchmark of its own.
        """
        if any(category == benchmark.name for benchmark in self.benchmarks):
            return category
        owners = (one.name for one in self.benchmarks if any(fnmatchcase(category, pattern) for pattern in one.covers))
        return next(owners, category)


def load_registry(folder: Path, home: Path, *, models_text: str | None = None) -> Registry:
    """Read `folder`/models.yaml and `folder`/benchmarks.yaml; `{home}` in them becomes the home folder.

    `models_text` is a draft to read instead of models.yaml. Raises RegistryError at the first fault.
    """
    if not folder.is_dir():
        raise RegistryError(
            f"The registry folder {folder} does not exist; "
            "set EMBEDLLM_REGISTRY to a folder with models.yaml and benchmarks.yaml."
        )
    models_file, models = _load(folder / "models.yaml", "models", _ModelsFile, ModelEntry, home, models_text)
    benchmarks_file, benchmarks = _load(folder / "benchmarks.yaml", "benchmarks", _BenchmarksFile, BenchmarkEntry, home)
    _refuse_shared_patterns(folder / "benchmarks.yaml", benchmarks)
    check_benchmarks_named(folder / "models.yaml", models, benchmarks)
    tasks_dir = benchmarks_file.tasks_dir
    return Registry(
        folder=folder,
        models=tuple(models),
        benchmarks=tuple(benchmarks),
        # A relative path begins at the registry's folder, so that it works from everywhere.
        tasks_dir=folder / tasks_dir if tasks_dir else None,
        made_by=models_file.made_by,
    )


def load_policies(registry: Registry, home: Path) -> Policies:
    """Read policies.yaml of the registry's folder; those that come with embedllm where there is none.

    Raises RegistryError at the first fault.
    """
    path = registry.folder / FILE
    if not path.exists():
        return BUILT_IN
    file, policies = _load(path, "policies", _PoliciesFile, Policy, home)
    if not policies:
        raise RegistryError(f"{path} has no policies; write one, or remove the file.")
    default = file.default or policies[0].name
    _named(default, tuple(policies), "policy", path)
    known = [model.name for model in registry.models]
    for policy in policies:
        for name in policy.models_named:
            if name not in known:
                raise RegistryError(
                    f"{path}, policy {policy.name!r} names {name!r}, which is not in models.yaml"
                    f"{_remedy(name, known, 'it has')}."
                )
    return Policies({policy.name: policy for policy in policies}, default, path)


def model_entry(raw: Mapping[str, Any], home: Path) -> ModelEntry:
    """Return one model's entry as `load_registry` would read it. Raises RegistryError."""
    name = raw.get("name")
    return _entry(ModelEntry, dict(raw), str(home.absolute()), f"model {name!r}" if name else "model")


def read_text(path: Path) -> str:
    """Return a registry file's text, with its line ends. Raises RegistryError."""
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise RegistryError(
            f"{path} is missing; a registry folder needs models.yaml and benchmarks.yaml (docs/registry.md)."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise RegistryError(f"{path} cannot be read ({error}); mend or replace the file.") from error


File = TypeVar("File", _ModelsFile, _BenchmarksFile, _PoliciesFile)
Entry = TypeVar("Entry", ModelEntry, BenchmarkEntry, Policy)
Checked = TypeVar("Checked", bound=BaseModel)


def _load(
    path: Path, list_key: str, file_type: type[File], entry_type: type[Entry], home: Path, text: str | None = None
) -> tuple[File, list[Entry]]:
    kind = {"policies": "policy"}.get(list_key, list_key.removesuffix("s"))
    content, lines = _parse(path, read_text(path) if text is None else text, list_key)
    where = str(home.absolute())
    file = _validated(file_type, _with_home(content, where), str(path))
    entries: list[Entry] = []
    line_of: dict[str, int] = {}
    for line, raw in zip(lines, content[list_key], strict=True):
        entry = _entry(entry_type, raw, where, _place(path, line, kind, raw))
        # Names that differ in case only would share a folder on a Mac.
        key = entry.name.casefold()
        if key in line_of:
            raise RegistryError(
                f"{_place(path, line, kind, raw)}: the name is taken by the entry in line {line_of[key]}; "
                "rename one or remove it."
            )
        line_of[key] = line
        entries.append(entry)
    return file, entries


# Ten times faster, where PyYAML was built with it.
_SafeLoader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_SafeLoader):
    """A safe loader that refuses a key that stands twice, where YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    problem = f"the key {key.value!r} stands twice in one entry; keep one"
                    raise yaml.constructor.ConstructorError(problem=problem, problem_mark=key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _parse(path: Path, text: str, list_key: str) -> tuple[dict[str, Any], list[int]]:
    """Return the mapping in `text`, the content of `path`, and the line at which each entry of `list_key` begins."""
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        content = None if root is None else loader.construct_document(root)
    except ValueError as error:  # a date that does not exist
        raise RegistryError(f"{path} cannot be read ({error}); mend or replace the file.") from error
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        remedy = "" if "stands twice" in str(error.problem) else "; mend the YAML there"
        raise RegistryError(f"{path}{line}: {error.problem}{remedy}.") from error
    except yaml.YAMLError as error:
        raise RegistryError(f"{path} is not YAML ({str(error).splitlines()[0]}); mend the file.") from error
    if not isinstance(root, yaml.MappingNode) or not isinstance(content, dict):
        raise RegistryError(f"{path} is {_shown(content)}, but must be a mapping; begin it with '{list_key}:'.")
    lists = [value for key, value in root.value if key.value == list_key and isinstance(value, yaml.SequenceNode)]
    return content, [entry.start_mark.line + 1 for value in lists for entry in value.value]


def _entry(kind: type[Entry], written: Any, home: str, place: str) -> Entry:
    entry, as_written = _validated(kind, _with_home(written, home), place), _validated(kind, written, place)
    if entry != as_written:
        entry._written = as_written
    return entry


def _with_home(value: Any, home: str) -> Any:
    """Return `value` with every `{home}` in its texts replaced."""
    if isinstance(value, str):
        return value.replace("{home}", home)
    if isinstance(value, dict):
        return {key: _with_home(item, home) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_home(item, home) for item in value]
    return value


def _validated(kind: type[Checked], content: Any, place: str) -> Checked:
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise RegistryError(f"{place}: {_fault(kind, error)}.") from None


def _fault(kind: type[BaseModel], error: ValidationError) -> str:
    """Return the first fault as a sentence; an unknown field goes first, as it may be a missing one misspelt."""
    first = min(error.errors(), key=lambda fault: fault["type"] not in UNKNOWN_FIELD)
    path = [str(part) for part in first["loc"]]
    if first["type"] == "value_error":  # a sentence of entries.py or policies.py
        return " ".join([*path[:1], str(first.get("ctx", {}).get("error"))])
    if not path:
        return f"the entry is {_shown(first['input'])}, but must be a mapping of fields; begin it with 'name:'"
    fields = {info.alias or name: info for name, info in kind.model_fields.items()}
    field = label = path[0]
    if field in _MAPPINGS and len(path) > 1:
        fields, field, label = _MAPPINGS[field].model_fields, path[1], f"{field}.{path[1]}"
    if first["type"] in UNKNOWN_FIELD:
        return f"unknown field {label!r}{_remedy(field, fields, 'the fields are')}"
    meaning = fields[field].description
    if first["type"] == "missing":
        return f"lacks {label!r}; add {meaning}"
    if field == "args" and len(path) > 1:
        label, meaning = f"args.{path[1]}", "text, a number or true/false"
    return f"{label} is {_shown(first['input'])}, but must be {meaning}"


def _refuse_shared_patterns(path: Path, benchmarks: Iterable[BenchmarkEntry]) -> None:
    owner: dict[str, str] = {}
    for benchmark in benchmarks:
        for pattern in benchmark.covers:
            if pattern in owner:
                raise RegistryError(
                    f"{path}, benchmark {benchmark.name!r}: covers {pattern!r}, which benchmark "
                    f"{owner[pattern]!r} covers already; remove it from one of the two."
                )
            owner[pattern] = benchmark.name


def check_benchmarks_named(path: Path, models: Iterable[ModelEntry], benchmarks: Iterable[BenchmarkEntry]) -> None:
    """Raise RegistryError where a model's entry (in the file `path`) names a benchmark that does not exist."""
    known = [benchmark.name for benchmark in benchmarks]
    for model in models:
        for field, names in (("benchmarks", model.benchmarks or ()), ("except", model.except_)):
            for name in names:
                if name not in known:
                    raise RegistryError(
                        f"{path}, model {model.name!r}: {field} names {name!r}, which is not in benchmarks.yaml"
                        f"{_remedy(name, known, 'it has')}."
                    )


def _named(name: str, entries: tuple[Entry, ...], kind: str, path: Path) -> Entry:
    by_name = {entry.name: entry for entry in entries}
    if name not in by_name:
        raise RegistryError(f"No {kind} {name!r} in {path}{_remedy(name, by_name, 'it has')}.")
    return by_name[name]


def _remedy(found: str, known: Iterable[str], introduction: str) -> str:
    """Return the nearest of what is known, or else the first 20, as a phrase to follow what was found."""
    known = list(known)
    if near := difflib.get_close_matches(found, known, n=1):
        return f"; perhaps {near[0]!r} is meant"
    more = f" and {len(known) - 20} more" if len(known) > 20 else ""
    return f"; {introduction} {', '.join(known[:20]) or 'none'}{more}"


def _place(path: Path, line: int, kind: str, raw: Any) -> str:
    named = isinstance(raw, dict) and isinstance(raw.get("name"), str)
    return f"{path}, line {line}, {kind} {raw['name']!r}" if named else f"{path}, line {line}"


def _shown(value: Any) -> str:
    """Return a value as a message shows it: short, and without what nested values hold."""
    if value is None:
        return "empty"
    if isinstance(value, dict | list | tuple):
        return ("an empty " if not value else "a ") + ("mapping" if isinstance(value, dict) else "list")
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
