"""How a command ends before its end: told to (Ctrl-C, SIGTERM), or because nobody reads what it prints any more."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from multiprocessing import resource_tracker
from typing import ParamSpec, TypeVar

import psutil

from pipelines.console import as_typed, fall_silent

__all__ = ["KEPT", "leave_if_unread", "say_when_stopped", "stops_at_once"]

P = ParamSpec("P")
R = TypeVar("R")

KEPT = "what was finished is kept, the same command goes on from there"
SIGNALS = (signal.SIGINT, signal.SIGTERM)
TRACKER = "resource_tracker"  # in the commands of Python's and joblib's; they end with us, once they have cleaned up
_last_word = ""
UNREAD = 128 + signal.SIGPIPE  # as a shell says it of other tools


def stops_at_once(what_is_kept: str = "") -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a command end with one sentence when it is told to, whatever it is doing.

    Everything in a home is written so that a kill harms nothing, so nothing is waited for: a thread that does nothing
    else says the sentence, kills the worker processes and ends this one.
    """

    def decorate(run: Callable[P, R]) -> Callable[P, R]:
        @wraps(run)
        def stopping(*arguments: P.args, **options: P.kwargs) -> R:
            if threading.current_thread() is not threading.main_thread():
                return run(*arguments, **options)
            with _watched(f"embedllm: stopped{what_is_kept and '; '}{what_is_kept}."):
                return run(*arguments, **options)

        return stopping

    return decorate


def say_when_stopped(what: str) -> None:
    """Let the command that is at work say this, when it is told to end: by then, more is known than at its start."""
    global _last_word
    _last_word = f"embedllm: {as_typed(what)}."


@contextmanager
def _watched(sentence: str) -> Iterator[None]:
    """Let a thread watch for signals: Python writes each into a pipe, whatever handlers Dagster may have set since."""
    global _last_word
    _last_word = sentence
    told, tell = os.pipe()
    os.set_blocking(tell, False)
    terminal = os.dup(2)  # Dagster turns what is written to 2 into a run's log, while an asset is made
    watcher = threading.Thread(target=_watch, args=(told, terminal), daemon=True)
    watcher.start()
    heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]  # as in `nohup`
    handlers = {number: signal.signal(number, lambda *_: None) for number in heard}
    before = signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    # Ctrl-C goes to every process of the terminal, but those that are started from here inherit that it is blocked.
    _start_tracker()  # before that, as its start unblocks it
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.set_wakeup_fd(before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.close(tell)
        watcher.join()  # it may be ending the process
        os.close(told)
        os.close(terminal)


def _start_tracker() -> None:
    """Start the process that removes the semaphores of processes that are gone, without its warning of that."""
    before = os.environ.get("PYTHONWARNINGS", "")
    os.environ["PYTHONWARNINGS"] = f"{before},ignore:resource_tracker".strip(",")
    resource_tracker.ensure_running()
    os.environ["PYTHONWARNINGS"] = before  # empty is as good as none


def _watch(told: int, terminal: int) -> None:
    """Wait for a signal, say the last word, and end this process and all that it started."""
    number = 0
    while number not in SIGNALS:
        if not (read := os.read(told, 1)):
            return  # the command is at its end
        number = read[0]
    fall_silent()
    with suppress(OSError):  # nobody may be there to read it
        below_the_bars = "\x1b[?25h\n" if os.isatty(terminal) else ""  # where the cursor is hidden
        os.write(terminal, f"{below_the_bars}{_last_word}\n".encode())
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # for what other threads say while they end
    with suppress(psutil.Error):
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                if TRACKER not in " ".join(child.cmdline()):
                    child.kill()
    os._exit(128 + number)


def leave_if_unread() -> None:
    """End without a word, after a BrokenPipeError, where it came of printing what nobody reads any more (`| head`)."""
    unread = [descriptor for descriptor in (1, 2) if _has_no_reader(descriptor)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in unread:
        os.dup2(nowhere, descriptor)  # for what Python writes when it ends
    os.close(nowhere)
    if unread:
        raise SystemExit(UNREAD)


def _has_no_reader(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))
