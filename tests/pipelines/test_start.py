"""What a command does not load: imports are most of what a short command takes (`perf/bench_cli.py`)."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines.settings import PROJECT
from warehouse.database.publish import publish
from warehouse.lake import Lake

START = """
import json, sys
from pipelines.cli.main import main
sys.argv = ["embedllm", *json.loads(sys.argv[1])]
try:
    main()
finally:
    print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
"""
HEAVY = {"dagster", "grpc", "sqlalchemy", "torch", "sklearn", "pandas", "scipy", "transformers", "lm_eval"}
READERS = {"duckdb", "pyarrow", "numpy", "deltalake"}


def loaded(home: Path, *arguments: str, status: int = 0) -> set[str]:
    """Packages that the command has imported."""
    environment = {**os.environ, "EMBEDLLM_HOME": str(home), "EMBEDLLM_REGISTRY": "", "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        [sys.executable, "-c", START, json.dumps(arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == status, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["--version"], ["route", "-h"], ["models", "add", "--help"]])
def test_help_loads_nothing_that_works_on_data(arguments: list[str], tmp_path: Path) -> None:
    assert not loaded(tmp_path, *arguments) & (HEAVY | READERS)


def test_sql_loads_what_reads_the_warehouse_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "lake" / "questions" / "_delta_log").mkdir(parents=True)  # a lake of today's layout
    publish(Lake(tmp_path / "lake"), tmp_path / "warehouse.duckdb")
    assert not loaded(tmp_path, "sql", "SELECT 1") & (HEAVY | {"deltalake"})


def test_route_says_without_delay_that_there_is_no_embedder(tmp_path: Path) -> None:
    heavy = HEAVY - {"scipy", "pandas"}  # which come with what reads the lake
    assert not loaded(tmp_path, "route", "What is 12 plus 7?", status=1) & heavy


@pytest.mark.slow
def test_route_loads_neither_dagster_nor_what_trains(small_home: Any) -> None:
    assert not loaded(small_home.home, "route", "What is 12 plus 7?") & (
        {"dagster", "grpc", "sqlalchemy", "sklearn", "transformers", "sentence_transformers", "lm_eval"}
    )


def test_a_closed_output_is_no_error(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from pipelines.cli.main import main; main()", "models", "list"]
    environment = os.environ | {"EMBEDLLM_HOME": str(tmp_path), "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        ["/bin/sh", "-c", '"$@" >&-', "sh", *command], env=environment, stderr=subprocess.PIPE, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
