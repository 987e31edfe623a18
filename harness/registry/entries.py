"""What an entry of the registry may hold: a model or a benchmark, each field with its meaning (docs/registry.md).

Nothing heavy is imported: those who load models and tasks find out whether these exist.
"""

import re
from collections.abc import Mapping
from math import ceil
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import quote

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    StrictBool,
    model_validator,
)

Backend = Literal["hf", "vllm", "local-completions", "local-chat-completions"]

GPU_GB = 80
"""Memory of a GPU from which follows how many a model needs that does not say it."""
SMALLEST_ON_A_GPU = 0.5
"""Billions of parameters from which on a model is given a GPU."""
_WITH_CACHE = 1.2  # of the weights' memory: with what is kept of the prompts
_LIBRARIES_GB = 2.0
_BESIDE_A_GPU_GB = 16.0  # of main memory, through which weights go in parts

_WEIGHTS = {"pretrained": "the model's hub name or its folder"}
_ADDRESS, _MODEL = "the server's address, e.g. http://localhost:8000/v1", "the name the server knows the model by"
REQUIRED_ARGS: dict[str, dict[str, str]] = {
    "hf": _WEIGHTS,
    "vllm": _WEIGHTS,
    "local-completions": {"base_url": f"{_ADDRESS}/completions", "model": _MODEL},
    "local-chat-completions": {"base_url": f"{_ADDRESS}/chat/completions", "model": _MODEL},
}
# lm-eval would take these as model arguments too; one place for each keeps what a registry says unambiguous.
REFUSED_ARGS = {
    **dict.fromkeys(
        ("trust_remote_code", "apply_chat_template", "batch_size"), "write it next to args, as a field of the entry"
    ),
    "device": "leave it out, the accelerator is found and used",
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

JOINED_EMOJI = re.compile(r"(?<=[^\w\s])\u200d(?=[^\w\s])")  # joins two emoji to one
LONGEST_FILE_NAME = 240  # bytes; the lake has a folder a model, and file systems stop at 255


def model_name_fault(name: str, *, example: str = "Qwen/Qwen1.5-7B-Chat") -> str | None:
    """Say why no model can have the name, and what to do; None where one can. The sentence begins with the quoted name.

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
    """Say why no benchmark of imported answers can have the name; unlike one of the registry it may hold any character
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
    if repeated := [value for i, value in enumerate(values) if value in values[:i]]:
        raise ValueError(f"{repeated[0]!r} stands twice; keep one")
    return values


Text = Annotated[str, Field(min_length=1, pattern=r"^\S(.*\S)?$")]
Texts = Annotated[tuple[Text, ...], AfterValidator(_without_repeats)]
Tag = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_/+.-]*$")]


def _bytes_a_parameter(args: Mapping[str, Any]) -> float:
    if str(args.get("load_in_4bit")) == "True":
        return 0.5
    if str(args.get("load_in_8bit")) == "True":
        return 1
    return 4 if str(args.get("dtype", "auto")) in ("float32", "float", "fp32") else 2


class StrictModel(BaseModel):
    # An error message says that a value must be what the description of its field says.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    _written: Any = PrivateAttr(default=None)  # where `{home}` stands in it

    @property
    def as_written(self) -> Self:
        """The entry with `{home}` as it stands in the file: digests of it hold wherever the home lies."""
        return self._written or self


class Price(StrictModel):
    """What a model costs, in US$ per million tokens."""

    input: float = Field(ge=0, strict=True, description="US$ per million input tokens, 0 or more")
    output: float = Field(ge=0, strict=True, description="US$ per million output tokens, 0 or more")


class Resources(StrictModel):
    """What a machine must have for a model, where runs are given to several of them."""

    gpus: int = Field(default=0, ge=0, strict=True, description="a whole number, 0 or more")
    cpus: float = Field(default=1, gt=0, strict=True, description="a number above 0")
    memory_gb: float | None = Field(default=None, gt=0, strict=True, description="GB of main memory, a number above 0")


Endpoint = Literal["chat", "completions", "responses"]
Capability = Literal["tools", "vision", "json"]
CHANGES_NO_ANSWER = frozenset({"resources", "upstream", "context_tokens", "capabilities"})
"""Fields of a model's entry that say where it runs and what it is for, not how it answers."""


def _name_of_variable(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or SECRET_VALUE.search(name):
        # It may be the key itself, so it is not repeated.
        raise ValueError("has an api_key_env that is no environment variable's name; write the name, not a key")
    return name


class Upstream(StrictModel):
    """A server through which people get answers of a model by OpenAI's protocol."""

    base_url: Annotated[str, Field(pattern=r"^https?://[^\s?#]+[^\s?#/]$")] = Field(
        description="the server's address up to its version, e.g. https://api.example.org/v1"
    )
    model: Text = Field(description="the name the server knows the model by")
    api_key_env: Annotated[str, AfterValidator(_name_of_variable)] | None = Field(
        default=None, description="the name of the environment variable that holds the server's key"
    )
    endpoints: Annotated[tuple[Endpoint, ...], AfterValidator(_without_repeats)] = Field(
        default=("chat", "completions"), min_length=1, description="a list of chat, completions and responses"
    )


class ModelEntry(StrictModel):
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
        default=False, description="true or false: whether Python code from the model's repository may run here"
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
    benchmarks: Texts | None = Field(
        default=None, min_length=1, description="a list of benchmarks, the only ones that it is asked"
    )
    except_: Texts = Field(default=(), alias="except", description="a list of benchmarks that it is not asked")
    truncation: Literal["count", "refuse"] = Field(
        default="count",
        description="count or refuse: whether prompts that are too long for the model are cut, or nothing is asked",
    )
    implausible_answers: Literal["refuse", "accept"] = Field(
        default="refuse", description="refuse or accept: whether answers may all be empty or all be the same"
    )
    resources: Resources | None = Field(
        default=None, description="a mapping {gpus: ..., cpus: ..., memory_gb: ...}: what a machine must have for it"
    )
    upstream: Upstream | None = Field(
        default=None,
        description="a mapping {base_url: ..., model: ..., api_key_env: ...}: the server that answers for it",
    )
    context_tokens: int | None = Field(
        default=None, ge=1, strict=True, description="a whole number: how many tokens fit, question and answer together"
    )
    capabilities: Annotated[tuple[Capability, ...], AfterValidator(_without_repeats)] = Field(
        default=(), description="a list of tools, vision and json: what requests to it may ask for"
    )
    description: str = Field(default="", description="text")

    @property
    def served_at(self) -> Upstream | None:
        """Return the server that answers for it: what the entry says, or else the one that it is evaluated on."""
        url = str(self.args.get("base_url", "")).rstrip("/")
        if self.upstream is not None or not url:
            return self.upstream
        chat = self.backend == "local-chat-completions"
        return Upstream(
            base_url=re.sub(r"/(chat/)?completions$", "", url),
            model=str(self.args["model"]),
            api_key_env="OPENAI_API_KEY",  # as lm-eval asks it
            endpoints=("chat",) if chat else ("chat", "completions"),
        )

    @property
    def needs(self) -> Resources | None:
        """What the entry says that it needs, or else what follows from its size and precision; None for not known."""
        if self.resources is not None or self.size_b is None or "base_url" in self.args:
            return self.resources or (Resources() if "base_url" in self.args else None)
        weights = self.size_b * _bytes_a_parameter(self.args)  # GB
        gpus = ceil(weights * _WITH_CACHE / GPU_GB) if self.size_b >= SMALLEST_ON_A_GPU else 0
        here = _BESIDE_A_GPU_GB if gpus else round(weights * _WITH_CACHE + _LIBRARIES_GB, 1)
        return Resources(gpus=gpus, cpus=max(1, 2 * gpus), memory_gb=here)

    def asks(self, benchmark: str) -> bool:
        """Whether the entry says to ask the model this benchmark."""
        return benchmark not in self.except_ and (self.benchmarks is None or benchmark in self.benchmarks)

    @model_validator(mode="before")
    @classmethod
    def _holds_no_secret(cls, raw: Any) -> Any:
        if not isinstance(raw, dict):
            return raw
        nested = {field: raw[field] if isinstance(raw.get(field), dict) else {} for field in ("args", "upstream")}
        nested["upstream"] = {key: value for key, value in nested["upstream"].items() if key != "api_key_env"}
        for key, value in {**raw, **nested["args"], **nested["upstream"]}.items():
            if SECRET_NAME.search(str(key)) or (isinstance(value, str) and SECRET_VALUE.search(value)):
                # The value is not repeated: messages end up in logs.
                raise ValueError(f"{str(key)!r} holds a secret; {SECRET_REMEDY}")
        return raw

    @model_validator(mode="after")
    def _has_fields_that_fit_together(self) -> "ModelEntry":
        if self.benchmarks is not None and self.except_:
            raise ValueError("has both 'benchmarks' and 'except'; keep one")
        for arg, remedy in REFUSED_ARGS.items():
            if arg in self.args:
                raise ValueError(f"args hold {arg!r}; {remedy}")
        for arg, meaning in REQUIRED_ARGS[self.backend].items():
            if self.args.get(arg, "") == "":
                raise ValueError(f"args lack {arg!r}, which backend {self.backend} needs; add {meaning}")
        url = self.args.get("base_url", "http://")
        if not str(url).startswith(("http://", "https://")):
            raise ValueError(f"args.base_url is {url!r}, but must begin with http:// or https://")
        if self.backend == "local-chat-completions" and not self.apply_chat_template:
            raise ValueError("backend local-chat-completions takes chat messages only; add 'apply_chat_template: true'")
        return self


class BenchmarkEntry(StrictModel):
    """A benchmark: one or more lm-eval tasks and how their answers are graded."""

    name: Annotated[str, AfterValidator(_usable_benchmark_name)] = Field(
        description="the name users will see, e.g. mmlu"
    )
    tasks: Texts = Field(min_length=1, description="a list of lm-eval task or group names, e.g. [mmlu]")
    metric: Text = Field(description="the lm-eval metric that grades an answer, e.g. acc or exact_match")
    filter: Text = Field(default="none", description="the lm-eval filter that reads the answer, e.g. strict-match")
    num_fewshot: int | None = Field(
        default=None, ge=0, strict=True, description="a whole number, 0 or more, or left out for the task's own"
    )
    covers: Texts = Field(default=(), description="a list of patterns of published categories, e.g. ['mmlu_*']")
    description: str = Field(default="", description="text")
