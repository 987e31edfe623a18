"""Packages of the names we use, in the folder where a command is given, are nothing to `embedllm`."""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

EMBEDLLM = str(Path(sys.executable).with_name("embedllm"))
PACKAGES = ("assets", "dagster", "dagster_webserver", "embedder", "harness", "pipelines", "warehouse")
MODULES = ("json", "multiprocessing", "numpy", "pickle", "signal", "struct", "torch", "yaml")
TRAP = "raise RuntimeError(f'{__file__} is not to be imported')\n"
ASSETS = "{ assetNodes { assetKey { path } } }"


@pytest.fixture
def shadows(tmp_path: Path) -> Path:
    """A folder full of them."""
    folder = tmp_path / "shadows"
    for name in PACKAGES:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(TRAP)
    (folder / "pipelines" / "definitions.py").write_text(TRAP)
    for name in MODULES:
        (folder / f"{name}.py").write_text(TRAP)
    return folder


def served(port: int) -> set[str]:
    """The assets that a UI shows; none while it does not answer."""
    query = json.dumps({"query": ASSETS}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/graphql", query, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return {node["assetKey"]["path"][-1] for node in json.load(answer)["data"]["assetNodes"]}
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return set()


@pytest.mark.slow
def test_our_own_code_runs_and_is_served_wherever_it_is_started(
    embedllm: Any, write_registry: Callable[..., Path], shadows: Path
):
    """And paths are those of the folder where the command is given."""
    write_registry(shadows / "registry", ["tiny/a", "tiny/b"], ["sums"])
    relative = {"EMBEDLLM_HOME": "home", "EMBEDLLM_REGISTRY": "registry"}
    environment = embedllm.environment() | relative
    done = subprocess.run(
        [EMBEDLLM, "run"], cwd=shadows, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (shadows / "home" / "reports" / "report.html").exists()

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = shadows / "ui.log"
    with log.open("wb") as output:
        ui = subprocess.Popen(
            [EMBEDLLM, "ui", "--port", str(port)], cwd=shadows, env=environment, stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + 120
        while not (found := served(port)):
            assert ui.poll() is None, log.read_text()
            assert time.monotonic() < deadline, "\n".join(p.read_text() for p in shadows.glob("home/dagster/*.log"))
            time.sleep(0.5)
        assert {"sums", "correctness_matrix", "embedder"} <= found
    finally:
        ui.terminate()
        ui.wait(60)
    assert "not to be imported" not in "".join(p.read_text() for p in shadows.glob("home/dagster/*.log"))
