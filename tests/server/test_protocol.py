"""A client of OpenAI's protocol gets through the server what it gets straight from the model's own."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import httpx
import openai
import pytest

from .fakes import (
    BEGIN_STREAM,
    STREAM,
    Given,
    Served,
    Upstream,
    chunked,
    completion,
    entries,
    running,
    says,
    sends,
    snapshot,
)

MESSAGES: list[Any] = [{"role": "user", "content": "What is 2 plus 2?"}]
TOOLS: list[Any] = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
PICTURE: list[Any] = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        ],
    }
]
ABLE = {"capabilities": ["tools", "vision", "json"]}


@pytest.fixture
def client(served: Served) -> openai.OpenAI:
    return openai.OpenAI(base_url=served.url, api_key="any", max_retries=0)


def test_an_answer_is_the_models_own_byte_for_byte(served: Served, upstream: Upstream) -> None:
    response = served.ask()

    assert response.content == completion(upstream.asked[0])
    assert response.headers["x-embedllm-model"] == "good"
    assert response.headers["content-type"] == "application/json"


def test_a_stream_is_the_models_own_byte_for_byte(served: Served) -> None:
    response = served.ask(stream=True)

    assert response.content == STREAM
    assert response.headers["content-type"] == "text/event-stream"


@pytest.mark.parametrize(
    "asked",
    [
        {"messages": MESSAGES},
        {"messages": MESSAGES, "tools": TOOLS, "tool_choice": "auto"},
        {"messages": PICTURE},
        {"messages": MESSAGES, "response_format": {"type": "json_object"}, "extra_body": {"unknown": {"deep": [1.0]}}},
    ],
    ids=["text", "tools", "vision", "json and unknown fields"],
)
def test_openais_client_gets_the_same(upstream: Upstream, asked: dict[str, Any]) -> None:
    with running(Given(snapshot(upstream.url, good=ABLE))) as served:
        ours = openai.OpenAI(base_url=served.url, api_key="any", max_retries=0)
        straight = openai.OpenAI(base_url=upstream.url, api_key="any", max_retries=0)

        assert ours.chat.completions.create(model="embedllm", **asked) == straight.chat.completions.create(
            model="good", **asked
        )
    through, direct = upstream.asked
    assert through.content == direct.content


def test_openais_client_streams_the_same(client: openai.OpenAI, upstream: Upstream) -> None:
    straight = openai.OpenAI(base_url=upstream.url, api_key="any", max_retries=0)
    ours, own = (
        list(one.chat.completions.create(model=model, messages=MESSAGES, stream=True))
        for one, model in ((client, "embedllm"), (straight, "good"))
    )
    assert ours == own
    assert "".join(chunk.choices[0].delta.content or "" for chunk in ours) == "I am here."


def test_many_at_once(served: Served) -> None:
    async def ask_all() -> list[Any]:
        client = openai.AsyncOpenAI(base_url=served.url, api_key="any", max_retries=0)
        return await asyncio.gather(
            *(client.chat.completions.create(model="embedllm", messages=MESSAGES) for _ in range(50))
        )

    assert {answer.choices[0].message.content for answer in asyncio.run(ask_all())} == {"I am good."}


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "embedllm", "messages": [{"role": "user", "content": "2 + 2?"}]}',
        b' \n{ "messages" :[{"content":"\\u00e9 \xc3\xa9 2?","role":"user"}] ,"n":1.0, "big":12345678901234567890,'
        b'"model"\t:\t"embedllm" ,"x":1e-7}\n',
        b'{"metadata":{"model":"embedllm"},"model":"embedllm","messages":[{"role":"user","content":"\\"model\\": 2"}]}',
    ],
)
def test_only_the_models_name_changes_in_what_it_is_sent(served: Served, upstream: Upstream, body: bytes) -> None:
    assert httpx.post(f"{served.url}/chat/completions", content=body).status_code == 200
    at = body.rindex(b'"embedllm"')
    assert upstream.asked[0].body == body[:at] + b'"good"' + body[at + len(b'"embedllm"') :]


def test_a_model_that_is_named_answers(served: Served, client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="poor", messages=MESSAGES)
    assert answer.choices[0].message.content == "I am poor."


def test_what_a_named_model_says_is_passed_on_whatever_it_is(served: Served, upstream: Upstream) -> None:
    upstream.behaviour["poor"] = says("429 Too Many Requests", b"slow down", retry_after="7")
    response = served.ask(model="poor")
    assert (response.status_code, response.content, response.headers["retry-after"]) == (429, b"slow down", "7")


def test_completions_are_routed_by_their_prompts(served: Served, upstream: Upstream) -> None:
    for prompt, model in (("What is 2 plus 2?", "good"), (["A poem", "Another poem"], "poor")):
        httpx.post(f"{served.url}/completions", json={"model": "embedllm", "prompt": prompt})
        assert (upstream.asked[-1].path, upstream.asked[-1].model) == ("/v1/completions", model)


def test_responses_go_to_servers_that_have_them(upstream: Upstream) -> None:
    models = entries(upstream.url) | {"fair": entries(upstream.url, upstream={"endpoints": ["responses"]})["fair"]}
    with running(Given(replace(snapshot(upstream.url), models=models))) as served:
        httpx.post(f"{served.url}/responses", json={"model": "embedllm", "input": "2 + 2?"})
    assert (upstream.asked[0].path, upstream.asked[0].model) == ("/v1/responses", "fair")


def test_what_can_be_named_is_listed(client: openai.OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert names == ["embedllm", "embedllm/best", "embedllm/cheap", "good", "fair", "poor"]
    assert client.models.retrieve("embedllm/cheap").id == "embedllm/cheap"


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 400, "the body is no JSON object (character 0: { is due); send one"),
        (b'{"model": "embedllm"', 400, "the body is no JSON object (character 20: , is due); send one"),
        (b"\xff", 400, "the body is no JSON object ('utf-8' codec can't decode byte 0xff in position 0: "
         "invalid start byte); send one"),
        (b"[" * 100_000, 400, "the body is no JSON object (character 0: { is due); send one"),
        (b'{"messages": []}', 400, "the body names no model; add one, for example embedllm"),
        (b'{"model": 1}', 400, "the body names no model; add one, for example embedllm"),
        (b'{"model": "embedllm"}', 400, "messages must be a list of messages"),
        (b'{"model": "embedllm", "messages": [{"role": "system", "content": "x"}]}', 400,
         "messages has no message of the user with a text to choose a model by"),
        (b'{"model": "gpt", "messages": []}', 404,
         "there is no model 'gpt'; there are embedllm, embedllm/best, embedllm/cheap, good, fair, poor"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_refused(served: Served, body: bytes, status: int, message: str) -> None:
    response = httpx.post(f"{served.url}/chat/completions", content=body)
    assert (response.status_code, response.json()["error"]["message"]) == (status, message)


def test_a_decision_says_why_and_holds_no_question(served: Served) -> None:
    response = served.ask("What is 2 plus 2, my secret?")
    decision = httpx.get(f"{served.url}/decisions/{response.headers['x-embedllm-decision']}").json()

    assert decision["model"] == decision["answered_by"] == "good"
    assert decision["embedder"] == "version-1"
    assert [choice["model"] for choice in decision["ranked"]] == ["good", "fair", "poor"]
    assert decision["ranked"][0]["probability"] == pytest.approx(0.9)
    assert decision["ranked"][0]["low"] < 0.9 < decision["ranked"][0]["high"]
    assert decision["ranked"][0]["cost"] == 0.01
    assert "secret" not in json.dumps(decision)
    assert httpx.get(f"{served.url}/decisions/none").status_code == 404


def test_decisions_alone(served: Served, upstream: Upstream) -> None:
    told = httpx.post(f"{served.url}/route", json={"questions": ["2 + 2?", "A poem"], "top": 1}).json()

    assert [[choice["model"] for choice in row["models"]] for row in told["questions"]] == [["good"], ["poor"]]
    assert told["policy"] == "best"
    assert upstream.asked == []
    cheap = httpx.post(f"{served.url}/route", json={"question": "2 + 2?", "policy": "cheap"}).json()
    assert [choice["model"] for choice in cheap["questions"][0]["models"]] == ["fair", "good", "poor"]
    refused = httpx.post(f"{served.url}/route", json={"question": " "})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "questions")


CALL = {"index": 0, "id": "call-1", "type": "function", "function": {"name": "add", "arguments": '{"a":'}}
CHUNKS: list[dict[str, Any]] = [
    {"choices": [{"index": 0, "delta": {"role": "assistant", "tool_calls": [CALL]}, "logprobs": None}]},
    {"choices": [{"index": 1, "delta": {"content": "é ☃"}, "logprobs": {"content": [], "refusal": None}}]},
    {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": " 2}"}}]}}]},
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
    {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}, "of tomorrow": [1e-7]},
]


def test_openais_async_client_streams_tools_and_usage_the_same(upstream: Upstream) -> None:
    told = {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "good"}
    events = [b"data: " + json.dumps({**told, **chunk}).encode() + b"\n\n" for chunk in CHUNKS]
    upstream.behaviour["good"] = sends(BEGIN_STREAM, *map(chunked, [*events, b"data: [DONE]\n\n"]), b"0\r\n\r\n")

    async def read(url: str, model: str) -> list[Any]:
        asked: dict[str, Any] = {"n": 2, "logprobs": True, "tools": TOOLS, "stream_options": {"include_usage": True}}
        async with openai.AsyncOpenAI(base_url=url, api_key="any", max_retries=0) as client:
            stream = await client.chat.completions.create(model=model, messages=MESSAGES, stream=True, **asked)
            return [chunk async for chunk in stream]

    with running(Given(snapshot(upstream.url, good=ABLE))) as served:
        ours = asyncio.run(read(served.url, "embedllm"))
    assert ours == asyncio.run(read(upstream.url, "good"))
    assert (len(ours), ours[-1].usage.total_tokens) == (5, 13)
    through, direct = upstream.asked
    assert through.content == direct.content


def test_openais_client_reads_headers_and_errors(client: openai.OpenAI, upstream: Upstream) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="embedllm", messages=MESSAGES, extra_headers={"openai-beta": "b"}, extra_query={"api-version": "1"}
    )
    assert raw.headers["x-embedllm-model"] == "good"
    assert raw.parse().choices[0].message.content == "I am good."
    assert (upstream.asked[0].path, upstream.asked[0].headers["openai-beta"]) == ("/v1/chat/completions", "b")
    with pytest.raises(openai.NotFoundError, match="there is no model 'gpt'") as told:
        client.chat.completions.create(model="gpt", messages=MESSAGES)
    assert (told.value.code, told.value.param, told.value.type) == ("model_not_found", "model", "not_found_error")
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="embedllm", input="x")
