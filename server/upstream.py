"""One try: a request to a model's server, and its reply as soon as it can be told from a failure."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from harness.registry import Endpoint, ModelEntry, Upstream

__all__ = ["PATHS", "Failure", "Reply", "ask"]

PATHS: dict[Endpoint, str] = {"chat": "/chat/completions", "completions": "/completions", "responses": "/responses"}
_FORWARDED = ("accept", "content-type", "user-agent", "openai-beta", "idempotency-key", "x-request-id", "traceparent")
_RETURNED = ("content-type", "x-request-id", "retry-after", "openai-processing-ms", "openai-model", "openai-version")
_ELSEWHERE = (401, 403, 404, 405, 408, 429)  # refusals that say nothing of the request: another model may take it
_COMMENTS = re.compile(rb"\A(?::[^\r\n]*[\r\n]|[\r\n])+")  # and empty lines, at the beginning of a stream
_LAST_EVENTS = (b"[DONE]", b"response.completed", b"response.failed", b"response.incomplete")
_LARGEST = 64 * 2**20  # bytes of a reply, or of one event of a stream


class Failure(Exception):
    """A try that another model may make good. `reply` is what the server said, where it said anything."""

    def __init__(self, reason: str, *, reply: Reply | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.reply = reply
        self.retry_after_s = retry_after_s


@dataclass
class Reply:
    """A server's reply, byte for byte: `begun`, and what follows where it is streamed. Close it in any case."""

    status: int
    headers: dict[str, str]
    begun: bytes
    rest: AsyncGenerator[bytes] | None = None
    usage: Mapping[str, Any] | None = None  # as the server reports it, once the reply is complete
    response: httpx.Response | None = None  # that is still open

    async def aclose(self) -> None:
        """Leave the server, whether or not all has come."""
        if self.rest is not None:
            await self.rest.aclose()
        if self.response is not None:
            await self.response.aclose()


async def ask(
    client: httpx.AsyncClient,
    entry: ModelEntry,
    endpoint: Endpoint,
    body: bytes,
    headers: Mapping[str, str],
    *,
    stream: bool,
    timeout_s: float,
    idle_s: float,
) -> Reply:
    """Send a request to a model's server and return the reply: whole, or from its first event on if it is streamed.

    The reply must begin within `timeout_s`, and a stream must not pause for longer than `idle_s`. Raises Failure where
    nothing came that the client could use; then nothing is left open.
    """
    upstream = entry.served_at
    if upstream is None:
        raise Failure("the registry names no server of it")
    request = client.build_request(
        "POST", upstream.base_url + PATHS[endpoint], content=body, headers=_headers(upstream, headers)
    )
    try:
        async with asyncio.timeout(timeout_s):
            response = await client.send(request, stream=True)
            try:
                reply = await _read(response, upstream, stream=stream, idle_s=idle_s)
            except BaseException:
                await response.aclose()
                raise
    except TimeoutError:
        raise Failure(f"no answer within {timeout_s:.3g} s") from None
    except httpx.LocalProtocolError as error:  # its message would repeat what could not be sent
        raise Failure(type(error).__name__) from None
    except httpx.HTTPError as error:
        raise Failure(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__) from None
    return reply


def _headers(upstream: Upstream, headers: Mapping[str, str]) -> dict[bytes, bytes]:
    """Return what a server is told of the client: nothing that would tell who it is, and our own key."""
    sent = {name: value for name, value in headers.items() if name in _FORWARDED}
    sent |= {"accept-encoding": "identity", "content-type": sent.get("content-type", "application/json")}
    if key := _key(upstream):
        sent["authorization"] = f"Bearer {key}"
    return {name.encode(): value.encode("latin-1") for name, value in sent.items()}


def _key(upstream: Upstream) -> str | None:
    """Return the server's key; None where it needs none. Raises Failure where it could not be sent."""
    key = os.environ.get(upstream.api_key_env or "", "").strip()  # a key from a file often ends in a new line
    if not (key.isascii() and key.isprintable()):
        raise Failure(f"the key in {upstream.api_key_env} holds characters that cannot be sent")
    return key or None


async def _read(response: httpx.Response, upstream: Upstream, *, stream: bool, idle_s: float) -> Reply:
    response.headers.encoding = "latin-1"  # whatever they hold, they are passed on byte for byte
    headers = {name: response.headers[name] for name in _RETURNED if name in response.headers}
    if response.status_code >= 300:
        content = await _whole(response)
        key = _key(upstream)
        if key:
            content = content.replace(key.encode(), b"***")  # some servers repeat what they were sent
        reply = Reply(response.status_code, headers, content)
        await response.aclose()
        if response.status_code < 400:
            raise Failure(f"its server sends elsewhere ({response.status_code}); correct base_url in the registry")
        if response.status_code in (401, 403):
            raise Failure(f"its server refuses our key ({response.status_code})")
        if response.status_code in _ELSEWHERE or response.status_code >= 500:
            wait = _retry_after_s(headers.get("retry-after"))
            raise Failure(f"its server answered {response.status_code}", reply=reply, retry_after_s=wait)
        return reply
    kind = headers.get("content-type", "").lower()
    if kind.startswith("text/event-stream") or (stream and not kind.startswith("application/json")):
        events = _events(response, idle_s)
        first = await anext(events, b"")
        while _COMMENTS.sub(b"", first) == b"" and (more := await anext(events, b"")):
            first += more  # comments keep a connection alive: until an event comes, another model may answer
        if not _COMMENTS.sub(b"", first).startswith((b"data:", b"event:", b"id:", b"retry:")):
            raise Failure("its server sent no event of a stream")
        reply = Reply(response.status_code, headers, first, response=response)
        reply.rest = _rest(reply, events)
        return reply
    content = await _whole(response)
    await response.aclose()
    try:
        said = json.loads(content)
    except (ValueError, RecursionError):
        raise Failure("its server sent no JSON") from None
    return Reply(response.status_code, headers, content, usage=said.get("usage") if isinstance(said, dict) else None)


async def _whole(response: httpx.Response) -> bytes:
    content = bytearray()
    async for chunk in response.aiter_bytes():  # some compress although they are asked not to
        content += chunk
        if len(content) > _LARGEST:
            raise Failure(f"its server sent more than {_LARGEST:,} bytes")
    return bytes(content)


async def _events(response: httpx.Response, idle_s: float) -> AsyncGenerator[bytes]:
    """Yield a stream in pieces that end where an event ends, so that it never breaks off within one."""
    waiting, last = bytearray(), b""
    chunks = response.aiter_bytes()
    try:
        while True:
            async with asyncio.timeout(idle_s):
                chunk = await anext(chunks, None)
            if chunk is None:
                break
            new = max(0, len(waiting) - 3)  # a gap may have begun before
            waiting += chunk
            ends = (at + len(gap) for gap in (b"\n\n", b"\r\n\r\n") if (at := waiting.rfind(gap, new)) >= 0)
            end = max(ends, default=0)
            if end:
                last = bytes(waiting[:end])
                yield last
                del waiting[:end]
            if len(waiting) > _LARGEST:
                raise Failure(f"its server sent an event of more than {_LARGEST:,} bytes")
        if _has_no_end(response) and not any(mark in last + waiting for mark in _LAST_EVENTS):
            raise Failure("it broke off (the connection was closed)")
        if waiting:
            yield bytes(waiting)
    except TimeoutError:
        raise Failure(f"nothing came for {idle_s:.3g} s") from None
    except httpx.HTTPError as error:
        raise Failure(f"it broke off ({type(error).__name__})") from None
    finally:
        await response.aclose()


def _has_no_end(response: httpx.Response) -> bool:
    """Return whether a reply's end and a connection that breaks off look alike."""
    return not {"content-length", "transfer-encoding"} & set(response.headers)


async def _rest(reply: Reply, events: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """Yield the events behind the first one, and note the usage that one of them reports."""
    reply.usage = _usage_in(reply.begun)
    try:
        async for piece in events:
            reply.usage = _usage_in(piece) or reply.usage
            yield piece
    finally:
        await events.aclose()


def _usage_in(events: bytes) -> Mapping[str, Any] | None:
    if b'"usage"' not in events:
        return None
    found = None
    for line in events.splitlines():
        if line.startswith(b"data:") and b'"usage"' in line:
            try:
                said = json.loads(line.removeprefix(b"data:"))
            except (ValueError, RecursionError):
                continue
            said = said.get("response", said) if isinstance(said, dict) else {}
            found = (said.get("usage") if isinstance(said, dict) else None) or found
    return found


def _retry_after_s(value: str | None) -> float | None:
    """Return the seconds of a Retry-After header, which holds seconds or a date; None where it holds neither."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        try:
            return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
        except ValueError:
            return None
