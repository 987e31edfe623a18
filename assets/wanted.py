"""What the registry asks for and the lake does not have yet: what all automation starts from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from harness.entries import BenchmarkEntry, ModelEntry
from warehouse.errors import CorruptFileError
from warehouse.lake import NOT_APPLICABLE, Failure

from .local_state import LocalState
from .versions import serving
from .workspace import Workspace

__all__ = ["ENTRY", "Want", "Why", "attempt_digest", "entry_digest", "wanted", "wanted_now"]

ENTRY = "registry_entry"
"""Metadata key of a response file: `entry_digest` when it was written."""


class Why(StrEnum):
    """Why a model has to answer a benchmark."""

    NEW = "new"  # it never was asked
    CHANGED = "changed"  # its entry reads differently now, or its weights or its task are others
    FAILED = "failed"  # the last evaluation under this very entry, and with these very files, failed


@dataclass(frozen=True)
class Want:
    """A benchmark that a model has to answer, and why."""

    benchmark: str
    why: Why
    failure: Failure | None = None  # of the last try under this very entry
    what: str | None = None  # has changed, where it is not the entry

    def __str__(self) -> str:
        if self.failure:
            return f"{self.benchmark}: {self.why} ({self.failure.kind}, attempt {self.failure.attempts + 1})"
        return f"{self.benchmark}: {self.why}{f' ({self.what})' if self.what else ''}"

    def is_due(self, now: datetime) -> bool:
        """Whether the back-off of the last failure is over at `now` (UTC)."""
        return self.failure is None or self.failure.is_due(now)


def wanted(workspace: Workspace, local: LocalState | None = None) -> dict[str, list[Want]]:
    """By model, the benchmarks it still has to answer; models with nothing to do are left out.

    Reads metadata of the lake's files, and looks whether weights and tasks are what they were: on this machine, and
    where `local` does, elsewhere. Nothing is wanted while the zoo, where it makes the models, is not built.
    """
    from harness.zoo import is_built

    if workspace.registry.made_by == "zoo" and not is_built(workspace.zoo, seed=workspace.seed):
        return {}
    local = local or LocalState(workspace)
    found = {model.name: list(_wants(model, workspace, local)) for model in workspace.registry.models}
    return {model: wants for model, wants in found.items() if wants}


def wanted_now(workspace: Workspace) -> dict[str, list[str]]:
    """What is asked by itself: what is new or changed, and what was interrupted; failures wait for the night."""
    found = {model: [w.benchmark for w in wants if _at_once(w)] for model, wants in wanted(workspace).items()}
    return {model: benchmarks for model, benchmarks in found.items() if benchmarks}


def _at_once(want: Want) -> bool:
    return want.why is not Why.FAILED


def _wants(model: ModelEntry, workspace: Workspace, local: LocalState) -> Iterator[Want]:
    if model.budget and (serving(workspace.lake) is None or _is_onboarded(model, workspace, local)):
        return  # without an embedder, nothing tells which few questions are telling
    for benchmark in workspace.registry.benchmarks_of(model):
        entry, what = entry_digest(model, benchmark, workspace), None
        known = _metadata(benchmark.name, model.name, workspace)
        if known is not None and known.get(ENTRY, entry) == entry:  # imported answers have no entry, and hold
            what = local.change(known, model, benchmark)
            if what is None:
                continue
        failure = workspace.lake.failure(benchmark.name, model.name)
        why = Why.NEW if known is None else Why.CHANGED
        if failure is None or failure.entry not in ("", attempt_digest(model, benchmark, workspace, local)):
            yield Want(benchmark.name, why, what=what)
        elif failure.kind != NOT_APPLICABLE:
            interrupted = failure.retry_at <= failure.failed_at  # a kill or two may be an accident
            yield Want(benchmark.name, why if interrupted else Why.FAILED, failure)


def _metadata(benchmark: str, model: str, workspace: Workspace) -> dict[str, str] | None:
    try:
        return workspace.lake.response_metadata(benchmark, model)
    except CorruptFileError:  # moved aside when the model is asked
        return None


def _is_onboarded(model: ModelEntry, workspace: Workspace, local: LocalState) -> bool:
    """Whether it has answered its budget of questions, under the entries as they read now, or more than that."""
    benchmarks, lake = workspace.registry.benchmarks_of(model), workspace.lake
    if any(lake.response_metadata(benchmark.name, model.name) for benchmark in benchmarks):
        return True  # it was evaluated in full
    answers = 0
    for benchmark in benchmarks:
        known = lake.onboarding_metadata(benchmark.name, model.name)
        holds = known and known.get(ENTRY) == entry_digest(model, benchmark, workspace)
        if known and holds and not local.change(known, model, benchmark):
            answers += int(known["rows"])
    return answers >= (model.budget or 0)


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
