"""Servers that fail, bad clients, files half written: each has a defined answer, and the server stays."""

import asyncio
import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from harness.registry import Policy
from server.guard import hash_key
from server.serving import Limits

from .fakes import (
    BEGIN_STREAM,
    STREAM,
    Foretold,
    Given,
    Nothing,
    Served,
    Upstream,
    chunked,
    event,
    reply,
    running,
    says,
    sends,
    snapshot,
    until,
)

HURRIED = Policy(name="hurried", timeout_s=1, deadline_s=10)


@pytest.fixture
def hurried(upstream: Upstream) -> Iterator[Served]:
    with running(Given(snapshot(upstream.url, [HURRIED]))) as started:
        yield started


FAILING = {
    "500": says("500 Internal Server Error"),
    "503": says("503 Service Unavailable"),
    "429": says("429 Too Many Requests", retry_after="30"),
    "our key": says("401 Unauthorized", b"Incorrect API key provided: sk-secret"),
    "not there": says("404 Not Found"),
    "elsewhere": says("302 Found", location="http://127.0.0.1:1/"),
    "no HTTP": sends(b"hello?\r\n\r\n"),
    "no JSON": says("200 OK", b"<html>"),
    "leaves": sends(),
    "leaves in the middle": sends(b'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"id": '),
}
FAILING_STREAMS = {
    "no event": sends(BEGIN_STREAM, chunked(b"<html>\n\n"), b"0\r\n\r\n"),
    "empty": sends(BEGIN_STREAM, b"0\r\n\r\n"),
    "only comments": sends(BEGIN_STREAM, *[chunked(b": wait\n\n")] * 3, b"0\r\n\r\n"),
    "leaves before the first event": sends(BEGIN_STREAM, chunked(b"data: {")),
    "leaves behind a comment": sends(BEGIN_STREAM, chunked(b": wait\r\n\r\n"), 0.1),
}
HANGING = sends(20.0)
HANGING_IN_THE_MIDDLE = sends(b'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"id": ', 20.0)
HANGING_STREAM = sends(BEGIN_STREAM, chunked(b": wait\n\ndata: {"), 20.0)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("failing", FAILING.values(), ids=FAILING)
def test_the_next_model_answers_where_one_fails(served: Served, upstream: Upstream, failing: Any, stream: bool) -> None:
    upstream.behaviour["good"] = failing
    response = served.ask(stream=stream)

    assert response.status_code == 200
    assert response.headers["x-embedllm-model"] == "fair"
    assert response.headers["x-embedllm-tries"] == "2"
    assert [asked.model for asked in upstream.asked] == ["good", "fair"]


@pytest.mark.parametrize("failing", FAILING_STREAMS.values(), ids=FAILING_STREAMS)
def test_the_next_model_answers_where_a_stream_does_not_begin(served: Served, upstream: Upstream, failing: Any) -> None:
    upstream.behaviour["good"] = failing
    assert served.ask(stream=True).headers["x-embedllm-model"] == "fair"


@pytest.mark.parametrize(
    ("failing", "stream"),
    [(HANGING, False), (HANGING, True), (HANGING_IN_THE_MIDDLE, False), (HANGING_STREAM, True)],
)
def test_the_next_model_answers_where_one_hangs(
    hurried: Served, upstream: Upstream, failing: Any, stream: bool
) -> None:
    upstream.behaviour["good"] = failing
    assert hurried.ask(stream=stream).headers["x-embedllm-model"] == "fair"


@pytest.mark.parametrize(
    "url", [lambda: closed(), lambda: "http://no-such-host.invalid/v1", None], ids=["nobody", "no name", "no TLS"]
)
def test_the_next_model_answers_where_nobody_listens(upstream: Upstream, url: Callable[[], str] | None) -> None:
    address = url() if url else upstream.url.replace("http:", "https:")
    elsewhere = {"upstream": {"base_url": address, "model": "good"}}
    with running(Given(snapshot(upstream.url, [HURRIED], good=elsewhere))) as served:
        assert served.ask().headers["x-embedllm-model"] == "fair"


def closed() -> str:
    """The address of a port at which nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{one.getsockname()[1]}/v1"


def test_a_request_that_is_wrong_is_not_tried_elsewhere(served: Served, upstream: Upstream) -> None:
    upstream.behaviour["good"] = says("400 Bad Request", b'{"error": {"message": "temperature"}}')
    response = served.ask(temperature=9)
    assert (response.status_code, response.content) == (400, b'{"error": {"message": "temperature"}}')
    assert len(upstream.asked) == 1


def test_a_stream_that_breaks_off_ends_with_an_error_after_what_has_come(served: Served, upstream: Upstream) -> None:
    upstream.behaviour["good"] = sends(BEGIN_STREAM, chunked(event("I ")), chunked(event("am ") + b'data: {"half'))
    with openai.OpenAI(base_url=served.url, api_key="any", max_retries=0) as client:
        stream = client.chat.completions.create(
            model="embedllm", messages=[{"role": "user", "content": "?"}], stream=True
        )
        read = []
        with pytest.raises(openai.APIError, match="the answer broke off"):
            read.extend(chunk.choices[0].delta.content for chunk in stream)
    response = served.ask(stream=True, model="good")
    assert response.content.startswith(event("I ") + event("am ") + b'data: {"error"')
    assert b"half" not in response.content
    for _ in range(3):
        served.ask(stream=True)
    assert served.ask().headers["x-embedllm-model"] == "fair", "a server that breaks off often is left alone"


@pytest.mark.parametrize(
    ("failing", "status", "code"),
    [("500", 502, "failed"), ("429", 429, "too_many_requests"), ("hangs", 504, "timeout"), ("no HTTP", 502, "failed")],
)
def test_all_fail(hurried: Served, upstream: Upstream, failing: str, status: int, code: str) -> None:
    upstream.behaviour = dict.fromkeys(("good", "fair", "poor"), {**FAILING, "hangs": HANGING}[failing])
    response = hurried.ask()
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert all(model in response.json()["error"]["message"] for model in upstream.behaviour)
    if failing == "429":
        assert 25 <= int(response.headers["retry-after"]) <= 30
        again = hurried.ask()
        assert (again.status_code, again.json()["error"]["code"]) == (503, "no_model_left")
        assert "retry-after" in again.headers


def test_a_refusal_says_which_decision_it_is_of_and_who_was_left_alone(served: Served, upstream: Upstream) -> None:
    upstream.behaviour["good"] = FAILING["429"]
    served.ask()
    upstream.behaviour = dict.fromkeys(("fair", "poor"), FAILING["500"])
    response = served.ask()
    assert response.headers["x-embedllm-decision"].startswith("decision-")
    assert response.headers["x-embedllm-policy"] == "best"
    assert "good: its server is not asked for another" in response.json()["error"]["message"]


def test_a_stream_whose_connection_is_closed_before_its_end_broke_off(served: Served, upstream: Upstream) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    upstream.behaviour["good"] = sends(head, event("I "), event("am "))
    told = served.ask(stream=True).content
    assert told.startswith(event("I ") + event("am ") + b'data: {"error"')
    assert b"good: it broke off" in told
    upstream.behaviour["good"] = sends(head, STREAM)
    assert served.ask(stream=True).content == STREAM


def test_the_deadline_holds_for_all_tries_together(upstream: Upstream) -> None:
    upstream.behaviour = dict.fromkeys(("good", "fair", "poor"), sends(30.0))
    for timeout_s, tries in ((0.4, 2), (25, 1)):
        upstream.asked.clear()
        with running(Given(snapshot(upstream.url, [Policy(name="p", timeout_s=timeout_s, deadline_s=0.6)]))) as served:
            started = time.monotonic()
            assert served.ask().status_code == 504
            assert time.monotonic() - started < 10
        assert len(upstream.asked) == tries


def test_a_server_that_asks_to_be_left_alone_is(served: Served, upstream: Upstream) -> None:
    upstream.behaviour["good"] = says("429 Too Many Requests", retry_after="0.3")
    for _ in range(3):
        assert served.ask().headers["x-embedllm-model"] == "fair"
    assert [asked.model for asked in upstream.asked].count("good") == 1
    del upstream.behaviour["good"]
    until(lambda: served.ask().headers["x-embedllm-model"] == "good")


def test_a_client_that_leaves_stops_the_models_server(served: Served, upstream: Upstream) -> None:
    upstream.behaviour["poor"] = sends(
        BEGIN_STREAM, *[part for _ in range(500) for part in (chunked(event("x")), 0.01)]
    )
    policy = {"model": "poor", "messages": [{"role": "user", "content": "?"}], "stream": True}
    with httpx.stream("POST", f"{served.url}/chat/completions", json=policy) as response:
        next(response.iter_raw())
        assert upstream.open == 1
    until(lambda: upstream.open == 0)

    upstream.behaviour["poor"] = sends(0.4, *[part for _ in range(500) for part in (b" ", 0.01)])
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{served.url}/chat/completions", json=policy, timeout=0.2)
    until(lambda: upstream.open == 0)
    assert served.ask().status_code == 200


def test_a_thousand_clients_that_leave(served: Served, upstream: Upstream) -> None:
    upstream.behaviour = dict.fromkeys(("good", "fair", "poor"), sends(0.3, reply(b"{}", connection="close")))
    port = int(served.url.split(":")[2].split("/")[0])
    body = json.dumps({"model": "embedllm", "messages": [{"role": "user", "content": "?"}]}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode()

    async def come_and_go() -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head + body)
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.close()

    async def all_of_them() -> None:
        for _ in range(10):
            await asyncio.gather(*(come_and_go() for _ in range(100)))

    asyncio.run(all_of_them())
    until(lambda: upstream.open == 0, 60)
    upstream.behaviour = {}
    assert served.ask().status_code == 200


def test_a_client_that_sends_slowly_is_told_to_leave(upstream: Upstream) -> None:
    with running(Given(snapshot(upstream.url)), limits=Limits(head_s=0.3, body_s=0.3, head_kb=1)) as served:
        port = int(served.url.split(":")[2].split("/")[0])

        def send(*pieces: bytes) -> bytes:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
                for piece in pieces:
                    client.sendall(piece)
                    time.sleep(0.1)
                return client.recv(1000)

        assert send().startswith(b"HTTP/1.1 408")
        assert send(b"GET /healthz HTTP/1.1\r\n", b"host: x\r\n").startswith(b"HTTP/1.1 408")
        assert send(b"GET /healthz HTTP/1.1\r\nx: " + b"y" * 2000).startswith(b"HTTP/1.1 408")
        slow_body = send(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
        assert slow_body.startswith(b"HTTP/1.1 408")
        assert send(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").startswith(b"HTTP/1.1 200")


def test_a_client_that_does_not_read_its_answer_is_left(upstream: Upstream) -> None:
    upstream.behaviour["good"] = sends(BEGIN_STREAM, *[chunked(event("x" * 100_000))] * 1000)
    asked = {"model": "good", "messages": [{"role": "user", "content": "?"}], "stream": True}
    with running(Given(snapshot(upstream.url)), limits=Limits(unread_s=0.5)) as served:
        with httpx.stream("POST", f"{served.url}/chat/completions", json=asked, timeout=30) as response:
            next(response.iter_raw())
            until(lambda: upstream.left == 1, 30)
        assert served.ask().status_code == 200


def test_a_body_that_is_too_large(upstream: Upstream) -> None:
    with running(Given(snapshot(upstream.url)), limits=Limits(body_mb=1)) as served:
        large = b"x" * (100 * 2**20)
        for content in (large, (large[at : at + 2**20] for at in range(0, len(large), 2**20))):
            response = httpx.post(f"{served.url}/chat/completions", content=content, timeout=30)
            assert (response.status_code, response.json()["error"]["code"]) == (413, "too_large")
        assert served.ask().status_code == 200


def test_keys(upstream: Upstream, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SERVERS_KEY", "upstream-key-1234567890")
    key = "ek-client-key-1234567890"
    source = Given(snapshot(upstream.url, upstream={"api_key_env": "A_SERVERS_KEY"}))
    with running(source, keys={hash_key(key): "ann"}) as served, caplog.at_level("INFO"):
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {key}"}):
            response = served.ask(headers=headers)
            assert (response.status_code, response.json()["error"]["code"]) == (401, "invalid_api_key")
        assert httpx.get(served.url.replace("/v1", "/healthz")).status_code == 200
        assert httpx.get(served.url.replace("/v1", "/metrics")).status_code == 401

        asked = {"authorization": f"Bearer {key}", "cookie": "c=1", "x-forwarded-for": "1.2.3.4"}
        upstream.behaviour["poor"] = says("500 Oh", b'{"you sent": "Bearer upstream-key-1234567890"}')
        for model in ("embedllm", "poor"):
            response = served.ask(headers=asked, model=model)
            assert "upstream-key" not in f"{response.headers} {response.text}"
        for seen in upstream.asked:
            assert seen.headers["authorization"] == "Bearer upstream-key-1234567890"
            assert key not in str(seen.headers)
            assert not {"cookie", "x-forwarded-for"} & set(seen.headers)
    assert not any("key-1234567890" in f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    assert not any("2 plus 2" in f"{record.getMessage()} {record.__dict__}" for record in caplog.records)


def test_every_reply_is_safe_to_show(served: Served) -> None:
    for response in (served.ask(), served.ask(model="<script>"), httpx.get(f"{served.url}/nothing")):
        assert response.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert response.headers["x-content-type-options"] == "nosniff"
        assert "text/html" not in response.headers["content-type"]


def test_a_change_serves_without_a_restart_or_a_request_dropped(served: Served) -> None:
    from embedder.router import Router

    source = served.source
    better = Foretold({"good": 0.1, "fair": 0.2, "poor": 0.9})
    statuses, models = [], []
    for number in range(60):
        if number == 20:
            source.put(router=Router(better, Nothing()), version="version-2")  # type: ignore[arg-type]
            until(lambda: served.live.reloads == 1)
        if number == 40:
            source.error, source.number = ValueError("policies.yaml, line 3: half of it is missing"), 9
            until(lambda: served.live.problem is not None)
        response = served.ask()
        statuses.append(response.status_code)
        models.append((response.headers["x-embedllm-model"], response.headers["x-embedllm-embedder"]))

    assert set(statuses) == {200}
    assert models == [("good", "version-1")] * 20 + [("poor", "version-2")] * 40
    ready = httpx.get(served.url.replace("/v1", "/readyz"))
    assert (ready.status_code, ready.json()["refused"]) == (200, "policies.yaml, line 3: half of it is missing")
    source.error, source.number = None, 10
    until(lambda: served.live.problem is None)


def test_a_conversation_stays(upstream: Upstream) -> None:
    with running(Given(snapshot(upstream.url, [Policy(name="p", stickiness=1)]))) as served:
        upstream.behaviour["good"] = FAILING["500"]
        assert served.ask(user="ann").headers["x-embedllm-model"] == "fair"
        del upstream.behaviour["good"]
        assert served.ask("Another question", user="ann").headers["x-embedllm-model"] == "fair"
        assert served.ask(user="bob").headers["x-embedllm-model"] == "good"


def test_a_budget_is_spent_by_what_answers_cost_and_outlives_a_restart(upstream: Upstream, tmp_path: Path) -> None:
    """An answer of 1,000 and 500 tokens at 1 and 2 US$ a million is 0.002 US$."""
    policy = Policy(name="p", budget_usd_a_day=0.003)
    for allowed in (2, 0):
        with running(Given(snapshot(upstream.url, [policy])), state_folder=tmp_path) as served:
            for _ in range(allowed):
                assert served.ask().status_code == 200
            refused = served.ask()
            assert (refused.status_code, refused.json()["error"]["code"]) == (429, "budget_spent")
            day_ends_in = 86400 - time.time() % 86400
            assert abs(int(refused.headers["retry-after"]) - day_ends_in) < 60 or day_ends_in < 60
            assert served.ask(model="good").status_code == 200
            until((tmp_path / "spent.json").exists)  # a server that is killed forgets next to nothing
    assert json.loads((tmp_path / "spent.json").read_text())["spent"] == {"p": 0.004}


def test_metrics_count_requests(served: Served, upstream: Upstream) -> None:
    upstream.behaviour["good"] = FAILING["429"]
    served.ask()
    told = httpx.get(served.url.replace("/v1", "/metrics")).text
    assert 'embedllm_requests_total{model="fair",outcome="answered",policy="best"} 1.0' in told
    assert 'embedllm_failed_tries_total{model="good"} 1.0' in told
    assert 'embedllm_server_is_left_alone{of="good"} 1.0' in told
