"""The whole chain, from registry or published results to SQL, route and report, through the command line."""

import csv
import io
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from pipelines.automation.plan import REASON
from warehouse.database.publish import publish
from warehouse.lake import Lake

ENCODED = re.compile(r"questions encoded: (\d+) of (\d+)")


def times(home: Path) -> dict[str, int]:
    """When each file of the home apart from locks, notes on what was checked and Dagster's records was last written."""
    return {
        str(path.relative_to(home)): path.stat().st_mtime_ns
        for path in home.rglob("*")
        if path.is_file() and "dagster" not in path.parts and not path.name.startswith(".")
    }


@pytest.fixture
def second(embedllm: Any, first_run: Any) -> Any:
    """The command on a copy of the first run's home, which lies elsewhere: nothing in a home is bound to its place."""
    shutil.copytree(first_run.home, embedllm.home)
    return embedllm


@pytest.mark.slow
def test_one_failing_model_stops_no_other(first_run: Any, second: Any) -> None:
    assert first_run.returncode == 1
    assert "Traceback" not in first_run.stderr
    (complaint,) = [line for line in first_run.stderr.splitlines() if line.startswith("embedllm: 1 of 5")]
    assert "(tiny/<gone>); everything else is done" in complaint
    assert "5 models, 3 benchmarks, 120 questions, 480 responses" in first_run.stdout
    assert ENCODED.findall(first_run.stderr) == [("120", "120")]

    failures = second.rows("FROM failures ORDER BY benchmark")
    assert [(f["benchmark"], f["model"], f["kind"], f["attempts"]) for f in failures] == [
        (name, "tiny/<gone>", "model_not_found", 1) for name in ("fruit", "sums", "towns")
    ]
    assert "<gone>, which does not exist" in failures[0]["reason"]
    coverage = second.rows("SELECT model, status, sum(n)::INT AS n FROM coverage GROUP BY ALL ORDER BY model")
    assert coverage == [
        {"model": "tiny/<gone>", "status": "failed", "n": 0},
        *({"model": f"tiny/{name}", "status": "done", "n": 120} for name in "abcd"),
    ]
    html = (second.home / "reports" / "report.html").read_text(encoding="utf-8")
    assert "What could not be evaluated" in html
    assert "tiny/&lt;gone&gt;" in html
    assert "<gone>" not in html


@pytest.mark.slow
def test_runs_do_what_is_new_and_nothing_else(second: Any, tmp_path: Path) -> None:
    answers = times(second.home / "lake" / "responses")

    without_the_failing_model = second("run")
    assert without_the_failing_model.returncode == 0, without_the_failing_model.stderr
    assert "models evaluated" not in without_the_failing_model.stderr
    assert not ENCODED.findall(without_the_failing_model.stderr)
    assert times(second.home / "lake" / "responses") == answers
    assert second.rows("SELECT model, source FROM models ORDER BY model") == [
        {"model": f"tiny/{name}", "source": "registry"} for name in "abcd"
    ]
    assert second.rows("SELECT count(*) AS n FROM coverage WHERE status = 'done'") == [{"n": 12}]

    before = times(second.home)
    without_any_change = second("run")
    assert without_any_change.returncode == 0
    assert "Nothing changed" in without_any_change.stderr
    assert times(second.home) == before

    copy = replace(second, home=shutil.copytree(second.home, tmp_path / "elsewhere" / "home"))
    shutil.rmtree(copy.home / "dagster")
    before = times(copy.home)
    elsewhere = copy("run")
    assert elsewhere.returncode == 0, elsewhere.stderr
    assert "Nothing changed" in elsewhere.stderr
    assert times(copy.home) == before

    _assert_results(second)
    _assert_the_report(second.home / "reports" / "report.html")


@pytest.mark.slow
def test_a_model_that_leaves_and_comes_back(second: Any, write_registry: Callable[..., Path]) -> None:
    kept = times(second.home / "lake" / "responses")
    write_registry(second.registry, ("tiny/a", "tiny/b", "tiny/c"))
    assert second("run").returncode == 0
    aside = "SELECT benchmark, model, n, why FROM superseded ORDER BY benchmark"
    why = "its model or its benchmark is no longer in the registry, or the model's entry leaves it out"
    assert second.rows(aside) == [
        {"benchmark": name, "model": "tiny/d", "n": 40, "why": why} for name in ("fruit", "sums", "towns")
    ]
    assert second.rows("SELECT DISTINCT model FROM leaderboard ORDER BY model") == [
        {"model": f"tiny/{name}"} for name in "abc"
    ]
    write_registry(second.registry)
    back = second("run")
    assert back.returncode == 0, back.stderr
    assert second.rows(aside) == []
    assert second.rows("SELECT count(*) AS n FROM coverage WHERE status = 'done'") == [{"n": 12}]
    others = {path: at for path, at in kept.items() if "tiny%2Fd" not in path}
    assert others.items() <= times(second.home / "lake" / "responses").items()
    with dg.DagsterInstance.from_config(str(second.home / "dagster")) as instance:
        reasons = [run.tags.get(REASON, "").split("; coverage")[0] for run in instance.get_runs(limit=3)]
    assert reasons == [
        "correctness_matrix: answers or entries changed",
        "fruit: new; sums: new; towns: new",
        "correctness_matrix: answers or entries changed",
    ]


def _assert_results(embedllm: Any) -> None:
    accuracy = "SELECT model, n, accuracy FROM leaderboard WHERE benchmark = 'sums' ORDER BY model"
    as_csv = list(csv.DictReader(io.StringIO(embedllm("sql", accuracy, "--format", "csv").stdout)))
    as_json = json.loads(embedllm.here("sql", accuracy, "--format", "json").stdout)
    assert [(r["model"], int(r["n"]), float(r["accuracy"])) for r in as_csv] == [tuple(r.values()) for r in as_json]
    assert len({row["accuracy"] for row in as_json}) > 1  # other weights, other answers
    assert f"{as_json[0]['accuracy']:.4f}" in embedllm.here("sql", accuracy).stdout

    splits = embedllm.rows("SELECT split, count(*) AS n FROM questions GROUP BY split ORDER BY split")
    assert [row["split"] for row in splits] == ["test", "train", "val"]
    test = splits[0]["n"]
    forecasts = embedllm.rows("SELECT method, n FROM forecasts WHERE benchmark = 'all' ORDER BY method")
    methods = ("embedder", "knn", "majority", "mf", "model_benchmark_mean", "model_mean")
    assert forecasts == [{"method": method, "n": 4 * test} for method in methods]
    predictions = embedllm.rows("SELECT method, count(*) AS n FROM predictions GROUP BY method ORDER BY method")
    assert predictions == forecasts
    routing = embedllm.rows("SELECT method, n FROM routing WHERE benchmark = 'all' ORDER BY method")
    routers = ("best_per_benchmark", "best_single", "oracle", "random", "router", "weighted_random")
    assert routing == [{"method": method, "n": test} for method in routers]
    vectors = embedllm.rows(
        "SELECT model, serving, len(embedding) = dimensions AS whole FROM model_embeddings JOIN embedders "
        "USING (embedder) WHERE method = 'spectral' ORDER BY model"
    )
    assert vectors == [{"model": f"tiny/{name}", "serving": True, "whole": True} for name in "abcd"]
    assert embedllm.rows("SELECT count(*) AS n FROM question_embeddings WHERE len(embedding) = 384") == [{"n": 120}]

    best = embedllm.here("route", "What is 3 plus 4 ?", "--top", "2")
    assert best.exit_code == 0, best.output
    shown = re.findall(r"tiny/[abcd] +│ 0\.\d{3} +│ (0\.\d{3}) +│ (0\.\d{3}) to ([01]\.\d{3})", best.stdout)
    assert len(shown) == 2
    assert all(low <= probability <= high for probability, low, high in shown)

    assert embedllm.here("report").stdout.strip() == str(embedllm.home / "reports" / "report.html")
    assert embedllm.here("models", "list").stdout.count("3 of 3") == 4
    assert "micro_fruit" in embedllm.here("benchmarks", "list").stdout
    assert "3 benchmarks" in embedllm.here("benchmarks", "check").stdout


def _assert_the_report(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:|#)|url\((?!#)|@import|https?://""", html)
    assert html.count('<div class="drawn" role="img"') >= 3
    assert "4 models, 3 benchmarks, 120 questions, 480 graded answers" in html
    assert "What could not be evaluated" not in html


DATA = Path(__file__).parents[3].parent / "shared" / "data"


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "zeroeval.parquet").exists(), reason="no published results in ../shared/data")
def test_published_results_to_leaderboard(embedllm: Any, tmp_path: Path) -> None:
    """All that was published is imported; the rest of the chain runs on 240 of its questions, to be quick."""
    published = pd.read_parquet(DATA / "zeroeval.parquet")
    split, models = (str(DATA / f"zeroeval.{part}.parquet") for part in ("split", "models"))
    whole = type(embedllm)(tmp_path / "whole")
    done = whole.here("import", str(DATA / "zeroeval.parquet"), "--split", split, "--models", models)
    assert done.exit_code == 0, done.output
    publish(Lake(whole.home / "lake"), whole.home / "warehouse.duckdb")
    _assert_counts(whole, published)

    few = published[published.prompt_id % 12 == 0]
    few.to_parquet(tmp_path / "few.parquet")
    home = type(embedllm)(embedllm.home)
    done = home.here("import", str(tmp_path / "few.parquet"), "--split", split, "--models", models)
    assert done.exit_code == 0, done.output
    run = home("run")
    assert run.returncode == 0, run.stderr
    _assert_counts(home, few)
    asked = few.prompt_id.nunique()
    assert home.rows("SELECT count(*) AS n FROM question_embeddings") == [{"n": asked}]
    route = home.here("route", "Which of these towns lies furthest north?")
    assert route.exit_code == 0, route.output


def _assert_counts(home: Any, published: pd.DataFrame) -> None:
    expected = published.groupby(["category", "model_name"], observed=True).label.agg(["count", "sum"])
    found = home.rows("SELECT benchmark, model, n, accuracy FROM leaderboard WHERE benchmark <> 'all'")
    assert {
        (row["benchmark"], row["model"].replace("/", "__")): (row["n"], round(row["n"] * row["accuracy"]))
        for row in found
    } == {key: (row["count"], row["sum"]) for key, row in expected.iterrows()}
    given = pd.read_parquet(DATA / "zeroeval.split.parquet").set_index("prompt_id").split
    splits = home.rows("SELECT split, count(*) AS n FROM questions GROUP BY split")
    assert {row["split"]: row["n"] for row in splits} == given[published.prompt_id.unique()].value_counts().to_dict()
    labelled = home.rows("SELECT count(*) AS n FROM models WHERE family IS NOT NULL AND source = 'import'")
    assert labelled == [{"n": published.model_name.nunique()}]
