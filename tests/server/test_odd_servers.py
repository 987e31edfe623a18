"""Models' servers that answer in odd ways."""

import gzip
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from harness.registry import Policy

from .fakes import (
    BEGIN_STREAM,
    STREAM,
    Asked,
    Given,
    Served,
    Upstream,
    chunked,
    completion,
    event,
    reply,
    running,
    says,
    sends,
    snapshot,
    until,
)

ANSWER = completion(Asked("", {}, b'{"model": "good"}'))
NO = b'{"error": {"message": "no"}}'


@pytest.mark.parametrize(
    "behaviour",
    [
        says("200 OK", gzip.compress(ANSWER), content_encoding="gzip"),
        says("200 OK", ANSWER, content_type="Application/JSON; charset=utf-8"),
        says("200 OK", ANSWER, x_request_id="日本"),
        sends(b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n" + ANSWER),
        sends(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + reply(ANSWER, connection="close")),
    ],
    ids=["gzip", "capitals", "header", "HTTP/1.0", "103"],
)
@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_comes_through(served: Served, upstream: Upstream, behaviour: Any, stream: bool) -> None:
    upstream.behaviour["good"] = behaviour
    response = served.ask(stream=stream)
    assert (response.headers["x-embedllm-model"], response.content) == ("good", ANSWER)


WINDOWS = STREAM.replace(b"\n", b"\r\n")
LARGE = event("a" * 5_000_000) + STREAM
KEPT_ALIVE = b": wait\n\n: wait\n\n" + STREAM


@pytest.mark.parametrize(
    ("behaviour", "stream"),
    [
        (sends(BEGIN_STREAM, *(chunked(bytes([byte])) for byte in WINDOWS), b"0\r\n\r\n"), WINDOWS),
        (sends(BEGIN_STREAM, chunked(LARGE), b"0\r\n\r\n"), LARGE),
        (sends(BEGIN_STREAM, chunked(STREAM.rstrip()), b"0\r\n\r\n"), STREAM.rstrip()),
        (sends(BEGIN_STREAM, chunked(KEPT_ALIVE[:10]), 0.1, chunked(KEPT_ALIVE[10:]), b"0\r\n\r\n"), KEPT_ALIVE),
        (sends(b"HTTP/1.1 200 OK\r\n\r\n" + STREAM), STREAM),
        (sends(b"HTTP/1.0 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\r\n" + STREAM), STREAM),
    ],
    ids=["a byte at a time", "large", "no end", "comments first", "no type", "HTTP/1.0"],
)
def test_a_stream_comes_through(served: Served, upstream: Upstream, behaviour: Any, stream: bytes) -> None:
    upstream.behaviour["good"] = behaviour
    response = served.ask(stream=True)
    assert response.headers["x-embedllm-model"] == "good"
    assert response.content == stream


def test_a_stream_is_known_by_what_the_server_calls_it(served: Served, upstream: Upstream) -> None:
    """Some servers take 1 or "true" for true: what they stream is no failure."""
    upstream.behaviour["good"] = sends(BEGIN_STREAM, chunked(STREAM), b"0\r\n\r\n")
    response = served.ask(stream=1)
    assert (response.headers["x-embedllm-model"], response.content) == ("good", STREAM)


@pytest.mark.parametrize(
    "behaviour",
    [
        says("204 No Content", b""),
        says("200 OK", b"[" * 20_000 + b"]" * 20_000),
        says("200 OK", ANSWER[:-20]),
        says("200 OK", ANSWER + b"}"),
        sends(b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"),
        says("200 OK", b"no gzip", content_encoding="gzip"),
    ],
    ids=["204", "deep", "half", "more behind it", "101", "gzip"],
)
def test_the_next_model_answers_where_one_says_nothing_of_use(
    served: Served, upstream: Upstream, behaviour: Any
) -> None:
    upstream.behaviour["good"] = behaviour
    assert served.ask().headers["x-embedllm-model"] == "fair"


def test_a_refusal_that_is_compressed_can_be_read(served: Served, upstream: Upstream) -> None:
    upstream.behaviour["good"] = says("400 Bad Request", gzip.compress(NO), content_encoding="gzip")
    response = served.ask()
    assert (response.status_code, response.content) == (400, NO)


@pytest.mark.parametrize(
    "usage", [b"[" * 20_000 + b"]" * 20_000, b'{"prompt_tokens":' + b"9" * 400 + b',"completion_tokens":-1}', b"1"]
)
def test_usage_that_cannot_be_true_costs_what_was_expected(upstream: Upstream, usage: bytes) -> None:
    with running(Given(snapshot(upstream.url, [Policy(name="p", budget_usd_a_day=1)]))) as served:
        last = b'data: {"choices": [], "usage": ' + usage + b"}\n\n"
        upstream.behaviour["good"] = sends(BEGIN_STREAM, chunked(event("a")), chunked(last), b"0\r\n\r\n")
        assert served.ask(stream=True).content == event("a") + last
        told = httpx.get(served.url.replace("/v1", "/metrics")).text
    assert 'embedllm_spent_today_usd{of="p"} 0.01' in told


@pytest.mark.parametrize(
    ("said", "waits"),
    [
        ("soon", False), ("-5", False), ("nan", False), ("Wed, 21 Oct 2015 07:28:00 GMT", False),
        ("Wed, 21 Oct 99999 07:28:00 GMT", False), ("Mon, 01 Jan 0001 00:00:00 +1200", False),
        ("99999999999999999999", True), ("1e400", True), ("Fri, 31 Dec 9999 23:59:59 -1200", True),
    ],
)  # fmt: skip
def test_whatever_retry_after_holds(served: Served, upstream: Upstream, said: str, waits: bool) -> None:
    upstream.behaviour["good"] = says("429 Too Many Requests", retry_after=said)
    assert served.ask().headers["x-embedllm-model"] == "fair"
    upstream.behaviour.clear()
    assert served.ask().headers["x-embedllm-model"] == ("fair" if waits else "good")


@pytest.mark.parametrize("key", ["sk-secret-1234\n", "sk-secret-\x01-1234", "sk-secret-é-1234"])
def test_a_key_that_cannot_be_sent_is_told_to_nobody(
    upstream: Upstream, key: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("A_SERVERS_KEY", key)
    given = Given(snapshot(upstream.url, upstream={"api_key_env": "A_SERVERS_KEY"}))
    with running(given) as served, caplog.at_level("DEBUG", "server"):
        for model in ("embedllm", "good"):
            response = served.ask(model=model)
            assert "sk-secret" not in response.text
            if key.endswith("\n"):
                assert upstream.asked[-1].headers["authorization"] == "Bearer sk-secret-1234"
            else:
                assert response.status_code == 502
                assert "the key in A_SERVERS_KEY holds characters that cannot be sent" in response.text
    assert "sk-secret" not in caplog.text
    assert not any("sk-secret" in str(record.__dict__) for record in caplog.records)


def test_only_some_headers_go_either_way(served: Served, upstream: Upstream) -> None:
    upstream.behaviour["good"] = says("200 OK", ANSWER, set_cookie="a=b", server="x", x_request_id="7", via="y")
    sent = {"x-api-key": "k", "forwarded": "for=1.2.3.4", "openai-beta": "b", "traceparent": "t"}
    response = served.ask(headers=sent)
    assert response.headers["x-request-id"] == "7"
    assert not {"set-cookie", "server", "via"} & set(response.headers)
    seen = upstream.asked[0].headers
    assert (seen["openai-beta"], seen["traceparent"], seen["accept-encoding"]) == ("b", "t", "identity")
    assert not {"x-api-key", "forwarded", "authorization"} & set(seen)


def test_a_pause_is_measured_by_the_policy_and_not_by_what_the_deadline_leaves(upstream: Upstream) -> None:
    """The second model begins shortly before the deadline, and may then write as slowly as any."""
    policy = Policy(name="p", timeout_s=2, deadline_s=3)
    with running(Given(snapshot(upstream.url, [policy]))) as served:
        upstream.behaviour["good"] = sends(9.0)
        upstream.behaviour["fair"] = sends(BEGIN_STREAM, chunked(event("a")), 1.5, chunked(event("b")), b"0\r\n\r\n")
        assert served.ask(stream=True).content == event("a") + event("b")


def test_one_request_at_a_time_finds_out_whether_a_server_is_back(served: Served, upstream: Upstream) -> None:
    state = 'embedllm_server_is_left_alone{of="good"} '

    def is_tried() -> bool:
        return f"{state}0.5" in httpx.get(served.url.replace("/v1", "/metrics")).text

    upstream.behaviour["good"] = says("429 Too Many Requests", retry_after="0.2")
    assert served.ask().headers["x-embedllm-model"] == "fair"
    until(is_tried)
    upstream.behaviour["good"] = sends(30.0)
    with pytest.raises(httpx.ReadTimeout):
        served.ask(timeout=1)
    assert is_tried(), "a client that leaves tells nothing of the server"

    upstream.behaviour["good"] = sends(2.0, reply(b"{}", connection="close"))
    with ThreadPoolExecutor() as pool:
        models = {answer.headers["x-embedllm-model"] for answer in pool.map(served.ask, ["?", "?"])}
    assert models == {"good", "fair"}
    assert f"{state}0.0" in httpx.get(served.url.replace("/v1", "/metrics")).text


def test_a_server_that_sends_elsewhere_is_not_followed(served: Served, upstream: Upstream) -> None:
    upstream.behaviour["good"] = says("307 Temporary Redirect", location=f"{upstream.url}/elsewhere")
    assert served.ask().headers["x-embedllm-model"] == "fair"
    assert [asked.path for asked in upstream.asked] == ["/v1/chat/completions"] * 2
