"""What assets are made from without being assets: answers in the lake, the registry, what people decided, settings.

Each is an external asset with a data version, so that Dagster's UI and the plan (pipelines/automation/plan.py) agree on
what is out of date. A version is a digest of content: the same content has the same version, wherever the home lies.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import dagster as dg

from harness.digests import digest_of

from .entries import asked_by, entries_as_written, find_unregistered
from .versions import last_choice
from .workspace import Workspace

DATA_VERSION = "dagster/data_version"  # tag of an event


@dataclass(frozen=True)
class External:
    """Something that assets read, and what its version is now."""

    name: str
    description: str
    version: Callable[[Workspace], str]
    changed: str = ""
    """What the reason of a run says when it has changed; by default that its name has."""

    @property
    def key(self) -> dg.AssetKey:
        return dg.AssetKey(["inputs", self.name])


def external_assets() -> list[dg.AssetSpec]:
    """Return what Dagster shows of the external assets."""
    return [
        dg.AssetSpec(external.key, description=external.description, group_name="inputs", owners=["team:embedllm"])
        for external in EXTERNALS.values()
    ]


def find_changed(workspace: Workspace, instance: dg.DagsterInstance) -> Iterator[dg.AssetMaterialization]:
    """Yield what tells Dagster the version of each external asset that has changed since it was told last."""
    for external in EXTERNALS.values():
        version = external.version(workspace)
        known = instance.fetch_materializations(external.key, limit=1).records
        told = known[0].asset_materialization if known else None
        if told is None or (told.tags or {}).get(DATA_VERSION) != version:
            yield dg.AssetMaterialization(external.key, tags={DATA_VERSION: version})


def evaluated_in_full(workspace: Workspace) -> list[str]:
    """Return the onboarded models that have since answered every benchmark they are asked: their few answers no longer
    count."""
    registry, pairs = workspace.registry, set(workspace.lake.pairs())
    asked = {model.name: registry.benchmarks_of(model) for model in registry.models}
    wanted = {model: asked.get(model, registry.benchmarks) for model in workspace.lake.onboarded_models()}
    return [
        model
        for model, benchmarks in wanted.items()
        if benchmarks and all((benchmark.name, model) in pairs for benchmark in benchmarks)
    ]


def _zoo_recipe(workspace: Workspace) -> str:
    from harness.zoo import recipe_digest

    return recipe_digest(workspace.seed)


def _answers(workspace: Workspace) -> str:
    """Answers that the registry no longer asks for do not count, whether they were retired yet or not. What it says of
    a model without answers only matters to `evaluations`."""
    leaving = set(find_unregistered(workspace))
    known = {name for pair in workspace.lake.pairs() if pair not in leaving for name in pair}
    entries = [entry for name, entry in entries_as_written(workspace) if name in known]
    return _digest([workspace.lake.state(without=leaving), entries])


def _evaluations(workspace: Workspace) -> str:
    """What the registry does not ask for does not count, whether it was retired and forgotten yet or not."""
    lake, leaving, is_asked = workspace.lake, set(find_unregistered(workspace)), asked_by(workspace.registry)
    cannot = [row for row in lake.not_applicable().to_pylist() if is_asked(row["benchmark"], row["model"])]
    pairs = [pair for pair in lake.pairs() if pair not in leaving]
    return _digest([lake.failures_state(is_asked), cannot, pairs, entries_as_written(workspace)])


def _few_answers(workspace: Workspace) -> str:
    leaving = evaluated_in_full(workspace)
    known = {*workspace.lake.onboarded_models(), *(benchmark.name for benchmark in workspace.registry.benchmarks)}
    entries = [entry for name, entry in entries_as_written(workspace) if name in known - {*leaving}]
    return _digest([workspace.lake.onboarding_state(without=leaving), entries])


def _digest(content: object) -> str:
    return digest_of(content)[:16]


EXTERNALS = {
    external.name: external
    for external in (
        External("zoo_recipe", "What decides the weights of the demo's models: recipe, code and seed.", _zoo_recipe),
        External(
            "imports",
            "The answers that `embedllm import` brought, by source.",
            lambda workspace: _digest(sorted(source["digest"] for source in workspace.lake.imports())),
        ),
        External(
            "answers",
            "The graded answers that count, and the registry entries of the models and benchmarks in them.",
            _answers,
            "answers or entries changed",
        ),
        External(
            "evaluations",
            "Who has answered what, what failed, and all of the registry.",
            _evaluations,
            "evaluations or entries changed",
        ),
        External("few_answers", "Answers of models that were asked a chosen few questions.", _few_answers),
        External(
            "chosen_version",
            "The version of the embedder that a person last chose to serve.",
            lambda workspace: last_choice(workspace.lake),
        ),
        External("encoder", "The question encoder in the settings.", lambda workspace: workspace.encoder),
        External("seed", "The seed in the settings.", lambda workspace: str(workspace.seed)),
    )
}
