"""Runs the application with uvicorn."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import httpx
import uvicorn

from .app import create_app
from .gateway import Gateway
from .guard import Guard
from .live import Live
from .slow_clients import protocol

__all__ = ["Address", "Limits", "NotSafe", "check_address", "make_server", "serve"]

_AT_ONCE = 2000  # requests to models' servers
_KEPT = 20  # connections without a request: httpx looks at each of them for every request
_KEPT_S = 4  # for which a connection to one is kept: most servers, being uvicorn's, close it after 5 s
_CLIENTS_KEPT_S = 75  # longer than clients keep one: who closes first must be the side that sends requests


class NotSafe(ValueError):
    """The server would be open to everybody."""


@dataclass(frozen=True)
class Limits:
    """What a client may do to the server."""

    body_mb: float = 32  # of a request
    body_s: float = 30  # in which it must arrive
    head_kb: float = 64
    head_s: float = 10
    unread_s: float = 120  # for which a client may leave unread what is sent to it


@dataclass(frozen=True)
class Address:
    host: str = "127.0.0.1"
    port: int = 8080
    limits: Limits = field(default_factory=Limits)


def check_address(host: str, keys: Mapping[str, str], *, without_keys: bool) -> None:
    """Raise NotSafe where others than this machine would be let in without a key."""
    if keys or without_keys or _is_loopback(host):
        return
    raise NotSafe(
        f"{host} can be reached from other machines, and there are no keys: make one with `embedllm serve --new-key "
        "NAME`, or let everybody in with --without-keys"
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def serve(live: Live, address: Address, keys: Mapping[str, str], state_folder: Path | None) -> None:
    """Answer requests until the process is told to stop; what has begun is then finished within ten seconds."""
    log_as_json()
    make_server(live, address, keys, state_folder).run()


def make_server(
    live: Live, address: Address, keys: Mapping[str, str], state_folder: Path | None, *, refresh_s: float = 2
) -> uvicorn.Server:
    """Return a server that is ready to run; with port 0 it takes one that is free."""
    limits = address.limits
    client = httpx.AsyncClient(
        follow_redirects=False,
        trust_env=False,
        limits=httpx.Limits(max_connections=_AT_ONCE, max_keepalive_connections=_KEPT, keepalive_expiry=_KEPT_S),
        timeout=httpx.Timeout(None, connect=10, pool=10),  # the rest is limited by policies
    )
    gateway = Gateway(live, client, state_folder)
    app = Guard(
        create_app(gateway, refresh_s=refresh_s), keys, largest=int(limits.body_mb * 2**20), body_s=limits.body_s
    )
    config = uvicorn.Config(
        app,
        host=address.host,
        port=address.port,
        http=protocol(limits.head_s, int(limits.head_kb * 2**10), limits.unread_s),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_CLIENTS_KEPT_S,
        timeout_graceful_shutdown=10,
        backlog=4096,
    )
    return uvicorn.Server(config)


class _AsJson(logging.Formatter):
    """A line of JSON an event; questions and answers are in none."""

    def format(self, record: logging.LogRecord) -> str:
        told = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "told", {}),
        }
        if record.exc_info and record.exc_info[0]:
            told["error"] = self.formatException(record.exc_info)
        return json.dumps(told)


def log_as_json() -> None:
    """Let the server and uvicorn log to standard error, a line of JSON an event."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_AsJson())
    for name in ("server", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO)
