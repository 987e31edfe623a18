"""How commands print: lines and tables on standard output, bars and news of a long command on standard error."""

from __future__ import annotations

import csv
import errno
import json
import logging
import os
import shutil
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

import rich.console
from rich.markup import escape
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    import dagster as dg
    import pyarrow as pa

STEP = 4  # without a terminal, a long step reports this many times
WIDE = 10_000  # columns, where no terminal cuts what is printed
LONG, LEAST = 40, 20  # letters: a text longer than this is wrapped where the terminal is narrow, to lines of so many


class _Output(rich.console.Console):
    """Standard output."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))  # app.py ends the command


# Names and questions are shown as they are.
_on_terminal = sys.stdout is not None and sys.stdout.isatty()  # None where it is closed
_width = None if _on_terminal or "COLUMNS" in os.environ else WIDE
out = _Output(highlight=False, markup=False, width=_width)


def command() -> str:
    """Return what the user typed to call this program."""
    typed = sys.argv[0]
    # Of a program found on PATH the shell passes on the whole path.
    return "embedllm" if Path(typed).name != "embedllm" or typed == shutil.which("embedllm") else typed


def as_typed(text: str) -> str:
    """Return the text with every `embedllm …` in backticks as the user would have to type it."""
    return text.replace("`embedllm ", f"`{command()} ")


def say(text: str) -> None:
    """Print a paragraph on standard output, its lines not cut to the width of the terminal."""
    out.print(as_typed(text), soft_wrap=True)


def show(table: Table) -> None:
    """Print a table. Where the terminal is narrower than its names and numbers, its lines are longer than the
    terminal's: nothing is cut."""
    for column in table.columns:
        column.overflow = "fold"  # of a word that is too long for its column
    least = Measurement.get(out, out.options.update(max_width=WIDE), table).minimum
    _Output(file=out.file, width=max(out.width, least), highlight=False, markup=False).print(table)


def table_of(rows: pa.Table, title: str | None = None) -> Table:
    """Return rows as a table of the terminal, numbers to the right. Only long texts are wrapped where it is narrow."""
    import pyarrow.types as types

    table = Table(title=title, title_justify="left")
    cells = [[cell(value) for value in column.to_pylist()] for column in rows.columns]
    for field, column in zip(rows.schema, cells, strict=True):
        numeric = types.is_floating(field.type) or types.is_integer(field.type)
        is_long = any(len(text) > LONG for text in column)
        least = LEAST if is_long else None
        table.add_column(field.name, justify="right" if numeric else "left", no_wrap=not is_long, min_width=least)
    for row in zip(*cells, strict=True):
        table.add_row(*row)
    return table


def cell(value: object) -> str:
    """Return a value as a table of the terminal shows it."""
    if value is None:
        return "NULL"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def write_csv(rows: pa.Table, file: IO[str]) -> None:
    """Write rows as CSV with a header: null is empty, a list or a struct is JSON."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(rows.column_names)
    for batch in rows.to_batches(max_chunksize=10_000):
        for row in batch.to_pylist():
            writer.writerow(
                json.dumps(value, default=str, ensure_ascii=False) if isinstance(value, list | dict) else value
                for value in row.values()
            )


_silent = threading.Event()


def fall_silent() -> None:
    """From now on no `Console` prints anything: the command is being ended, and its last word is said elsewhere."""
    _silent.set()


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
        columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        self._bars = Progress(TextColumn("{task.description:<22}"), *columns, console=self._console)
        self._tasks: dict[str, tuple[int, float]] = {}
        self._started: dict[str, float] = {}  # by step
        self._made: set[str] = set()  # steps that made something, and did not only check it

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._bars.stop()
        with suppress(BrokenPipeError):
            self._file.close()

    def say(self, text: str) -> None:
        """Print one line above the bars."""
        if not _silent.is_set():
            self._console.print(as_typed(text), highlight=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """Print one line with a yellow mark."""
        self.say(f"  [yellow]![/] {escape(text)}")

    def progress(self, done: int, total: int, label: str) -> None:
        """Show how far a long step is; the first call under a label starts its bar."""
        if label not in self._tasks:
            shown = self._bars.add_task(label, total=total) if self._console.is_terminal else 0
            self._tasks[label] = (shown, time.monotonic())
        task, started = self._tasks[label]
        if self._console.is_terminal:
            self._bars.update(task, completed=done, total=total)  # type: ignore[arg-type]
        elif done and done * STEP // total > (done - 1) * STEP // total:
            self.say(f"  {label}: {done} of {total} ({time.monotonic() - started:.0f} s)")

    def show_stage(self, event: dg.DagsterEvent, at: float) -> None:
        """Print a line for each asset as it is made; a check is only shown when it does not pass. `at`: seconds."""
        from dagster import DagsterEventType

        step = event.step_key or ""
        if event.is_step_start:
            self._started[step] = at
        elif event.event_type is DagsterEventType.ASSET_MATERIALIZATION:
            self._made.add(step)
        elif event.event_type is DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            if not check.passed:
                asset = check.asset_key.to_user_string()
                self.warn(f"{asset}: {check.check_name} does not hold")
        elif event.is_step_success and step in self._made:
            self.say(f"  [green]✓[/] {step:<22} {at - self._started[step]:6.1f} s")
        elif event.is_step_failure:
            self.say(f"  [red]✗[/] {step}")

    def stages(self) -> dg.LoggerDefinition:
        """Return a Dagster logger that says which asset is being made, and how long each took."""
        import dagster as dg

        handler = _StageHandler(self)

        @dg.logger
        def stages(_: dg.InitLoggerContext) -> logging.Logger:
            logger = logging.Logger("embedllm.stages", level=logging.DEBUG)
            logger.addHandler(handler)
            return logger

        return stages


class _StageHandler(logging.Handler):
    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        event = getattr(record, "dagster_event", None)
        if event is not None and event.step_key is not None:
            self._console.show_stage(event, record.created)
