"""`embedllm`, as users call it, on one home."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing import forkserver, parent_process
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any
from unittest.mock import patch

from click.testing import Result
from typer.testing import CliRunner

from pipelines.cli.app import app
from warehouse.database.read import query

EMBEDLLM = str(Path(sys.executable).with_name("embedllm"))
IMPORTED = (
    "tests.command",
    "accelerate",
    "harness.evaluate",
    "matplotlib.backends.backend_agg",
    "pipelines.local.chain",
    "sentence_transformers",
    "transformers.models.gpt2.modeling_gpt2",
    "warehouse.imports.ingest",
)


class _Fork(ForkServerProcess):
    """A process with the environment of the one that starts it, not of the one it is a fork of."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._environment = dict(os.environ)

    def run(self) -> None:
        os.environ.clear()
        os.environ.update(self._environment)
        forkserver._forkserver.ensure_running = lambda: None  # pyright: ignore  what it starts comes from the same
        with patch("pipelines.local.workers.end_with_parent", _end_with_parent):
            super().run()


class _Forks(ForkServerContext):
    Process = _Fork


PROCESSES = _Forks()
"""Forks of a process that has imported what most commands need: to import it takes ten seconds of a processor."""
PROCESSES.set_forkserver_preload(list(IMPORTED))


def _end_with_parent() -> None:
    """As the real one, which looks for a child of the process that started it: that is the server here."""

    def wait(parent: Any) -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, args=[parent_process()], daemon=True).start()


@dataclass(frozen=True)
class Command:
    """Called, it runs to its end; started, it can be killed."""

    home: Path
    registry: Path | None = None
    settings: Mapping[str, str] | None = None
    timeout: float = 240

    def environment(self) -> dict[str, str]:
        own = {"EMBEDLLM_HOME": str(self.home), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        if self.registry:
            own["EMBEDLLM_REGISTRY"] = str(self.registry)
        return {**os.environ, **own, **(self.settings or {})}

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """In a process of its own, which needs not import anything, nor do those that it starts to ask models."""
        with tempfile.TemporaryDirectory() as folder:
            stdout, stderr = Path(folder, "stdout"), Path(folder, "stderr")
            with patch.dict(os.environ, self.environment()):
                process = PROCESSES.Process(target=_run, args=(arguments, str(stdout), str(stderr)))
                process.start()
            process.join(self.timeout)
            if process.is_alive():
                process.kill()
                raise subprocess.TimeoutExpired(arguments, self.timeout, stderr.read_bytes())
            return subprocess.CompletedProcess(
                arguments, process.exitcode, stdout.read_text(encoding="utf-8"), stderr.read_text(encoding="utf-8")
            )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """In a process group of its own, so that it can be killed with its workers."""
        return subprocess.Popen(
            [EMBEDLLM, *arguments],
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=hear_signals,
        )

    def with_settings(self, **settings: str) -> "Command":
        return replace(self, settings={**(self.settings or {}), **settings})

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """What the published warehouse answers, without the seconds that starting `embedllm sql` takes."""
        return query(self.home / "warehouse.duckdb", sql).to_pylist()

    def here(self, *arguments: str) -> Result:
        """The same command in this process."""
        with patch.dict(os.environ, self.environment()):
            return CliRunner().invoke(app, arguments)


def hear_signals() -> None:
    """In a new process, before its program starts: as on a terminal, also where the tests run in the background."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def _run(arguments: Sequence[str], stdout: str, stderr: str) -> None:
    """In a fork: what the console script does."""
    os.setsid()
    for descriptor, file in ((1, stdout), (2, stderr)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    sys.argv = [EMBEDLLM, *arguments]
    with patch("pipelines.local.workers.get_context", lambda _: PROCESSES):
        app()
