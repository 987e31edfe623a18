"""`embedllm serve`: what it says before it serves."""

import socket
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from pipelines.cli.app import app
from server.guard import hash_key, read_keys


def serve(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["serve", *arguments])


def test_a_new_key_is_shown_and_its_line_alone_is_on_standard_output(tmp_path: Path) -> None:
    made = serve("--new-key", "ann")
    (tmp_path / "keys").write_text(made.stdout)
    key = made.stderr.split("shown this once: ")[1].split()[0]
    assert read_keys(None, tmp_path / "keys") == {hash_key(key): "ann"}
    assert serve("--new-key", "a b").exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--host", "0.0.0.0"), "can be reached from other machines, and there are no keys: make one with"),
        (("--keys", "none"), "none cannot be read"),
        (("--router", "nowhere", "--port", "0"), "router.json: no such file; export the router again"),
        (("--port", "0"), "There is no embedder yet in"),
    ],
)
def test_what_cannot_be_served_is_said_in_a_sentence(
    arguments: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBEDLLM_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    refused = serve(*arguments)
    assert refused.exit_code == 1
    assert said in refused.stderr
    assert "Traceback" not in refused.output


def test_a_port_that_is_taken_is_said_before_anything_is_loaded() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        refused = serve("--port", str(port))
    assert refused.exit_code == 1
    assert f"127.0.0.1:{port} is taken; choose another with --port." in refused.stderr
    assert "Serving on" not in refused.output
