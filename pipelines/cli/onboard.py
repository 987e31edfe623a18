"""`embedllm onboard`: a model from about a hundred answers, without training anything anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipelines.errors import CommandError

from .console import Console
from .interrupts import KEPT, stops_at_once
from .models import (
    ARGS,
    BACKEND,
    BATCH_SIZE,
    BENCHMARKS,
    BUDGET,
    CHAT_TEMPLATE,
    DESCRIPTION,
    EXCEPT,
    FAMILY,
    NAME,
    PRICE_INPUT,
    PRICE_OUTPUT,
    REMOTE_CODE,
    SIZE_B,
    TAGS,
    entry_of,
    registry_in_use,
    registry_to_write,
)
from .terminal import command, open_home, out, table_of

if TYPE_CHECKING:
    import pyarrow as pa

    from assets.embedding.select_questions import Asked
    from assets.inputs.workspace import Workspace
    from harness.registry import ModelEntry
    from pipelines.settings import Settings

DEFAULT_BUDGET = 128
LEAST_BUDGET = 8  # as in an entry of the registry
NEAREST = 5
MADE = ("coverage", "onboarded", "warehouse")


@stops_at_once(KEPT)
def onboard(
    name: NAME,
    budget: BUDGET = None,
    backend: BACKEND = "hf",
    arg: ARGS = None,
    tag: TAGS = None,
    family: FAMILY = None,
    size_b: SIZE_B = None,
    price_input: PRICE_INPUT = None,
    price_output: PRICE_OUTPUT = None,
    benchmark: BENCHMARKS = None,
    except_: EXCEPT = None,
    chat_template: CHAT_TEMPLATE = False,
    trust_remote_code: REMOTE_CODE = False,
    batch_size: BATCH_SIZE = None,
    description: DESCRIPTION = None,
) -> None:
    """Ask a model the 128 questions that tell most of it, and place it among the others; nothing is trained anew.

    A model that models.yaml does not have is added to it once it has answered: say with --arg how it is reached.
    """
    said: dict[str, Any] = {
        "arg": arg,
        "tag": tag,
        "family": family,
        "size_b": size_b,
        "price_input": price_input,
        "price_output": price_output,
        "benchmark": benchmark,
        "except_": except_,
        "chat_template": chat_template,
        "trust_remote_code": trust_remote_code,
        "batch_size": batch_size,
        "description": description,
    }
    settings, workspace = open_home()
    entry = next((model for model in workspace.registry.models if model.name == name), None)
    _check_said(name, entry, said, workspace)
    wanted = _budget(budget, entry)
    _check(name, wanted, workspace)
    new = None
    if entry is None:
        from harness.registry.registering import check_addition

        home, folder = registry_in_use()
        new = entry_of(**said, name=name, home=home, backend=backend, budget=wanted)
        workspace = replace(workspace, registry=check_addition(folder, home, new))
        entry = workspace.registry.model(name)
    asked = _onboard(entry, wanted, settings, workspace, new)
    _show(entry, asked, workspace)


def _check_said(name: str, entry: ModelEntry | None, said: Mapping[str, Any], workspace: Workspace) -> None:
    """A new model must be described, one that is registered must not."""
    if entry is None and not said["arg"]:
        raise CommandError(
            f"{name} is not in the registry: add --arg pretrained=… (its folder or hub name) to onboard it, and any "
            f"other options of `{command()} models add`."
        )
    if entry is not None and any(value is not None and value is not False for value in said.values()):
        raise CommandError(
            f"{name} is in {workspace.registry.folder / 'models.yaml'} already; change its entry there, and give "
            "nothing but --budget here."
        )


def _budget(said: int | None, entry: ModelEntry | None) -> int:
    if said is not None and said < LEAST_BUDGET:
        raise CommandError(f"--budget is {said}, but must be {LEAST_BUDGET} or more.")
    return said or (entry.budget if entry else None) or DEFAULT_BUDGET


def _check(name: str, budget: int, workspace: Workspace) -> None:
    """Before anything is written."""
    from assets.embedding.select_questions import CannotOnboard, check_onboarding
    from assets.embedding.serving import NoEmbedder

    try:
        check_onboarding(name, budget, workspace)
    except (CannotOnboard, NoEmbedder) as error:
        raise CommandError(str(error)) from error


def _onboard(
    entry: ModelEntry, budget: int, settings: Settings, workspace: Workspace, new: Mapping[str, Any] | None
) -> Asked:
    """`new`: what to write into models.yaml once it has worked, where that does not have the model yet."""
    import dagster as dg

    from assets.embedding.select_questions import CannotOnboard, ask
    from embedder.lazy_encoder import EncoderError
    from embedder.store import StoreError
    from harness.evaluate import LoadedModel, TaskIndex
    from harness.registry.registering import add_model
    from pipelines.automation.plan import REASON
    from pipelines.jobs import REFRESH
    from pipelines.local.chain import run_job
    from pipelines.local.instance import end_dead_runs, exclusive, follow_move, register_models, use_home

    use_home(settings)
    with Console() as console, exclusive(settings.home), dg.DagsterInstance.get() as instance:
        workspace = replace(workspace, progress=console.progress)
        end_dead_runs(instance, settings.home)
        follow_move(workspace)
        tasks = TaskIndex(workspace.registry.tasks_dir)
        try:
            with LoadedModel(entry, device=workspace.device, cache_dir=workspace.cache, seed=workspace.seed) as model:
                asked = ask(workspace, model, budget, tasks)
        except (CannotOnboard, EncoderError, StoreError) as error:
            raise CommandError(str(error)) from error
        made, why = [dg.AssetKey(name) for name in MADE], f"{entry.name} was onboarded"
        run_job(workspace, instance, console, REFRESH, selection=made, tags={REASON: why})
        if new:
            folder = registry_to_write(workspace.registry.folder, settings.home)
            add_model(folder, settings.home, new)
            console.say(f"Added {entry.name} to {folder / 'models.yaml'}.")
        register_models(instance, (model.name for model in workspace.registry.models))
    return asked


def _show(entry: ModelEntry, asked: Asked, workspace: Workspace) -> None:
    accuracies = _accuracies(entry.name, workspace)
    answers, new = accuracies["answered"][0].as_py(), sum(asked.answers.values())
    for error in asked.failed.values():
        out.print(f"Left out: {error}", soft_wrap=True)
    out.print(f"Onboarded {entry.name} from {answers} answers, {new} of them new.", soft_wrap=True)
    (placed,) = _serving_rows(
        entry.name, workspace, "embedder, len(embedding) AS dimensions FROM model_embeddings"
    ).to_pylist()
    out.print(
        f"Its embedding ({placed['dimensions']} numbers) is in model_embeddings, beside those of {placed['embedder']}, "
        "which have not moved.",
        soft_wrap=True,
    )
    out.print(table_of(accuracies, title="Predicted accuracy (95% interval)"))
    out.print(table_of(_nearest(entry.name, workspace), title="Nearest models"))
    out.print(f"Next: {_next(entry)}", soft_wrap=True)


def _next(entry: ModelEntry) -> str:
    refine = f"{command()} onboard {entry.name} --budget with a higher number asks more and predicts more exactly"
    if entry.budget:
        return f"{refine}; without `budget` in its entry, {command()} run evaluates it in full."
    return f"{refine}; its entry has no `budget`, so {command()} run evaluates it in full."


def _accuracies(name: str, workspace: Workspace) -> pa.Table:
    """All benchmarks together first."""
    columns = "benchmark, answered, n AS questions, accuracy, ci_low, ci_high"
    return _serving_rows(name, workspace, f"{columns} FROM onboarded", "ORDER BY benchmark <> 'all', benchmark")


def _nearest(name: str, workspace: Workspace) -> pa.Table:
    order = f"ORDER BY distance, other LIMIT {NEAREST}"
    return _serving_rows(name, workspace, "other AS model, distance FROM model_similarity", order)


def _serving_rows(name: str, workspace: Workspace, columns_from_table: str, order: str = "") -> pa.Table:
    """What the embedder that serves has of this model."""
    from warehouse.database.connect import literal
    from warehouse.database.read import query

    return query(
        workspace.database,
        f"SELECT {columns_from_table} SEMI JOIN serving USING (embedder) WHERE model = {literal(name)} {order}",
    )
