"""What is due, and why: the one decision from which the command line, the sensors and the schedules all start.

It compares what there is (the registry, the lake) with what was asked and with what was made from what
(assets/inputs/provenance.py). Dagster's records only say what is being done now and what was killed several times, so
that nothing depends on what was remembered since the last look.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import dagster as dg

from assets.inputs.external import EXTERNALS
from assets.inputs.local_state import LocalState
from assets.inputs.partitions import responses_key
from assets.inputs.provenance import (
    EXPENSIVE,
    Provenance,
    describe_attempt,
    describe_pool,
    failed_attempts,
    find_inputs,
    read_provenance,
)
from assets.inputs.workspace import Workspace
from harness.digests import digest_of
from pipelines.graph import build_assets
from pipelines.instance import UNFINISHED
from pipelines.launchers import tags_for

from .answers import Unanswered, can_ask, find_unanswered

REASON = "embedllm/reason"
"""Tag of a run: why it was started."""
PLANNED = "embedllm/planned"
"""Tag of a run: `Request.digest` of what it was started for."""

ZOO, MATRIX, WAREHOUSE = dg.AssetKey("zoo"), dg.AssetKey("correctness_matrix"), dg.AssetKey("warehouse")
GROWN = 0.2  # share by which the models or questions must have become more or fewer, so that the expensive do not wait
ATTEMPTS = 5  # this many failed runs for the same are no accident
TOGETHER = 500  # requests whose runs are looked up by one query
CONFIRMED = "weekly: does it still come out the same?"
COMPARED = "weekly: are weights and tasks what they were?"

BEING_ASKED = "it is being asked now"
REFRESH_AT_WORK = "a refresh is running"
ANSWERS_TO_COME = "answers are still to come"
ZOO_FIRST = "the demo's models are trained first"
NO_ANSWERS = "there are no answers yet"
FAILED = "it failed, and nothing has changed since"
GIVEN_UP = f"{ATTEMPTS} runs for it have failed"
LATER = "the weekly refresh, `embedllm run --full`, or a pool that has changed by a fifth"


@dataclass(frozen=True)
class Request:
    """Assets to be made by one run, each with the reason; with a model, what it is to be asked."""

    reasons: Mapping[dg.AssetKey, str]
    digest: str  # of what decides how it comes out: the same digest is the same attempt
    model: str | None = None
    waits: str | None = None  # what it waits for; None: it can begin
    placement: Mapping[str, str] = field(default_factory=dict)  # tags that say what a machine must have for it

    @property
    def assets(self) -> list[dg.AssetKey]:
        return list(self.reasons)

    @property
    def benchmarks(self) -> list[str]:
        return [key.path[-1] for key in self.reasons] if self.model else []

    @property
    def tags(self) -> dict[str, str]:
        """Tags of the run that does it."""
        return {REASON: self.reason, PLANNED: self.digest, **self.placement}

    @property
    def reason(self) -> str:
        """The reason as it stands in a tag; of many assets, only those of the first few."""
        if self.model:
            return "; ".join(dict.fromkeys(self.reasons.values()))
        first = [f"{key.to_user_string()}: {reason}" for key, reason in self.reasons.items()][:3]
        more = len(self.reasons) - len(first)
        return "; ".join([*first, *([f"and {more} more"] if more else [])])


def plan(
    workspace: Workspace,
    instance: dg.DagsterInstance,
    *,
    full: bool = False,
    compare: bool = False,
    retry_by: datetime | None = None,
    local: LocalState | None = None,
    leave_out: Collection[str] = (),
) -> list[Request]:
    """Return what is due, in the order in which it is to be done: a request for each model, then what is made of
    answers.

    Args:
        full: expensive experiments are due as soon as they are out of date, even if answers are still to come.
        compare: every model is due, to compare its answers with weights and tasks as they are now; and so is what has a
            freshness policy.
        retry_by: what failed is due if its back-off is over by then (UTC); without it, not before something changes.
        local: how to find out about weights and tasks; by default from what this machine has.
        leave_out: models that are neither asked nor waited for.
    """
    # Looked up first: what ends meanwhile has left its answers, or is no longer out of date. None stands for a refresh.
    records = instance.get_run_records(dg.RunsFilter(statuses=UNFINISHED))
    busy = {record.dagster_run.tags.get("dagster/partition") for record in records}
    models, retry = can_ask(workspace), retry_by is not None
    unanswered = find_unanswered(workspace, local) if models else {}
    asked = [
        request
        for request in _ask(workspace, instance, unanswered, busy, compare=compare and models, retry_by=retry_by)
        if request.model not in leave_out
    ]
    if not retry:
        asked = _give_up(asked, instance)
    to_come = bool(busy) or any(request.waits is None for request in asked)
    out_of_date = find_out_of_date(workspace, full=full, confirm=compare)
    refresh = list(_refresh(workspace, out_of_date, busy, to_come=to_come and not full, retry=retry))
    return [*asked, *(refresh if retry else _give_up(refresh, instance))]


def find_runs(
    requests: Iterable[Request], instance: dg.DagsterInstance, statuses: Sequence[dg.DagsterRunStatus] = ()
) -> dict[str, list[dg.DagsterRun]]:
    """Return by digest the runs that were started for each of these requests, the newest first."""
    runs: dict[str, list[dg.DagsterRun]] = {request.digest: [] for request in requests}
    digests = list(runs)
    for start in range(0, len(digests), TOGETHER):
        sought = {PLANNED: digests[start : start + TOGETHER]}
        for run in instance.get_runs(dg.RunsFilter(tags=sought, statuses=statuses)):
            runs[run.tags[PLANNED]].append(run)
    return runs


# --- what models are asked


def _ask(
    workspace: Workspace,
    instance: dg.DagsterInstance,
    unanswered: Mapping[str, Sequence[Unanswered]],
    busy: Collection[str | None],
    *,
    compare: bool,
    retry_by: datetime | None,
) -> Iterator[Request]:
    cannot = {(pair["benchmark"], pair["model"]) for pair in workspace.lake.not_applicable().to_pylist()}
    for model in workspace.registry.models:
        found = {one.benchmark: one for one in unanswered.get(model.name, ())}
        being_asked = model.name in busy
        reasons = {name: one.tell(being_asked=being_asked) for name, one in found.items() if one.is_due(retry_by)}
        if compare:
            asked = [benchmark.name for benchmark in workspace.registry.benchmarks_of(model)]
            reasons |= {name: COMPARED for name in asked if name not in found and (name, model.name) not in cannot}
        if reasons:
            yield Request(
                {responses_key(name): reason for name, reason in reasons.items()},
                digest_of([model.name, model.as_written.model_dump_json(), reasons])[:16],
                model.name,
                waits=BEING_ASKED if being_asked else None,
                placement=tags_for(model, instance),
            )


# --- what is made of answers


@dataclass(frozen=True)
class OutOfDate:
    """An asset that was made from something else than what is there now."""

    spec: dg.AssetSpec
    reason: str
    attempt: str  # see provenance.describe_attempt
    later: bool = False  # it is expensive, and waits
    spreads: bool = True  # what is made of it is out of date too
    direct: bool = True  # the reason is not only that something it is made from is out of date


def find_out_of_date(
    workspace: Workspace, *, full: bool = False, confirm: bool = False
) -> dict[dg.AssetKey, OutOfDate]:
    """Return the unpartitioned assets that are out of date, in the order in which they are made.

    With `confirm`, those that have a freshness policy count as well: made of the same, they come out the same.
    """
    specs = [spec for assets in build_assets(workspace.registry) for spec in assets.specs if not spec.partitions_def]
    made, pool = read_provenance(workspace), describe_pool(workspace)
    found: dict[dg.AssetKey, OutOfDate] = {}
    for spec in specs:
        before, inputs = made.get(spec.key.to_user_string()), find_inputs(spec, made, workspace)
        attempt = describe_attempt(spec, inputs)
        upstream = [key for key, other in found.items() if other.spreads and key in _parents(spec)]
        if before is None:
            found[spec.key] = OutOfDate(spec, "never made", attempt)
            continue
        if own := _find_own_reason(spec, before, workspace):
            found[spec.key] = OutOfDate(spec, own, attempt)
            continue
        changed = [name for name, version in inputs.items() if version != before.inputs.get(name)]
        if upstream or changed:
            reason = f"{upstream[0].to_user_string()} is out of date" if upstream else _tell_changed(changed[0])
            later = not full and EXPENSIVE.items() <= spec.tags.items() and not _has_grown(before.pool, pool)
            found[spec.key] = OutOfDate(spec, reason, attempt, later, spreads=not later, direct=bool(changed))
        elif confirm and spec.freshness_policy:
            found[spec.key] = OutOfDate(spec, CONFIRMED, attempt, spreads=False)
    for key in reversed(found):  # what an expensive one that is due is made from may not wait either
        if not found[key].later and EXPENSIVE.items() <= found[key].spec.tags.items():
            for parent in _parents(found[key].spec) & found.keys():
                found[parent] = replace(found[parent], later=False)
    return found


def _parents(spec: dg.AssetSpec) -> set[dg.AssetKey]:
    return {dep.asset_key for dep in spec.deps}


def _find_own_reason(spec: dg.AssetSpec, before: Provenance, workspace: Workspace) -> str | None:
    """Return why the asset is out of date whatever it is made from: its code, or something that it left and is gone."""
    from harness.zoo import is_built

    if before.code_version != spec.code_version:
        return "its code changed"
    if before.asset == "zoo" and not is_built(workspace.zoo, seed=workspace.seed):
        return "a model or a task is gone"
    for file in before.files:
        if not workspace.has(workspace.home / file):
            return f"{file} is gone"
    for table, parts in before.tables.items():
        if missing := set(parts) - set(workspace.lake.table_parts(table)):
            return f"part {min(missing)} of the table {table} is gone"
    return None


def _tell_changed(asset: str) -> str:
    external = EXTERNALS.get(asset.removeprefix("inputs/")) if asset.startswith("inputs/") else None
    name = external.name.replace("_", " ") if external else asset
    return external.changed if external and external.changed else f"{name} changed"


def _has_grown(then: Mapping[str, int] | None, now: Mapping[str, int]) -> bool:
    return then is None or any(abs(now[what] - then[what]) >= GROWN * then[what] for what in now)


def _refresh(
    workspace: Workspace,
    found: Mapping[dg.AssetKey, OutOfDate],
    busy: Collection[str | None],
    *,
    to_come: bool,
    retry: bool,
) -> Iterator[Request]:
    """Yield a request for everything that can be made at once, and one for everything else that waits for the same."""
    failed = failed_attempts(workspace)
    external = {one.key for one in EXTERNALS.values()}
    waits: dict[dg.AssetKey, str | None] = {}
    for key, one in found.items():
        upstream = [waits[parent] for parent in waits if parent in _parents(one.spec) and not found[parent].later]
        if one.later:
            waits[key] = LATER
        elif None in busy:
            waits[key] = REFRESH_AT_WORK
        elif not retry and not upstream and failed.get(key.to_user_string()) == one.attempt:
            waits[key] = FAILED
        elif _parents(one.spec) <= external:
            waits[key] = None
        elif to_come:
            waits[key] = ANSWERS_TO_COME
        elif ZOO in found:
            waits[key] = ZOO_FIRST
        elif key == MATRIX and not workspace.lake.pairs():
            waits[key] = NO_ANSWERS
        else:
            # What there is gets published, even if something else failed.
            passes = FAILED if key == WAREHOUSE and (one.direct or None in upstream) else None
            waits[key] = next((other for other in upstream if other and other != passes), None)
    for waiting in dict.fromkeys(sorted(waits.values(), key=lambda one: one is not None)):
        keys = [key for key, one in waits.items() if one == waiting]
        digest = digest_of({key.to_user_string(): found[key].attempt for key in keys})[:16]
        yield Request({key: found[key].reason for key in keys}, digest, waits=waiting)


def _give_up(requests: Sequence[Request], instance: dg.DagsterInstance) -> list[Request]:
    """Let requests wait whose runs were killed, or could not be started, several times."""
    ready = [request for request in requests if request.waits is None]
    failed = find_runs(ready, instance, [dg.DagsterRunStatus.FAILURE])
    return [
        replace(request, waits=GIVEN_UP) if len(failed.get(request.digest, ())) >= ATTEMPTS else request
        for request in requests
    ]
