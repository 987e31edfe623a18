"""`embedllm models adopt`: imported models of a hub into the registry, so that they can be asked more."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pipelines.console import say
from pipelines.errors import CommandError

from .home import open_home

if TYPE_CHECKING:
    from pathlib import Path

    from assets.inputs.workspace import Workspace

_PROVIDERS = frozenset(
    (
        "anthropic", "azure", "azureai", "bedrock", "cerebras", "cloudflare", "cohere", "deepinfra",
        "fireworks", "gemini", "goodfire", "grok", "groq", "litellm", "llama-cpp-python", "mistral",
        "mockllm", "ollama", "openai-api", "openrouter", "perplexity", "replicate", "sambanova", "sagemaker",
        "together", "transformer_lens", "vertex", "vertex_ai", "xai",
    )
)  # fmt: skip
"""What tools write before the name of a model that they reach through an API; none of them owns models on the hub."""

_PROVIDERS_TOO = frozenset(("openai", "google", "meta"))
"""The same, of tools that call models by their provider; elsewhere these may be owners on the hub."""

_CALL_BY_PROVIDER = ("inspect", "helm")
_LOCAL_BACKENDS = re.compile(r"(hf|huggingface|vllm|sglang|gguf|mamba|nemo|neuron|openvino|ipex|optimum)\b.*")
_CLOSED = re.compile(r"[^/]*/(gpt-[345](?!.*oss)|chatgpt|o[134](-|$)|gemini|claude|text-davinci).*", re.IGNORECASE)


def adopt_imported(
    names: Annotated[
        list[str] | None, typer.Argument(help="Imported models, as the table models has them; by default all.")
    ] = None,
    backend: Annotated[Literal["hf", "vllm"], typer.Option(help="How lm-eval reaches them.")] = "hf",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be added; change nothing.")] = False,
) -> None:
    """Add imported models that lie on a model hub to models.yaml, with the labels that came with them."""
    from harness.registry.registering import add_model

    _, workspace = open_home()
    imported = {model for _, model in workspace.lake.pairs()} - {model.name for model in workspace.registry.models}
    if unknown := sorted(set(names or ()) - imported):
        raise CommandError(
            f'{unknown[0]} is not among the imported models without an entry; see `embedllm sql "FROM models"`.'
        )
    runs: dict[str, list[Mapping[str, Any]]] = {}
    for run in workspace.lake.imported_runs().to_pylist():
        runs.setdefault(run["model"], []).append(run)
    why = {name: why_not_on_hub(name, runs.get(name, ())) for name in sorted(names or imported)}
    on_hub = [name for name, reason in why.items() if reason is None]
    if dry_run:
        say(f"Would add {len(on_hub)} models ({', '.join(on_hub) or 'none'}).")
    elif on_hub:
        folder = _registry_to_write(workspace)
        labels = workspace.lake.labels()
        known = {row.pop("model"): row for row in labels.to_pylist()} if labels else {}
        for name in on_hub:
            own = {label: value for label, value in known.get(name, {}).items() if value}
            add_model(folder, workspace.home, {"name": name, "backend": backend, "args": {"pretrained": name}, **own})
        rest = " Next: `embedllm run`, to ask them the rest." if workspace.registry.benchmarks else ""
        say(f"Added {len(on_hub)} models to {folder / 'models.yaml'}.{rest}")
    else:
        say("No imported model can be added.")
    _say_what_is_left_out(why)


def why_not_on_hub(name: str, runs: Iterable[Mapping[str, Any]]) -> str | None:
    """Return why a model cannot be one of a hub, by its name and by how it was asked (rows of imported_runs); None
    where it may be."""
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        return "no name that a hub can have (owner/name, of letters, digits, -, _ and .)"
    owner, slash, _ = name.partition("/")
    if not slash:
        return "a name without an owner (owner/name)"
    tools = {run["tool"] for run in runs}
    if owner.lower() in _PROVIDERS or (owner.lower() in _PROVIDERS_TOO and tools.intersection(_CALL_BY_PROVIDER)):
        return "called by the provider of an API or by a tool"
    backends = {json.loads(run["settings"] or "{}").get("backend") for run in runs} - {None}
    if backends and not any(_LOCAL_BACKENDS.fullmatch(str(backend)) for backend in backends):
        return "asked through an API, as the log says"
    return "a model that only an API serves" if _CLOSED.fullmatch(name) else None


def _say_what_is_left_out(why: Mapping[str, str | None]) -> None:
    for reason in sorted({reason for reason in why.values() if reason is not None}):
        names = [name for name, own in why.items() if own == reason]
        more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
        say(f"Left out: {reason} ({', '.join(names[:3])}{more}).")
    if any(why.values()):
        say("Models behind a server, and others that you know better, are added with `embedllm models add`.")


def _registry_to_write(workspace: Workspace) -> Path:
    """Return the folder of the registry in force, of the home's copy of it, or of a new one without benchmarks, if none
    is in force."""
    from pipelines.settings import SHIPPED, own_registry

    from .models import registry_to_write

    registry = workspace.registry
    if registry.folder not in SHIPPED or registry.benchmarks:
        return registry_to_write(registry.folder, workspace.home)
    own = own_registry(workspace.home)
    own.mkdir(parents=True)
    (own / "benchmarks.yaml").write_text("benchmarks: []\n", encoding="utf-8")
    (own / "models.yaml").write_text("models: []\n", encoding="utf-8")
    say(
        f"Made {own}, the registry of this home, yours to change. It has no benchmarks: models are asked those that "
        "you add to its benchmarks.yaml (docs/registry.md)."
    )
    return own
