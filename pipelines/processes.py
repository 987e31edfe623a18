"""Tell which process executes a run, and whether that process is gone."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import psutil

PROCESS = "embedllm/process"
"""Tag of a run: `describe_process` of the process that executes it."""


def describe_process() -> str:
    """Return the host, id and start of this process: no other process has all three."""
    return f"{socket.gethostname()} {os.getpid()} {_start_of(os.getpid())}"


def is_gone(process: str) -> bool:
    """Tell whether a process (`describe_process`) of this host has ended; False for one of another host."""
    host, pid, start = process.split()
    if host != socket.gethostname():
        return False
    try:
        return _start_of(int(pid)) != start or psutil.Process(int(pid)).status() == psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, ProcessLookupError):
        return True


def _start_of(pid: int) -> str:
    """Return (on Linux) the boot and the clock ticks since then: what psutil tells moves when the clock is set."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8")
    except FileNotFoundError:
        return f"{psutil.Process(pid).create_time():.2f}"
    return f"{boot[:8]}:{fields[19]}"
