"""`embedllm ui`: what `dagster dev` runs, on one home."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

import psutil

from pipelines.errors import CommandError
from pipelines.instance import ADDRESS, LOCATION, UI_LOCK
from pipelines.settings import PROJECT, Settings

__all__ = ["run_ui"]

ENDING = 5.0  # seconds


def run_ui(settings: Settings, *, host: str, port: int, starts: Callable[[], None]) -> NoReturn:
    """Become `dagster dev`: web server, daemon and code server, until it is told to end (Ctrl-C or SIGTERM).

    Whatever a UI that was killed has left is ended first. `starts` is called when nothing stands in the way any more.
    DAGSTER_HOME must be set (`use_home`).

    Raises:
        CommandError: another UI runs on this home.
        CommandError: something else listens on the port.
    """
    lock = os.open(settings.home / UI_LOCK, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CommandError(f"{settings.home} has a UI running already; use that one, or stop it first.") from None
    _end_leftovers(os.environ["DAGSTER_HOME"])
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CommandError(
                f"port {port} of {host} is not free ({error.strerror}); choose another by --port."
            ) from None
    starts()
    if sys.stdout:
        sys.stdout.flush()
    os.set_inheritable(lock, True)  # held by the process that this one becomes
    os.environ[ADDRESS] = f"{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{port}"
    where = ["-m", LOCATION, "-d", str(PROJECT), "--host", host, "--port", str(port)]
    quiet = ["--log-level", "warning", "--code-server-log-level", "warning"]
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a script's background job ignores it
    os.chdir(os.environ["DAGSTER_HOME"])  # elsewhere, Dagster warns of each dagster.yaml it does not read
    silent = ["-W", "ignore:Function `dev_command` is superseded"]
    os.execv(sys.executable, [sys.executable, *silent, "-m", "dagster", "dev", *where, *quiet])


def _end_leftovers(dagster_home: str) -> None:
    """End what a UI that was killed has left, with its runs, so that nothing is done twice.

    Nothing else has ADDRESS in its environment.
    """
    left = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            environment = process.environ()
            if ADDRESS in environment and environment.get("DAGSTER_HOME") == dagster_home:
                process.kill()
                left.append(process)
    psutil.wait_procs(left, ENDING)
