"""What the user sees while the chain runs."""

from __future__ import annotations

import logging
import os
import time
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

import rich.console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    import dagster as dg

STEP = 4  # without a terminal, a long step reports this many times


class _Terminal(rich.console.Console):
    """Goes on in silence where nobody reads it any more: the work is worth more than the news of it."""

    def on_broken_pipe(self) -> None:
        self.quiet = True


class Console:
    """Bars on a terminal, a few plain lines elsewhere.

    Dagster redirects the process's own output into a run's log while an asset runs, so this writes to a copy of it.
    """

    def __init__(self) -> None:
        self._file = os.fdopen(os.dup(2), "w", encoding="utf-8")
        self._console = _Terminal(file=self._file)
        self._bars = Progress(
            TextColumn("{task.description:<22}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._tasks: dict[str, tuple[int, float]] = {}

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._bars.stop()
        with suppress(BrokenPipeError):
            self._file.close()

    def say(self, text: str) -> None:
        """One line, above the bars."""
        self._console.print(text, highlight=False, soft_wrap=True)

    def progress(self, done: int, total: int, label: str) -> None:
        """How far a long step is; the first call under a label starts its bar."""
        if label not in self._tasks:
            shown = self._bars.add_task(label, total=total) if self._console.is_terminal else 0
            self._tasks[label] = (shown, time.monotonic())
        task, started = self._tasks[label]
        if self._console.is_terminal:
            self._bars.update(task, completed=done, total=total)  # type: ignore[arg-type]
        elif done and done * STEP // total > (done - 1) * STEP // total:
            self.say(f"  {label}: {done} of {total} ({time.monotonic() - started:.0f} s)")

    def stages(self) -> dg.LoggerDefinition:
        """A Dagster logger that says which asset is being made, and how long each took."""
        import dagster as dg

        handler = _StageHandler(self)

        @dg.logger
        def stages(_: dg.InitLoggerContext) -> logging.Logger:
            logger = logging.Logger("embedllm.stages", level=logging.DEBUG)
            logger.addHandler(handler)
            return logger

        return stages


class _StageHandler(logging.Handler):
    """A line an asset; a check only shows when it does not pass."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self._started: dict[str, float] = {}
        self._made: set[str] = set()  # steps that made something, and did not only check it

    def emit(self, record: logging.LogRecord) -> None:
        from dagster import DagsterEventType

        event = getattr(record, "dagster_event", None)
        if event is None or event.step_key is None:
            return
        step = event.step_key
        if event.is_step_start:
            self._started[step] = time.monotonic()
        elif event.event_type is DagsterEventType.ASSET_MATERIALIZATION:
            self._made.add(step)
        elif event.event_type is DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            if not check.passed:
                asset = check.asset_key.to_user_string()
                self._console.say(f"  [yellow]![/] {asset}: {check.check_name} does not hold")
        elif event.is_step_success and step in self._made:
            self._console.say(f"  [green]✓[/] {step:<22} {time.monotonic() - self._started[step]:6.1f} s")
        elif event.is_step_failure:
            self._console.say(f"  [red]✗[/] {step}")
