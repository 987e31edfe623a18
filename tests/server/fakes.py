"""A server of models that does as it is told, and a router that forecasts by a word."""

import asyncio
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from embedder.predictor import Forecast
from embedder.router import Router
from harness.registry import ModelEntry, Policies, Policy
from harness.registry.policies import BUILT_IN
from server.live import Live
from server.serving import Address, Limits, make_server
from server.snapshot import Snapshot

PROBABILITY = {"good": 0.9, "fair": 0.8, "poor": 0.3}
COSTS = {"good": 0.01, "fair": 0.002, "poor": 0.001}


class Foretold:
    """Says of every question what PROBABILITY says; "poem" is what the poor one is good at, "asdf" is like nothing."""

    models = tuple(PROBABILITY)
    least_support = 0.2

    def __init__(self, probability: Mapping[str, float] = PROBABILITY) -> None:
        self.row = np.array([probability[name] for name in self.models], np.float32)

    def known_categories(self) -> tuple[str, ...]:
        return ()

    def forecast(self, questions: Any) -> Forecast:
        rows = np.array([self.row[::-1] if "poem" in text else self.row for text in questions.texts])
        support = np.array([0.1 if "asdf" in text else 0.7 for text in questions.texts], np.float32)
        return Forecast(rows, np.full_like(rows, 0.5), rows, support)


class Nothing:
    def encode(self, texts: Sequence[str], *, progress: bool = True) -> np.ndarray:
        return np.zeros((len(texts), 1), np.float32)


@dataclass
class Upstream:
    """What it was asked, and how each model answers (by default: as it should)."""

    port: int = 0
    behaviour: dict[str, Callable[["Asked", asyncio.StreamWriter], Awaitable[None]]] = field(default_factory=dict)
    asked: list["Asked"] = field(default_factory=list)
    left: int = 0  # how many clients went before their answer was complete
    open: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode("latin-1").split("\r\n")
                headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines[1:] if line)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                asked = Asked(lines[0].split()[1], headers, body)
                self.asked.append(asked)
                await self.behaviour.get(asked.model, as_it_should)(asked, writer)
                if writer.is_closing():
                    return
        except asyncio.IncompleteReadError:
            pass
        except (ConnectionError, asyncio.CancelledError):
            self.left += 1
        finally:
            self.open -= 1
            writer.close()


@dataclass
class Asked:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def content(self) -> dict[str, Any]:
        return json.loads(self.body)

    @property
    def model(self) -> str:
        return self.content["model"]


def reply(content: bytes, status: str = "200 OK", **headers: str) -> bytes:
    told = {"content-type": "application/json", "content-length": str(len(content)), **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in told.items())
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + content


def completion(asked: Asked) -> bytes:
    message = {"role": "assistant", "content": f"I am {asked.model}.", "tool_calls": None}
    usage = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}
    choices = [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}]
    told = {"id": "c-1", "object": "chat.completion", "created": 1, "model": asked.model, "choices": choices}
    return json.dumps({**told, "usage": usage, "field of tomorrow": [1.0, 1e-7, "é"]}, indent=1).encode()


def event(text: str, finish: str | None = None) -> bytes:
    delta = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    chunk = {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "x", "choices": [delta]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def chunked(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


BEGIN_STREAM = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
)
STREAM = b"".join([*map(event, ("I ", "am ", "here.")), event("", finish="stop"), b"data: [DONE]\n\n"])


async def as_it_should(asked: Asked, writer: asyncio.StreamWriter) -> None:
    if not asked.content.get("stream"):
        writer.write(reply(completion(asked)))
    else:
        writer.write(BEGIN_STREAM)
        for start in range(0, len(STREAM), 50):  # pieces that end anywhere
            writer.write(chunked(STREAM[start : start + 50]))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
    await writer.drain()


def says(status: str, content: bytes = b'{"error": {"message": "no"}}', **headers: str) -> Any:
    async def say(_: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(reply(content, status, **headers))
        await writer.drain()

    return say


def sends(*pieces: bytes | float) -> Any:
    """Send bytes, wait for seconds, and hang up at the end."""

    async def send(_: Asked, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            if isinstance(piece, bytes):
                writer.write(piece)
                await writer.drain()
            else:
                await asyncio.sleep(piece)
        writer.close()

    return send


def until(done: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


@contextmanager
def running_upstream() -> Iterator[Upstream]:
    upstream, loop = Upstream(), asyncio.new_event_loop()
    ready, stop = threading.Event(), asyncio.Event()

    async def run() -> None:
        server = await asyncio.start_server(upstream.handle, "127.0.0.1", 0, backlog=2000)
        upstream.port = server.sockets[0].getsockname()[1]
        ready.set()
        await stop.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    ready.wait(10)
    try:
        yield upstream
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


@dataclass
class Given:
    """A source that a test changes."""

    snapshot: Snapshot
    number: int = 0
    error: Exception | None = None

    def state(self) -> int:
        return self.number

    def load(self) -> Snapshot:
        if self.error:
            raise self.error
        return self.snapshot

    def put(self, **changes: Any) -> None:
        self.snapshot = replace(self.snapshot, **changes)
        self.number += 1


def entries(url: str, **fields: Any) -> dict[str, ModelEntry]:
    def entry(name: str) -> ModelEntry:
        served = {"base_url": url, "model": name, **fields.get("upstream", {})}
        given = {"price": {"input": 1.0, "output": 2.0}, **fields.get(name, {})}
        return ModelEntry.model_validate({"name": name, "args": {"pretrained": name}, "upstream": served, **given})

    return {name: entry(name) for name in PROBABILITY}


def snapshot(url: str, policies: Sequence[Policy] = (), **fields: Any) -> Snapshot:
    by_name = {policy.name: policy for policy in policies}
    in_force = Policies(by_name, next(iter(by_name))) if by_name else BUILT_IN
    return Snapshot(Router(Foretold(), Nothing(), COSTS), "version-1", entries(url, **fields), in_force)  # type: ignore[arg-type]


@dataclass
class Served:
    url: str
    source: Given
    live: Live

    def ask(self, text: str = "What is 2 plus 2?", model: str = "embedllm", **fields: Any) -> httpx.Response:
        headers, timeout = fields.pop("headers", {}), fields.pop("timeout", 30)
        body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
        return httpx.post(f"{self.url}/chat/completions", json=body, headers=headers, timeout=timeout)


@contextmanager
def running(
    source: Given,
    keys: Mapping[str, str] | None = None,
    state_folder: Path | None = None,
    limits: Limits | None = None,
) -> Iterator[Served]:
    live = Live(source)
    live.load()
    server = make_server(live, Address("127.0.0.1", 0, limits or Limits()), keys or {}, state_folder, refresh_s=0.05)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started and thread.is_alive():
        threading.Event().wait(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield Served(f"http://127.0.0.1:{port}/v1", source, live)
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()
