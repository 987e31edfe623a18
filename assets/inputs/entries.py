"""What the registry says of how a model is asked, as digests: an answer holds as long as they stay the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

from harness.registry import CHANGES_NO_ANSWER, BenchmarkEntry, ModelEntry, Registry

from .local_state import LocalState
from .workspace import Workspace

ENTRY = "registry_entry"
"""Metadata key of an evaluation: `entry_digest` when it was written."""


def entries_as_written(workspace: Workspace) -> list[tuple[str, str]]:
    """Return names and entries of models and benchmarks, sorted, as their order in the registry does not matter. Where
    it runs, and what for, changes nothing either."""
    registry = workspace.registry
    return sorted(
        (entry.name, entry.as_written.model_dump_json(exclude=set(CHANGES_NO_ANSWER)))
        for entry in (*registry.models, *registry.benchmarks)
    )


def find_unregistered(workspace: Workspace) -> list[tuple[str, str]]:
    """Return the (benchmark, model) of answers that the registry no longer asks for; imported answers are not among
    them."""
    is_asked = asked_by(workspace.registry)
    return [pair for pair in workspace.lake.evaluated() if not is_asked(*pair)]


def asked_by(registry: Registry) -> Callable[[str, str], bool]:
    """Return a function that tells of a benchmark and a model whether the registry asks one of the other; without a
    registry in force, every pair is asked."""
    asked = {(benchmark.name, model.name) for model in registry.models for benchmark in registry.benchmarks_of(model)}
    return lambda benchmark, model: not registry.models or (benchmark, model) in asked


def attempt_digest(
    model: ModelEntry, benchmark: BenchmarkEntry, workspace: Workspace, local: LocalState | None = None
) -> str:
    """Return a digest of all that a failure depends on as far as this machine can tell: `entry_digest`, and files here.

    Once one of them changes, what failed is worth trying again at once.
    """
    files = (local or LocalState(workspace)).digest(model, benchmark)
    accepts = "accept" if model.implausible_answers == "accept" else ""
    batch = "" if model.batch_size == "auto" else f"batch {model.batch_size}"  # memory may suffice for a smaller one
    return "-".join(filter(None, [entry_digest(model, benchmark, workspace), files, accepts, batch]))


def entry_digest(model: ModelEntry, benchmark: BenchmarkEntry, workspace: Workspace) -> str:
    """Return a digest of what the registry says about how this model is asked; needs neither weights nor lm-eval.

    The fingerprint says more (which weights, which version of the task), but takes seconds to find out.
    """
    how = {
        "model": model.as_written.model_dump(include={"backend", "args", "trust_remote_code", "apply_chat_template"})
        | ({"truncation": "refuse"} if model.truncation == "refuse" else {}),
        "benchmark": benchmark.as_written.model_dump(include={"tasks", "metric", "filter", "num_fewshot"}),
        "seed": workspace.seed,
        "zoo": workspace.zoo_recipe() if workspace.registry.made_by == "zoo" else None,
    }
    return hashlib.sha256(json.dumps(how, sort_keys=True).encode()).hexdigest()[:16]
