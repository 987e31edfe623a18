"""Ctrl-C, which every process of a command hears: one sentence, nothing left running, and the next one goes on."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

STOPPED = "embedllm: stopped; what was finished is kept, the same command goes on from there.\n"


def press_ctrl_c(running: Any, moment: Callable[[], object]) -> str:
    """At a moment of a command; gives what it has printed by its end."""
    deadline = time.monotonic() + 120
    while not moment():
        assert running.poll() is None, running.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(running.pid, signal.SIGINT)
    printed = running.communicate(timeout=30)[0]
    assert running.returncode == 130, printed
    while left := [process for process in psutil.process_iter() if is_at_work(process, running.pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
    return printed


def is_at_work(process: psutil.Process, group: int) -> bool:
    try:
        return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False


@pytest.mark.slow
def test_a_run_that_is_stopped_goes_on_at_the_next(
    embedllm: Any, write_registry: Callable[..., Path], home_of: Callable[[Any], Any]
) -> None:
    write_registry(embedllm.registry, ["tiny/a", "tiny/b", "tiny/c"], ["sums", "towns"])
    home = home_of(embedllm)

    printed = press_ctrl_c(embedllm.with_settings(EMBEDLLM_EVALUATION_WORKERS="2").start("run"), home.answered)
    assert printed.endswith(STOPPED)
    assert "Traceback" not in printed
    kept = home.answered()
    assert 0 < kept < 6

    printed = press_ctrl_c(embedllm.start("run"), lambda: home.lake.table_parts("question_embeddings"))
    assert printed.endswith(STOPPED)
    assert "Traceback" not in printed
    assert f"{6 - kept} of" not in printed  # bars count models
    assert home.answered() == 6

    done = embedllm("run")
    assert done.returncode == 0, done.stderr
    assert "models evaluated" not in done.stderr  # nothing is asked again
    assert home.to_do() == []


@pytest.mark.slow
def test_questions_to_route_that_are_stopped(copy: Any, tmp_path: Path) -> None:
    """Nothing is kept of these."""
    questions = tmp_path / "questions.txt"
    questions.write_text("What is 3 plus 4 ?\n" * 20_000)
    progress: list[str] = []
    running = copy.command.start("route", "--file", str(questions))

    def begun() -> bool:
        progress.append(running.stdout.readline())
        return "questions routed" in progress[-1]

    assert press_ctrl_c(running, begun).endswith("embedllm: stopped.\n")
