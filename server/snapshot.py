"""What is served by, and what of it will not work as somebody may expect."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from embedder.router import Choice, Router
from harness.registry import ModelEntry, Policies

__all__ = ["Snapshot"]

_TOKENS_IN, _TOKENS_OUT = 200, 200  # of a question and its answer, where nothing else is known


@dataclass(frozen=True)
class Snapshot:
    """What is served by: each request keeps the one that it began with."""

    router: Router
    version: str  # of the embedder
    models: Mapping[str, ModelEntry]  # of the registry
    policies: Policies

    @cached_property
    def served(self) -> frozenset[str]:
        """The models that have a server."""
        return frozenset(name for name, entry in self.models.items() if entry.served_at is not None)

    @cached_property
    def in_dollars(self) -> bool:
        """Whether costs are US$: the router's are, or the registry has a price by now."""
        return self.router.cost_unit == "US$" or any(self.models[name].price for name in self.served)

    @property
    def cost_unit(self) -> str:
        return "US$" if self.in_dollars else self.router.cost_unit

    def with_cost(self, choice: Choice) -> Choice:
        """Return the choice with its cost in `cost_unit`: what the router expects, or else the registry's price."""
        if not self.in_dollars or (self.router.cost_unit == "US$" and choice.cost is not None):
            return choice
        entry = self.models.get(choice.model)
        price = entry.price if entry else None
        cost = (_TOKENS_IN * price.input + _TOKENS_OUT * price.output) / 1e6 if price else None
        return choice._replace(cost=cost)

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        return tuple(self._warn())

    def _warn(self) -> Iterator[str]:
        known = set(self.router.predictor.models)
        able = len(known & self.served)
        if not able:
            yield (
                f"none of the embedder's {len(known)} models has a server: add upstream to their entries in models.yaml"
            )
        keys = {entry.served_at.api_key_env for entry in self.models.values() if entry.upstream and entry.served_at}
        for key in sorted(key for key in keys if key and not os.environ.get(key)):
            yield f"the environment variable {key}, which models.yaml names as a server's key, is not set"
        categories = self.router.predictor.known_categories()
        for policy in self.policies.by_name.values():
            if policy.benchmark is not None and policy.benchmark not in categories:
                yield f"the policy {policy.name} is for {policy.benchmark!r}, which the embedder does not know"
            for name in filter(None, (policy.model, policy.default_model)):
                if name not in self.served:
                    yield f"the policy {policy.name} names {name}, which has no server"
            by_cost = policy.cost_weight or policy.choose == "cheapest" or policy.budget_usd_a_day
            if by_cost and not self.in_dollars and self.policies.file is not None:
                yield f"the policy {policy.name} weighs {self.cost_unit}, as models.yaml has no prices"
