"""What the server adds to a request: milliseconds at a steady rate, requests a second, memory; and LiteLLM's proxy.

    python perf/bench_serve.py [--seconds 20] [--rate 50] [--streams 10000] [--litellm FOLDER]

The models' servers are one fake that answers at once. The router is one over 112 models on made-up vectors, with the
static encoder. `--litellm` is the folder of an environment with litellm[proxy], which is then asked in the same run.
Everything shares this machine's cores: servers, fake and clients.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import yaml
from rich.console import Console

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY))

from perf._common import table as new_table  # noqa: E402

MODELS, QUESTIONS = 112, 1000
TARGETS = {"p50": 5.0, "p99": 20.0, "MB": 600}
FAKE = """
import json, sys
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    body = b""
    more = True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    stream = json.loads(body).get("stream")
    kind = b"text/event-stream" if stream else b"application/json"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
    if stream:
        for _ in range(5):
            await send({"type": "http.response.body", "body": b'data: {"choices": []}\\n\\n', "more_body": True})
        await send({"type": "http.response.body", "body": b"data: [DONE]\\n\\n"})
    else:
        message = {"role": "assistant", "content": "yes"}
        told = {"id": "c", "object": "chat.completion", "created": 1, "model": "m",
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}}
        await send({"type": "http.response.body", "body": json.dumps(told).encode()})
import uvicorn
uvicorn.run(app, port=int(sys.argv[1]), log_level="error", lifespan="off")
"""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def running(command: Sequence[str], port: int, environment: dict[str, str] | None = None) -> Iterator[psutil.Process]:
    """Run a server until the block ends; it is entered once the port is listened at."""
    process = subprocess.Popen(
        command, env={**os.environ, **(environment or {})}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(1200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if process.poll() is not None:
                sys.exit(f"{' '.join(command[:3])} … ended at once")
            time.sleep(0.1)
        yield psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def make_router(folder: Path, upstream: str) -> None:
    """Write a router over made-up models, and a registry that says they are all behind `upstream`."""
    import embedllm

    rng = np.random.default_rng(0)
    topics = ("sums", "trees", "towns", "poems")
    skill = rng.random((MODELS, len(topics)))
    rows = [
        {"model": f"org/m{model:03}", "prompt": f"Question {number} about {topics[number % 4]}: what is it?",
         "label": int(rng.random() < skill[model, number % 4]), "category": topics[number % 4]}
        for number in range(QUESTIONS)
        for model in range(MODELS)
    ]  # fmt: skip
    embedllm.fit(pd.DataFrame(rows)).save(folder / "router")
    served = {"base_url": upstream, "model": "m"}
    models = [{"name": f"org/m{n:03}", "args": {"pretrained": "x"}, "upstream": served} for n in range(MODELS)]
    (folder / "registry").mkdir()
    (folder / "registry" / "models.yaml").write_text(yaml.safe_dump({"models": models}))
    (folder / "registry" / "benchmarks.yaml").write_text("benchmarks: []\n")


def body(number: int, *, stream: bool = False) -> bytes:
    text = f"Question {number} about sums: what is {number} plus {number % 7}?"
    return json.dumps({"model": "embedllm", "stream": stream, "messages": [{"role": "user", "content": text}]}).encode()


class Client:
    """One connection that is kept, as little client as possible."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.reader: asyncio.StreamReader | None = None

    async def ask(self, content: bytes) -> float:
        """Return the milliseconds until the reply is complete."""
        if self.reader is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        started = time.perf_counter()
        self.writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            b"authorization: Bearer sk-1234\r\ncontent-length: %d\r\n\r\n%b" % (len(content), content)
        )
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        if b" 200 " not in head.split(b"\r\n")[0]:
            sys.exit(f"a request failed: {head[:300]!r}")
        if b"content-length: " in head:
            await self.reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
        else:
            while (size := int((await self.reader.readline()) or b"0", 16)) or await self.reader.readline() != b"\r\n":
                await self.reader.readexactly(size + 2)
        return (time.perf_counter() - started) * 1000


async def at_a_rate(port: int, rate: float, seconds: float) -> np.ndarray:
    """Return the milliseconds of requests that begin at a steady rate, whatever becomes of those before."""
    idle, tasks = [Client(port) for _ in range(50)], []

    async def one(number: int) -> float:
        client = idle.pop() if idle else Client(port)
        taken = await client.ask(body(number))
        idle.append(client)
        return taken

    began = time.perf_counter()
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0, began + number / rate - time.perf_counter()))
        tasks.append(asyncio.create_task(one(number)))
    return np.array(await asyncio.gather(*tasks))


async def as_fast_as_it_goes(port: int, seconds: float, clients: int = 16, *, stream: bool = False) -> float:
    """Return the requests a second of some clients that ask one after the other."""
    end, counts = time.perf_counter() + seconds, [0] * clients

    async def one(at: int) -> None:
        client = Client(port)
        while time.perf_counter() < end:
            await client.ask(body(counts[at] * clients + at, stream=stream))
            counts[at] += 1

    await asyncio.gather(*(one(at) for at in range(clients)))
    return sum(counts) / seconds


async def many_streams(port: int, count: int, clients: int = 16) -> None:
    async def one(at: int) -> None:
        client = Client(port)
        for number in range(at, count, clients):
            await client.ask(body(number, stream=True))

    await asyncio.gather(*(one(at) for at in range(clients)))


def measure(port: int, options: argparse.Namespace) -> tuple[np.ndarray, float]:
    asyncio.run(at_a_rate(port, options.rate, 2))  # warm
    return asyncio.run(at_a_rate(port, options.rate, options.seconds)), asyncio.run(as_fast_as_it_goes(port, 5))


def megabytes(process: psutil.Process) -> float:
    return process.memory_info().rss / 2**20


def litellm_config(folder: Path, upstream: str) -> Path:
    deployment = {"model": "openai/m", "api_base": upstream, "api_key": "any"}
    config = {
        "model_list": [{"model_name": "embedllm", "litellm_params": deployment}],
        "litellm_settings": {"num_retries": 0, "telemetry": False},
        "general_settings": {"dangerously_permit_weak_or_unset_master_key": True},
    }
    (folder / "litellm.yaml").write_text(yaml.safe_dump(config))
    return folder / "litellm.yaml"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=20)
    options.add_argument("--rate", type=float, default=50)
    options.add_argument("--streams", type=int, default=10_000)
    options.add_argument("--litellm", type=Path)
    chosen = options.parse_args()
    fake, ours, theirs = free_port(), free_port(), free_port()
    found: dict[str, tuple[np.ndarray, float, float]] = {}
    with tempfile.TemporaryDirectory() as scratch, running([sys.executable, "-c", FAKE, str(fake)], fake):
        folder, upstream = Path(scratch), f"http://127.0.0.1:{fake}/v1"
        make_router(folder, upstream)
        found["straight to the models' server"] = (*measure(fake, chosen), float("nan"))
        start = "import sys; from pipelines.cli.main import main; sys.argv[0] = 'embedllm'; main()"
        environment = {
            "EMBEDLLM_HOME": str(folder / "home"),
            "EMBEDLLM_REGISTRY": str(folder / "registry"),
            "PYTHONPATH": str(REPOSITORY),
            "OMP_NUM_THREADS": "1",
        }
        serve = [sys.executable, "-c", start, "serve", "--port", str(ours), "--router", str(folder / "router")]
        with running(serve, ours, environment) as process:
            taken = measure(ours, chosen)
            before = megabytes(process)
            found["embedllm serve"] = (*taken, before)
            asyncio.run(many_streams(ours, chosen.streams))
            after, open_files = megabytes(process), process.num_fds()
        if chosen.litellm:
            command = [
                str(chosen.litellm / "bin" / "litellm"), "--config", str(litellm_config(folder, upstream)),
                "--port", str(theirs), "--host", "127.0.0.1",
            ]  # fmt: skip
            with running(command, theirs, {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}) as process:
                time.sleep(5)
                found["LiteLLM's proxy"] = (*measure(theirs, chosen), megabytes(process))
    show(found, chosen)
    print(f"{chosen.streams:,} streams: {before:.0f} MB before, {after:.0f} MB after, {open_files} open files")


def show(found: dict[str, tuple[np.ndarray, float, float]], chosen: argparse.Namespace) -> None:
    straight = found["straight to the models' server"][0]
    columns = ("", "p50 ms", "p99 ms", "added p50", "added p99", "requests/s", "MB")
    table = new_table(f"{chosen.rate:g} requests a second for {chosen.seconds:g} s; then 16 clients for 5 s", columns)
    for name, (taken, a_second, memory) in found.items():
        p50, p99 = np.percentile(taken, [50, 99])
        added = np.percentile(taken, [50, 99]) - np.percentile(straight, [50, 99])
        table.add_row(name, *(f"{x:.2f}" for x in (p50, p99, *added)), f"{a_second:.0f}", f"{memory:.0f}")
    Console().print(table)
    print(f"targets: added p50 {TARGETS['p50']:g} ms, p99 {TARGETS['p99']:g} ms, {TARGETS['MB']} MB")


if __name__ == "__main__":
    main()
