"""What a cluster consists of, each started here and taken away for a while: Postgres, a bucket, Ray nodes."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

PATIENCE = 240.0  # seconds for what takes a few on an idle machine
BINARIES = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)  # of Debian

# It keeps what it holds while nobody reaches it. One request at a time: moto looks whether a file is there and writes
# it in two steps, S3 does in one.
BUCKET = """
import sys
import threading
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
application, port = DomainDispatcherApplication(create_backend_app), int(sys.argv[1])
for line in sys.stdin:
    if line == "up\\n":
        server = make_server("127.0.0.1", port, application)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    else:
        server.shutdown()
        server.server_close()
    print(line, flush=True)
"""


def wait_for(condition: Callable[[], object], what: str, seconds: float = PATIENCE, every: float = 0.2) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(every)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Postgres:
    folder: Path
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        return f"postgresql+psycopg2://embedllm:unused@127.0.0.1:{self.port}/dagster"

    def make(self) -> None:
        self.folder.mkdir()
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres")
        self._call("initdb", "-D", "data", "-U", "embedllm", "--auth=trust", "--no-sync")
        self.up()
        self._call("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "embedllm", "dagster")

    def up(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        self._call("pg_ctl", "-D", "data", "-o", options, "-l", "log", "-w", "start")

    def down(self) -> None:
        """As if it were killed."""
        self._call("pg_ctl", "-D", "data", "-m", "immediate", "-w", "stop")

    def _call(self, program: str, *arguments: str) -> None:
        assert BINARIES is not None
        as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []  # it refuses to be root's
        command = [*as_user, str(BINARIES / program), *arguments]
        subprocess.run(command, cwd=self.folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@dataclass
class Bucket:
    port: int = field(default_factory=free_port)

    @property
    def settings(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
        }

    def make(self) -> None:
        command = [sys.executable, "-c", BUCKET, str(self.port)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.up()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/bucket", method="PUT")
        urllib.request.urlopen(request, timeout=30).close()

    def up(self) -> None:
        self._tell("up")

    def down(self) -> None:
        self._tell("down")

    def end(self) -> None:
        self._process.kill()
        self._process.wait()

    def _tell(self, what: str) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        self._process.stdout.readline()


@dataclass
class Node:
    """A Ray node with a home of its own, in which nothing is at the beginning."""

    home: Path
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path

    def up(self) -> None:
        ray = [str(Path(sys.executable).with_name("ray")), "start", *self.arguments, "--block", "--num-gpus=0"]
        quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DISABLE_IMPORT_WARNING": "1"}
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*ray, "--object-store-memory=80000000"],
                env={**self.environment, **quiet, "EMBEDLLM_HOME": str(self.home)},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def is_up(self) -> bool:
        return self._process.poll() is None and "Ray runtime started" in self.log.read_text()

    def is_at_work_on(self, process: int) -> bool:
        """Whether a process with this id belongs to it."""
        with suppress(psutil.Error):
            return self._raylet() in psutil.Process(process).parents()
        return False

    def kill(self) -> None:
        """The raylet first, and with it all that was started there: as if the machine were lost."""
        family = psutil.Process(self._process.pid).children(recursive=True)
        for process in sorted(family, key=lambda process: process != self._raylet()):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait(60)

    def end(self) -> None:
        """With all that it has started."""
        with suppress(psutil.Error, ProcessLookupError):
            family = psutil.Process(self._process.pid).children(recursive=True)
            os.killpg(self._process.pid, signal.SIGTERM)
            _, alive = psutil.wait_procs([*family, psutil.Process(self._process.pid)], 10)
            for process in alive:
                process.kill()

    def _raylet(self) -> psutil.Process | None:
        children = psutil.Process(self._process.pid).children()
        return next((child for child in children if child.name() == "raylet"), None)
