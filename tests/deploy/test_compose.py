"""What compose.yaml starts, started without containers: a model is evaluated, the code server dies and comes back."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from warehouse.lake import Lake

DEPLOY = Path(__file__).parents[2] / "deploy"
BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
S3 = "from moto.server import main; import sys; main(['-H', '127.0.0.1', '-p', sys.argv[1]])"
LAUNCH = """mutation ($benchmark: String!, $model: String!) { launchRun(executionParams: {
    selector: {repositoryLocationName: "pipelines.definitions", repositoryName: "__repository__", jobName: "evaluate",
               assetSelection: [{path: ["responses", $benchmark]}]},
    executionMetadata: {tags: [{key: "dagster/partition", value: $model}]}
}) { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
MODELS = """query ($benchmark: String!) { assetNodeOrError(assetKey: {path: ["responses", $benchmark]}) {
    ... on AssetNode { partitionKeys } } }"""
STATUS = "query ($run: ID!) { runOrError(runId: $run) { ... on Run { status } } }"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(420),
    pytest.mark.skipif(not BINARIES, reason="no Postgres server is installed"),
]


def _wait(is_so: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := is_so()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return found


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Machine:
    """The services of compose.yaml as processes of this machine; their addresses and folders are replaced by ours."""

    def __init__(self, folder: Path, registry: Path, stack: ExitStack) -> None:
        self.services: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
        self.ports = {name: _free_port() for name in ("postgres", "s3", "code", "web")}
        self.folder, self.registry, self.stack = folder, registry, stack
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        (folder / "dagster").mkdir()
        for name in ("dagster.yaml", "workspace.yaml"):
            shutil.copy(DEPLOY / name, folder / "dagster")

    def here(self, text: str) -> str:
        text = re.sub(r"(?:(?<=//)|^)(postgres|s3|code|web)(?=:\d|$)", "127.0.0.1", text)
        ports = {"5432": "postgres", "8333": "s3", "4000": "code", "3000": "web"}
        text = re.sub(rf"\b({'|'.join(ports)})\b", lambda found: str(self.ports[ports[found[0]]]), text)
        text = re.sub(r"\$\{\w+[^}]*\}", "made-up", text).replace("0.0.0.0", "127.0.0.1")
        folders = {"/data": self.folder / "home", "/dagster": self.folder / "dagster", "/registry": self.registry}
        for inside, outside in folders.items():
            text = re.sub(rf"^{inside}(?=/|$)", str(outside), text)
        return text

    def environment(self, name: str) -> Mapping[str, str]:
        own = {key: self.here(value) for key, value in self.services[name]["environment"].items()}
        return {**os.environ, **own, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(DEPLOY.parent)}

    def start(self, name: str) -> subprocess.Popen[bytes]:
        program, *arguments = map(self.here, self.services[name]["command"])
        command = [str(Path(sys.executable).with_name(program)), *arguments]
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command, env=self.environment(name), cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )
        self.running[name] = process
        self.stack.callback(self.kill, process)
        return process

    @staticmethod
    def kill(process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            os.killpg(process.pid, 9)
            process.wait()

    def ask(self, query: str, **variables: str) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        address = f"http://127.0.0.1:{self.ports['web']}/graphql"
        request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["data"]

    def launch(self, model: str, benchmark: str) -> dict[str, Any] | None:
        """Return the run; None as long as the web server has not found the code server again."""
        try:
            return self.ask(LAUNCH, benchmark=benchmark, model=model)["launchRun"].get("run")
        except urllib.error.HTTPError as error:
            (self.folder / "refused.log").write_bytes(error.read())
            return None

    def evaluate(self, model: str, benchmark: str) -> str:
        """Launch a run by the web server, once it knows the model, and return how it ended."""
        _wait(lambda: model in (self.ask(MODELS, benchmark=benchmark)["assetNodeOrError"].get("partitionKeys") or ()))
        launched = _wait(lambda: self.launch(model, benchmark))
        ended = ("SUCCESS", "FAILURE", "CANCELED")
        return _wait(
            lambda: (
                status if (status := self.ask(STATUS, run=launched["runId"])["runOrError"]["status"]) in ended else None
            ),
            120,
        )


@pytest.fixture
def machine(tmp_path: Path, write_registry: Callable[..., Path]) -> Iterator[Machine]:
    pytest.importorskip("dagster_postgres", reason="dagster-postgres is not installed")
    pytest.importorskip("moto.server", reason="the extra `dev` is not installed: there is no S3 server")
    registry = write_registry(tmp_path / "registry", ("tiny/a",), ("sums", "towns"))
    with ExitStack() as stack:
        machine = Machine(tmp_path, registry, stack)
        # Postgres refuses to work for root.
        data = Path(stack.enter_context(_folder_for_postgres()))
        user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        inner, own = machine.environment("code"), data / "data"
        password = data / "password"
        password.write_text(inner["POSTGRES_PASSWORD"])
        password.chmod(0o644)
        init = ["-D", own, "-U", inner["POSTGRES_USER"], "-A", "scram-sha-256", f"--pwfile={password}", "--no-sync"]
        subprocess.run([*user, BINARIES[-1] / "initdb", *init], cwd=data, check=True, capture_output=True)
        flags = ["-D", own, "-p", str(machine.ports["postgres"]), "-k", data, "-c", "fsync=off"]
        for command in (
            [*user, BINARIES[-1] / "postgres", *flags],
            [sys.executable, "-c", S3, str(machine.ports["s3"])],
        ):
            process = subprocess.Popen(
                command, cwd=data, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
            )
            stack.callback(machine.kill, process)
        _wait(lambda: _listens(machine.ports["postgres"]) and _listens(machine.ports["s3"]))
        create = ["-h", "127.0.0.1", "-p", str(machine.ports["postgres"]), "-U", inner["POSTGRES_USER"]]
        env = {**os.environ, "PGPASSWORD": inner["POSTGRES_PASSWORD"]}
        subprocess.run([BINARIES[-1] / "createdb", *create, inner["POSTGRES_DB"]], env=env, check=True)
        yield machine


def _folder_for_postgres() -> Any:
    import tempfile

    folder = tempfile.TemporaryDirectory(prefix="pg-")
    if os.geteuid() == 0:
        shutil.chown(folder.name, "postgres")
    return folder


def test_a_model_is_evaluated_and_again_after_the_code_server_died(machine, monkeypatch):
    assert machine.start("bucket").wait(60) == 0
    code = machine.start("code")
    _wait(lambda: _listens(machine.ports["code"]))
    machine.start("web")
    machine.start("daemon")
    _wait(lambda: _listens(machine.ports["web"]))
    assert machine.evaluate("tiny/a", "sums") == "SUCCESS"
    machine.kill(code)
    machine.start("code")  # as its restart policy does
    _wait(lambda: _listens(machine.ports["code"]))
    assert machine.evaluate("tiny/a", "towns") == "SUCCESS"
    for name, value in machine.environment("code").items():
        monkeypatch.setenv(name, value)
    assert set(Lake(os.environ["EMBEDLLM_LAKE"]).pairs()) == {("sums", "tiny/a"), ("towns", "tiny/a")}
