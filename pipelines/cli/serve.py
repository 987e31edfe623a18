"""`embedllm serve`: the router behind OpenAI's protocol."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.console import out, say
from pipelines.errors import CommandError

from .home import open_settings

if TYPE_CHECKING:
    from server.live import Live


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8080,
    keys: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Clients' keys: a name and the SHA-256 of a key a line; see --new-key."),
    ] = None,
    without_keys: Annotated[
        bool, typer.Option("--without-keys", help="Let everybody in, also on an address that others can reach.")
    ] = False,
    new_key: Annotated[
        str | None, typer.Option(metavar="NAME", help="Make a key for a client, print it, and exit.")
    ] = None,
    router: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Serve by this router (`export --format router`) instead of the home's."),
    ] = None,
    body_mb: Annotated[float, typer.Option(min=0.001, help="Largest body of a request, in MB.")] = 32,
) -> None:
    """Answer requests of OpenAI's protocol, each by the model that the router chooses (docs/serve.md).

    Clients' keys are read from --keys and from EMBEDLLM_SERVE_KEYS (KEY or NAME=KEY, with commas between).
    """
    _import_server()
    import os

    from server.guard import KeysError, hash_key, read_keys
    from server.guard import new_key as make_key
    from server.serving import Address, Limits, NotSafe, check_address
    from server.serving import serve as run

    if new_key is not None:
        if not new_key or new_key.split() != [new_key]:
            raise typer.BadParameter(f"--new-key is {new_key!r}, but must be a name without spaces")
        key = make_key()
        typer.echo(f"The key of {new_key}, which is shown this once: {key}\nIts line for --keys FILE:", err=True)
        out.print(f"{new_key} {hash_key(key)}", soft_wrap=True, highlight=False)
        return
    try:
        known = read_keys(os.environ.get("EMBEDLLM_SERVE_KEYS"), keys)
        check_address(host, known, without_keys=without_keys)
    except (KeysError, NotSafe) as error:
        raise CommandError(str(error)) from error
    _check_port(host, port)
    live, state_folder = _open(router)
    say(f"Serving on http://{host}:{port}/v1 ; clients name the model embedllm. Ctrl-C ends it.")
    run(live, Address(host, port, Limits(body_mb=body_mb)), known, state_folder)


def _check_port(host: str, port: int) -> None:
    """Raise CommandError where nobody can listen there, before anything is loaded."""
    import errno
    import socket

    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        remedy = "is taken; choose another with --port" if taken else f"cannot be listened at ({error.strerror})"
        raise CommandError(f"{host}:{port} {remedy}.") from error


def _open(router: Path | None) -> tuple[Live, Path]:
    """Return what is served by, loaded, and the folder for what the server keeps."""
    from pipelines.router_source import FolderSource, HomeSource
    from server.live import Live

    settings = open_settings()
    source = FolderSource(settings, router) if router else HomeSource(settings)
    live = Live(source)
    live.load()
    return live, settings.home / "server"


def _import_server() -> None:
    try:
        import fastapi
        import httpx
        import prometheus_client
        import uvicorn
    except ImportError as error:
        raise CommandError(
            f'The server needs {error.name}: install it with `pip install "embedllm[serve]"`.'
        ) from error
    del fastapi, httpx, prometheus_client, uvicorn
