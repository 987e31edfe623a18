"""How long a command takes to start: processor seconds and seconds on the clock, median of several.

    python perf/bench_cli.py [--home data] [--repeats 5]

`sql` and `route` need a home that `embedllm demo` or `run` has finished. The commands take turns, so that whatever else
the machine does meets all of them alike.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

REPOSITORY = Path(__file__).parents[1]
COMMANDS: dict[str, Sequence[str]] = {
    "--help": ["--help"],
    "sql": ["sql", "SELECT 1"],
    "route": ["route", "What is 12 plus 7?"],
}
TARGETS = {"--help": 1.0, "sql": 1.0, "route": 2.0}  # seconds on the clock of a machine that does nothing else
START = "import sys; from pipelines.cli.main import main; sys.argv[0] = 'embedllm'; main()"


def run(arguments: Sequence[str], home: Path) -> tuple[float, float]:
    """Processor seconds and seconds of one call."""
    environment = {**os.environ, "EMBEDLLM_HOME": str(home), "PYTHONPATH": str(REPOSITORY)}
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", START, *arguments], env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    elapsed = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)  # so that it is not waited for again
    if process.returncode:
        sys.exit(f"embedllm {' '.join(arguments)} failed")
    return usage.ru_utime + usage.ru_stime, elapsed


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--home", type=Path, default=REPOSITORY / "data")
    options.add_argument("--repeats", type=int, default=5)
    chosen = options.parse_args()
    names = list(COMMANDS) if (chosen.home / "warehouse.duckdb").exists() else ["--help"]
    for name in names:
        run(COMMANDS[name], chosen.home)  # files are in memory from here on
    taken = {name: [] for name in names}
    for _ in range(chosen.repeats):
        for name in names:
            taken[name].append(run(COMMANDS[name], chosen.home))
    table = Table(title=f"Start of a command, median of {chosen.repeats}", title_justify="left")
    for column in ("embedllm …", "processor s", "s", "target s"):
        table.add_column(column, justify="left" if column.startswith("embedllm") else "right")
    for name in names:
        processor, clock = (statistics.median(times) for times in zip(*taken[name], strict=True))
        table.add_row(name, f"{processor:.2f}", f"{clock:.2f}", f"{TARGETS[name]:g}")
    Console().print(table)
    if len(names) < len(COMMANDS):
        print(f"skipped sql and route: {chosen.home} is no finished home; name one with --home")


if __name__ == "__main__":
    main()
