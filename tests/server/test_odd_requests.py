"""Clients that send what no client should, or that are told what they may not know."""

import json
import socket
from contextlib import suppress
from typing import Any

import httpx
import pytest

from harness.registry import Policy
from server.guard import hash_key

from .fakes import Given, Served, Upstream, running, says, snapshot, until

BODY = json.dumps({"model": "embedllm", "messages": [{"role": "user", "content": "What is 2 plus 2?"}]}).encode()
HEAD = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(BODY)}\r\n".encode()


def post(served: Served, content: Any, path: str = "/chat/completions", **headers: Any) -> httpx.Response:
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(f"{served.url}{path}", content=content, headers=headers, timeout=60)


def error_of(response: httpx.Response) -> tuple[int, str, str]:
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return response.status_code, error["code"], error["message"]


def exchange(served: Served, sent: bytes) -> bytes:
    """Send bytes as they are and return all that comes until the server hangs up."""
    received, address = b"", ("127.0.0.1", httpx.URL(served.url).port or 0)
    # It may hang up while we still send, which loses what it says last.
    with suppress(ConnectionError), socket.create_connection(address, timeout=30) as client:
        client.sendall(sent)
        while piece := client.recv(65536):
            received += piece
    return received


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/embeddings", 404),
        ("POST", "/chat/completions/", 404),
        ("GET", "/chat/completions", 405),
        ("OPTIONS", "/chat/completions", 405),
        ("DELETE", "/models", 405),
        ("GET", "/models/..%2f..%2fetc%2fpasswd", 404),
        ("GET", "/decisions/..%2f..%2fspent.json", 404),
    ],
)
def test_what_is_not_there_is_refused_as_openai_refuses_it(served: Served, method: str, path: str, status: int) -> None:
    told = error_of(httpx.request(method, f"{served.url}{path}"))
    assert told[0] == status
    assert "root:" not in told[2]


def test_health_may_be_asked_for_without_its_body(served: Served) -> None:
    for path in ("/healthz", "/readyz"):
        assert httpx.head(served.url.replace("/v1", path)).status_code == 200


@pytest.mark.parametrize("value", ["café".encode("latin-1"), "日本".encode()])
def test_headers_are_passed_on_whatever_they_hold(served: Served, upstream: Upstream, value: bytes) -> None:
    assert post(served, BODY, user_agent=value, x_request_id=value).status_code == 200
    assert upstream.asked[0].headers["x-request-id"].encode("latin-1") == value


@pytest.mark.parametrize("other", ["model", "Model", "MODEL", "mode\\u006c"])
def test_a_model_is_named_once(served: Served, upstream: Upstream, other: str) -> None:
    """Servers differ in which of two they take: one that is not routed by must not come through."""
    for names in (f'"{other}":"dear","model":"embedllm"', f'"model":"embedllm","{other}":"dear"'):
        status, _, message = error_of(
            post(served, f'{{{names},"messages":[{{"role":"user","content":"?"}}]}}'.encode())
        )
        assert status == 400
        assert 'a model is named once, as "model"' in message
    assert upstream.asked == []


def test_more_texts_than_a_model_can_be_chosen_by(served: Served, upstream: Upstream) -> None:
    for field, path in (("prompt", "/completions"), ("questions", "/route")):
        many = json.dumps({"model": "embedllm", field: ["a"] * 1001})
        status, _, message = error_of(post(served, many, path))
        assert status == 400
        assert "at most 1,000" in message
    assert upstream.asked == []


def test_a_text_that_is_very_long_is_cut_before_it_is_routed_by(upstream: Upstream) -> None:
    read: list[int] = []
    given = snapshot(upstream.url)
    encode = given.router.encoder.encode
    given.router.encoder.encode = lambda texts, **options: (read.extend(map(len, texts)), encode(texts))[1]  # type: ignore[method-assign]
    with running(Given(given)) as served:
        for path in ("/route", "/completions"):
            asked = {"model": "embedllm", "prompt": "x" * 1_000_000, "question": "x" * 1_000_000}
            assert post(served, json.dumps(asked), path).status_code == 200
    assert max(read) < 21_000


def test_bytes_as_clients_send_them(served: Served) -> None:
    last = HEAD + b"connection: close\r\n\r\n" + BODY
    assert exchange(served, (HEAD + b"\r\n" + BODY) * 2 + last).count(b"I am good.") == 3  # without waiting for answers
    waiting = exchange(served, HEAD + b"expect: 100-continue\r\nconnection: close\r\n\r\n" + BODY)
    assert waiting.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    pieces = b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\n\r\n"
    chunked = HEAD.replace(b"content-length: %d" % len(BODY), b"transfer-encoding: chunked\r\nconnection: close")
    assert b"I am good." in exchange(served, chunked + b"\r\n" + pieces)
    for bad in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n"):
        assert exchange(served, bad).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("part", ["head", "trailer"])
def test_more_headers_than_anybody_needs(upstream: Upstream, part: str) -> None:
    headers = b"".join(b"x-%d: y\r\n" % number for number in range(10_000))
    chunked = HEAD.replace(b"content-length: %d" % len(BODY), b"transfer-encoding: chunked") + b"\r\n"
    sent = HEAD + headers if part == "head" else chunked + b"%x\r\n%s\r\n0\r\n%s" % (len(BODY), BODY, headers)
    with running(Given(snapshot(upstream.url))) as served:
        told = exchange(served, sent + b"\r\n" + (BODY if part == "head" else b""))
        assert told == b"" or told.startswith(b"HTTP/1.1 4")
        assert served.ask().status_code == 200
    assert len(upstream.asked) == 1


def test_names_that_nobody_knows_leave_no_trace_in_metrics(served: Served) -> None:
    for name in ("embedllm/none", "no such model", "a\r\nx: y", "\ud800"):
        response = post(served, json.dumps({"model": name, "messages": []}))
        assert error_of(response)[0] == 404
        assert "x" not in response.headers
    told = httpx.get(served.url.replace("/v1", "/metrics")).text
    assert 'embedllm_requests_total{model="",outcome="UnknownName",policy="named"} 4.0' in told
    assert "such" not in told


def test_who_has_no_key_is_not_told_of_files(upstream: Upstream) -> None:
    given = Given(snapshot(upstream.url))
    with running(given, keys={hash_key("k" * 16): "ann"}) as served:
        given.error, given.number = ValueError("/home/ann/policies.yaml, line 3"), 1
        until(lambda: served.live.problem is not None)
        url = served.url.replace("/v1", "/readyz")
        assert httpx.get(url).json()["refused"] == "the log says why"
        told = httpx.get(url, headers={"authorization": f"Bearer {'k' * 16}"}).json()["refused"]
        assert told == "/home/ann/policies.yaml, line 3"


def test_two_clients_do_not_share_a_conversation(upstream: Upstream) -> None:
    keys = {hash_key(name * 16): name for name in "ab"}
    policy = Policy(name="p", stickiness=1)
    with running(Given(snapshot(upstream.url, [policy])), keys=keys) as served:

        def asks(name: str) -> str:
            headers = {"authorization": f"Bearer {name * 16}"}
            return served.ask(user="ann", headers=headers).headers["x-embedllm-model"]

        upstream.behaviour["good"] = says("500 Oh")
        assert asks("a") == "fair"
        del upstream.behaviour["good"]
        assert (asks("a"), asks("b")) == ("fair", "good")
