"""A home under fire: `embedllm ui` whose processes can be killed, a reader beside it, and what must hold at the end."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import psutil
import pytest
import yaml
from deltalake import DeltaTable

from pipelines.automation.plan import LATER, plan
from pipelines.settings import Settings, open_workspace
from tests.differences import found_differences
from warehouse.database.read import WarehouseError, query
from warehouse.lake import Lake

QUESTIONS = 40  # of each micro benchmark
PATIENCE = 300.0  # seconds for what takes a few on an idle machine
SERVICES = {"code server": "grpc", "daemon": "dagster._daemon", "web server": "dagster_webserver"}


def wait_for(condition: Callable[[], object], what: str, seconds: float = PATIENCE, every: float = 0.5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(every)


@dataclass
class Ui:
    """`embedllm ui` on a home, and the processes it is made of."""

    command: Any  # Command of ../conftest.py
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.command.home.parent / "ui.log"

    def start(self) -> None:
        self.port = self.port or _free_port()
        embedllm = [str(Path(sys.executable).with_name("embedllm")), "ui", "--port", str(self.port)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                embedllm, env=self.command.environment(), stdout=log, stderr=log, start_new_session=True
            )

    def is_up(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/server_info", timeout=5):
                return True
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return False

    def has_ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def stop(self) -> None:
        """As Ctrl-C does."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)

    def kill(self, victim: str) -> bool:
        """-9 to one process: a service, a worker (the process of a run) or, as if the power failed, everything.

        False where there is none of the kind now.
        """
        assert self.process is not None
        if victim == "everything":
            family = [psutil.Process(self.process.pid), *self._descendants()]
            _kill(family)
            self.process.wait(30)
            return True
        found = self.workers() if victim == "worker" else self._service(victim)
        _kill(found[:1])
        return bool(found)

    def workers(self) -> list[psutil.Process]:
        """The processes of the runs at work."""
        found = []
        for server in self._service("code server"):
            with suppress(psutil.NoSuchProcess):
                found += [child for child in server.children() if "spawn_main" in " ".join(_arguments(child))]
        return found

    def _service(self, name: str) -> list[psutil.Process]:
        return [child for child in self._descendants() if SERVICES[name] in _arguments(child)]

    def _descendants(self) -> list[psutil.Process]:
        assert self.process is not None
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(self.process.pid).children(recursive=True)
        return []


def _arguments(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return process.cmdline()
    return []


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


HALF_STATES = """
SELECT (SELECT count(*) FROM responses ANTI JOIN questions USING (question_id)) AS answers_without_question,
       (SELECT count(*) FROM (FROM responses SELECT 1 GROUP BY question_id, model HAVING count(*) > 1))
           AS answered_twice,
       (SELECT count(*) FROM (FROM responses SELECT count(*) AS n GROUP BY model, benchmark) WHERE n <> {questions})
           AS pairs_in_part,
       (SELECT count(*) > 0 AND count(*) FILTER (serving) <> 1 FROM embedders) AS not_one_serves,
       (SELECT count(*) FROM embedders e WHERE serving AND e.models <>
           (SELECT count(*) FROM history.model_embeddings m WHERE m.embedder = e.embedder)) AS embeddings_in_part,
       (SELECT count(*) FROM history.forecasts ANTI JOIN embedders USING (embedder)) AS forecasts_of_nothing
"""


@dataclass
class Reader:
    """Somebody who queries the warehouse all the time, and what they saw."""

    database: Path
    looks: int = 0
    problems: list[str] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Reader":
        self._thread = threading.Thread(target=self._read)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _read(self) -> None:
        sql = HALF_STATES.format(questions=QUESTIONS)
        while not self._over.wait(0.3):
            published = self.database.exists()
            try:
                (found,) = query(self.database, sql).to_pylist()
            except (WarehouseError, duckdb.Error) as error:
                if published:
                    self.problems.append(str(error))
                continue
            self.looks += 1
            self.problems += [f"{name}: {value}" for name, value in found.items() if value]


@dataclass(frozen=True)
class Home:
    """What is left to do in a home, and what was left behind there."""

    command: Any

    @property
    def path(self) -> Path:
        return self.command.home

    @property
    def lake(self) -> Lake:
        return Lake(self.path / "lake")

    def to_do(self) -> list[str]:
        """What is not done yet; empty where everything is, and no run is on its way."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.command.environment().items():
                patch.setenv(name, value)
            with self.instance() as instance:
                due = plan(open_workspace(Settings()), instance, retry_by=datetime.max.replace(tzinfo=UTC))
        named = [(request, key.to_user_string(), reason) for request in due for key, reason in request.reasons.items()]
        to_do = [f"{one.model or ''} {key}: {reason}" for one, key, reason in named if one.waits != LATER]
        return [*to_do, *self.unfinished()]

    def unfinished(self) -> list[str]:
        with self.instance() as instance:
            return [f"run {run.run_id} is {run.status.value}" for run in instance.get_runs() if not run.is_finished]

    def evaluating(self) -> bool:
        """Whether a model is being asked now."""
        return any("dagster/partition" in run.tags for run in self._started())

    def is_refreshing(self) -> bool:
        """Whether what is made of answers is being made now."""
        return any("dagster/partition" not in run.tags for run in self._started())

    def _started(self) -> Sequence[dg.DagsterRun]:
        with self.instance() as instance:
            return instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))

    def count_runs(self) -> int:
        with self.instance() as instance:
            return instance.get_runs_count()

    def instance(self) -> dg.DagsterInstance:
        return dg.DagsterInstance.from_config(str(self.path / "dagster"))

    def evaluate_at_once(self, models: int) -> None:
        """As docs/operate.md tells those who have more than one GPU."""
        with self.instance() as instance:
            instance.event_log_storage.set_concurrency_slots("evaluation", models)

    def answered(self) -> int:
        """Pairs of a model and a benchmark."""
        return len(self.lake.pairs())

    def a_file_of(self, table: str) -> Path:
        """The first of the files in which the rows of a table of the lake lie."""
        return Path(min(DeltaTable(self.path / "lake" / table).file_uris()))

    def held_locks(self) -> list[Path]:
        return [path for path in self.path.rglob("*.lock") if path.is_file() and _is_held(path)]

    def leftovers(self) -> list[Path]:
        return [path for path in self.path.rglob("*") if path.name.endswith((".tmp", ".wal"))]

    def rows(self, sql: str) -> list[dict[str, Any]]:
        return query(self.path / "warehouse.duckdb", sql).to_pylist()


def _is_held(path: Path) -> bool:
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@pytest.fixture(scope="session")
def crowd(micro: Path, save_model: Callable[[Path, int], None]) -> tuple[str, ...]:
    """Names of twelve micro models, which `write_registry` knows."""
    names = [f"many{number:02d}" for number in range(12)]
    for seed, name in enumerate(names):
        save_model(micro / "models" / name, 100 + seed)
    return tuple(f"tiny/{name}" for name in names)


@pytest.fixture(scope="session")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory,
    write_registry: Callable[..., Path],
    crowd: tuple[str, ...],
    embedllm_of: Callable[..., Any],
) -> Iterator[Callable[[], Home]]:
    """Gives the home that `embedllm run` makes where all of them are registered from the start; is made meanwhile."""
    folder = tmp_path_factory.mktemp("undisturbed")
    command = embedllm_of(folder / "home", write_registry(folder / "registry", crowd))
    running = command.start("run")

    def finished() -> Home:
        output, _ = running.communicate()
        assert running.returncode == 0, output
        return Home(command)

    yield finished
    if running.poll() is None:
        os.killpg(running.pid, signal.SIGKILL)


@pytest.fixture(scope="session")
def home_of() -> Callable[[Any], Home]:
    return Home


@pytest.fixture(scope="session")
def ui_of() -> Callable[[Any], Ui]:
    """Not started."""
    return Ui


@pytest.fixture(scope="session")
def reader_of() -> Callable[[Path], Reader]:
    return Reader


@pytest.fixture(scope="session")
def add_model(micro: Path) -> Callable[[Path, str], None]:
    """As a user does who writes a few lines more into models.yaml."""

    def add(registry: Path, name: str) -> None:
        entry = {"name": name, "args": {"pretrained": str(micro / "models" / Path(name).name)}, "family": name[-1]}
        with (registry / "models.yaml").open("a", encoding="utf-8") as file:
            file.write(yaml.safe_dump([entry]))

    return add


@pytest.fixture(scope="session")
def wait() -> Callable[..., None]:
    return wait_for


@pytest.fixture(scope="session")
def differences() -> Callable[[Home, Home], list[str]]:
    return found_differences


@pytest.fixture(scope="session")
def small(small_home: Any) -> Home:
    return Home(small_home)


@pytest.fixture
def copy(small_copy: Any) -> Home:
    return Home(small_copy)
