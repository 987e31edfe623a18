"""Commands as users call them: what they print, and what they answer to wrong inputs."""

import csv
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.instance import exclusive

GOOD = pd.DataFrame(
    [
        {"prompt_id": question, "model_name": model, "category": "trees", "label": int(question % 2 == side)}
        | {"prompt": f"Which tree is number {question}?"}
        for question in range(6)
        for side, model in enumerate(("org__oak", "elm"))
    ]
)
SPLIT = pd.DataFrame({"prompt_id": range(6), "split": ["train", "train", "train", "train", "val", "test"]})
BOOKKEEPING = (".lock", ".publish.lock", "dagster")

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
    """Exit code 1, and on stderr one line that says all of `said`; no traceback anywhere."""
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    assert len(lines) == 1, lines
    assert lines[0].startswith("embedllm: ")
    for words in said:
        assert words in lines[0]


def changed(**values: object) -> pd.DataFrame:
    """GOOD with other values in row 3."""
    table = GOOD.astype(object)
    for column, value in values.items():
        table.loc[2, column] = value
    return table


IMPORTS = {
    "column": (GOOD.drop(columns="label"), "label"),
    "label of 2": (changed(label=2), "the label is neither 0 nor 1 in 1 rows (row 3: '2')"),
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
    "results.xlsx": (b"PK", "it must be a .csv or .parquet file"),
}


@pytest.mark.parametrize("name", FILES)
def test_unreadable_files_are_refused(name: str, used_home: Path, invoke: Invoke, tmp_path: Path) -> None:
    content, said = FILES[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    before = listing(used_home)
    assert_refused(invoke("import", tmp_path / name), f"{name} was not imported", said)
    assert listing(used_home) == before


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


def test_an_unknown_task_is_found_before_any_model_is_looked_for(
    used_home: Path,
    invoke: Invoke,
    write_registry: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry = write_registry(tmp_path / "registry", models=["tiny/gone"], tasks=["micro_frut"])
    monkeypatch.setenv("EMBEDLLM_REGISTRY", str(registry))
    before = listing(used_home)
    for command in (("run",), ("benchmarks", "check")):
        assert_refused(invoke(*command), "no task 'micro_frut'", "did you mean micro_fruit")
    assert listing(used_home) == before


def test_a_metric_the_task_does_not_have_is_found_too(
    used_home: Path,
    invoke: Invoke,
    write_registry: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry = write_registry(tmp_path / "registry", metric="exact_match")
    monkeypatch.setenv("EMBEDLLM_REGISTRY", str(registry))
    before = listing(used_home)
    assert_refused(invoke("run"), "benchmark 'fruit'", "metric", "'exact_match'")
    assert listing(used_home) == before


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("EMBEDLLM_SEED", "abc", "valid integer"),
        ("EMBEDLLM_SEED", "-1", "greater than or equal to 0"),
        ("EMBEDLLM_EVALUATION_WORKERS", "0", "greater than or equal to 1"),
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


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_home_that_cannot_be_written_to(invoke: Invoke, home: Path) -> None:
    home.mkdir(mode=0o500)
    assert_refused(invoke("run"), "Permission denied", str(home))


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("sql", "SELECT 1"), "run `embedllm run`"),
        (("route", "What is 12 plus 7?"), "There is no embedder yet"),
        (("report",), "There is no report yet"),
        (("onboard", "org/oak"), "a later version"),
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
        (("route",), "question"),
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
    with exclusive(used_home):
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
    assert listing(used_home) == before


@pytest.fixture
def published_home(used_home: Path) -> Path:
    from warehouse.lake import Lake
    from warehouse.publish import publish

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
