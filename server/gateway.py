"""A request from its body to its reply: choose, ask, fall back, and note what came of it."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from harness.registry import Endpoint, ModelEntry, Policy

from .breaker import Breakers
from .choosing import Decision, NoModelLeft, choose
from .live import Live
from .memory import Ledger, Recent
from .metrics import Metrics
from .relay import AllFailed, Relayed, relay
from .requests import Asked, BadRequest, Body
from .upstream import Failure, Reply

__all__ = ["Answer", "Gateway", "PolicySpent", "UnknownName"]

NAME = "embedllm"
_DECISIONS, _CONVERSATIONS = 10_000, 100_000  # that are remembered
_CACHED_S = 3600.0  # for which servers keep what they have read of a conversation, at most
_NAMED = Policy(name="named")  # how a model is asked that the client names
_MOST_TOKENS = 10**9  # that a server is believed to have read or written for one request
_TOKENS = (("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens"))  # chat's names, responses' names

log = logging.getLogger(__name__)


class UnknownName(ValueError):
    """The client names neither a policy nor a model that the registry has a server of."""


class PolicySpent(Exception):
    """The day's budget of a policy is used up; `seconds_left` is when there is a new one."""

    def __init__(self, policy: Policy, seconds_left: float) -> None:
        super().__init__(
            f"the policy {policy.name} has spent its {policy.budget_usd_a_day:g} US$ of today; "
            "there is a new budget at midnight UTC"
        )
        self.seconds_left = seconds_left


@dataclass(frozen=True)
class Answer:
    """A model's reply, and the headers that say why it is this model's."""

    reply: Reply
    headers: Mapping[str, str]
    body: AsyncGenerator[bytes] | None = None  # what follows `reply.begun`, where it is streamed

    async def aclose(self) -> None:
        """Leave the model's server, whether or not all has come."""
        if self.body is not None:
            await self.body.aclose()
        await self.reply.aclose()


@dataclass
class _Request:
    """What is noted of a request while it goes on."""

    client: str
    endpoint: Endpoint
    stream: bool
    started: float
    decision: Decision | None = None
    policy: Policy | None = None
    conversation: str | None = None
    down: Mapping[str, str] = field(default_factory=dict)  # models that are left alone, and why


class Gateway:
    """Everything that requests share."""

    def __init__(self, live: Live, client: httpx.AsyncClient, state_folder: Path | None = None) -> None:
        self.live = live
        self.breakers = Breakers()
        self.ledger = Ledger(state_folder / "spent.json" if state_folder else None)
        self.decisions = Recent(_DECISIONS)  # JSON, a tenth of what the objects take
        self._conversations = Recent(_CONVERSATIONS, _CACHED_S)
        self._client = client
        self.metrics = Metrics(self._gauges)

    async def answer(self, endpoint: Endpoint, body: Body, headers: Mapping[str, str], client: str) -> Answer:
        """Return the answer to a request.

        Raises BadRequest, UnknownName, NoModelLeft, PolicySpent or AllFailed.
        """
        request = _Request(client, endpoint, body.stream, time.monotonic())
        try:
            policy, models = await self._choose(request, body)
            relayed = await relay(
                self._client,
                models,
                endpoint,
                body,
                dict(headers),
                breakers=self.breakers,
                timeout_s=policy.timeout_s,
                deadline_s=policy.deadline_s,
                on_failure=lambda model: self.metrics.failures.labels(model).inc(),
            )
        except asyncio.CancelledError:
            self._note(request, None, "client left")
            raise
        except AllFailed as error:
            error.headers, error.alone = self._decided(request), _left_alone(request)
            self._note(request, None, "failed", error.tries)
            raise
        except (BadRequest, UnknownName, NoModelLeft, PolicySpent) as error:
            self._note(request, None, type(error).__name__)
            raise
        self.metrics.answering.observe(time.monotonic() - request.started)
        if request.conversation and request.policy:
            self._conversations.put(request.conversation, relayed.model)
        told = self._headers(request, relayed)
        if relayed.reply.rest is None:
            self._finish(request, relayed, "answered")
            return Answer(relayed.reply, told)
        return Answer(relayed.reply, told, self._stream(request, relayed, relayed.reply.rest))

    async def decide(self, policy_name: str | None, asked: Asked) -> Decision:
        """Return the decision alone, over all models of the embedder, whether or not they have a server."""
        policy = self._policy(policy_name or NAME)
        if policy is None:
            known = ", ".join(self.live.snapshot.policies.by_name)
            raise UnknownName(f"there is no policy {policy_name!r:.100}; there are {known}")
        snapshot = self.live.snapshot
        return await asyncio.to_thread(choose, snapshot, policy, asked, need_server=False)

    async def close(self) -> None:
        await self._client.aclose()

    def names(self) -> list[str]:
        """Return what a client can name as a model: policies first, then the models that have a server."""
        snapshot = self.live.snapshot
        policies = [NAME, *(f"{NAME}/{name}" for name in snapshot.policies.by_name)]
        return [*policies, *(name for name in snapshot.models if name in snapshot.served)]

    async def _choose(self, request: _Request, body: Body) -> tuple[Policy, list[ModelEntry]]:
        """Return the policy of a request, and the models to ask in their order."""
        snapshot = self.live.snapshot
        policy = self._policy(body.model)
        if policy is None:
            if body.model not in snapshot.served:
                raise UnknownName(self._unknown(body.model))
            return _NAMED, [snapshot.models[body.model]]
        request.policy = policy
        asked = body.asked(request.endpoint, turns_before=policy.turns_before)
        spent = policy.budget_usd_a_day is not None and self.ledger.spent(policy.name) >= policy.budget_usd_a_day
        if spent and policy.when_spent == "refuse":
            raise PolicySpent(policy, self.ledger.seconds_left())
        if asked.conversation:
            request.conversation = f"{request.client} {policy.name} {asked.conversation}"
        down = {} if policy.model is not None else self.breakers.down()
        if policy.choose == "shadow":  # its default model answers whatever happens
            down.pop(policy.default_model or "", None)
        request.down = down
        decision = await asyncio.to_thread(
            choose,
            snapshot,
            policy,
            asked,
            stays_with=self._conversations.get(request.conversation),
            down=down,
            spent=spent,
        )
        request.decision = decision
        self.metrics.deciding.observe(time.monotonic() - request.started)
        ranked = decision.ranked if policy.fall_back and policy.choose != "shadow" else decision.ranked[:1]
        return policy, [snapshot.models[choice.model] for choice in ranked]

    def _policy(self, name: str) -> Policy | None:
        policies = self.live.snapshot.policies
        if name == NAME:
            return policies.by_name[policies.default]
        return policies.by_name.get(name.removeprefix(f"{NAME}/")) if name.startswith(f"{NAME}/") else None

    def _unknown(self, name: str) -> str:
        if name in self.live.snapshot.models:
            return f"{name} has no server in the registry: add upstream to its entry in models.yaml"
        names = self.names()
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""
        return f"there is no model {name[:100]!r}; there are {', '.join(names[:8])}{more}"

    def _headers(self, request: _Request, relayed: Relayed) -> dict[str, str]:
        told: dict[str, object] = {"model": quote(relayed.model, safe="/:@+,()[] "), "tries": len(relayed.tries)}
        if request.decision is not None:
            decision = request.decision
            choice = next(choice for choice in decision.ranked if choice.model == relayed.model)
            if choice.cost is not None and decision.cost_unit != "US$":
                told["cost-unit"] = decision.cost_unit
            numbers = {"probability": choice.probability, "low": choice.low, "high": choice.high, "cost": choice.cost}
            told |= {name: f"{value:.6g}" for name, value in numbers.items() if value is not None and value == value}
            if decision.too_little_known:
                told["evidence"] = "insufficient"
        return {**self._decided(request), **{f"x-embedllm-{name}": str(value) for name, value in told.items()}}

    def _decided(self, request: _Request) -> dict[str, str]:
        decision = request.decision
        if decision is None:
            return {}
        told = {"decision": decision.id, "policy": decision.policy, "embedder": decision.version}
        return {f"x-embedllm-{name}": value for name, value in told.items()}

    async def _stream(self, request: _Request, relayed: Relayed, rest: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
        """Yield the rest of a stream. Where it breaks off, AllFailed is raised behind the last whole event."""
        outcome = "client left"
        try:
            async for piece in rest:
                yield piece
            outcome = "answered"
            self.breakers.of(relayed.model).succeed()
        except Failure as failure:
            outcome = "broke off"
            self.breakers.of(relayed.model).fail()
            self.metrics.failures.labels(relayed.model).inc()
            raise AllFailed([replace(relayed.tries[-1], failure=str(failure))], [failure], 0) from failure
        finally:
            await relayed.reply.aclose()
            self._finish(request, relayed, outcome)

    def _finish(self, request: _Request, relayed: Relayed, outcome: str) -> None:
        self._spend(request, relayed)
        self._note(request, relayed, outcome, relayed.tries)

    def _spend(self, request: _Request, relayed: Relayed) -> None:
        """Note what the answer cost: by the tokens that the server reports, or else as was predicted."""
        if request.decision is None or request.policy is None or relayed.reply.status >= 400:
            return
        usd = _measured_cost(self.live.snapshot.models.get(relayed.model), relayed.reply.usage)
        if usd is None and request.decision.cost_unit == "US$":
            usd = next(choice.cost for choice in request.decision.ranked if choice.model == relayed.model)
        self.ledger.add(request.policy.name, usd or 0.0)

    def _note(self, request: _Request, relayed: Relayed | None, outcome: str, tries: Any = ()) -> None:
        model = relayed.model if relayed else ""
        policy = request.policy.name if request.policy else "named"
        self.metrics.requests.labels(policy, model, outcome).inc()
        noted = {
            "answered_by": model or None,
            "outcome": outcome,
            "status": relayed.reply.status if relayed else None,
            "tries": [a_try.record() for a_try in tries],
            "seconds": round(time.monotonic() - request.started, 4),
            "endpoint": request.endpoint,
            "stream": request.stream,
            "client": request.client,
        }
        if request.decision is not None:
            record = {**request.decision.record(), **noted}
            self.decisions.put(request.decision.id, json.dumps(record).encode())
            noted |= {
                "decision": request.decision.id,
                "chosen": request.decision.chosen.model,
                "instead_of": request.decision.instead_of and request.decision.instead_of.model,
            }
        log.info("request", extra={"told": {"policy": policy, **noted}})

    def _gauges(self) -> dict[str, dict[str, float]]:
        states = {"closed": 0.0, "half-open": 0.5, "open": 1.0}
        return {
            "server_is_left_alone": {model: states[state] for model, state in self.breakers.states().items()},
            "spent_today_usd": self.ledger.all(),
            "reloads": {"all": self.live.reloads},
            "change_is_refused": {"now": float(self.live.problem is not None)},
        }


def _left_alone(request: _Request) -> dict[str, str]:
    """Return the models that were not asked because they had failed before, and for how long that is so."""
    left_out = request.decision.left_out if request.decision else {}
    return {model: reason for model, reason in request.down.items() if left_out.get(model) == reason}


def _measured_cost(entry: ModelEntry | None, usage: Mapping[str, Any] | None) -> float | None:
    """Return US$, None where the price or the tokens are not known."""
    if entry is None or entry.price is None or not isinstance(usage, Mapping):
        return None
    tokens = [usage.get(chat, usage.get(responses)) for chat, responses in _TOKENS]
    if not all(isinstance(count, int) and 0 <= count < _MOST_TOKENS for count in tokens):
        return None
    return (tokens[0] * entry.price.input + tokens[1] * entry.price.output) / 1e6
