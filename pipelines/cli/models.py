"""`embedllm models add` and `remove`: the registry's models from the command line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from harness.registry import Backend
from pipelines.errors import CommandError

from .terminal import command, open_home, out

# What says how a model is reached and what is known of it; `onboard` takes the same.
NAME = Annotated[str, typer.Argument(help="The name users will see, e.g. Qwen/Qwen1.5-7B-Chat.", show_default=False)]
BACKEND = Annotated[Backend, typer.Option(help="How lm-eval reaches it.")]
ARGS = Annotated[
    list[str] | None,
    typer.Option(
        "--arg",
        metavar="KEY=VALUE",
        help="A model argument of lm-eval, e.g. pretrained=Qwen/Qwen1.5-7B-Chat; again for each.",
    ),
]
TAGS = Annotated[
    list[str] | None, typer.Option("--tag", metavar="TAG", help="A community, e.g. coding; again for each.")
]
FAMILY = Annotated[str | None, typer.Option(help="The model it descends from, e.g. llama-2.")]
SIZE_B = Annotated[float | None, typer.Option(help="Billions of parameters.")]
PRICE_INPUT = Annotated[float | None, typer.Option(help="US$ per million input tokens.")]
PRICE_OUTPUT = Annotated[float | None, typer.Option(help="US$ per million output tokens.")]
BATCH_SIZE = Annotated[str | None, typer.Option(help="Questions at a time.", show_default="auto")]
CHAT_TEMPLATE = Annotated[bool, typer.Option("--chat-template", help="Wrap questions in the model's chat template.")]
REMOTE_CODE = Annotated[
    bool, typer.Option("--trust-remote-code", help="Let Python code from the model's repository run here.")
]
DESCRIPTION = Annotated[str | None, typer.Option(help="For readers.")]
BENCHMARKS = Annotated[
    list[str] | None, typer.Option("--benchmark", help="Ask it this benchmark and no others; again for each.")
]
EXCEPT = Annotated[
    list[str] | None, typer.Option("--except", metavar="BENCHMARK", help="Do not ask it this one; again for each.")
]
TRUNCATION = Annotated[
    Literal["count", "refuse"], typer.Option(help="Of prompts that are too long for it: cut and count them, or refuse.")
]
IMPLAUSIBLE = Annotated[
    Literal["refuse", "accept"], typer.Option(help="Whether its answers may all be empty or all be the same.")
]
BUDGET = Annotated[
    int | None,
    typer.Option(help="Onboard it from about this many answers, instead of evaluating it in full.", show_default=False),
]

# Which could be read as numbers, but never are.
TEXT_ARGS = ("pretrained", "tokenizer", "revision", "subfolder", "gguf_file", "peft", "delta", "model", "base_url")
FOLDER_ARGS = ("pretrained", "tokenizer", "peft", "delta")


def add(
    name: NAME,
    backend: BACKEND = "hf",
    arg: ARGS = None,
    tag: TAGS = None,
    family: FAMILY = None,
    size_b: SIZE_B = None,
    price_input: PRICE_INPUT = None,
    price_output: PRICE_OUTPUT = None,
    budget: BUDGET = None,
    benchmark: BENCHMARKS = None,
    except_: EXCEPT = None,
    truncation: TRUNCATION = "count",
    implausible_answers: IMPLAUSIBLE = "refuse",
    chat_template: CHAT_TEMPLATE = False,
    trust_remote_code: REMOTE_CODE = False,
    batch_size: BATCH_SIZE = None,
    description: DESCRIPTION = None,
) -> None:
    """Add a model to models.yaml; the rest of the file stays as it is."""
    from harness.registry.registering import add_model, check_addition

    home, folder = registry_in_use()
    entry = entry_of(
        name=name,
        home=home,
        backend=backend,
        arg=arg,
        tag=tag,
        family=family,
        size_b=size_b,
        price_input=price_input,
        price_output=price_output,
        budget=budget,
        benchmark=benchmark,
        except_=except_,
        truncation=truncation,
        implausible_answers=implausible_answers,
        chat_template=chat_template,
        trust_remote_code=trust_remote_code,
        batch_size=batch_size,
        description=description,
    )
    check_addition(folder, home, entry)
    folder = registry_to_write(folder, home)
    added = add_model(folder, home, entry)
    asked = f"onboard it from about {added.budget} answers" if added.budget else "evaluate it"
    out.print(
        f"Added {added.name} to {folder / 'models.yaml'}.\n"
        f"Next: {command()} run, to {asked}; while `{command()} ui` is running, that happens by itself.",
        soft_wrap=True,
    )


def remove(name: NAME) -> None:
    """Remove a model from models.yaml; its answers stay in the lake, and are back when it is added again."""
    from harness.registry import load_registry
    from harness.registry.registering import remove_model

    home, folder = registry_in_use()
    load_registry(folder, home).model(name)  # refused before anything is copied
    folder = registry_to_write(folder, home)
    remove_model(folder, home, name)
    out.print(
        f"Removed {name} from {folder / 'models.yaml'}; its answers stay in the lake.\n"
        f"Next: {command()} run, to make matrix and embeddings without it; while `{command()} ui` is running, "
        "that happens by itself.",
        soft_wrap=True,
    )


def registry_in_use() -> tuple[Path, Path]:
    """Home, and folder of the registry in force.

    Raises:
        CommandError: no registry is in force.
    """
    from pipelines.settings import SHIPPED

    settings, workspace = open_home()
    folder = workspace.registry.folder
    if folder in SHIPPED and not workspace.registry.benchmarks:
        raise CommandError(
            f"{settings.home} holds imported results and no registry is in force; "
            "set EMBEDLLM_REGISTRY to a folder with models.yaml and benchmarks.yaml, e.g. registry/paper."
        )
    return settings.home, folder


def registry_to_write(folder: Path, home: Path) -> Path:
    """The folder itself; of a registry that comes with embedllm the home's copy, made now. Call it once all else is
    checked.

    Raises:
        CommandError: the home has a registry of its own that is no copy of this one.
    """
    from pipelines.settings import SHIPPED

    return adopt(folder, home) if folder in SHIPPED else folder


def adopt(shipped: Path, home: Path) -> Path:
    """Make a registry that comes with embedllm the home's own, and say so; returns its folder.

    Raises:
        CommandError: the home has a registry of its own that is no copy of this one.
    """
    from pipelines.settings import copied_from, copy_registry, own_registry

    own = own_registry(home)
    if copied_from(own) != shipped.name:
        copy_registry(shipped, home)
        out.print(
            f"Copied registry/{shipped.name} to {own}: from now on that is the registry of this home, yours to change.",
            soft_wrap=True,
        )
    return own


def entry_of(
    *,
    name: str,
    home: Path,
    backend: Backend = "hf",
    arg: list[str] | None = None,
    tag: list[str] | None = None,
    family: str | None = None,
    size_b: float | None = None,
    price_input: float | None = None,
    price_output: float | None = None,
    budget: int | None = None,
    benchmark: list[str] | None = None,
    except_: list[str] | None = None,
    truncation: str = "count",
    implausible_answers: str = "refuse",
    chat_template: bool = False,
    trust_remote_code: bool = False,
    batch_size: str | None = None,
    description: str | None = None,
) -> dict[str, Any]:
    """The entry these options describe, as it would stand in models.yaml: what was not said is left out.

    Folders become absolute, those inside `home` begin with `{home}`. Raises CommandError for an ARG without `=`, or
    with a path at which there is nothing.
    """
    price = {"input": price_input, "output": price_output}
    said = {
        "name": name,
        "backend": backend if backend != "hf" else None,
        "args": _model_args(arg or [], home),
        "family": family,
        "size_b": size_b,
        "communities": list(tag) if tag else None,
        "price": {key: value for key, value in price.items() if value is not None} or None,
        "trust_remote_code": trust_remote_code or None,
        "apply_chat_template": chat_template or None,
        "batch_size": int(batch_size) if batch_size and batch_size.isdecimal() else batch_size,
        "budget": budget,
        "benchmarks": list(benchmark) if benchmark else None,
        "except": list(except_) if except_ else None,
        "truncation": truncation if truncation != "count" else None,
        "implausible_answers": implausible_answers if implausible_answers != "refuse" else None,
        "description": description,
    }
    return {field: value for field, value in said.items() if value is not None}


def _model_args(pairs: list[str], home: Path) -> dict[str, Any]:
    args: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise CommandError(f"--arg {pair!r} has no value; write KEY=VALUE, e.g. --arg dtype=float32.")
        if key in args:
            raise CommandError(f"--arg {key} stands twice; keep one.")
        if key in FOLDER_ARGS:
            args[key] = _portable(key, value, home)
        else:
            args[key] = value if key in TEXT_ARGS else _scalar(value)
    return args


def _portable(arg: str, value: str, home: Path) -> str:
    """A folder as a process anywhere finds it, also in a home that has moved; a hub name as it is."""
    path = Path(value.replace("{home}", str(home))).expanduser()
    if not (path.is_dir() or value.startswith(("/", "./", "../", "~", "{home}"))):
        return value
    path = path.absolute()
    if not path.exists():
        raise CommandError(
            f"--arg {arg}={value}: there is no {path}; correct the path, or give a name of the hub, which begins with "
            "none of / . ~."
        )
    return f"{{home}}/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


def _scalar(value: str) -> str | int | float | bool:
    """The number or truth value a text stands for, else the text; in quotes it is a text in any case."""
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    if value.lower() in ("true", "false"):
        return value.lower() == "true"
    if re.fullmatch(r"-?(0|[1-9]\d*)", value):
        return int(value)
    if re.fullmatch(r"-?\d+\.\d*([eE][+-]?\d+)?|-?\d+[eE][+-]?\d+", value):
        return float(value)
    return value
