"""Several at work on one home: one of them works, the others say so."""

import signal
from collections.abc import Callable
from typing import Any

import pytest


@pytest.mark.slow
def test_of_two_runs_at_once_one_says_so(embedllm: Any, wait: Callable[..., None]) -> None:
    first = embedllm.start("run")
    try:
        wait((embedllm.home / ".lock").exists, "the first")
        wait(lambda: (embedllm.home / ".lock").read_text() == str(first.pid), "the first to hold the home")
        first.send_signal(signal.SIGSTOP)  # it is not done before the second comes
        second = embedllm("run")
        assert second.returncode == 1
        assert f"{embedllm.home} is in use by another embedllm command (process {first.pid})" in second.stderr
    finally:
        first.kill()
        first.communicate(timeout=60)
