"""Kill -9 wherever it hurts: what was done stays, what was not is done by the next command, with the same result."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import yaml

from assets.inputs.partitions import MODELS_PARTITION, responses_key
from assets.inputs.workspace import Workspace
from harness.registry import load_registry
from pipelines.automation.plan import Request
from pipelines.instance import UNFINISHED, use_home
from pipelines.local.workers import evaluate_models
from pipelines.settings import Settings
from tests.command import PROCESSES
from warehouse.database.publish import TABLES, publish
from warehouse.database.read import query
from warehouse.imports.ingest import import_results
from warehouse.lake import Lake

CLOCKS = {"created_at", "seconds", "tokens_per_second"}


def tables(database: Path) -> dict[str, list[str]]:
    """Every table's rows, whatever their order, without what a kill may change."""
    found = {}
    for name in TABLES:
        rows = query(database, f"FROM {name}")
        rows = rows.select([column for column in rows.column_names if column not in CLOCKS])
        found[name] = sorted(json.dumps(row, default=str) for row in rows.to_pylist())
    return found


def wait_until(condition: Callable[[], object], process: subprocess.Popen[str], seconds: float = 120) -> None:
    """Polls closely, so that what follows happens in the middle of what is waited for."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.002)


def kill(process: subprocess.Popen[str]) -> None:
    """The command and its workers."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)


def is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def unfinished(home: Path) -> int:
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        return len(instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)))


@pytest.mark.slow
def test_a_run_killed_twice_ends_like_one_undisturbed(
    embedllm: Any, write_registry: Callable[..., Path], small: Any
) -> None:
    write_registry(embedllm.registry, ["tiny/a", "tiny/b", "tiny/c"], ["sums", "towns"])
    lake = Lake(embedllm.home / "lake")
    running = embedllm.start("run")
    wait_until(lake.pairs, running)
    running.kill()  # the command alone: its workers must find out by themselves
    running.communicate(timeout=30)  # waits for whoever still holds its output
    deadline = time.monotonic() + 30
    while is_alive(running.pid):
        assert time.monotonic() < deadline, "workers outlive the command"
        time.sleep(0.1)
    saved = lake.now().answers.copy()
    assert 0 < len(saved) < 6
    assert unfinished(embedllm.home) > 0

    running = embedllm.start("run")
    wait_until((embedllm.home / ".warehouse.duckdb.tmp").exists, running)
    kill(running)
    answers = lake.now().answers
    assert len(answers) == 6
    assert {pair: answers[pair].evaluation_id for pair in saved} == {
        pair: event.evaluation_id for pair, event in saved.items()
    }  # not asked again

    done = embedllm("run")
    assert done.returncode == 0, done.stderr
    assert unfinished(embedllm.home) == 0
    assert tables(embedllm.home / "warehouse.duckdb") == tables(small.path / "warehouse.duckdb")
    leftovers = [p for p in embedllm.home.rglob("*") if p.name.endswith((".tmp", ".wal"))]
    assert leftovers == []
    assert list((embedllm.home / "cache").rglob("*.jsonl")) == []


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 models' answers to 12 benchmarks of 20 questions: 480 pairs."""
    file = tmp_path_factory.mktemp("published") / "results.parquet"
    questions = pd.DataFrame({"prompt_id": range(240)})
    questions["category"] = [f"subject{number % 12:02d}" for number in questions.prompt_id]
    questions["prompt"] = [f"What is the answer to question {number}?" for number in questions.prompt_id]
    rows = questions.merge(pd.DataFrame({"model_name": [f"org__m{number:02d}" for number in range(40)]}), how="cross")
    rows["label"] = (rows.prompt_id * 7 + rows.model_name.str[-2:].astype(int) * 5) % 3 % 2
    rows.to_parquet(file)
    return file


PUBLISH = """
import sys
from pathlib import Path
from warehouse.lake import Lake
from warehouse.database.publish import publish
print("begin", flush=True)
publish(Lake(Path(sys.argv[1]) / "lake"), Path(sys.argv[1]) / "warehouse.duckdb")
"""


def kill_when(reached: Callable[[float], bool], program: str, *arguments: object) -> bool:
    """Starts `program`, asks `reached` with the seconds since it began, kills it; False if it had ended before."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begin\n"
        began = time.monotonic()
        while process.poll() is None and not reached(time.monotonic() - began):
            time.sleep(0.001)
        process.kill()
    return process.returncode == -signal.SIGKILL


@pytest.fixture(scope="module")
def undisturbed(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("undisturbed")
    import_results(Lake(home / "lake"), str(results), benchmark_of=str)
    publish(Lake(home / "lake"), home / "warehouse.duckdb")
    return home


@pytest.mark.slow
def test_a_publish_killed_anywhere_leaves_a_whole_warehouse(undisturbed: Path) -> None:
    """The old file or the new one, never a half: at eight moments of a publish, some after its end."""
    database = undisturbed / "warehouse.duckdb"
    before = tables(database)
    moments = [random.Random(seed).uniform(0, 0.5) for seed in range(8)]
    killed = sum(kill_when(moment.__lt__, PUBLISH, undisturbed) for moment in moments)
    assert killed >= 2
    assert tables(database) == before
    publish(Lake(undisturbed / "lake"), database)
    assert tables(database) == before
    assert not list(undisturbed.glob("*.tmp*"))


DEADLY = """
import os, signal
from transformers import PretrainedConfig
os.kill(os.getpid(), signal.SIGKILL)
class DeadlyConfig(PretrainedConfig):
    model_type = "deadly"
"""


@pytest.mark.slow
def test_a_model_that_gets_its_process_killed_is_recorded_and_the_others_go_on(
    embedllm: Any, write_registry: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the system does to one that takes more memory than there is; here its own code does it."""
    deadly = tmp_path / "deadly"
    deadly.mkdir()
    config = {"model_type": "deadly", "auto_map": {"AutoConfig": "deadly.DeadlyConfig"}}
    (deadly / "config.json").write_text(json.dumps(config))
    (deadly / "deadly.py").write_text(DEADLY)
    models = write_registry(embedllm.registry, models=["tiny/a"], benchmarks=["sums"]) / "models.yaml"
    entries = yaml.safe_load(models.read_text())["models"]
    killer = {"name": "deadly", "args": {"pretrained": str(deadly)}, "trust_remote_code": True}
    models.write_text(yaml.safe_dump({"models": [killer, *entries]}))
    for name, value in embedllm.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("pipelines.local.workers.get_context", lambda _: PROCESSES)
    use_home(Settings())
    workspace = Workspace(home=embedllm.home, registry=load_registry(embedllm.registry, embedllm.home))
    with dg.DagsterInstance.get() as instance:
        instance.add_dynamic_partitions(MODELS_PARTITION, ["deadly", "tiny/a"])
        work = [Request({responses_key("sums"): "new"}, model, model) for model in ("deadly", "tiny/a")]
        outcomes = list(evaluate_models(work, workspace, instance, workers=2))
        assert {(outcome.model, outcome.succeeded) for outcome in outcomes} == {("deadly", False), ("tiny/a", True)}
        assert not instance.get_runs(dg.RunsFilter(statuses=UNFINISHED))
    (failure,) = workspace.lake.failures().to_pylist()
    assert (failure["model"], failure["benchmark"], failure["kind"]) == ("deadly", "sums", "out_of_memory")
    assert "killed by the system" in failure["reason"]
    assert workspace.lake.pairs() == [("sums", "tiny/a")]
