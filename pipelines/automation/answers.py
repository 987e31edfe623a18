"""Which model still has to answer what: what the registry asks for and the lake does not have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from assets.inputs.entries import ENTRY, attempt_digest, entry_digest
from assets.inputs.local_state import LocalState
from assets.inputs.versions import serving
from assets.inputs.workspace import Workspace
from harness.registry import ModelEntry
from warehouse.errors import CorruptFileError
from warehouse.lake import NOT_APPLICABLE, Failure
from warehouse.lake.failures import INTERRUPTED


class Why(StrEnum):
    """Why a model has to answer a benchmark."""

    NEW = "new"  # it never was asked
    CHANGED = "changed"  # its entry reads differently now, or its weights or its task are others
    FAILED = "failed"  # the last evaluation under this entry, and with these files, failed


@dataclass(frozen=True)
class Unanswered:
    """A benchmark that a model still has to answer, and why."""

    benchmark: str
    why: Why
    failure: Failure | None = None  # of the last try under this entry
    what: str | None = None  # what has changed, where it is not the entry

    def tell(self, *, being_asked: bool = False) -> str:
        """Return the reason for asking. While the model is `being_asked`, its present attempt, too, stands in the lake
        as one that was interrupted."""
        note, failure = self.what, self.failure
        if failure and being_asked and failure.kind == INTERRUPTED:
            note = f"attempt {failure.attempts}" if failure.attempts > 1 else None
        elif failure:
            note = f"{failure.kind}, attempt {failure.attempts + 1}"
        return f"{self.benchmark}: {self.why}{f' ({note})' if note else ''}"

    def is_due(self, retry_by: datetime | None) -> bool:
        """Whether the benchmark is to be asked by then (UTC). If it failed, it is asked once its back-off is over;
        without a time, never."""
        if self.why is not Why.FAILED or self.failure is None:
            return True
        return retry_by is not None and self.failure.is_due(retry_by)


def can_ask(workspace: Workspace) -> bool:
    """Return whether there are models to ask: where the zoo makes them, it must have been built."""
    from harness.zoo import is_built

    return workspace.registry.made_by != "zoo" or is_built(workspace.zoo, seed=workspace.seed)


def find_unanswered(workspace: Workspace, local: LocalState | None = None) -> dict[str, list[Unanswered]]:
    """Return by model the benchmarks it still has to answer; models with nothing to do are left out.

    Reads what the lake holds, and looks whether weights and tasks are what they were: on this machine, and elsewhere if
    `local` does.
    """
    local = local or LocalState(workspace)
    with workspace.lake.still():  # it is not looked up anew for each of thousands of pairs
        found = {model.name: list(_find_of_model(model, workspace, local)) for model in workspace.registry.models}
    return {model: unanswered for model, unanswered in found.items() if unanswered}


def _find_of_model(model: ModelEntry, workspace: Workspace, local: LocalState) -> Iterator[Unanswered]:
    if model.budget and (serving(workspace.lake) is None or _is_onboarded(model, workspace, local)):
        return  # without an embedder, nothing tells which few questions to ask
    for benchmark in workspace.registry.benchmarks_of(model):
        entry, what, known = entry_digest(model, benchmark, workspace), None, None
        with suppress(CorruptFileError):  # which is moved aside when the model is asked
            known = workspace.lake.response_metadata(benchmark.name, model.name)
        if known is not None and known.get(ENTRY, entry) == entry:  # imported answers have no entry, and hold
            what = local.change(known, model, benchmark)
            if what is None:
                continue
        failure = workspace.lake.failure(benchmark.name, model.name)
        why = Why.NEW if known is None else Why.CHANGED
        if failure is None or failure.entry not in ("", attempt_digest(model, benchmark, workspace, local)):
            yield Unanswered(benchmark.name, why, what=what)
        elif failure.kind != NOT_APPLICABLE:
            interrupted = failure.retry_at <= failure.failed_at  # a kill or two may be an accident
            yield Unanswered(benchmark.name, why if interrupted else Why.FAILED, failure)


def _is_onboarded(model: ModelEntry, workspace: Workspace, local: LocalState) -> bool:
    """Return whether the model has answered its budget of questions under the entries as they read now, or was
    evaluated in full."""
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
