"""Commands as users call them: what they print, and what they answer to wrong inputs."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from assets.embedding.embedder import embedder
from assets.embedding.question_embeddings import question_embeddings
from assets.inputs.workspace import Workspace
from assets.matrix.correctness_matrix import build_correctness_matrix
from embedder.question_costs import CostPredictor, save_question_costs
from embedder.questions import Questions
from harness.registry import load_registry
from pipelines.cli.app import app
from pipelines.console import out
from pipelines.instance import held_here
from pipelines.settings import Settings, open_workspace
from warehouse.imports.ingest import import_results

GOOD = pd.DataFrame(
    [
        {"prompt_id": question, "model_name": model, "category": "trees", "label": int(question % 2 == side)}
        | {"prompt": f"Which tree is number {question}?"}
        for question in range(6)
        for side, model in enumerate(("org__oak", "elm"))
    ]
)
SPLIT = pd.DataFrame({"prompt_id": range(6), "split": ["train", "train", "train", "train", "val", "test"]})
BOOKKEEPING = (".lock", ".ui.lock", ".publish.lock", "dagster")

Invoke = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def invoke(home: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    monkeypatch.setenv("EMBEDLLM_HOME", str(home))
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def used_home(home: Path, invoke: Invoke, tmp_path: Path) -> Path:
    """A home that holds something to lose."""
    GOOD.to_csv(tmp_path / "good.csv", index=False)
    assert invoke("import", tmp_path / "good.csv").exit_code == 0
    return home


def listing(home: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file, apart from locks and Dagster's own records."""
    return {
        str(path.relative_to(home)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(home.rglob("*"))
        if path.is_file() and not set(path.relative_to(home).parts) & set(BOOKKEEPING)
    }


def assert_refused(result: Result, *said: str) -> None:
    """Exit code 1, and on stderr one line, or a list of several problems, that says all of `said`; no traceback
    anywhere."""
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    first, *problems = lines
    assert first.startswith("embedllm: ")
    assert all(line.startswith("- ") for line in problems), lines
    for words in said:
        assert words in " ".join(lines)


def changed(**values: object) -> pd.DataFrame:
    """GOOD with other values in row 3."""
    table = GOOD.astype(object)
    for column, value in values.items():
        table.loc[2, column] = value
    return table


IMPORTS = {
    "column": (GOOD.drop(columns="label"), "label"),
    "label of 2": (changed(label=2), "the label is none of 0, 1, true, false in 1 rows (row 3: '2')"),
    "null": (changed(model_name=None), "model_name is missing in 1 rows (row 3)"),
    "both labels": (
        pd.concat([GOOD, GOOD.iloc[[0]].assign(label=1 - GOOD.label[0])]),
        "1 pairs of prompt_id and model_name with both labels (0 and org/oak in rows 1 and 13)",
    ),
    "two texts": (changed(prompt="Which shrub?"), "1 prompt_id with two texts (1 in rows 3 and 4)"),
    "no rows": (GOOD.iloc[:0], "it has no rows"),
}


@pytest.mark.parametrize("kind", IMPORTS)
def test_faulty_results_are_refused_whole(kind: str, used_home: Path, invoke: Invoke, tmp_path: Path) -> None:
    table, said = IMPORTS[kind]
    table.to_csv(tmp_path / "bad.csv", index=False)
    before = listing(used_home)
    assert_refused(invoke("import", tmp_path / "bad.csv"), "bad.csv was not imported", said)
    assert listing(used_home) == before


FILES = {
    "missing.csv": (None, "there is no such file"),
    "empty.csv": (b"", "it is empty"),
    "garbage.parquet": (b"no Parquet" * 100, "it cannot be read"),
    "results.xlsx": (b"PK", "none of its files (1) is of a known format: embedllm, lm-eval,"),
}


@pytest.mark.parametrize("name", FILES)
def test_unreadable_files_are_refused(name: str, used_home: Path, invoke: Invoke, tmp_path: Path) -> None:
    content, said = FILES[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    before = listing(used_home)
    assert_refused(invoke("import", tmp_path / name), f"{name} was not imported", said)
    assert listing(used_home) == before


def test_two_labels_for_one_answer_are_decided_where_one_says_how(invoke: Invoke, tmp_path: Path) -> None:
    pd.concat([GOOD, GOOD[:1].assign(label=1 - GOOD.label[:1])]).to_csv(tmp_path / "twice.csv", index=False)
    assert_refused(invoke("import", tmp_path / "twice.csv"), "1 pairs of prompt_id and model_name with both labels")
    decided = invoke("import", tmp_path / "twice.csv", "--on-conflict", "drop")
    assert "11 answers of 2 models to 6 questions" in decided.output
    assert "1 answers had two labels; decided by --on-conflict drop." in decided.output


def test_a_lake_whose_events_cannot_be_read_is_checked_and_mended(invoke: Invoke, home: Path, tmp_path: Path) -> None:
    GOOD.to_csv(tmp_path / "good.csv", index=False)
    assert invoke("import", tmp_path / "good.csv").exit_code == 0
    entry = home / "lake" / "evaluations" / "_delta_log" / f"{1:020}.json"
    entry.write_text('{"add":')
    found = invoke("check")
    assert found.exit_code == 1
    assert f"{entry} (log of the table evaluations) cannot be read" in found.output
    assert entry.exists()
    assert str(entry) in invoke("check", "--mend").output
    assert (home / "lake" / "damaged" / "evaluations" / "_delta_log" / entry.name).exists()
    assert "is whole" in invoke("check").output
    assert "Nothing new" in invoke("import", tmp_path / "good.csv").output


def test_a_split_table_must_name_every_question(used_home: Path, invoke: Invoke, tmp_path: Path) -> None:
    GOOD.to_parquet(tmp_path / "again.parquet")
    SPLIT[SPLIT.prompt_id != 4].to_csv(tmp_path / "split.csv", index=False)
    before = listing(used_home)
    refused = invoke("import", tmp_path / "again.parquet", "--split", tmp_path / "split.csv")
    assert_refused(refused, "split.csv lacks 1 prompt_id of the results (4)")
    assert listing(used_home) == before


MODEL = {"name": "oak", "args": {"pretrained": "org/oak"}}
BENCHMARK = {"name": "trees", "tasks": ["trees"], "metric": "acc"}
REGISTRIES = {
    "duplicate model": ([MODEL, MODEL], [BENCHMARK], ("models.yaml", "'oak'", "rename one or remove it")),
    "unknown field": ([MODEL | {"colour": "red"}], [BENCHMARK], ("models.yaml", "unknown field 'colour'")),
    "unknown backend": ([MODEL | {"backend": "hff"}], [BENCHMARK], ("models.yaml", "'hff'", "one of hf, vllm")),
    "no tasks": ([MODEL], [BENCHMARK | {"tasks": []}], ("benchmarks.yaml", "'trees'", "empty list")),
    "missing argument": ([{"name": "oak", "args": {}}], [BENCHMARK], ("models.yaml", "lack 'pretrained'")),
}


@pytest.mark.parametrize("kind", REGISTRIES)
def test_a_faulty_registry_is_refused(
    kind: str, used_home: Path, invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models, benchmarks, said = REGISTRIES[kind]
    (tmp_path / "models.yaml").write_text(yaml.safe_dump({"models": models}))
    (tmp_path / "benchmarks.yaml").write_text(yaml.safe_dump({"benchmarks": benchmarks}))
    monkeypatch.setenv("EMBEDLLM_REGISTRY", str(tmp_path))
    before = listing(used_home)
    for command in (("run",), ("models", "list"), ("benchmarks", "check")):
        assert_refused(invoke(*command), *said)
    assert listing(used_home) == before


@pytest.mark.parametrize(
    ("changes", "commands", "said"),
    [
        (
            {"models": ["tiny/gone"], "tasks": ["micro_frut"]},
            [("run",), ("benchmarks", "check")],
            ("no task 'micro_frut'", "did you mean micro_fruit"),
        ),
        ({"metric": "exact_match"}, [("run",)], ("benchmark 'fruit'", "metric", "'exact_match'")),
    ],
    ids=["task", "metric"],
)
def test_what_a_benchmark_gets_wrong_is_found_before_any_model_is_looked_for(
    changes: dict[str, Any],
    commands: list[tuple[str, ...]],
    said: tuple[str, ...],
    used_home: Path,
    invoke: Invoke,
    write_registry: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry = write_registry(tmp_path / "registry", **changes)
    monkeypatch.setenv("EMBEDLLM_REGISTRY", str(registry))
    before = listing(used_home)
    for command in commands:
        assert_refused(invoke(*command), *said)
    assert listing(used_home) == before


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("EMBEDLLM_SEED", "abc", "valid integer"),
        ("EMBEDLLM_SEED", "-1", "greater than or equal to 0"),
        ("EMBEDLLM_EVALUATION_WORKERS", "0", "greater than or equal to 1"),
        ("EMBEDLLM_KEEP_ANSWERS", "perhaps", "valid boolean"),
        ("EMBEDLLM_REGISTRY", "{tmp}/nowhere", "The registry folder {tmp}/nowhere does not exist"),
        ("EMBEDLLM_HOME", "{tmp}/file", "it is a file"),
        ("EMBEDLLM_HOME", "{tmp}/file/home", "{tmp}/file/home"),
    ],
)
def test_a_faulty_setting_is_named(
    name: str, value: str, said: str, used_home: Path, invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(name, value.format(tmp=tmp_path))
    before = listing(used_home)
    assert_refused(invoke("run"), said.format(tmp=tmp_path))
    assert listing(used_home) == before
    assert (tmp_path / "file").read_bytes() == b""


def test_what_models_say_is_kept_unless_told_otherwise(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDLLM_HOME", str(home))
    assert open_workspace(Settings()).keep_answers
    monkeypatch.setenv("EMBEDLLM_KEEP_ANSWERS", "false")
    assert not open_workspace(Settings()).keep_answers


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_home_that_cannot_be_written_to(invoke: Invoke, home: Path) -> None:
    home.mkdir(mode=0o500)
    assert_refused(invoke("run"), "Permission denied", str(home))


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("sql", "SELECT 1"), "`embedllm run` makes it"),
        (("route", "What is 12 plus 7?"), "There is no embedder yet"),
        (("report",), "There is no report yet"),
        (("onboard", "org/oak"), "org/oak is not in the registry: add --arg pretrained="),
    ],
)
def test_commands_that_need_more_say_so(command: tuple[str, ...], said: str, invoke: Invoke, home: Path) -> None:
    assert_refused(invoke(*command), said)
    assert not home.exists()


def test_run_without_anything_to_run_on(
    invoke: Invoke, home: Path, write_registry: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBEDLLM_REGISTRY", str(write_registry(tmp_path / "registry", models=[], benchmarks=[])))
    assert_refused(invoke("run"), "nothing to run on")
    assert not home.exists()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("ui", "--port", "99999"), "--port"),
        (("route", "--top", "0", "Why?"), "--top"),
        (("sql", "SELECT 1", "--format", "xml"), "--format"),
        (("route",), "either a question"),
        (("route", "Why?", "--file", "-"), "either a question"),
        (("route", "--file", "nowhere.txt"), "No such file"),
        (("route", "--cost-weight", "-1", "Why?"), "--cost-weight"),
        (("route", "--cost-weight", "inf", "Why?"), "--cost-weight"),
        (("frobnicate",), "No such command"),
    ],
)
def test_usage_errors(command: tuple[str, ...], said: str, invoke: Invoke, home: Path) -> None:
    result = invoke(*command)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.output
    assert not home.exists()


@pytest.mark.parametrize("command", [("run",), ("import", "good.csv"), ("demo",)])
def test_a_home_in_use_is_left_alone(command: tuple[str, ...], used_home: Path, invoke: Invoke) -> None:
    before = listing(used_home)
    with held_here(used_home):
        assert_refused(invoke(*command), f"{used_home} is in use by another embedllm command")
    assert listing(used_home) == before


def test_import_says_what_it_brought_and_the_same_again_changes_nothing(
    used_home: Path, invoke: Invoke, tmp_path: Path
) -> None:
    before = listing(used_home)
    again = invoke("import", tmp_path / "good.csv")
    assert again.exit_code == 0
    assert "Nothing new in" in again.stdout
    assert "12 answers of 2 models to 6 questions in 1 benchmarks" in again.stdout
    assert "nothing has changed" in again.stdout
    assert "Next" not in again.stdout
    assert listing(used_home) == before


def test_import_warns_of_texts_that_lack_what_they_speak_of(
    used_home: Path, invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBEDLLM_HOME", str(tmp_path / "home"))
    header = "prompt_id,model_name,category,label,prompt\n"
    cut = "1,m,fruit,1,Which of the following is a fruit?\n2,m,fruit,1,Is an apple a fruit?\n"
    (tmp_path / "cut.csv").write_text(header + cut + "3,m,sums,1,What is 1 plus 1?\n")
    told = invoke("import", tmp_path / "cut.csv").stdout
    assert "Warning: 50% of the 2 questions of fruit ask to choose among options, or speak of a picture, that" in told
    whole = cut.replace(
        "Which of the following is a fruit?", '"Which of the following is a fruit?\nA. apple\nB. brick"'
    )
    (tmp_path / "whole.csv").write_text(header + whole)
    assert "Warning" not in invoke("import", tmp_path / "whole.csv").stdout


def test_import_refuses_the_names_that_the_registry_refuses(used_home: Path, invoke: Invoke, tmp_path: Path) -> None:
    before = listing(used_home)
    names = (("m", "all"), ("a...b", "law"), ("x" * 241, "law"), ("n ", "law"), ("Elm", "法律/<b>"), ("elm", "law"))
    rows = [f"{number},1,{model},{category},q{number}" for number, (model, category) in enumerate(names)]
    results = tmp_path / "names.csv"
    results.write_text("\n".join(["prompt_id,label,model_name,category,prompt", *rows, ""]), encoding="utf-8")
    said = invoke("import", results)
    assert_refused(said, "the benchmark name 'all' stands for all benchmarks together in the result tables")
    for part in (
        "in `covers` of an entry of the registry's benchmarks.yaml",
        "the model name 'a...b' holds '...'",
        "shorten it to 240 bytes (1 row, the first is row 3)",
        "the model name 'n ' is empty, a dot or has a space at an end",
        "the model names 'Elm' (1 row, the first is row 5) and 'elm' (1 row, the first is row 6) differ",
    ):
        assert part in " ".join(said.stderr.split())
    assert "法律" not in said.stderr
    assert listing(used_home) == before


def test_a_warehouse_of_another_version_is_told_from_a_damaged_one(published_home: Path, invoke: Invoke) -> None:
    database = published_home / "warehouse.duckdb"
    with duckdb.connect(database) as connection:
        connection.execute("UPDATE warehouse_info SET schema_digest = 'older'")
    older = invoke("check")
    assert older.exit_code == 1
    assert f"{database} was made by another version" in older.stdout
    database.write_bytes(database.read_bytes()[:5000])
    assert f"{database} is damaged" in invoke("check").stdout


@pytest.fixture
def published_home(used_home: Path) -> Path:
    from warehouse.database.publish import publish
    from warehouse.lake import Lake

    publish(Lake(used_home / "lake"), used_home / "warehouse.duckdb")
    return used_home


def test_sql_prints_tables_csv_and_json(published_home: Path, invoke: Invoke) -> None:
    query = "SELECT model, count(*) AS n, avg(correct::INT) AS share FROM responses GROUP BY model ORDER BY model"
    table = invoke("sql", query)
    assert table.exit_code == 0
    assert [part.strip() for part in table.stdout.splitlines()[3].strip("│").split("│")] == ["elm", "6", "0.5000"]
    rows = list(csv.DictReader(io.StringIO(invoke("sql", query, "--format", "csv").stdout)))
    assert rows == [{"model": "elm", "n": "6", "share": "0.5"}, {"model": "org/oak", "n": "6", "share": "0.5"}]
    assert json.loads(invoke("sql", query, "-f", "json").stdout) == [
        {"model": "elm", "n": 6, "share": 0.5},
        {"model": "org/oak", "n": 6, "share": 0.5},
    ]


def test_csv_keeps_whole_numbers_whole_and_lists_readable(published_home: Path, invoke: Invoke) -> None:
    rows = "SELECT * FROM (VALUES (9007199254740993, ['a', 'b'], 0.1::DOUBLE), (NULL, NULL, NULL)) t(n, list, share)"
    assert invoke("sql", rows, "-f", "csv").stdout == 'n,list,share\n9007199254740993,"[""a"", ""b""]",0.1\n,,\n'


def test_nothing_is_cut_where_there_is_no_terminal(published_home: Path) -> None:
    command = [Path(sys.executable).with_name("embedllm"), "sql", "SELECT repeat('x', 300) AS a, repeat('y', 300) AS b"]
    settings = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    done = subprocess.run(
        command, env={**settings, "EMBEDLLM_HOME": str(published_home)}, capture_output=True, text=True, check=True
    )
    assert "x" * 300 + " │ " + "y" * 300 in done.stdout


def test_several_statements_print_several_tables(published_home: Path, invoke: Invoke) -> None:
    shown = invoke("sql", "SELECT 1 AS first; SET threads = 1; SELECT 2 AS second;").stdout
    assert shown.index("first") < shown.index("second")
    assert "SELECT" not in shown
    assert_refused(invoke("sql", "SELECT 1; SELECT 2", "-f", "csv"), "csv holds the rows of one query, and these are 2")


def test_a_narrow_terminal_wraps_long_texts_and_cuts_no_name(
    published_home: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(out, "width", 30)
    query = (
        "SELECT 'owner/a-long-name-of-a-model' AS a, 'another/long-name' AS b, repeat('word ', 20) AS c, 12345678 AS d"
    )
    shown = invoke("sql", query).stdout
    assert "owner/a-long-name-of-a-model │ another/long-name │ word word word word  │ 12345678" in shown
    assert shown.count("word") == 20
    assert "…" not in shown


def test_tables_and_their_columns_are_told(published_home: Path, invoke: Invoke) -> None:
    rows = {row["name"]: row for row in json.loads(invoke("tables", "-f", "json").stdout)}
    assert rows["models"] == {
        "name": "models",
        "rows": 2,
        "meaning": "One row per language model: the registry's and those that came with imported results.",
    }
    assert rows["leaderboard"]["rows"] is None  # a view
    columns = list(csv.DictReader(io.StringIO(invoke("describe", "leaderboard", "-f", "csv").stdout)))
    assert columns[0] == {"column": "model", "type": "VARCHAR", "meaning": "Model."}
    assert_refused(invoke("describe", "leaderbord"), "has no table leaderbord; did you mean leaderboard?")
    assert_refused(invoke("describe", "xyz"), "`embedllm tables` lists them")


@pytest.mark.parametrize("statement", ["", ";", "/* nothing */"])
def test_a_statement_without_rows_is_said(statement: str, published_home: Path, invoke: Invoke) -> None:
    done = invoke("sql", statement)
    assert done.exit_code == 1
    assert "the statement has no rows to show" in done.stderr


def test_sql_prints_text_as_it_is(published_home: Path, invoke: Invoke) -> None:
    """What stands in brackets is no markup, a null is no text."""
    shown = invoke("sql", "SELECT '[red]x[/red] [/]' AS a, NULL AS b").stdout
    assert "[red]x[/red] [/]" in shown
    assert "NULL" in shown
    assert json.loads(invoke("sql", "SELECT 'ö' AS a, NULL AS b, [1, 2] AS c", "-f", "json").stdout) == [
        {"a": "ö", "b": None, "c": [1, 2]}
    ]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELEC 1", "syntax error"),
        ("SELECT * FROM respones", "respones"),
        ("DELETE FROM responses", "read-only"),
        ("DROP TABLE models", "read-only"),
    ],
)
def test_a_faulty_query_is_explained(query: str, said: str, published_home: Path, invoke: Invoke) -> None:
    before = listing(published_home)
    result = invoke("sql", query)
    assert result.exit_code == 1
    assert result.stderr.startswith("embedllm: the query failed")
    assert said in result.stderr
    assert "Traceback" not in result.output
    assert listing(published_home) == before


class Topics:
    """Tells a sum from a tree."""

    name = "topics@1"
    dimensions = 2

    def encode(self, texts: Sequence[str], *, progress: bool = True) -> np.ndarray:
        return np.array([["plus" in text, "tree" in text] for text in texts], np.float32).reshape(-1, 2)

    def count_long(self, texts: Sequence[str]) -> int:
        return 0


@pytest.fixture(scope="module")
def topics_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with an embedder: adder knows sums, gardener trees, novice nothing. Its registry has two prices."""
    folder = tmp_path_factory.mktemp("topics")
    rows = [
        {"prompt_id": number, "model_name": model, "category": topic, "label": int(model == expert)}
        | {"prompt": f"What is {number} plus 3?" if topic == "sums" else f"Which tree is number {number}?"}
        for number in range(80)
        for topic, expert in [[("sums", "adder"), ("trees", "gardener")][number % 2]]
        for model in ("adder", "gardener", "novice")
    ]
    pd.DataFrame(rows).to_csv(folder / "results.csv", index=False)
    models = [{"name": name, "args": {"pretrained": name}} for name in ("adder", "gardener", "novice")]
    models[0] |= {"price": {"input": 5.0, "output": 45.0}}  # a cent a question
    models[1] |= {"price": {"input": 0.0, "output": 0.0}}
    (folder / "models.yaml").write_text(yaml.safe_dump({"models": models}))
    (folder / "benchmarks.yaml").write_text(yaml.safe_dump({"benchmarks": [BENCHMARK]}))
    registry = load_registry(folder, folder / "home")
    workspace = Workspace(home=folder / "home", registry=registry)
    import_results(workspace.lake, str(folder / "results.csv"), benchmark_of=registry.benchmark_of)
    with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.ephemeral() as instance:
        patch.setattr("assets.matrix.reading._encoder", lambda *_: Topics())
        for asset in (build_correctness_matrix(registry), question_embeddings, embedder):
            dg.materialize([asset], resources={"workspace": workspace}, instance=instance)
    return folder / "home"


@pytest.fixture
def route(topics_home: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    monkeypatch.setenv("EMBEDLLM_HOME", str(topics_home))
    monkeypatch.setenv("EMBEDLLM_REGISTRY", str(topics_home.parent))
    monkeypatch.setattr("assets.matrix.reading._encoder", lambda *_: Topics())
    return lambda *arguments: invoke("route", *arguments)


def cells(result: Result) -> list[list[str]]:
    """The rows of a printed table, less its header."""
    assert result.exit_code == 0, result.output
    lines = [line for line in result.stdout.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


SUM, TREE = "What is 12 plus 7?", "Which tree is number 99?"


def test_route_shows_the_best_model_first_with_its_interval(route: Invoke) -> None:
    rows = cells(route(SUM))
    assert rows[0][0] == "adder"
    assert {row[0] for row in rows} == {"adder", "gardener", "novice"}
    for _, _, probability, interval, _ in rows:
        low, high = map(float, interval.split(" to "))
        assert 0 <= low <= float(probability) <= high <= 1
    assert float(rows[0][2]) > 0.5 > float(rows[1][2])
    assert cells(route(TREE, "--top", 1))[0][0] == "gardener"


def test_route_shows_and_explains_the_score_it_sorts_by(route: Invoke) -> None:
    scores = [float(row[1]) for row in cells(route(SUM))]
    assert scores == sorted(scores, reverse=True)
    explained = "Sorted by score: probability and the model's rate on such questions, averaged as log-odds"
    assert f"{explained}.\n" in route(SUM).stdout
    priced = ("--without", "novice", "--cost-weight", 100)
    assert f"{explained}, less 100 times its cost.\n" in route(SUM, *priced).stdout
    scores = [float(row[1]) for row in cells(route(SUM, *priced))]
    assert scores == sorted(scores, reverse=True)


def test_route_leaves_out_what_is_down_or_not_asked_for(route: Invoke) -> None:
    assert [row[0] for row in cells(route(SUM, "--without", "adder", "--without", "novice"))] == ["gardener"]
    assert {row[0] for row in cells(route(SUM, "--among", "adder", "--among", "novice"))} == {"adder", "novice"}
    assert_refused(route(SUM, "--without", "addr"), "unknown model 'addr'", "adder, gardener, novice")
    assert_refused(route(SUM, "--among", "adder", "--without", "adder"), "no models to choose from")


def test_route_weighs_costs_where_prices_are_known(route: Invoke) -> None:
    both = ("--without", "novice")
    assert cells(route(SUM, *both, "--cost-weight", 1))[0][0] == "adder"
    # A hundred points a cent: more than any difference in knowledge.
    assert cells(route(SUM, *both, "--cost-weight", 100))[0][0] == "gardener"
    assert_refused(route(SUM, "--cost-weight", 1), "the cost of 'novice' is not known", "price")


def test_route_shows_and_weighs_what_the_question_will_cost(
    route: Invoke, topics_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what answers took: novice is free, and adder costs more, the more words there are."""
    shutil.copytree(topics_home, tmp_path / "home")
    monkeypatch.setenv("EMBEDLLM_HOME", str(tmp_path / "home"))
    texts = np.array(["What is 1 plus" + " 1 plus" * (number % 9) + " 2?" for number in range(200)], object)
    words = [len(text.split()) for text in texts]
    costs = np.column_stack([np.array(words) * 0.001, np.full(200, 0.01), np.zeros(200)])
    splits = np.array(["train", "train", "val"] * 66 + ["test"] * 2, object)
    told = Questions(texts, np.zeros((200, 2), np.float32))
    fitted = CostPredictor.fit(costs, told, splits, ("adder", "gardener", "novice"))
    assert fitted is not None
    (folder,) = (tmp_path / "home" / "embedders").iterdir()
    save_question_costs(folder, {"cost": fitted})
    long = "What is 1 plus 1 plus 1 plus 1 plus 1 plus 1 plus 2?"
    shown = {row[0]: float(row[4]) for row in cells(route(long))}
    assert shown == {"adder": pytest.approx(0.014, rel=0.15), "gardener": 0.01, "novice": 0}
    (tmp_path / "questions.txt").write_text(f"What is 1 plus 2?\n{long}")
    rows = cells(route("--file", tmp_path / "questions.txt", "--without", "novice", "--cost-weight", 300))
    assert [row[1] for row in rows] == ["adder", "gardener"]
    assert [float(row[5]) for row in rows] == [pytest.approx(0.005, rel=0.15), 0.01]


def test_route_answers_a_file_of_questions_row_by_row(route: Invoke, tmp_path: Path) -> None:
    long = f"Which tree {'very ' * 30}old is number 7?"
    (tmp_path / "questions.txt").write_text(f"\ufeff{SUM}\r\n\n  {TREE}\n{long}", encoding="utf-8")
    rows = cells(route("--file", tmp_path / "questions.txt"))
    assert [row[:2] for row in rows] == [[SUM, "adder"], [TREE, "gardener"], [f"{long[:59]}…", "gardener"]]
    assert [len(row) for row in rows] == [7, 7, 7]
    alone = cells(route(TREE, "--top", 1))[0]
    assert rows[1][1:-1] == alone  # the last is how well the question is supported
    assert all(0 <= float(row[-1]) <= 1 for row in rows)
    (first, *_) = cells(route("--file", tmp_path / "questions.txt", "--top", 2))
    assert first[-1].startswith(cells(route(SUM))[1][0])


def test_route_writes_for_programs(route: Invoke, tmp_path: Path) -> None:
    """Whole texts, line breaks and all, each model and every digit."""
    asked = [f"{SUM}\nAnswer with a number.", "Which tree is " + "very " * 30 + "old?"]
    file = tmp_path / "questions.jsonl"
    file.write_text("".join(json.dumps({"id": n, "prompt": text}) + "\n" for n, text in enumerate(asked)))

    rows = list(csv.DictReader(io.StringIO(route("--file", file, "--format", "csv", "--top", 3).stdout)))
    assert [(row["question"], row["rank"]) for row in rows] == [(text, str(n)) for text in asked for n in (1, 2, 3)]
    assert [row["model"] for row in rows if row["rank"] == "1"] == ["adder", "gardener"]

    told = json.loads(route("--file", file, "--format", "json").stdout)
    assert told["cost_unit"] == "US$"
    for row, question in zip(rows[::3], told["questions"], strict=True):
        assert (row["question"], row["support"]) == (question["question"], str(question["support"]))
        (best,) = question["models"]
        assert {name: row[name] for name in best} == {name: str(value) for name, value in best.items()}
        assert set(best) == {"model", "probability", "score", "low", "high", "cost"}


def test_route_cuts_no_name_on_a_narrow_terminal(
    route: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(out, "width", 40)
    (tmp_path / "q.txt").write_text(f"{SUM}\n{TREE}\n")
    for arguments in ((SUM,), ("--file", tmp_path / "q.txt")):
        printed = route(*arguments).stdout
        assert "gardener" in printed
        assert "…" not in printed


def test_route_reads_questions_of_tables(route: Invoke, tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [1, 2], "ask": [SUM, TREE]}), tmp_path / "q.parquet")
    (tmp_path / "q.jsonl").write_text(f'"{SUM}"\n\n{{"question": "{TREE}"}}\n')
    for file, column in (("q.parquet", ("--column", "ask")), ("q.jsonl", ())):
        assert [row[:2] for row in cells(route("--file", tmp_path / file, *column))] == [
            [SUM, "adder"],
            [TREE, "gardener"],
        ]
    assert_refused(
        route("--file", tmp_path / "q.parquet"), "has no column question, prompt or text, only id, ask; name one"
    )
    (tmp_path / "bad.jsonl").write_text('{"question": "a"}\n{"question": null}\n')
    assert_refused(
        route("--file", tmp_path / "bad.jsonl"), "bad.jsonl, line 2: the question is None, but must be text."
    )
    (tmp_path / "cut.jsonl").write_text('{"question": "a')
    assert_refused(route("--file", tmp_path / "cut.jsonl"), "cut.jsonl, line 1: no JSON (")
    gone = route("--file", tmp_path / "none.txt")
    assert gone.exit_code == 2
    assert "none.txt cannot be read (No such file or directory)" in gone.stderr


def test_route_takes_a_benchmark_that_is_known(route: Invoke) -> None:
    known = route(SUM, "--benchmark", "poetry")
    assert_refused(known, "unknown benchmark or category 'poetry': the embedder knows ")
    name = known.stderr.split("the embedder knows ")[1].split(",")[0].split(";")[0].strip()
    assert cells(route(SUM, "--benchmark", name))


def test_route_says_how_well_a_question_is_supported(route: Invoke) -> None:
    assert re.search(r"support [01]\.\d\d: how like the questions asked so far", route(SUM).stdout)


def test_route_reads_standard_input(route: Invoke) -> None:
    many = "".join(f"What is {number} plus 1?\n" for number in range(150))
    result = CliRunner().invoke(app, ["route", "--file", "-"], input=many)
    assert [row[:2] for row in cells(result)] == [[line, "adder"] for line in many.splitlines()]
    assert_refused(CliRunner().invoke(app, ["route", "--file", "-"], input=" \n"), "standard input is empty")
    assert_refused(CliRunner().invoke(app, ["route", "--file", "-"], input=b"\xff\xfe"), "standard input is not UTF-8")
    assert_refused(route("  "), "the question is empty")
    assert_refused(route("\udcff\udcfe"), "the question is not UTF-8")  # how Python hands over other bytes


@pytest.mark.parametrize(
    ("typed", "on_path", "told"),
    [
        (".venv/bin/embedllm", "/x/.venv/bin/embedllm", ".venv/bin/embedllm"),
        ("/x/.venv/bin/embedllm", "/x/.venv/bin/embedllm", "embedllm"),
        ("../bin/embedllm", None, "../bin/embedllm"),
        ("-c", None, "embedllm"),
    ],
)
def test_what_to_do_next_is_called_as_the_user_called_this(
    typed: str, on_path: str | None, told: str, invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", [typed])
    monkeypatch.setattr("shutil.which", lambda _: on_path)
    GOOD.to_csv(tmp_path / "good.csv", index=False)
    assert f"`{told} run`" in invoke("import", tmp_path / "good.csv").stdout
    assert_refused(invoke("sql", "SELECT 1"), f"`{told} run`", f"`{told} demo`")


def test_every_command_has_help(invoke: Invoke) -> None:
    for command in ("demo", "import", "run", "models", "benchmarks", "onboard", "route", "sql", "report", "ui"):
        result = invoke(command, "--help")
        assert result.exit_code == 0
        assert "Usage" in result.stdout


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"EMBEDLLM_SEED": "abc"}, "EMBEDLLM_SEED is 'abc'"),
        ({"EMBEDLLM_REGISTRY": "/nowhere"}, "/nowhere does not exist"),
    ],
)
def test_in_a_process_of_its_own_the_same_holds(embedllm: Any, setting: dict[str, str], said: str) -> None:
    """Settings are also read where Dagster loads the definitions, which must not be at import."""
    done = embedllm.with_settings(**setting)("run")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("embedllm: ")
    assert len(done.stderr.strip().splitlines()) == 1
    assert said in done.stderr
    assert not embedllm.home.exists()
