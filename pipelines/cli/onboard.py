"""`embedllm onboard`: a model from about a hundred answers, and nothing is trained again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipelines.console import Console, say, show, table_of
from pipelines.errors import CommandError

from . import models
from .home import open_home
from .interrupts import KEPT, stops_at_once

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
    name: models.NAME,
    budget: models.BUDGET = None,
    backend: models.BACKEND = "hf",
    arg: models.ARGS = None,
    tag: models.TAGS = None,
    family: models.FAMILY = None,
    size_b: models.SIZE_B = None,
    price_input: models.PRICE_INPUT = None,
    price_output: models.PRICE_OUTPUT = None,
    benchmark: models.BENCHMARKS = None,
    except_: models.EXCEPT = None,
    chat_template: models.CHAT_TEMPLATE = False,
    trust_remote_code: models.REMOTE_CODE = False,
    batch_size: models.BATCH_SIZE = None,
    description: models.DESCRIPTION = None,
) -> None:
    """Ask a model the 128 questions that tell most of it, and place it among the others; nothing is trained again.

    A model that models.yaml does not have is added to it once it has answered: say with --arg how it is reached.
    """
    options = dict(locals())
    from assets.embedding.select_questions import check_onboarding
    from harness.registry.registering import check_addition

    settings, workspace = open_home()
    entry = next((model for model in workspace.registry.models if model.name == name), None)
    if entry is None and not arg:
        raise CommandError(
            f"{name} is not in the registry: add --arg pretrained=… (its folder or hub name) to onboard it, and any "
            "other options of `embedllm models add`."
        )
    described = [option for option, value in options.items() if value is not None and value is not False]
    if entry is not None and not {"name", "budget", "backend"}.issuperset(described):
        raise CommandError(
            f"{name} is in {workspace.registry.folder / 'models.yaml'} already; change its entry there, and give "
            "nothing but --budget here."
        )
    if budget is not None and budget < LEAST_BUDGET:
        raise CommandError(f"--budget is {budget}, but must be {LEAST_BUDGET} or more.")
    budget = budget or (entry.budget if entry else None) or DEFAULT_BUDGET
    check_onboarding(name, budget, workspace)
    new = None
    if entry is None:
        folder = models.registry_in_use(workspace)
        new = models.build_entry({**options, "budget": budget}, workspace.home)
        workspace = replace(workspace, registry=check_addition(folder, workspace.home, new))
        entry = workspace.registry.model(name)
    asked = _onboard(entry, budget, settings, workspace, new)
    _show(entry, asked, workspace)


def _onboard(
    entry: ModelEntry, budget: int, settings: Settings, workspace: Workspace, new: Mapping[str, Any] | None
) -> Asked:
    """Ask the model, and make what follows from its answers; `new` is written into models.yaml once that has worked."""
    import dagster as dg

    from assets.embedding.select_questions import ask
    from harness.evaluate import LoadedModel, TaskIndex
    from harness.registry.registering import add_model
    from pipelines.automation.plan import REASON
    from pipelines.instance import end_dead_runs, exclusive, follow_move, register_models, use_home
    from pipelines.local.runner import make_assets

    use_home(settings)
    with Console() as console, exclusive(workspace), dg.DagsterInstance.get() as instance:
        workspace = replace(workspace, progress=console.progress)
        end_dead_runs(instance, settings.home)
        follow_move(workspace)
        tasks = TaskIndex(workspace.registry.tasks_dir)
        with LoadedModel(entry, device=workspace.device, cache_dir=workspace.cache, seed=workspace.seed) as model:
            asked = ask(workspace, model, budget, tasks)
        made, why = [dg.AssetKey(name) for name in MADE], f"{entry.name} was onboarded"
        make_assets(made, workspace, instance, console, {REASON: why})
        if new:
            folder = models.registry_to_write(workspace.registry.folder, settings.home)
            add_model(folder, settings.home, new)
            console.say(f"Added {entry.name} to {folder / 'models.yaml'}.")
        register_models(instance, (model.name for model in workspace.registry.models))
    return asked


def _show(entry: ModelEntry, asked: Asked, workspace: Workspace) -> None:
    from warehouse.database.connect import literal
    from warehouse.database.read import query

    def query_serving(columns_from_table: str, order: str = "") -> pa.Table:
        """Return what the embedder that serves has of this model."""
        of_model = f"SEMI JOIN serving USING (embedder) WHERE model = {literal(entry.name)}"
        return query(workspace.database, f"SELECT {columns_from_table} {of_model} {order}")

    accuracies = query_serving(
        "benchmark, answered, n AS questions, accuracy, ci_low, ci_high FROM onboarded",
        "ORDER BY benchmark <> 'all', benchmark",
    )
    for error in asked.failed.values():
        say(f"Left out: {error}")
    answers, new = accuracies["answered"][0].as_py(), sum(asked.answers.values())
    say(f"Onboarded {entry.name} from {answers} answers, {new} of them new.")
    (placed,) = query_serving("embedder, len(embedding) AS dimensions FROM model_embeddings").to_pylist()
    say(
        f"Its embedding ({placed['dimensions']} numbers) is in model_embeddings, next to those of "
        f"{placed['embedder']}, which have not moved."
    )
    show(table_of(accuracies, title="Predicted accuracy (95% interval)"))
    nearest = query_serving(
        "other AS model, distance FROM model_similarity", f"ORDER BY distance, other LIMIT {NEAREST}"
    )
    show(table_of(nearest, title="Nearest models"))
    condition = "without `budget` in its entry," if entry.budget else "its entry has no `budget`, so"
    report = "`embedllm run` writes it into the report; " if entry.budget else ""
    say(
        f"Next: {report}`embedllm onboard {entry.name} --budget` with a higher number asks more and predicts more "
        f"exactly; {condition} `embedllm run` evaluates it in full."
    )
