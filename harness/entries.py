"""The registry: which models are asked which benchmarks, read from two YAML files (docs/registry.md).

Reading is strict, so that a slip shows here, in one sentence, and not hours later in an evaluation. Nothing
heavy is imported: whether a model exists or lm-eval knows a task is found out by those who load them.
"""

import difflib
import re
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args
from urllib.parse import quote

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    StrictBool,
    ValidationError,
    field_validator,
    model_validator,
)

__all__ = [
    "Backend",
    "BenchmarkEntry",
    "ModelEntry",
    "Price",
    "Registry",
    "RegistryError",
    "benchmark_name_fault",
    "check_benchmarks_named",
    "load_registry",
    "model_entry",
    "model_name_fault",
    "read_text",
]

Backend = Literal["hf", "vllm", "local-completions", "local-chat-completions"]

REQUIRED_ARGS: dict[str, dict[str, str]] = {
    "hf": {"pretrained": "the model's hub name or its folder"},
    "vllm": {"pretrained": "the model's hub name or its folder"},
    "local-completions": {
        "base_url": "the server's address, e.g. http://localhost:8000/v1/completions",
        "model": "the name the server knows the model by",
    },
    "local-chat-completions": {
        "base_url": "the server's address, e.g. http://localhost:8000/v1/chat/completions",
        "model": "the name the server knows the model by",
    },
}
# lm-eval would take these as model arguments too; one place for each keeps what a registry says unambiguous.
REFUSED_ARGS = {
    "trust_remote_code": "write it beside args, as a field of the entry",
    "apply_chat_template": "write it beside args, as a field of the entry",
    "batch_size": "write it beside args, as a field of the entry",
    "device": "leave it out, the accelerator there is will be taken",
}

# `tokenizer` and `add_bos_token` are no secrets, `token` and `hf_token` are.
SECRET_NAME = re.compile(
    r"api_?key|secret|passw|credential|authorization|bearer"
    r"|^(hf_|hub_|auth_|access_|use_auth_|hugging_?face_(hub_)?)?token$",
    re.IGNORECASE,
)
# Keys of the hub and of servers, a header, a password or a key inside an address.
SECRET_VALUE = re.compile(
    r"^(hf_|sk-|sk_)[A-Za-z0-9_-]{16,}$|^Bearer\s|://[^/\s]*@|[?&](api_?key|key|(access_)?token)=",
    re.IGNORECASE,
)
SECRET_REMEDY = "remove it and set the environment variable instead (HF_TOKEN for the hub, OPENAI_API_KEY for a server)"

UNKNOWN_FIELD = ("extra_forbidden", "invalid_key")  # pydantic's names for it
JOINED_EMOJI = re.compile(r"(?<=[^\w\s])\u200d(?=[^\w\s])")  # joins two emoji to one
LONGEST_FILE_NAME = 240  # bytes; the lake has a folder a model, and file systems stop at 255


class RegistryError(ValueError):
    """A registry that cannot be used: one sentence with file, entry, what was found and the remedy."""


def model_name_fault(name: str, *, example: str = "Qwen/Qwen1.5-7B-Chat") -> str | None:
    """Why no model can have the name, with the remedy; None where one can. The sentence begins with the name, quoted.

    A name becomes a folder of the lake, a partition of Dagster and a value in SQL.
    """
    if not JOINED_EMOJI.sub("", name).isprintable():
        return f"{name!r} holds a line break, a tab or another invisible character; leave it out"
    if name != name.strip() or name in ("", ".", ".."):
        return f"{name!r} is empty, a dot or has a space at an end; write a name like {example}"
    if "..." in name:
        return f"{name!r} holds '...', which Dagster reads as a range of partitions; leave it out"
    encoded = quote(name, safe="")
    if len(encoded) > LONGEST_FILE_NAME:
        unit = "bytes" if encoded == name else "bytes, percent-encoded"
        return f"{name[:40]!r}... is too long for a file name; shorten it to {LONGEST_FILE_NAME} {unit}"
    return None


def benchmark_name_fault(name: str) -> str | None:
    """The same for a benchmark that answers were imported to: unlike one of the registry it may hold any characters
    that can be printed."""
    if name == "all":
        return "'all' stands for all benchmarks together in the result tables; choose another name"
    return model_name_fault(name, example="mmlu")


def _usable_model_name(name: str) -> str:
    if fault := model_name_fault(name):
        raise ValueError(fault)
    return name


def _usable_benchmark_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name) or name in (".", ".."):
        raise ValueError(f"{name!r} is no benchmark name; use letters, digits, '_', '.' and '-' only")
    if fault := benchmark_name_fault(name):
        raise ValueError(fault)
    return name


def _without_repeats(values: tuple[str, ...]) -> tuple[str, ...]:
    repeated = [value for i, value in enumerate(values) if value in values[:i]]
    if repeated:
        raise ValueError(f"{repeated[0]!r} stands twice; keep one")
    return values


Text = Annotated[str, Field(min_length=1, pattern=r"^\S(.*\S)?$")]
Tag = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_/+.-]*$")]


class _Entry(BaseModel):
    # The description of a field is what an error message says a value must be.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    _written: Any = PrivateAttr(default=None)  # where `{home}` stands in it

    @property
    def as_written(self) -> Self:
        """The entry with `{home}` as it stands in the file: digests of it hold wherever the home lies."""
        return self._written or self


class Price(_Entry):
    """What a model costs, in US$ per million tokens."""

    input: float = Field(ge=0, strict=True, description="US$ per million input tokens, 0 or more")
    output: float = Field(ge=0, strict=True, description="US$ per million output tokens, 0 or more")


class ModelEntry(_Entry):
    """A model, and how lm-eval reaches it."""

    name: Annotated[str, AfterValidator(_usable_model_name)] = Field(
        description="the name users will see, e.g. Qwen/Qwen1.5-7B-Chat"
    )
    backend: Backend = Field(default="hf", description=f"one of {', '.join(get_args(Backend))}")
    args: dict[str, str | int | float | bool] = Field(
        description="a mapping of lm-eval model arguments, each text, a number or true/false"
    )
    family: Text | None = Field(default=None, description="text, e.g. llama-2")
    size_b: float | None = Field(
        default=None, gt=0, strict=True, description="billions of parameters, a number above 0"
    )
    communities: Annotated[tuple[Tag, ...], AfterValidator(_without_repeats)] = Field(
        default=(), description="a list of lower-case tags, e.g. [7b, coding]"
    )
    price: Price | None = Field(
        default=None, description="a mapping {input: ..., output: ...} in US$ per million tokens"
    )
    trust_remote_code: StrictBool = Field(
        default=False,
        description="true or false: whether Python code from the model's repository may run here",
    )
    apply_chat_template: StrictBool = Field(
        default=False, description="true or false: whether questions are wrapped in the model's chat template"
    )
    batch_size: Annotated[int, Field(strict=True, ge=1)] | Annotated[str, Field(pattern=r"^auto(:[1-9]\d*)?$")] = Field(
        default="auto", description="a whole number above 0, or auto"
    )
    budget: int | None = Field(
        default=None,
        ge=8,
        strict=True,
        description="a whole number, 8 or more: from about how many answers to onboard it",
    )
    benchmarks: Annotated[tuple[Text, ...], AfterValidator(_without_repeats)] | None = Field(
        default=None, min_length=1, description="a list of benchmarks, the only ones that it is asked"
    )
    except_: Annotated[tuple[Text, ...], AfterValidator(_without_repeats)] = Field(
        default=(), alias="except", description="a list of benchmarks that it is not asked"
    )
    truncation: Literal["count", "refuse"] = Field(
        default="count",
        description="count or refuse: whether prompts that are too long for the model are cut, or nothing is asked",
    )
    implausible_answers: Literal["refuse", "accept"] = Field(
        default="refuse", description="refuse or accept: whether answers may all be empty or all be the same"
    )
    description: str = Field(default="", description="text")

    def asks(self, benchmark: str) -> bool:
        """Whether the entry has the model asked this benchmark."""
        return benchmark not in self.except_ and (self.benchmarks is None or benchmark in self.benchmarks)

    @model_validator(mode="before")
    @classmethod
    def _holds_no_secret(cls, raw: Any) -> Any:
        if isinstance(raw, dict):
            args = raw.get("args")
            _refuse_secrets({**raw, **(args if isinstance(args, dict) else {})})
        return raw

    @field_validator("args")
    @classmethod
    def _holds_no_refused_arg(cls, args: dict[str, Any]) -> dict[str, Any]:
        for name, remedy in REFUSED_ARGS.items():
            if name in args:
                raise ValueError(f"hold {name!r}; {remedy}")
        return args

    @model_validator(mode="after")
    def _names_benchmarks_one_way(self) -> "ModelEntry":
        if self.benchmarks is not None and self.except_:
            raise ValueError("has both 'benchmarks' and 'except'; keep one")
        return self

    @model_validator(mode="after")
    def _has_what_its_backend_needs(self) -> "ModelEntry":
        for arg, meaning in REQUIRED_ARGS[self.backend].items():
            if self.args.get(arg, "") == "":
                raise ValueError(f"args lack {arg!r}, which backend {self.backend} needs; add {meaning}")
        url = self.args.get("base_url", "http://")
        if not str(url).startswith(("http://", "https://")):
            raise ValueError(f"args.base_url is {url!r}, but must begin with http:// or https://")
        if self.backend == "local-chat-completions" and not self.apply_chat_template:
            raise ValueError("backend local-chat-completions takes chat messages only; add 'apply_chat_template: true'")
        return self


class BenchmarkEntry(_Entry):
    """A benchmark: one or more lm-eval tasks and how their answers are graded."""

    name: Annotated[str, AfterValidator(_usable_benchmark_name)] = Field(
        description="the name users will see, e.g. mmlu"
    )
    tasks: Annotated[tuple[Text, ...], AfterValidator(_without_repeats)] = Field(
        min_length=1, description="a list of lm-eval task or group names, e.g. [mmlu]"
    )
    metric: Text = Field(description="the lm-eval metric that grades an answer, e.g. acc or exact_match")
    filter: Text = Field(default="none", description="the lm-eval filter that reads the answer, e.g. strict-match")
    num_fewshot: int | None = Field(
        default=None,
        ge=0,
        strict=True,
        description="a whole number, 0 or more, or left out for the task's own",
    )
    covers: Annotated[tuple[Text, ...], AfterValidator(_without_repeats)] = Field(
        default=(), description="a list of patterns of published categories, e.g. ['mmlu_*']"
    )
    description: str = Field(default="", description="text")


class _ModelsFile(_Entry):
    made_by: Literal["zoo"] | None = Field(default=None, description="zoo, or left out")
    models: list[Any] = Field(description="a list of entries")


class _BenchmarksFile(_Entry):
    tasks_dir: Text | None = Field(default=None, description="the folder of your own lm-eval tasks")
    benchmarks: list[Any] = Field(description="a list of entries")


@dataclass(frozen=True)
class Registry:
    """Models and benchmarks in force, in file order."""

    folder: Path
    models: tuple[ModelEntry, ...]
    benchmarks: tuple[BenchmarkEntry, ...]
    tasks_dir: Path | None = None  # when set, lm-eval knows the tasks in it and no others
    made_by: Literal["zoo"] | None = None  # the zoo trains these models before they are asked

    def model(self, name: str) -> ModelEntry:
        """The entry of that name, else RegistryError."""
        return _named(name, self.models, "model", self.folder / "models.yaml")

    def benchmark(self, name: str) -> BenchmarkEntry:
        """The entry of that name, else RegistryError."""
        return _named(name, self.benchmarks, "benchmark", self.folder / "benchmarks.yaml")

    def benchmarks_of(self, model: ModelEntry) -> tuple[BenchmarkEntry, ...]:
        """The benchmarks that the entry of `model` has it asked, in file order."""
        return tuple(benchmark for benchmark in self.benchmarks if model.asks(benchmark.name))

    def benchmark_of(self, category: str) -> str:
        """The benchmark a published category belongs to.

        A category that bears a benchmark's name is that benchmark's; else it goes to the first benchmark in
        the file that covers it; a category that none covers is a benchmark of its own.
        """
        if any(category == benchmark.name for benchmark in self.benchmarks):
            return category
        for benchmark in self.benchmarks:
            if any(fnmatchcase(category, pattern) for pattern in benchmark.covers):
                return benchmark.name
        return category


def load_registry(folder: Path, home: Path, *, models_text: str | None = None) -> Registry:
    """Read `folder`/models.yaml and `folder`/benchmarks.yaml; `{home}` in them becomes the home folder.

    `models_text` is read in the place of what models.yaml holds: a draft of it.
    Raises RegistryError at the first fault.
    """
    if not folder.is_dir():
        raise RegistryError(
            f"The registry folder {folder} does not exist; "
            "set EMBEDLLM_REGISTRY to a folder with models.yaml and benchmarks.yaml."
        )
    models_file, models = _load(folder / "models.yaml", _ModelsFile, ModelEntry, home, models_text)
    benchmarks_file, benchmarks = _load(folder / "benchmarks.yaml", _BenchmarksFile, BenchmarkEntry, home)
    _refuse_shared_patterns(folder / "benchmarks.yaml", benchmarks)
    check_benchmarks_named(folder / "models.yaml", models, benchmarks)
    tasks_dir = benchmarks_file.tasks_dir
    return Registry(
        folder=folder,
        models=tuple(models),
        benchmarks=tuple(benchmarks),
        # A path that is not absolute is meant from the registry's folder: it then works from everywhere.
        tasks_dir=folder / tasks_dir if tasks_dir else None,
        made_by=models_file.made_by,
    )


def model_entry(raw: Mapping[str, Any], home: Path) -> ModelEntry:
    """One model's entry as `load_registry` would read it. Raises RegistryError."""
    name = raw.get("name")
    return _entry(ModelEntry, dict(raw), str(home.absolute()), f"model {name!r}" if name else "model")


def read_text(path: Path) -> str:
    """A registry file's text, line ends as they are. Raises RegistryError."""
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise RegistryError(
            f"{path} is missing; a registry folder needs models.yaml and benchmarks.yaml (docs/registry.md)."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise RegistryError(f"{path} cannot be read ({error}); mend or replace the file.") from error


File = TypeVar("File", _ModelsFile, _BenchmarksFile)
Entry = TypeVar("Entry", ModelEntry, BenchmarkEntry)
Checked = TypeVar("Checked", bound=BaseModel)


def _load(
    path: Path, file_type: type[File], entry_type: type[Entry], home: Path, text: str | None = None
) -> tuple[File, list[Entry]]:
    kind = "model" if entry_type is ModelEntry else "benchmark"
    content, lines = _parse(path, read_text(path) if text is None else text, f"{kind}s")
    where = str(home.absolute())
    file = _validated(file_type, _with_home(content, where), str(path))
    entries: list[Entry] = []
    line_of: dict[str, int] = {}
    for line, raw in zip(lines, content[f"{kind}s"], strict=True):
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
    """The mapping that `text`, the content of `path`, is, and the line at which each entry of `list_key` begins."""
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
    """`value` with every `{home}` in a text replaced."""
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
    """The first fault in one sentence; an unknown field goes before, as it may be a missing one misspelt."""
    first = min(error.errors(), key=lambda fault: fault["type"] not in UNKNOWN_FIELD)
    path = [str(part) for part in first["loc"]]
    if first["type"] == "value_error":  # one of the sentences above
        return " ".join([*path[:1], str(first.get("ctx", {}).get("error"))])
    if not path:
        return f"the entry is {_shown(first['input'])}, but must be a mapping of fields; begin it with 'name:'"
    fields = {info.alias or name: info for name, info in kind.model_fields.items()}
    field = label = path[0]
    if field == "price" and len(path) > 1:
        fields, field, label = Price.model_fields, path[1], f"price.{path[1]}"
    if first["type"] in UNKNOWN_FIELD:
        return f"unknown field {label!r}{_remedy(field, fields, 'the fields are')}"
    meaning = fields[field].description
    if first["type"] == "missing":
        return f"lacks {label!r}; add {meaning}"
    if field == "args" and len(path) > 1:
        label, meaning = f"args.{path[1]}", "text, a number or true/false"
    return f"{label} is {_shown(first['input'])}, but must be {meaning}"


def _refuse_secrets(values: dict[Any, Any]) -> None:
    for key, value in values.items():
        if SECRET_NAME.search(str(key)) or (isinstance(value, str) and SECRET_VALUE.search(value)):
            # The value is not repeated: messages end up in logs.
            raise ValueError(f"{str(key)!r} holds a secret; {SECRET_REMEDY}")


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
    """Raise RegistryError where a model's entry (of the file `path`) names a benchmark that there is not."""
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
    for entry in entries:
        if entry.name == name:
            return entry
    names = [entry.name for entry in entries]
    raise RegistryError(f"No {kind} {name!r} in {path}{_remedy(name, names, 'it has')}.")


def _remedy(found: str, known: Iterable[str], introduction: str) -> str:
    """The nearest of what is known, or all of it where it is little, to follow what was found."""
    known = list(known)
    near = difflib.get_close_matches(found, known, n=1)
    if near:
        return f"; perhaps {near[0]!r} is meant"
    more = f" and {len(known) - 20} more" if len(known) > 20 else ""
    return f"; {introduction} {', '.join(known[:20]) or 'none'}{more}"


def _place(path: Path, line: int, kind: str, raw: Any) -> str:
    named = isinstance(raw, dict) and isinstance(raw.get("name"), str)
    return f"{path}, line {line}, {kind} {raw['name']!r}" if named else f"{path}, line {line}"


def _shown(value: Any) -> str:
    """A value as a message shows it: short, and without what nested values hold."""
    if value is None:
        return "empty"
    if isinstance(value, dict | list | tuple):
        return ("an empty " if not value else "a ") + ("mapping" if isinstance(value, dict) else "list")
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
