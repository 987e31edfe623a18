"""The processes of runs: workers end together with their parent, and a run whose process is gone can be recognised."""

from __future__ import annotations

import multiprocessing
import os
import socket
import threading
from pathlib import Path

import psutil

PROCESS = "embedllm/process"
"""Tag of a run: `describe_process` of the one that executes it."""


def end_with_parent() -> None:
    """Called first in a worker: it would otherwise wait for ever for work from a parent that was killed."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def describe_process() -> str:
    """Host, process id and start of this process, which together no other has."""
    return f"{socket.gethostname()} {os.getpid()} {_start_of(os.getpid())}"


def is_gone(process: str) -> bool:
    """Whether a process (`describe_process`) of this host has ended; of other hosts nothing can be told."""
    host, pid, start = process.split()
    if host != socket.gethostname():
        return False
    try:
        return _start_of(int(pid)) != start or psutil.Process(int(pid)).status() == psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, ProcessLookupError):
        return True


def _start_of(pid: int) -> str:
    """Of Linux, in clock ticks since the boot, and which boot: what psutil tells moves when the clock is set."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8")
    except FileNotFoundError:
        return f"{psutil.Process(pid).create_time():.2f}"
    return f"{boot[:8]}:{fields[19]}"
