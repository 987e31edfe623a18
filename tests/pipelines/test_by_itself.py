"""With the UI running, a change of the registry is all a user has to make: what follows happens once, by itself."""

import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from assets.evaluation.experiments import EXPERIMENTS
from assets.evaluation.left_out_embeddings import left_out_embeddings
from pipelines.automation.plan import REASON

PATIENCE_S = 240  # a refresh takes half a minute on an idle machine
EXPENSIVE = {
    asset.key.to_user_string()
    for asset in (left_out_embeddings, *EXPERIMENTS)
    if "embedllm/expensive" in asset.get_asset_spec().tags
}
CHEAP = {experiment.key.to_user_string() for experiment in EXPERIMENTS} - EXPENSIVE
REFRESHED = {
    *("correctness_matrix", "coverage", "question_embeddings", "embedder", "onboarded", "warehouse", "report"),
    *CHEAP,
}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


class Events:
    """What was materialised in a home since one last looked."""

    def __init__(self, home: Path) -> None:
        self.folder = str(home / "dagster")
        self.seen: set[str] = set()
        self.new()

    def new(self) -> Counter[tuple[str, str | None]]:
        """How often each (asset, partition) was."""
        found: Counter[tuple[str, str | None]] = Counter()
        with dg.DagsterInstance.from_config(self.folder) as instance:
            runs = [run for run in instance.get_runs() if run.run_id not in self.seen]
            self.reasons = {run.tags.get(REASON) for run in runs}
            for run in runs:
                for event in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION):
                    assert event.dagster_event is not None
                    key = event.dagster_event.asset_key
                    assert key is not None
                    found[key.to_user_string(), event.dagster_event.partition] += 1
                self.seen.add(run.run_id)
        return found

    def is_quiet(self) -> bool:
        """Whether there are new runs, and all of them have ended."""
        with dg.DagsterInstance.from_config(self.folder) as instance:
            runs = [run for run in instance.get_runs() if run.run_id not in self.seen]
        return bool(runs) and all(run.is_finished for run in runs)


@pytest.fixture
def running(embedllm: Any, write_registry: Callable[..., Path]) -> Iterator[Any]:
    """The UI on a home with three evaluated models and two benchmarks."""
    write_registry(embedllm.registry, MODELS, BENCHMARKS)
    done = embedllm("run")
    assert done.returncode == 0, done.stderr
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ui = embedllm.start("ui", "--port", str(port))
    try:
        yield embedllm
    finally:
        ui.terminate()
        ui.communicate(timeout=60)


MODELS, BENCHMARKS = ("tiny/a", "tiny/b", "tiny/c"), ("fruit", "sums")


def wait_for(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"waited {PATIENCE_S} s for {what}"
        time.sleep(0.5)


def once(*keys: tuple[str, str | None]) -> Counter[tuple[str, str | None]]:
    return Counter(dict.fromkeys(keys, 1))


def test_entries_added_and_removed_are_followed_once(running: Any, micro: Path) -> None:
    events = Events(running.home)
    known = "SELECT count(*) AS n FROM model_embeddings SEMI JOIN serving USING (embedder) WHERE model = 'tiny/d'"
    report = running.home / "reports" / "report.html"

    added = running("models", "add", "tiny/d", "--arg", f"pretrained={micro / 'models' / 'd'}", "--tag", "coding")
    assert added.returncode == 0, added.stderr
    wait_for(lambda: running.rows(known)[0]["n"] and "tiny/d" in report.read_text(), "the new model")
    wait_for(events.is_quiet, "the refresh to end")
    asked = [(f"responses/{benchmark}", "tiny/d") for benchmark in BENCHMARKS]
    grown = [(name, None) for name in EXPENSIVE]  # by more than a fifth: from three models to four
    assert events.new() == once(*asked, *((name, None) for name in REFRESHED), *grown)
    assert None not in events.reasons
    assert {row["model"] for row in running.rows("FROM leaderboard")} == {*MODELS, "tiny/d"}
    routed = running("route", "What is 1 plus 2 ?", "--top", "4")
    assert "tiny/d" in routed.stdout

    file = running.registry / "benchmarks.yaml"
    content = yaml.safe_load(file.read_text())
    content["benchmarks"].append({"name": "towns", "tasks": ["micro_towns"], "metric": "acc"})
    draft = file.with_suffix(".tmp")
    draft.write_text(yaml.safe_dump(content))
    draft.replace(file)
    wait_for(lambda: len(running.rows("SELECT DISTINCT benchmark FROM forecasts")) == 4, "the new benchmark")
    wait_for(events.is_quiet, "the refresh to end")
    asked = [("responses/towns", model) for model in (*MODELS, "tiny/d")]
    assert events.new() == once(*asked, *((name, None) for name in REFRESHED | EXPENSIVE))

    removed = running("models", "remove", "tiny/a")
    assert removed.returncode == 0, removed.stderr
    gone = "SELECT count(*) AS n FROM responses WHERE model = 'tiny/a'"
    wait_for(lambda: running.rows(gone)[0]["n"] == 0 and "tiny/a" not in report.read_text(), "the model to leave")
    wait_for(events.is_quiet, "the refresh to end")
    assert {row["model"] for row in running.rows("FROM superseded")} == {"tiny/a"}
    assert all(partition is None for _, partition in events.new())
