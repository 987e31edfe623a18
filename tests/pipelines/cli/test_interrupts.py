"""A command that is told to stop says one sentence and leaves nothing running; one that nobody reads says nothing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.command import hear_signals

REPOSITORY = Path(__file__).parents[3]
EMBEDLLM = str(Path(sys.executable).with_name("embedllm"))

BUSY = """
import subprocess, sys, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pipelines.cli.interrupts import stops_at_once

# It would print a traceback, if it heard of Ctrl-C.
CHILD = "import time; print('at work', flush=True); time.sleep(100)"

@stops_at_once("what is done is kept")
def work():
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        asked = pool.submit(time.sleep, 100)
        while not asked.running():
            time.sleep(0.01)
        subprocess.Popen([sys.executable, "-c", CHILD])
        for _ in range(10_000):  # whatever the code at work makes of it
            try:
                time.sleep(100)
            except BaseException as error:
                print("interrupted by", repr(error), flush=True)

if __name__ == "__main__":
    work()
"""


def alive(group: int) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def start(command: list[str], **environment: str) -> subprocess.Popen[str]:
    """In a process group of its own, as a shell starts a command on a terminal."""
    return subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=hear_signals,
    )


@pytest.mark.parametrize(("told", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_command_ends_at_once_with_all_that_it_started(tmp_path: Path, told: signal.Signals, status: int):
    (tmp_path / "busy.py").write_text(BUSY)
    busy = start([sys.executable, str(tmp_path / "busy.py")])
    assert busy.stdout
    assert busy.stdout.readline() == "at work\n"
    began = time.monotonic()
    (os.killpg if told is signal.SIGINT else os.kill)(busy.pid, told)  # Ctrl-C reaches all, `kill` the one
    assert (busy.wait(30), time.monotonic() - began < 10) == (status, True)
    assert busy.communicate(timeout=30)[1] == "embedllm: stopped; what is done is kept.\n"
    deadline = time.monotonic() + 10
    while left := alive(busy.pid):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def test_nothing_of_it_is_left_after_a_command():
    program = """
import signal, threading
from pipelines.cli.interrupts import stops_at_once
before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), threading.active_count()
assert stops_at_once()(lambda a, b: a + b)(1, b=2) == 3
assert before == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), threading.active_count())
signal.raise_signal(signal.SIGINT)
"""
    ended = start([sys.executable, "-c", program])
    assert "KeyboardInterrupt" in ended.communicate(timeout=60)[1]


def test_a_command_that_hears_no_signal_goes_on():
    """As one that a script starts in the background, or `nohup` does."""
    program = """
import os, signal
from pipelines.cli.interrupts import stops_at_once
signal.signal(signal.SIGINT, signal.SIG_IGN)
stops_at_once()(lambda: os.kill(os.getpid(), signal.SIGINT))()
print("done")
"""
    assert start([sys.executable, "-c", program]).communicate(timeout=60) == ("done\n", "")


@pytest.mark.parametrize(
    ("lines", "arguments", "status"),
    [
        (1, ["sql", "--format", "csv", "SELECT range FROM range(1000000)"], 141),
        (0, ["sql", "--format", "csv", "SELECT 1"], 141),  # written when Python ends
        (0, ["sql", "SELECT 1"], 141),
        (0, ["models", "list"], 141),
        (0, ["--help"], 1),  # typer's own way
    ],
)
def test_a_command_that_nobody_reads_ends_quietly(
    embedllm: Any, published: Path, lines: int, arguments: list[str], status: int
):
    running = start([EMBEDLLM, *arguments], **embedllm.environment() | {"EMBEDLLM_HOME": str(published)})
    assert running.stdout
    assert running.stderr
    for _ in range(lines):
        assert running.stdout.readline()
    running.stdout.close()
    assert (running.stderr.read(), running.wait(30)) == ("", status)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of nothing, published."""
    from warehouse.database.publish import publish
    from warehouse.lake import Lake

    home = tmp_path_factory.mktemp("home")
    publish(Lake(home / "lake"), home / "warehouse.duckdb")
    return home


LOADING = """
import sys, time, types

def load():
    print("it loads", flush=True)
    time.sleep(100)

sys.modules["pipelines.cli.app"] = types.SimpleNamespace(app=load)
from pipelines.cli.main import main

main()
"""


def test_a_command_that_still_loads_ends_without_a_word():
    process = start([sys.executable, "-c", LOADING])
    assert process.stdout is not None
    assert process.stdout.readline() == "it loads\n"
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=30) == ("", "")
    assert process.returncode == -signal.SIGINT
