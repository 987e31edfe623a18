"""The Dagster UI: a browser shows what the command line made and makes more, and a changed registry is followed."""

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest
import yaml

from assets.evaluation.experiments import EXPERIMENTS
from assets.evaluation.left_out_embeddings import left_out_embeddings
from pipelines.automation.plan import REASON

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
BROWSER = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
GROUPS = ["collection", "matrix", "embedding", "evaluation", "report"]
MODELS, BENCHMARKS = ("tiny/a", "tiny/b", "tiny/c"), ("sums", "towns")
PATIENCE_S = 240  # for one step; a refresh takes half a minute on an idle machine
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

NODES = ["imported_results", *REFRESHED, *EXPENSIVE]

MATERIALIZATIONS = """{ assetOrError(assetKey: {path: ["correctness_matrix"]}) { ... on Asset {
    assetMaterializations { runId metadataEntries { label ... on IntMetadataEntry { intValue } } } } } }"""
RUN_STATUS = """query ($run: ID!) { runOrError(runId: $run) { ... on Run { status } } }"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


class Ui:
    """A running `embedllm ui`, asked over GraphQL."""

    def __init__(self, url: str) -> None:
        self.url = url

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/server_info", timeout=5):
                return True
        except (urllib.error.URLError, TimeoutError):
            return False

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return json.load(answer)["data"]

    def materializations(self) -> list[dict[str, Any]]:
        """Of the correctness matrix, the latest first."""
        return self.ask(MATERIALIZATIONS)["assetOrError"]["assetMaterializations"]

    def status_of(self, run: str) -> str:
        return self.ask(RUN_STATUS, run=run)["runOrError"]["status"]


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


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory,
    small_home: Any,
    write_registry: Callable[..., Path],
    embedllm_of: Callable[..., Any],
) -> Any:
    """The command on a copy of the small home, on which the UI runs."""
    folder = tmp_path_factory.mktemp("ui")
    shutil.copytree(small_home.home, folder / "home")
    return embedllm_of(folder / "home", write_registry(folder / "registry", MODELS, BENCHMARKS))


@pytest.fixture(scope="module")
def ui(running: Any) -> Iterator[Ui]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ui, server = Ui(f"http://127.0.0.1:{port}"), running.start("ui", "--port", str(port))
    try:
        wait_for(lambda: server.poll() is not None or ui.answers(), "the UI to start")
        assert server.poll() is None, server.communicate()
        yield ui
    finally:
        family = psutil.Process(server.pid).children(recursive=True)
        server.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.communicate(timeout=60)
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def wait_for(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"waited {PATIENCE_S} s for {what}"
        time.sleep(0.5)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here to open the UI in")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright, of the extra `dev`, is not installed")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=BROWSER)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any, ui: Ui) -> Iterator[Any]:
    """The graph, large enough to be drawn whole: nodes out of sight are not drawn, zoomed out they lose their state."""
    page = browser.new_page(viewport={"width": 4000, "height": 7000})
    page.set_default_timeout(1000 * PATIENCE_S)
    expanded = ",".join(f"global%40global%3A{group}" for group in GROUPS)
    page.goto(f"{ui.url}/asset-groups?expanded={expanded}")
    yield page
    page.close()


def _node(page: Any, name: str) -> Any:
    return page.locator("svg foreignObject").get_by_text(name, exact=True).last


def test_the_graph_shows_every_stage_as_the_command_line_left_it(ui: Ui, page: Any, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    for name in (*NODES, *BENCHMARKS):
        _node(page, name).wait_for(state="visible")
    made = page.locator("svg foreignObject").get_by_text("Materialized")
    expect(made).to_have_count(len(NODES), timeout=1000 * PATIENCE_S)
    page.screenshot(path=tmp_path / "graph.png")
    page.goto(f"{ui.url}/locations/pipelines.definitions/jobs/refresh/runs")
    page.get_by_text("Success", exact=True).wait_for()  # the job knows the run that the command line did


def test_a_click_materialises(ui: Ui, page: Any) -> None:
    before = ui.materializations()
    _node(page, "correctness_matrix").click()
    page.get_by_role("button", name="Materialize selected").click()
    wait_for(lambda: len(ui.materializations()) > len(before), "the correctness matrix to be materialised")
    latest = ui.materializations()[0]
    assert latest["runId"] not in {event["runId"] for event in before}
    rows = {entry["label"]: entry.get("intValue") for entry in latest["metadataEntries"]}
    assert (rows["models"], rows["questions"], rows["dagster/row_count"]) == (3, 80, 240)
    wait_for(lambda: ui.status_of(latest["runId"]) in ("SUCCESS", "FAILURE"), "the run to end")
    assert ui.status_of(latest["runId"]) == "SUCCESS"
    page.goto(f"{ui.url}/runs/{latest['runId']}")
    page.get_by_text("Success", exact=True).first.wait_for()


def once(*keys: tuple[str, str | None]) -> Counter[tuple[str, str | None]]:
    return Counter(dict.fromkeys(keys, 1))


def test_entries_added_and_removed_are_followed_once(ui: Ui, running: Any, micro: Path) -> None:
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
    content["benchmarks"].append({"name": "fruit", "tasks": ["micro_fruit"], "metric": "acc"})
    draft = file.with_suffix(".tmp")
    draft.write_text(yaml.safe_dump(content))
    draft.replace(file)
    wait_for(lambda: len(running.rows("SELECT DISTINCT benchmark FROM forecasts")) == 4, "the new benchmark")
    wait_for(events.is_quiet, "the refresh to end")
    asked = [("responses/fruit", model) for model in (*MODELS, "tiny/d")]
    assert events.new() == once(*asked, *((name, None) for name in REFRESHED | EXPENSIVE))

    removed = running("models", "remove", "tiny/a")
    assert removed.returncode == 0, removed.stderr
    gone = "SELECT count(*) AS n FROM responses WHERE model = 'tiny/a'"
    wait_for(lambda: running.rows(gone)[0]["n"] == 0 and "tiny/a" not in report.read_text(), "the model to leave")
    wait_for(events.is_quiet, "the refresh to end")
    assert {row["model"] for row in running.rows("FROM superseded")} == {"tiny/a"}
    assert all(partition is None for _, partition in events.new())
