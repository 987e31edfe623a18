"""Which model a policy chooses, and why."""

import json
from dataclasses import replace
from typing import Any

import pytest

from embedder.router import Router
from harness.registry import Policy
from server.choosing import Decision, NoModelLeft, choose
from server.requests import Asked, read_body

from .fakes import Foretold, Nothing, snapshot

SUM, POEM, NONSENSE = "What is 2 plus 2?", "A poem, please", "asdf"


def decide(policy: Policy, text: str = SUM, *, needs: Any = (), tokens: int = 0, **options: Any) -> Decision:
    fields = options.pop("fields", {})
    asked = Asked((text,), "chat", frozenset(needs), tokens)
    return choose(snapshot("http://localhost:1/v1", [policy], **fields), policy, asked, **options)


def order(decision: Decision) -> list[str]:
    return [choice.model for choice in decision.ranked]


@pytest.mark.parametrize(
    ("policy", "text", "models", "reason"),
    [
        ({}, SUM, ["good", "fair", "poor"], "the best score"),
        ({}, POEM, ["poor", "fair", "good"], "the best score"),
        ({"cost_weight": 20}, SUM, ["fair", "good", "poor"], "the best score less 20 times the cost"),
        ({"choose": "cheapest"}, SUM, ["fair", "good", "poor"], "the cheapest whose probability is at least 0.7"),
        ({"choose": "cheapest", "at_least": 0.85}, SUM, ["good", "fair", "poor"],
         "the cheapest whose probability is at least 0.85"),
        ({"choose": "cheapest", "at_least": 0.95}, SUM, ["good", "fair", "poor"],
         "the most probable, as none has a probability of 0.95"),
        ({"choose": "cheapest", "at_least": 0}, SUM, ["poor", "fair", "good"],
         "the cheapest whose probability is at least 0"),
        ({"choose": "pinned", "model": "poor"}, SUM, ["poor"], "the policy's model"),
        ({"choose": "shadow", "default_model": "poor"}, SUM, ["poor", "good", "fair"],
         "the default model: what would be chosen is only noted"),
        ({"among": ["fair", "poor"]}, SUM, ["fair", "poor"], "the best score"),
        ({"without": ["good"]}, SUM, ["fair", "poor"], "the best score"),
    ],
)  # fmt: skip
def test_the_policy_decides(policy: dict[str, Any], text: str, models: list[str], reason: str) -> None:
    decision = decide(Policy(name="p", **policy), text)
    assert (order(decision), decision.reason) == (models, reason)


def test_a_shadow_notes_what_it_would_have_chosen() -> None:
    decision = decide(Policy(name="p", choose="shadow", default_model="poor"))
    assert decision.instead_of is not None
    assert decision.instead_of.model == "good"


def test_a_question_unlike_all_goes_to_the_default_model_and_it_is_said() -> None:
    policy = Policy(name="p", default_model="fair")
    decision = decide(policy, NONSENSE)

    assert order(decision) == ["fair", "good", "poor"]
    assert decision.too_little_known == (
        "the question is unlike those that models were asked: support 0.10, below 0.20"
    )
    assert decide(policy).too_little_known is None
    assert order(decide(Policy(name="p"), NONSENSE))[0] == "good"
    assert decide(Policy(name="p"), NONSENSE).too_little_known is not None
    assert decide(Policy(name="p", default_model="fair", least_support=0.05), NONSENSE).too_little_known is None


def test_intervals_that_are_too_wide_are_too_little() -> None:
    decision = decide(Policy(name="p", default_model="fair", widest_interval=0.1))
    assert decision.too_little_known == "the 95% interval of the best model is 0.77 to 0.96, wider than 0.1"
    assert decision.chosen.model == "fair"


@pytest.mark.parametrize(
    ("needs", "tokens", "model", "why"),
    [
        (["tools"], 0, "fair", "its capabilities lack tools"),
        (["vision", "json"], 0, "poor", "its capabilities lack json and vision"),
        ((), 5000, "fair", "about 5,000 tokens do not fit into its 4,096"),
    ],
)
def test_what_a_model_cannot_do_it_is_not_asked(needs: list[str], tokens: int, model: str, why: str) -> None:
    fields = {
        "good": {"context_tokens": 4096},
        "fair": {"capabilities": ["tools"]},
        "poor": {"capabilities": ["vision", "json"]},
    }
    decision = decide(Policy(name="p"), needs=needs, tokens=tokens, fields=fields)
    assert decision.chosen.model == model
    assert decision.left_out["good"] == why


def test_no_model_is_left() -> None:
    with pytest.raises(
        NoModelLeft, match=r"no model can take this request \(good, fair, poor: its capabilities lack vision\)"
    ) as told:
        decide(Policy(name="p"), needs=["vision"])
    assert not told.value.for_now
    down = dict.fromkeys(("good", "fair", "poor"), "its server is not asked for another 3 s")
    with pytest.raises(NoModelLeft) as told:
        decide(Policy(name="p"), down=down)
    assert told.value.for_now
    with pytest.raises(NoModelLeft) as told:
        decide(Policy(name="p"), needs=["vision"], down=down)
    assert not told.value.for_now  # up again, they could not take it either


def test_a_conversation_keeps_its_model_unless_another_gains_more_than_that_is_worth() -> None:
    assert order(decide(Policy(name="p", stickiness=0.2), stays_with="fair")) == ["fair", "good", "poor"]
    assert order(decide(Policy(name="p", stickiness=0.05), stays_with="fair"))[0] == "good"
    assert order(decide(Policy(name="p", choose="cheapest"), stays_with="good"))[0] == "good"
    assert order(decide(Policy(name="p", choose="cheapest"), stays_with="poor"))[0] == "fair"
    assert order(decide(Policy(name="p"), stays_with="gone"))[0] == "good"


@pytest.mark.parametrize("policy", [{}, {"among": ["good", "fair"]}, {"choose": "cheapest"}])
def test_a_default_model_answers_though_the_embedder_does_not_know_it(policy: dict[str, Any]) -> None:
    given = snapshot("http://localhost:1/v1")
    new = given.models["poor"].model_copy(update={"name": "new"})
    given = replace(given, models={**given.models, "new": new})
    asked = Asked((NONSENSE,), "chat")

    decision = choose(given, Policy(name="p", default_model="new", **policy), asked)
    assert order(decision)[:2] == ["new", "fair" if "choose" in policy else "good"]
    assert "new" not in decision.left_out
    assert json.loads(json.dumps(decision.record(), allow_nan=False))["ranked"][0]["probability"] is None

    shadow = choose(given, Policy(name="p", choose="shadow", default_model="new"), Asked((SUM,), "chat"))
    assert (shadow.chosen.model, shadow.instead_of and shadow.instead_of.model) == ("new", "good")
    assert choose(given, Policy(name="p", default_model="new", **policy), Asked((SUM,), "chat")).chosen.model != "new"


def test_a_default_model_answers_where_no_other_can() -> None:
    fields = {"fair": {"capabilities": ["vision"]}}
    decision = decide(Policy(name="p", among=("good",), default_model="fair"), needs=["vision"], fields=fields)
    assert (order(decision), decision.reason) == (["fair"], "the default model")
    with pytest.raises(NoModelLeft):
        decide(Policy(name="p", among=("good",), default_model="poor"), needs=["vision"], fields=fields)
    with pytest.raises(NoModelLeft):
        decide(
            Policy(name="p", among=("good",), default_model="fair"),
            needs=["vision"],
            fields=fields,
            down={"fair": "its server is not asked"},
        )


def test_the_nearest_miss_is_named_first() -> None:
    fields = {"good": {"capabilities": ["vision"]}, "fair": {"context_tokens": 10}}
    with pytest.raises(NoModelLeft) as told:
        decide(Policy(name="p", without=("good",)), needs=["vision"], fields=fields)
    assert str(told.value) == (
        "no model can take this request (good: the policy p leaves it out; fair, poor: its capabilities lack vision)"
    )


def test_costs_are_those_of_the_registry_where_the_router_knows_no_prices() -> None:
    """A question and answer of 200 tokens each, at 1 and 2 US$ a million, is 0.0006 US$."""
    policy = Policy(name="p", choose="cheapest", at_least=0)
    prices = {"good": {"price": {"input": 0.1, "output": 0.1}}, "poor": {"price": None}}
    served = snapshot("http://localhost:1/v1", [policy], **prices)
    by_size = Router(
        Foretold(), Nothing(), {"good": 70.0, "fair": 7.0, "poor": 1.0}, cost_unit="billions of parameters"
    )  # type: ignore[arg-type]
    decision = choose(replace(served, router=by_size), policy, Asked((SUM,), "chat"))

    assert [(choice.model, choice.cost) for choice in decision.ranked] == [
        ("good", pytest.approx(0.00004)),
        ("fair", pytest.approx(0.0006)),
    ]
    assert decision.left_out == {"poor": "its cost is not known"}
    assert decision.record()["cost_unit"] == "US$"


def test_what_will_not_work_as_expected_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("A_KEY", raising=False)
    policies = [Policy(name="p", benchmark="romann"), Policy(name="q", choose="pinned", model="gone")]
    assert snapshot("http://localhost:1/v1", policies, upstream={"api_key_env": "A_KEY"}).warnings == (
        "the environment variable A_KEY, which models.yaml names as a server's key, is not set",
        "the policy p is for 'romann', which the embedder does not know",
        "the policy q names gone, which has no server",
    )
    alone = replace(snapshot("http://localhost:1/v1"), models={})
    assert alone.warnings == (
        "none of the embedder's 3 models has a server: add upstream to their entries in models.yaml",
    )


def test_with_the_budget_spent_the_cheapest_answers() -> None:
    decision = decide(Policy(name="p", budget_usd_a_day=1, when_spent="cheapest"), spent=True)
    assert (order(decision), decision.reason) == (
        ["poor", "fair", "good"], "the cheapest, as the day's budget is spent"
    )  # fmt: skip


CHAT = [
    {"role": "system", "content": "Be short."},
    {"role": "user", "content": "First?"},
    {"role": "assistant", "content": "Yes."},
    {"role": "user", "content": [{"type": "text", "text": "And"}, {"type": "text", "text": "second?"}]},
    {"role": "tool", "content": "42"},
]


@pytest.mark.parametrize(
    ("turns_before", "text"),
    [(0, "And\nsecond?"), (1, "Yes.\n\nAnd\nsecond?"), (9, "First?\n\nYes.\n\nAnd\nsecond?")],
)
def test_what_is_routed_is_the_users_last_turn_with_as_much_before_it_as_is_wanted(
    turns_before: int, text: str
) -> None:
    body = read_body(json.dumps({"model": "embedllm", "messages": CHAT}).encode())
    assert body.asked("chat", turns_before=turns_before).texts == (text,)


def test_what_a_request_needs_is_read_from_it() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
    content = {
        "model": "embedllm",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "x" * 400}, picture]}],
        "tools": [{"type": "function"}],
        "response_format": {"type": "json_schema"},
        "max_completion_tokens": 500,
        "user": "ann",
    }
    asked = read_body(json.dumps(content).encode()).asked("chat")
    assert asked.needs == {"tools", "vision", "json"}
    assert 1600 <= asked.tokens <= 1620  # 100 of text, 1,000 for a picture however large, 500 of answer


def test_a_conversation_is_told_by_how_it_began() -> None:
    def conversation(messages: Any, **fields: Any) -> str | None:
        return read_body(json.dumps({"model": "m", "messages": messages, **fields}).encode()).asked("chat").conversation

    assert conversation(CHAT) == conversation(CHAT[:2])
    assert conversation(CHAT) != conversation([{"role": "user", "content": "Other?"}])
    by_id, by_user = conversation(CHAT, metadata={"conversation": "7"}, user="ann"), conversation(CHAT, user="ann")
    assert by_id == conversation(CHAT[3:], metadata={"conversation": "7"}, user="bob")
    assert by_user == conversation(CHAT[3:], user="ann")
    assert len({by_id, by_user, conversation(CHAT), conversation(CHAT, user="bob"), conversation(CHAT, user="7")}) == 5
    long = conversation(CHAT, metadata={"conversation": "x" * 100_000})
    assert long is not None
    assert len(long) < 100
