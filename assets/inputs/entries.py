"""What the registry says of how a model is asked, as digests: an answer holds while they are what they were."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

from harness.registry import BenchmarkEntry, ModelEntry, Registry

from .local_state import LocalState
from .workspace import Workspace

__all__ = ["ENTRY", "asked_by", "attempt_digest", "entries_as_written", "entry_digest", "find_unregistered"]

ENTRY = "registry_entry"
"""Metadata key of an evaluation: `entry_digest` when it was written."""


def entries_as_written(workspace: Workspace) -> list[tuple[str, str]]:
    """Names and entries of models and benchmarks, sorted: in which order they stand does not matter."""
    registry = workspace.registry
    return sorted(
        (entry.name, entry.as_written.model_dump_json()) for entry in (*registry.models, *registry.benchmarks)
    )


def find_unregistered(workspace: Workspace) -> list[tuple[str, str]]:
    """(benchmark, model) of the answers that the registry no longer asks for; imported answers are not among them."""
    is_asked = asked_by(workspace.registry)
    return [pair for pair in workspace.lake.evaluated() if not is_asked(*pair)]


def asked_by(registry: Registry) -> Callable[[str, str], bool]:
    """Tells of a benchmark and a model whether the registry has the one answer the other; of none in force, always."""
    asked = {(benchmark.name, model.name) for model in registry.models for benchmark in registry.benchmarks_of(model)}
    return lambda benchmark, model: not registry.models or (benchmark, model) in asked


def attempt_digest(
    model: ModelEntry, benchmark: BenchmarkEntry, workspace: Workspace, local: LocalState | None = None
) -> str:
    """Digest of all that a failure depends on as far as it shows here: `entry_digest`, and files on this machine.

    Once one of them changes, what failed is worth trying at once.
    """
    files = (local or LocalState(workspace)).digest(model, benchmark)
    accepts = "accept" if model.implausible_answers == "accept" else ""
    batch = "" if model.batch_size == "auto" else f"batch {model.batch_size}"  # memory may suffice for a smaller one
    return "-".join(filter(None, [entry_digest(model, benchmark, workspace), files, accepts, batch]))


def entry_digest(model: ModelEntry, benchmark: BenchmarkEntry, workspace: Workspace) -> str:
    """Digest of what the registry says about how this model is asked; needs neither weights nor lm-eval.

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
