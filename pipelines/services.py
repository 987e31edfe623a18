"""The processes behind the UI, kept running: code server, daemon and web server.

    code server   loads the definitions and starts the runs, each a process of its own
    daemon        looks at sensors and schedules, and sends runs to the code server
    web server    what users open
One that dies is started again; when the benchmarks of the registry change, the definitions are loaded anew. Whatever
way a process ends, those that it started end with it: then a run whose server is gone is known to be dead
(launcher.py), and a new UI finds nothing in its way.
"""

from __future__ import annotations

import ctypes
import json
import logging
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import dagster as dg
import yaml
from sqlalchemy.exc import OperationalError

from harness.entries import RegistryError
from warehouse.files import locked

from .errors import CommandError
from .instance import LOCATION, UI_LOCK, HomeBusy, end_dead_runs_of_ui
from .launcher import end_lost_runs
from .settings import PROJECT, Settings, registry_in_force

__all__ = ["ServicesFailed", "serve"]

log = logging.getLogger(__name__)

LOOK = 0.5  # seconds between two looks at the processes
REGISTRY_LOOK = 3.0  # and at the registry
STARTING = 60.0  # seconds a process may take to answer
HASTY = 10.0  # a process that ends sooner after its start than this has failed to start
PATIENCE = 5  # failed starts in a row
ENDING = 15.0  # seconds a process may take to end when told to


class ServicesFailed(CommandError):
    """A process does not start."""


@dataclass
class _Service:
    name: str
    arguments: Sequence[str]
    log: Path  # what it prints, since its last start
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0

    def start(self) -> None:
        self.started = time.monotonic()
        command = [sys.executable, "-m", *self.arguments]
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, preexec_fn=_end_with_parent, start_new_session=True
            )

    def look(self) -> bool:
        """Starts it again if it has ended, and says so. Raises ServicesFailed where that keeps happening."""
        if self.process is None or self.process.poll() is None:
            return False
        hasty = time.monotonic() - self.started < HASTY
        self.failures = self.failures + 1 if hasty else 0
        if self.failures >= PATIENCE:
            raise ServicesFailed(
                f"The {self.name} ended {PATIENCE} times right after its start (exit status "
                f"{self.process.returncode}); {self.log} says why."
            )
        log.warning("The %s has ended (exit status %d): started again.", self.name, self.process.returncode)
        self.start()
        return True

    def end(self) -> None:
        if self.process is None:
            return
        self.process.send_signal(signal.SIGINT)  # by which Dagster's processes end in order
        try:
            self.process.wait(ENDING)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _end_with_parent() -> None:
    """In a new process: if the supervisor is killed, so is this one."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a script's background job ignores it
    if sys.platform == "linux":
        set_death_signal = 1  # PR_SET_PDEATHSIG of sys/prctl.h
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)


@dataclass
class _Services:
    settings: Settings
    host: str
    port: int
    sockets: Path  # folder
    code: _Service = field(init=False)
    daemon: _Service = field(init=False)
    web: _Service = field(init=False)
    retired: list[_Service] = field(default_factory=list)  # code servers of earlier definitions, with runs at work

    def __post_init__(self) -> None:
        workspace, quiet = ["-w", str(self._workspace)], ["--log-level", "warning"]
        address = ["--host", self.host, "--port", str(self.port), "--dagster-log-level", "warning"]
        self.code = self._code_server()
        self.daemon = self._service("daemon", ["dagster._daemon", "run", *workspace, *quiet])
        self.web = self._service("web server", ["dagster_webserver", *workspace, *address])

    def _code_server(self) -> _Service:
        # Without -d, Dagster would look in the folder where the command was given first, whatever packages lie there.
        where = ["--socket", str(self._socket), "--location-name", LOCATION, "-m", LOCATION, "-d", str(PROJECT)]
        return self._service("code server", ["dagster", "api", "grpc", *where, "--log-level", "warning"])

    def _service(self, name: str, arguments: Sequence[str]) -> _Service:
        return _Service(name, arguments, self.settings.home / "dagster" / f"{name.replace(' ', '-')}.log")

    @property
    def all(self) -> tuple[_Service, ...]:
        return self.code, self.daemon, self.web

    @property
    def _socket(self) -> Path:
        """Every code server has its own, by which its runs are found, however many there have been since."""
        return self.sockets / str(len(self.retired))

    @property
    def _workspace(self) -> Path:
        return self.settings.home / "dagster" / "workspace.yaml"

    def start(self) -> None:
        self.code.start()
        _wait_until(lambda: _answers(self._socket), self.code)
        server = {"grpc_server": {"socket": str(self._socket), "location_name": LOCATION}}
        self._workspace.write_text(yaml.safe_dump({"load_from": [server]}), encoding="utf-8")
        self.daemon.start()
        self.web.start()

    def reload(self) -> None:
        """The definitions anew, in a new code server; the one before ends with its last run."""
        from dagster._core.errors import DagsterUserCodeUnreachableError
        from dagster._grpc.client import DagsterGrpcClient

        before = DagsterGrpcClient(socket=str(self._socket))
        self.daemon.end()
        _end_lost_runs()
        self.web.end()
        self.retired.append(self.code)
        self.code = self._code_server()
        self.start()
        with suppress(DagsterUserCodeUnreachableError):  # it was killed
            before.shutdown_server()

    def end(self) -> None:
        for service in (self.web, self.daemon, self.code, *self.retired):
            service.end()


def serve(settings: Settings, *, host: str, port: int, ready: Callable[[], None]) -> None:
    """Runs until it is told to end (Ctrl-C or SIGTERM); `ready` is called once the UI answers.

    Raises:
        HomeBusy: another UI runs on this home.
        ServicesFailed: a process does not start.
    """
    with ExitStack() as stack:
        if not stack.enter_context(locked(settings.home / UI_LOCK, wait=False)):
            raise HomeBusy(f"{settings.home} has a UI running already; use that one, or stop it first.")
        with dg.DagsterInstance.get() as instance:
            end_dead_runs_of_ui(instance)
        stack.enter_context(_ends_in_order())
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="embedllm-"))  # a socket's path must be short
        services, loaded = _Services(settings, host, port, Path(folder)), _benchmarks(settings)
        try:
            services.start()
            _wait_until(lambda: _is_up(services), services.web)
            ready()
            _watch(services, loaded)
        except KeyboardInterrupt:
            log.info("Told to end.")
        finally:
            services.end()


def _watch(services: _Services, loaded: str | None) -> None:
    """`loaded`: the benchmarks that the definitions were loaded with."""
    looked = 0.0
    while True:
        time.sleep(LOOK)
        for service in services.all:
            if service.look() and service is services.daemon:
                _end_lost_runs()
        if time.monotonic() - looked < REGISTRY_LOOK:
            continue
        looked = time.monotonic()
        now = _benchmarks(services.settings)
        if now is not None and now != loaded:
            log.warning("The benchmarks of the registry have changed: definitions are loaded anew.")
            services.reload()
            loaded = now


def _end_lost_runs() -> None:
    time.sleep(LOOK)  # what the daemon has sent off arrives
    try:
        with dg.DagsterInstance.get() as instance:
            end_lost_runs(instance)
    except OperationalError as error:  # then the monitoring does it, in two minutes
        log.warning("Lost runs could not be looked for: %s.", error.orig)


def _benchmarks(settings: Settings) -> str | None:
    """What decides which assets there are; None while the registry cannot be read (the sensors say why)."""
    try:
        registry = registry_in_force(settings)
    except RegistryError:
        return None
    return json.dumps([str(registry.tasks_dir), registry.made_by, *(b.model_dump_json() for b in registry.benchmarks)])


def _wait_until(condition: Callable[[], bool], service: _Service) -> None:
    deadline = time.monotonic() + STARTING
    while not condition():
        service.look()
        if time.monotonic() > deadline:
            raise ServicesFailed(f"The {service.name} does not answer after {STARTING:.0f} seconds.")
        time.sleep(LOOK)


def _answers(socket: Path) -> bool:
    from dagster._core.errors import DagsterUserCodeUnreachableError
    from dagster._grpc.client import DagsterGrpcClient

    try:
        DagsterGrpcClient(socket=str(socket)).ping("")
    except DagsterUserCodeUnreachableError:
        return False
    return True


def _is_up(services: _Services) -> bool:
    host = "127.0.0.1" if services.host in ("0.0.0.0", "::") else services.host
    try:
        with urllib.request.urlopen(f"http://{host}:{services.port}/server_info", timeout=5):
            return True
    except OSError:
        return False


@contextmanager
def _ends_in_order() -> Iterator[None]:
    """SIGTERM ends as Ctrl-C does."""

    def end(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
