"""`embedllm models`: which models the registry has, and how one is added or removed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Column, Table

from harness.registry import Backend
from pipelines.console import say, show
from pipelines.errors import CommandError

from .adopt import adopt_imported
from .home import open_home

if TYPE_CHECKING:
    from assets.inputs.workspace import Workspace

# Options that say how a model is reached and what is known of it; `onboard` has them too.
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

# These are never read as numbers.
TEXT_ARGS = ("pretrained", "tokenizer", "revision", "subfolder", "gguf_file", "peft", "delta", "model", "base_url")
FOLDER_ARGS = ("pretrained", "tokenizer", "peft", "delta")


models_app = typer.Typer(no_args_is_help=True, help="The models of the registry in force.")
models_app.command("adopt")(adopt_imported)


@models_app.command("list")
def list_models() -> None:
    """Every model, and how much it has answered."""
    from assets.embedding.onboarded import answers_that_hold
    from assets.figures.style import parameters

    _, workspace = open_home()
    registry, done, few = workspace.registry, workspace.lake.pairs(), answers_that_hold(workspace)
    if not registry.models:
        say('The registry lists no models. Those of imported results: `embedllm sql "FROM models"`.')
        return
    table = Table(
        Column("model", no_wrap=True),
        Column("family", no_wrap=True),
        "parameters",
        "communities",
        "backend",
        "answered",
    )
    for model in registry.models:
        benchmarks, questions = sum(name == model.name for _, name in done), len(few.get(model.name, ()))
        onboarded = questions and not benchmarks
        table.add_row(
            model.name,
            model.family or "",
            parameters(model.size_b) if model.size_b else "",
            ", ".join(model.communities),
            model.backend,
            f"{questions} questions"
            if onboarded
            else f"{benchmarks} of {len(registry.benchmarks_of(model))} benchmarks",
        )
    show(table)


@models_app.command("add")
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
    options = dict(locals())
    from harness.registry.registering import add_model, check_addition

    _, workspace = open_home()
    folder, home = registry_in_use(workspace), workspace.home
    entry = build_entry(options, home)
    check_addition(folder, home, entry)
    folder = registry_to_write(folder, home)
    added = add_model(folder, home, entry)
    asked = f"onboard it from about {added.budget} answers" if added.budget else "evaluate it"
    say(
        f"Added {added.name} to {folder / 'models.yaml'}.\n"
        f"Next: `embedllm run`, to {asked}; while `embedllm ui` is running, that happens by itself."
    )


@models_app.command("remove")
def remove(name: NAME) -> None:
    """Remove a model from models.yaml; its answers stay in the lake, and are back when it is added again."""
    from harness.registry import load_registry
    from harness.registry.registering import remove_model

    _, workspace = open_home()
    folder, home = registry_in_use(workspace), workspace.home
    load_registry(folder, home).model(name)  # refused before anything is copied
    folder = registry_to_write(folder, home)
    remove_model(folder, home, name)
    say(
        f"Removed {name} from {folder / 'models.yaml'}; its answers stay in the lake.\n"
        "Next: `embedllm run`, to make matrix and embeddings without it; while `embedllm ui` is running, that happens "
        "by itself."
    )


def registry_in_use(workspace: Workspace) -> Path:
    """Return the folder of the registry in force.

    Raises:
        CommandError: no registry is in force.
    """
    from pipelines.settings import SHIPPED

    folder = workspace.registry.folder
    if folder in SHIPPED and not workspace.registry.benchmarks:
        raise CommandError(
            f"{workspace.home} holds imported results and no registry is in force; "
            "set EMBEDLLM_REGISTRY to a folder with models.yaml and benchmarks.yaml, e.g. registry/paper."
        )
    return folder


def registry_to_write(folder: Path, home: Path) -> Path:
    """Return the folder itself, or the home's copy of a registry that comes with embedllm, which is made now. Call it
    once everything else is checked.

    Raises:
        CommandError: the home has a registry of its own that is no copy of this one.
    """
    from pipelines.settings import SHIPPED

    return adopt(folder, home) if folder in SHIPPED else folder


def adopt(shipped: Path, home: Path) -> Path:
    """Make a registry that comes with embedllm the home's own, and say so; return its folder.

    Raises:
        CommandError: the home has a registry of its own that is no copy of this one.
    """
    from pipelines.settings import copied_from, copy_registry, own_registry

    own = own_registry(home)
    if copied_from(own) != shipped.name:
        copy_registry(shipped, home)
        say(f"Copied registry/{shipped.name} to {own}: from now on that is the registry of this home, yours to change.")
    return own


def build_entry(options: Mapping[str, Any], home: Path) -> dict[str, Any]:
    """Return the entry that these options of a command describe, as it would stand in models.yaml, without what was
    not given.

    Folders become absolute, those inside `home` begin with `{home}`. Raises CommandError for an --arg without `=`, or
    with a path at which there is nothing.
    """
    price = {"input": options["price_input"], "output": options["price_output"]}
    batch_size = options["batch_size"]
    fields = {
        "name": options["name"],
        "backend": options["backend"],
        "args": _model_args(options["arg"] or [], home),
        "family": options["family"],
        "size_b": options["size_b"],
        "communities": options["tag"] or None,
        "price": {key: value for key, value in price.items() if value is not None} or None,
        "trust_remote_code": options["trust_remote_code"] or None,
        "apply_chat_template": options["chat_template"] or None,
        "batch_size": int(batch_size) if batch_size and batch_size.isdecimal() else batch_size,
        "budget": options["budget"],
        "benchmarks": options["benchmark"] or None,
        "except": options["except_"] or None,
        "truncation": options.get("truncation"),
        "implausible_answers": options.get("implausible_answers"),
        "description": options["description"],
    }
    usual = {"backend": "hf", "truncation": "count", "implausible_answers": "refuse"}
    return {field: value for field, value in fields.items() if value is not None and value != usual.get(field)}


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
    """Return a folder as a process anywhere finds it, also in a home that has moved; a hub name stays as it is."""
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
    """Return the number or truth value a text stands for, else the text; in quotes it is always a text."""
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    if value.lower() in ("true", "false"):
        return value.lower() == "true"
    if re.fullmatch(r"-?(0|[1-9]\d*)", value):
        return int(value)
    if re.fullmatch(r"-?\d+\.\d*([eE][+-]?\d+)?|-?\d+[eE][+-]?\d+", value):
        return float(value)
    return value
