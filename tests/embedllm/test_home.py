"""A router out of a home: loaded there, exported from there, served from either."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx
import pytest

import embedllm
from tests.command import EMBEDLLM, Command

QUESTION = "Which number is 3 plus 4?"
ALONE = """
import sys, embedllm
router = embedllm.load(sys.argv[1])
print(router.route([sys.argv[2]], top=9).to_csv(index=False))
loaded = [name for name in ("dagster", "duckdb", "lm_eval", "deltalake", "transformers") if name in sys.modules]
sys.exit(f"loaded {loaded}" if loaded else 0)
"""


@pytest.mark.slow
def test_a_home_and_what_is_exported_from_it_say_the_same(small_copy: Command, tmp_path: Path) -> None:
    folder = tmp_path / "router"
    assert small_copy("export", str(folder), "--format", "router").returncode == 0
    told = json.loads(small_copy("route", QUESTION, "--top", "9", "--format", "json").stdout)["questions"][0]["models"]

    in_home = embedllm.load(small_copy.home)
    assert in_home.route([QUESTION], top=9)["model"].tolist() == [choice["model"] for choice in told]
    done = subprocess.run([sys.executable, "-c", ALONE, folder, QUESTION], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == in_home.route([QUESTION], top=9).to_csv(index=False).strip()
    (version,) = (small_copy.home / "embedders").iterdir()
    assert embedllm.load(version).route([QUESTION])["model"].tolist()[0] == told[0]["model"]


@pytest.mark.slow
def test_it_is_served_and_changes_are_followed(small_copy: Command, tmp_path: Path) -> None:
    folder, registry = tmp_path / "router", small_copy.registry
    assert registry is not None
    small_copy("export", str(folder), "--format", "router")
    for source in ((), ("--router", str(folder))):
        environment = {**os.environ, **small_copy.environment(), "EMBEDLLM_SERVE_KEYS": "ann=0123456789abcdef"}
        process = subprocess.Popen(
            [EMBEDLLM, "serve", "--port", "0", *source],
            env=environment, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert process.stderr is not None
            address = next(line for line in process.stderr if "Uvicorn running on" in line)
            url = json.loads(address)["event"].split("running on ")[1].split(" ")[0]
            client = httpx.Client(base_url=url, headers={"authorization": "Bearer 0123456789abcdef"})
            refused = partial(_refused, client)

            told = client.post("/v1/route", json={"question": QUESTION}).json()
            assert len(told["questions"][0]["models"]) == 3
            assert httpx.post(f"{url}/v1/route", json={"question": QUESTION}).status_code == 401

            (registry / "policies.yaml").write_text("policies: [{name: half")
            _until(lambda refused=refused: "policies.yaml" in str(refused()))
            (registry / "policies.yaml").write_text("policies: [{name: careful, choose: cheapest}]\n")
            _until(lambda refused=refused: refused() is None)
            assert client.get("/v1/models").json()["data"][1]["id"] == "embedllm/careful"
        finally:
            (registry / "policies.yaml").unlink(missing_ok=True)
            process.send_signal(signal.SIGTERM)
            process.wait(20)


def _refused(client: httpx.Client) -> str | None:
    return client.get("/readyz").json()["refused"]


def _until(done: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)
