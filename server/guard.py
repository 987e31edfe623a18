"""Who may ask, how much at once, and how slowly: around the application, before anything of a request is believed."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers, MutableHeaders

from .replies import refusal

__all__ = ["Guard", "KeysError", "hash_key", "new_key", "read_keys"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

OPEN = ("/healthz", "/readyz")  # need no key
_HEADERS = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
_READ_ON = 256 * 2**20  # bytes of a body that is too large: a client that still sends does not read the refusal


class KeysError(ValueError):
    """Keys for clients that cannot be read."""


def new_key() -> str:
    return f"ek-{secrets.token_urlsafe(32)}"


def hash_key(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def read_keys(text: str | None, file: Path | None) -> dict[str, str]:
    """Return names by the hash of their key: from `text` (NAME=KEY or KEY, with commas between), and from a file with
    lines of a name and a hash. Raises KeysError."""
    keys = {}
    for number, part in enumerate(filter(None, map(str.strip, (text or "").split(","))), start=1):
        name, named, key = part.partition("=")  # a key may end in "=", a name does not
        name, key = (name, key) if named else ("", part)
        if len(key) < 16:
            raise KeysError(
                f"key {number} of EMBEDLLM_SERVE_KEYS has fewer than 16 characters; make one with "
                "`embedllm serve --new-key NAME`"
            )
        keys[hash_key(key)] = name or f"key {number}"
    if file is None:
        return keys
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise KeysError(f"{file} cannot be read ({error})") from error
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words or line.startswith("#"):
            continue
        if len(words) != 2 or not re.fullmatch(r"[0-9a-f]{64}", words[1]):
            raise KeysError(
                f"{file}, line {number}: it must hold a name and the SHA-256 of a key; make such a line with "
                "`embedllm serve --new-key NAME`"
            )
        keys[words[1]] = words[0]
    if not any(line.split() and not line.startswith("#") for line in lines):
        raise KeysError(f"{file} holds no key; make one with `embedllm serve --new-key NAME`, or leave --keys out")
    return keys


class Guard:
    """Lets in who has a key (anybody where there are no keys), and bodies up to `largest` bytes that arrive within
    `body_s` seconds. Puts the client's name into the request's state."""

    def __init__(self, app: App, keys: Mapping[str, str], *, largest: int, body_s: float) -> None:
        self._app, self._keys, self._largest, self._body_s = app, keys, largest, body_s

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        client = self._client(headers)
        if client is None and scope["path"] not in OPEN:
            told = refusal(401, "no valid key: send one as Authorization: Bearer …", "invalid_api_key")
            await told(scope, receive, _with_headers(send))
            return
        scope.setdefault("state", {})["client"] = client or ""
        try:
            body = await asyncio.wait_for(self._read(headers, receive), self._body_s)
        except TimeoutError:
            told = refusal(408, f"the body did not arrive within {self._body_s:g} s", "timeout")
            await told(scope, receive, _with_headers(send))
            return
        if body is None:
            told = refusal(413, f"the body is larger than {self._largest:,} bytes", "too_large")
            await told(scope, receive, _with_headers(send))
            return
        await self._app(scope, _given(body, receive), _with_headers(send))

    def _client(self, headers: Headers) -> str | None:
        """Return who has the request's key; as many comparisons whatever the key is."""
        if not self._keys:
            return "anybody"
        scheme, _, key = headers.get("authorization", "").partition(" ")
        sent = hash_key(key.strip() if scheme.lower() == "bearer" else "")
        found = None
        for known, name in self._keys.items():
            if hmac.compare_digest(known, sent):
                found = name
        return found

    async def _read(self, headers: Headers, receive: Receive) -> bytes | None:
        """Return the body; None where it is too large."""
        body, length, more = bytearray(), 0, True
        declared = headers.get("content-length", "0")
        too_large = not declared.isdecimal() or int(declared) > self._largest
        while more and length < _READ_ON:
            message = await receive()
            if message["type"] == "http.disconnect":
                break
            chunk = message.get("body", b"")
            length += len(chunk)
            too_large = too_large or length > self._largest
            if too_large:
                body.clear()
            else:
                body += chunk
            more = message.get("more_body", False)
        return None if too_large else bytes(body)


def _given(body: bytes, receive: Receive) -> Receive:
    """Return a function that tells of the body once, and then of what comes after it."""
    told = False

    async def tell() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return tell


def _with_headers(send: Send) -> Send:
    async def send_on(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=message.setdefault("headers", []))
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return send_on
