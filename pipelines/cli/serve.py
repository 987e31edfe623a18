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
        key = make_key()
        say(f"The key of {new_key}, which is shown this once: {key}")
        say("Its line for --keys FILE:")
        out.print(f"{new_key} {hash_key(key)}", soft_wrap=True)
        return
    try:
        known = read_keys(os.environ.get("EMBEDLLM_SERVE_KEYS"), keys)
        check_address(host, known, without_keys=without_keys)
    except (KeysError, NotSafe) as error:
        raise CommandError(str(error)) from error
    live, state_folder = _open(router)
    say(f"Serving on http://{host}:{port}/v1 ; clients name the model embedllm. Ctrl-C ends it.")
    run(live, Address(host, port, Limits(body_mb=body_mb)), known, state_folder)


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
