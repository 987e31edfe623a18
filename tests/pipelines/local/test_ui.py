"""The Dagster UI in a real browser: it shows what the command line made, and makes more."""

import contextlib
import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from assets.evaluation.experiments import EXPERIMENTS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("there is no Chromium here to open the UI in", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright, of the extra `dev`, is not installed")

PROJECT = Path(__file__).resolve().parents[3]
EMBEDLLM = [sys.executable, "-c", "from pipelines.cli.app import app; app()"]
BROWSER = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
GROUPS = ["collection", "matrix", "embedding", "evaluation", "report"]
EXPERIMENT_NODES = [experiment.op.name for experiment in EXPERIMENTS]
NODES = [
    *("imported_results", "correctness_matrix", "coverage", "question_embeddings", "embedder", "onboarded"),
    "left_out_embeddings",
    *EXPERIMENT_NODES,
    "warehouse",
    "report",
]
TOPICS = {
    "arithmetic": "What is {} plus {}?",
    "capitals": "What is the capital of country {}, by river {}?",
    "spelling": "How is word {} of list {} spelt?",
}
PATIENCE_S = 120  # for one step; a few seconds on an idle machine

MATERIALIZATIONS = """{ assetOrError(assetKey: {path: ["correctness_matrix"]}) { ... on Asset {
    assetMaterializations { runId metadataEntries { label ... on IntMetadataEntry { intValue } } } } } }"""
RUN_STATUS = """query ($run: ID!) { runOrError(runId: $run) { ... on Run { status } } }"""


class Ui:
    """A running `embedllm ui`, asked over GraphQL."""

    def __init__(self, url: str) -> None:
        self.url = url

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


def _write_published(file: Path) -> None:
    """6 models, each best at one of 3 categories, on 60 questions, in the published EmbedLLM layout."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow(["prompt_id", "model_name", "category", "label", "prompt"])
        for question in range(60):
            category, text = list(TOPICS.items())[question % 3]
            for model in range(6):
                right = model % 3 == question % 3 or (question + model) % 4 == 0
                prompt = text.format(question, 7 * question)
                rows.writerow([question, f"lab__model-{model}", category, int(right), prompt])


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    """The UI on a home whose answers were imported and refreshed from the command line."""
    folder = tmp_path_factory.mktemp("ui")
    published = folder / "results.csv"
    _write_published(published)
    env = {k: v for k, v in os.environ.items() if not k.startswith(("EMBEDLLM_", "DAGSTER_"))}
    env |= {"EMBEDLLM_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"}
    subprocess.run([*EMBEDLLM, "import", str(published)], env=env, cwd=PROJECT, check=True, timeout=PATIENCE_S)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = folder / "ui.log"
    with log.open("w") as stream:
        server = subprocess.Popen(
            [*EMBEDLLM, "ui", "--port", str(port)],
            env=env,
            cwd=PROJECT,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:  # the refresh and the start of the UI side by side: both take their time
        subprocess.run([*EMBEDLLM, "run"], env=env, cwd=PROJECT, check=True, timeout=PATIENCE_S)
        url = f"http://127.0.0.1:{port}"
        _wait_for(lambda: server.poll() is not None or _answers(url), "the UI to start")
        assert server.poll() is None, log.read_text()
        yield Ui(url)
    finally:
        _stop(server)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/server_info", timeout=5):
            return True
    except (urllib.error.URLError, TimeoutError):
        return False


def _wait_for(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"waited {PATIENCE_S} s for {what}"
        time.sleep(0.5)


def _stop(server: subprocess.Popen[bytes]) -> None:
    """As a closed terminal would, and then for good: webserver, daemon and code server are one process group."""
    server.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(20)
    with contextlib.suppress(ProcessLookupError):  # nothing was left
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=BROWSER)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    # Large enough for the whole graph, unfolded: nodes out of sight are not drawn, zoomed out they lose their state.
    page = browser.new_page(viewport={"width": 4000, "height": 7000})
    page.set_default_timeout(1000 * PATIENCE_S)
    yield page
    page.close()


def _open_graph(page: Any, ui: Ui) -> None:
    expanded = ",".join(f"global%40global%3A{group}" for group in GROUPS)
    page.goto(f"{ui.url}/asset-groups?expanded={expanded}")


def _node(page: Any, name: str) -> Any:
    return page.locator("svg foreignObject").get_by_text(name, exact=True).last


@pytest.mark.slow
def test_the_graph_shows_every_stage_as_the_command_line_left_it(ui, page, tmp_path):
    _open_graph(page, ui)
    for name in NODES:
        _node(page, name).wait_for(state="visible")
    made = page.locator("svg foreignObject").get_by_text("Materialized")
    sync_api.expect(made).to_have_count(len(NODES), timeout=1000 * PATIENCE_S)
    page.screenshot(path=tmp_path / "graph.png")
    page.goto(f"{ui.url}/locations/pipelines.definitions/jobs/refresh/runs")
    page.get_by_text("Success", exact=True).wait_for()  # the job knows the run that the command line did


@pytest.mark.slow
def test_a_click_materialises(ui, page):
    before = ui.materializations()
    _open_graph(page, ui)
    _node(page, "correctness_matrix").click()
    page.get_by_role("button", name="Materialize selected").click()
    _wait_for(lambda: len(ui.materializations()) > len(before), "the correctness matrix to be materialised")
    latest = ui.materializations()[0]
    assert latest["runId"] not in {event["runId"] for event in before}
    rows = {entry["label"]: entry.get("intValue") for entry in latest["metadataEntries"]}
    assert (rows["models"], rows["questions"], rows["dagster/row_count"]) == (6, 60, 360)
    _wait_for(lambda: ui.status_of(latest["runId"]) in ("SUCCESS", "FAILURE"), "the run to end")
    assert ui.status_of(latest["runId"]) == "SUCCESS"
    page.goto(f"{ui.url}/runs/{latest['runId']}")
    page.get_by_text("Success", exact=True).first.wait_for()
