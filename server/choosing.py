"""Which models may answer a request, and which of them is asked first."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from embedder.router import Choice, describe
from harness.registry import Policy

from .requests import Asked
from .snapshot import Snapshot

__all__ = ["Decision", "NoModelLeft", "choose"]

_REASONS = 6  # in a message
_RECORDED = 10  # of the ranking, in what is kept of a decision


@dataclass(frozen=True)
class Decision:
    """Which model is to answer, which ones are next where it fails, and why."""

    policy: str
    version: str  # of the embedder
    ranked: tuple[Choice, ...]  # the first is asked first
    reason: str
    left_out: Mapping[str, str] = field(default_factory=dict)  # by model, why it is not among them
    too_little_known: str | None = None  # why the forecast says little here
    instead_of: Choice | None = None  # what would have been chosen, where something else was
    cost_unit: str = "US$"
    id: str = field(default_factory=lambda: f"decision-{uuid.uuid4().hex}")
    created: float = field(default_factory=time.time)

    @property
    def chosen(self) -> Choice:
        return self.ranked[0]

    def record(self) -> dict[str, Any]:
        """Return it as JSON holds it: the first ten of the ranking, and what was left out by reason. What was asked is
        not in it."""
        return {
            "id": self.id,
            "created": int(self.created),
            "policy": self.policy,
            "embedder": self.version,
            "model": self.chosen.model,
            "reason": self.reason,
            "support": self.chosen.support,
            "too_little_known": self.too_little_known,
            "instead_of": self.instead_of and self.instead_of.model,
            "ranked": [describe(choice) for choice in self.ranked[:_RECORDED]],
            "cost_unit": self.cost_unit,
            "left_out": _by_reason(self.left_out),
        }


class NoModelLeft(Exception):
    """No model may answer: `left_out` says why for each; `for_now` is whether it may be otherwise in a while."""

    def __init__(self, left_out: Mapping[str, str], *, for_now: bool = False) -> None:
        # The rarest reason first: it is the nearest miss.
        grouped = sorted(_by_reason(left_out).items(), key=lambda told: len(told[1]))
        told = "; ".join(f"{_named(models)}: {reason}" for reason, models in grouped[:_REASONS])
        super().__init__(f"no model can take this request ({told or 'the registry has none with a server'})")
        self.left_out = left_out
        self.for_now = for_now


def _by_reason(left_out: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for model, reason in left_out.items():
        found.setdefault(reason, []).append(model)
    return found


def _named(models: Sequence[str]) -> str:
    return f"{', '.join(models[:3])}{f' and {len(models) - 3} more' if len(models) > 3 else ''}"


def choose(
    snapshot: Snapshot,
    policy: Policy,
    asked: Asked,
    *,
    stays_with: str | None = None,
    down: Mapping[str, str] | None = None,
    spent: bool = False,
    need_server: bool = True,
) -> Decision:
    """Rank the models that can answer by the policy.

    `stays_with` is the model that the conversation had so far, `down` says of models why they are not asked now, and
    with `spent` the day's budget is used up. Without `need_server` all models of the embedder are ranked, whether or
    not the registry says where they are. Raises NoModelLeft.
    """
    unfit, down = _find_unfit(snapshot, policy, asked, need_server), down or {}
    left_out = {model: reason for model, reason in down.items() if model in snapshot.models} | unfit
    known = {name: column for column, name in enumerate(snapshot.router.predictor.models)}
    able = [name for name in (snapshot.models if need_server else known) if name not in left_out]
    if able == [policy.model] and policy.model not in known:
        unknown = Choice(able[0], math.nan, math.nan)
        return Decision(policy.name, snapshot.version, (unknown,), "the policy's model", left_out)
    left_out |= {name: "the embedder does not know it: evaluate it" for name in able if name not in known}
    able = [name for name in able if name in known]
    default = _find_default(snapshot, policy, asked, down, need_server)
    if not able and default is not None:
        return Decision(policy.name, snapshot.version, (default,), "the default model", left_out)
    if not able:
        raise NoModelLeft(left_out, for_now=bool(down.keys() & left_out.keys() - unfit.keys()))
    ranked = _rank(snapshot, policy, asked.texts, able)
    cheapest = policy.choose == "cheapest" or spent
    if cheapest or policy.cost_weight or policy.budget_usd_a_day:
        left_out |= {choice.model: "its cost is not known" for choice in ranked if choice.cost is None}
        ranked = [choice for choice in ranked if choice.cost is not None]
        if not ranked:
            raise NoModelLeft(left_out)
    if cheapest:
        at_least = 0 if spent else policy.at_least
        ranked.sort(key=lambda choice: _by_cost(choice, at_least))
        reason = "the cheapest, as the day's budget is spent" if spent else _why_cheapest(ranked[0], at_least)
    else:
        less = f" less {policy.cost_weight:g} times the cost" if policy.cost_weight else ""
        reason = f"the best score{less}" if policy.model is None else "the policy's model"
    decision = Decision(policy.name, snapshot.version, tuple(ranked), reason, left_out, cost_unit=snapshot.cost_unit)
    if spent:
        return decision
    by_default = _by_default(decision, policy, default, snapshot.router.least_support)
    return by_default or _staying(decision, policy, stays_with)


def _find_unfit(snapshot: Snapshot, policy: Policy, asked: Asked, need_server: bool) -> dict[str, str]:
    """Return why models cannot answer, for those that cannot."""
    names = snapshot.models if need_server else snapshot.router.predictor.models
    return {name: reason for name in names if (reason := _why_unfit(snapshot, policy, asked, name, need_server))}


def _find_default(
    snapshot: Snapshot, policy: Policy, asked: Asked, down: Mapping[str, str], need_server: bool
) -> Choice | None:
    """Return the policy's default model where it can answer: neither need the embedder know it, nor is it one of those
    that the policy chooses among."""
    name = policy.default_model
    if name is None or name not in snapshot.models or name in down:
        return None
    return None if _why_unable(snapshot, asked, name, need_server) else Choice(name, math.nan, math.nan)


def _why_unfit(snapshot: Snapshot, policy: Policy, asked: Asked, name: str, need_server: bool) -> str | None:
    chosen_from = policy.among if policy.model is None else (policy.model,)
    if name in policy.without or (chosen_from is not None and name not in chosen_from):
        return f"the policy {policy.name} leaves it out"
    return _why_unable(snapshot, asked, name, need_server)


def _why_unable(snapshot: Snapshot, asked: Asked, name: str, need_server: bool) -> str | None:
    entry = snapshot.models.get(name)
    if entry is None:
        return None
    if need_server:
        if entry.served_at is None:
            return "the registry names no server of it"
        if asked.endpoint not in entry.served_at.endpoints:
            return f"its server does not have {asked.endpoint} among its endpoints"
    if lacking := sorted(asked.needs - set(entry.capabilities)):
        return f"its capabilities lack {' and '.join(lacking)}"
    if entry.context_tokens is not None and asked.tokens > entry.context_tokens:
        return f"about {asked.tokens:,} tokens do not fit into its {entry.context_tokens:,}"
    return None


def _rank(snapshot: Snapshot, policy: Policy, texts: Sequence[str], able: Sequence[str]) -> list[Choice]:
    """Return the models, the best first; by the mean over the texts where there are several."""
    router = snapshot.router
    benchmark = policy.benchmark if policy.benchmark in router.predictor.known_categories() else None
    found = router.rank(texts, models=able, top=len(able), benchmark=benchmark)
    by_model: dict[str, list[Choice]] = {}
    for choice in (snapshot.with_cost(choice) for choices in found for choice in choices):
        by_model.setdefault(choice.model, []).append(choice)
    ranked = [_mean(choices) if len(choices) > 1 else choices[0] for choices in by_model.values()]
    if policy.choose != "cheapest" and policy.cost_weight:
        ranked = [c if c.cost is None else c._replace(score=c.score - policy.cost_weight * c.cost) for c in ranked]
    return sorted(ranked, key=lambda choice: (-choice.score, choice.model))


def _mean(choices: Sequence[Choice]) -> Choice:
    means = {
        name: None if any(v is None for v in values) else sum(values) / len(values)
        for name, *values in zip(Choice._fields[1:], *(choice[1:] for choice in choices), strict=True)
    }
    if means["cost"] is not None:
        means["cost"] *= len(choices)
    return choices[0]._replace(**means)


def _by_cost(choice: Choice, at_least: float) -> tuple[bool, float, float]:
    """Sort those that are likely enough to be right by their cost, and behind them the others by their probability."""
    enough = choice.probability >= at_least
    return not enough, (choice.cost or 0) if enough else -choice.probability, -choice.probability


def _why_cheapest(choice: Choice, at_least: float) -> str:
    if choice.probability >= at_least:
        return f"the cheapest whose probability is at least {at_least:g}"
    return f"the most probable, as none has a probability of {at_least:g}"


def _by_default(
    decision: Decision, policy: Policy, default: Choice | None, least_support: float | None
) -> Decision | None:
    """Return the decision for the default model where the policy or the question asks for it; else None.

    Where too little is known and there is no default, the ranking stays, and it is said all the same.
    """
    best = decision.chosen
    too_little = _why_too_little(best, policy, least_support)
    if policy.choose != "shadow" and too_little is None:
        return None
    if default is None:
        return replace(decision, too_little_known=too_little)
    first = next((choice for choice in decision.ranked if choice.model == default.model), None)
    others = [choice for choice in decision.ranked if choice is not first]
    reason = (
        "the default model: what would be chosen is only noted" if policy.choose == "shadow" else "the default model"
    )
    return replace(
        decision,
        ranked=(first or default._replace(support=best.support), *others),
        reason=reason,
        left_out={model: why for model, why in decision.left_out.items() if model != default.model},
        too_little_known=too_little,
        instead_of=None if best is first else best,
    )


def _why_too_little(best: Choice, policy: Policy, least_support: float | None) -> str | None:
    least = least_support if policy.least_support is None else policy.least_support
    if best.support is not None and least is not None and best.support < least:
        return f"the question is unlike those that models were asked: support {best.support:.2f}, below {least:.2f}"
    widest = policy.widest_interval
    if widest is not None and best.low is not None and best.high is not None and best.high - best.low > widest:
        return f"the 95% interval of the best model is {best.low:.2f} to {best.high:.2f}, wider than {widest:g}"
    return None


def _staying(decision: Decision, policy: Policy, model: str | None) -> Decision:
    """Let a conversation keep its model, unless another gains more than the policy's stickiness."""
    so_far = next((choice for choice in decision.ranked if choice.model == model), None)
    if so_far is None or so_far is decision.chosen:
        return decision
    if policy.choose == "cheapest":
        stays = so_far.probability >= policy.at_least
    else:
        stays = decision.chosen.score - so_far.score <= policy.stickiness
    if not stays:
        return decision
    others = [choice for choice in decision.ranked if choice is not so_far]
    return replace(
        decision, ranked=(so_far, *others), reason="the conversation's model so far", instead_of=decision.chosen
    )
