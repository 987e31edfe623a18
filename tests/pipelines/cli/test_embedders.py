"""`embedllm embedders` on a home with two versions, fitted on literal answers."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from zlib import crc32

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from click.testing import Result
from typer.testing import CliRunner

from assets.embedding.embedder import embedder
from assets.embedding.question_embeddings import question_embeddings
from assets.embedding.serving import serving_version
from assets.inputs.versions import serve, versions
from assets.inputs.workspace import Workspace
from pipelines.cli.app import app
from pipelines.instance import held_here
from pipelines.settings import Settings, open_workspace
from warehouse.database.read import query
from warehouse.imports.ingest import import_results

Invoke = Callable[..., Result]
SHARES = {"ash": 0.2, "elm": 0.5, "fir": 0.4, "oak": 0.8, "yew": 0.6}


class HashEncoder:
    """Vectors from a text's checksum; needs no weights."""

    name, dimensions = "hash@1", 4

    def encode(self, texts: Sequence[str], progress: bool = True) -> np.ndarray:
        return np.array([np.random.default_rng(crc32(t.encode())).standard_normal(4) for t in texts], np.float32)

    def count_long(self, texts: Sequence[str]) -> int:
        return 0


def add(workspace: Workspace, file: Path, models: Sequence[str]) -> str:
    """Imports their answers and makes the version that follows from all there are."""
    rows = [
        {
            "prompt_id": q,
            "model_name": m,
            "category": "trees",
            "label": int(crc32(f"{m}{q}".encode()) % 100 < 100 * SHARES[m]),
        }
        | {"prompt": f"Which tree is number {q}?"}
        for q in range(150)
        for m in models
    ]
    pd.DataFrame(rows).to_csv(file, index=False)
    import_results(workspace.lake, str(file), benchmark_of=workspace.registry.benchmark_of)
    with dg.DagsterInstance.ephemeral() as instance:
        assets = [question_embeddings, embedder]
        done = dg.materialize(
            [dg.AssetSpec("correctness_matrix"), *assets],
            selection=assets,
            resources={"workspace": workspace},
            instance=instance,
        )
    return str(done.asset_materializations_for_node("embedder")[0].metadata["version"].value)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("assets.matrix.reading._encoder", lambda *_: HashEncoder())
    monkeypatch.setenv("EMBEDLLM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "250")
    return tmp_path / "home"


@pytest.fixture
def workspace(home: Path) -> Workspace:
    return open_workspace(Settings())


@pytest.fixture
def invoke(home: Path) -> Invoke:
    return lambda *arguments: CliRunner().invoke(app, ["embedders", *arguments])


@pytest.fixture
def two(home: Path, workspace: Workspace, made_once: Callable[..., Path]) -> tuple[str, str]:
    """The second has a model more."""

    def make(folder: Path) -> None:
        there = open_workspace(Settings(home=folder / "home"))
        for number, models in enumerate((("ash", "elm", "oak"), ("yew",))):
            add(there, folder / f"{number}.csv", models)

    shutil.copytree(made_once("home with two embedders", make) / "home", home)
    first, second = versions(workspace.lake)["embedder"].to_pylist()
    return first, second


def cells(output: str, name: str) -> list[str]:
    """Of the one line of a table that begins with this name."""
    (line,) = [line for line in output.splitlines() if line.startswith(f"│ {name}")]
    return [cell.strip() for cell in line.strip("│").split("│")]


def assert_refused(result: Result, *said: str) -> None:
    """Exit code 1, and one line on stderr that says all of `said`."""
    (line,) = [line for line in result.stderr.splitlines() if line.strip()]
    assert result.exit_code == 1
    assert line.startswith("embedllm: ")
    for words in said:
        assert words in line


def test_list(two: tuple[str, str], invoke: Invoke) -> None:
    printed = invoke("list").output
    first, second = (cells(printed, version) for version in two)
    assert (first[1], second[1]) == ("False", "True")
    assert (first[2], second[2]) == ("3", "4")
    assert first[-3:] == ["NULL", "NULL", "False"]
    assert all(0 <= float(figure) < 1 for figure in second[-3:-1])


def test_diff_with_the_one_that_serves(two: tuple[str, str], invoke: Invoke) -> None:
    result = invoke("diff", two[0])
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert "Models added: yew" in lines
    assert "Models removed: none" in lines
    recorded = cells(invoke("list").output, two[1])
    (distance,) = [line for line in lines if line.startswith("Mean distance")]
    assert float(distance.rpartition(" ")[2]) == pytest.approx(float(recorded[-3]), abs=2e-4)
    (changed,) = [line for line in lines if line.startswith("Test forecasts")]
    assert float(changed.rpartition(" ")[2].strip("%")) == pytest.approx(100 * float(recorded[-2]), abs=0.01)
    moved = [float(cells(result.output, model)[1]) for model in ("ash", "elm", "oak")]
    assert np.mean(moved) == pytest.approx(float(recorded[-3]), abs=2e-4)


def test_diff_names_both_and_what_was_removed(two: tuple[str, str], invoke: Invoke) -> None:
    result = invoke("diff", two[1], two[0], "--top", "1")
    assert "Models removed: yew" in result.output
    assert sum(model in result.output for model in ("│ ash", "│ elm", "│ oak")) == 1


def test_diff_of_versions_on_other_encoders(
    two: tuple[str, str], workspace: Workspace, invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HashEncoder, "name", "hash@2")
    third = add(workspace, tmp_path / "three.csv", ("ash", "elm", "oak"))
    result = invoke("diff", two[1], third)
    assert result.exit_code == 0
    assert "cannot be compared: they are of other methods or encoders" in result.output


def test_roll_back_and_forth(two: tuple[str, str], workspace: Workspace, invoke: Invoke) -> None:
    first, second = two
    result = invoke("rollback")
    assert result.exit_code == 0, result.output
    assert f"{first} serves now instead of {second}" in result.output
    assert serving_version(workspace) == first
    assert query(workspace.database, "FROM serving").to_pylist() == [{"embedder": first}]
    assert invoke("rollback", second).exit_code == 0
    assert query(workspace.database, "FROM serving").to_pylist() == [{"embedder": second}]
    assert "serves already" in invoke("rollback", second).output


@pytest.fixture
def held_back(two: tuple[str, str], workspace: Workspace) -> tuple[str, str]:
    """As if the second had been found worse."""
    rows = versions(workspace.lake).to_pylist()
    found = {"serving": False, "held_back": True, "verdict": "the log-loss is greater"}
    rows = [row | found if row["embedder"] == two[1] else row for row in rows]
    workspace.lake.write_table("embedders", pa.Table.from_pylist(rows, schema=versions(workspace.lake).schema))
    serve(workspace.lake, two[0])
    return two


def test_what_was_held_back_and_why(held_back: tuple[str, str], invoke: Invoke) -> None:
    printed = invoke("list").output
    assert [cells(printed, version)[-1] for version in held_back] == ["False", "True"]
    assert f"{held_back[1]}: the log-loss is greater." in printed


def test_let_it_serve_all_the_same(held_back: tuple[str, str], workspace: Workspace, invoke: Invoke) -> None:
    result = invoke("serve", held_back[1])
    assert result.exit_code == 0, result.output
    assert f"{held_back[1]} serves now instead of {held_back[0]}" in result.output
    assert serving_version(workspace) == held_back[1]
    assert query(workspace.database, "FROM serving").to_pylist() == [{"embedder": held_back[1]}]


def test_no_rollback_to_what_was_held_back(
    held_back: tuple[str, str], workspace: Workspace, invoke: Invoke, tmp_path: Path
) -> None:
    add(workspace, tmp_path / "three.csv", ("ash", "elm", "oak", "yew", "fir"))
    assert f"{held_back[0]} serves now" in invoke("rollback").output


def test_a_name_may_be_cut_short(two: tuple[str, str], workspace: Workspace, invoke: Invoke) -> None:
    assert_refused(invoke("serve", ""), "2 versions have a name that begins with ''", *two)
    assert_refused(invoke("rollback", "spectral-"), "2 versions have a name that begins with 'spectral-'", *two)
    short = next(two[0][:end] for end in range(10, 22) if not two[1].startswith(two[0][:end]))
    assert invoke("rollback", short).exit_code == 0
    assert serving_version(workspace) == two[0]


def test_there_is_nothing_before_the_first(two: tuple[str, str], invoke: Invoke) -> None:
    invoke("rollback")
    assert_refused(invoke("rollback"), f"there is no version before {two[0]}, which serves", two[1])


def test_unknown_version(two: tuple[str, str], invoke: Invoke) -> None:
    for arguments in (["rollback", "mf-1"], ["serve", "mf-1"], ["diff", "mf-1"]):
        assert_refused(invoke(*arguments), "there is no version 'mf-1'; there are", *two)


@pytest.mark.parametrize(("broken", "said"), [("gone", "no such file"), ("cut short", "not a safetensors file")])
def test_what_cannot_be_loaded_does_not_serve(
    two: tuple[str, str], workspace: Workspace, invoke: Invoke, broken: str, said: str
) -> None:
    tensors = next((workspace.embedders / two[0]).glob("*.safetensors"))
    tensors.unlink() if broken == "gone" else tensors.write_bytes(tensors.read_bytes()[:999])
    assert_refused(invoke("rollback"), f"{two[1]} goes on serving", two[0], said)
    assert serving_version(workspace) == two[1]


def test_what_is_of_another_encoder_does_not_serve(
    two: tuple[str, str], workspace: Workspace, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HashEncoder, "name", "hash@2")
    assert_refused(invoke("rollback"), f"{two[1]} goes on serving", "hash@1, but hash@2 is in use")
    assert serving_version(workspace) == two[1]


def test_no_rollback_while_another_command_is_at_work(
    two: tuple[str, str], workspace: Workspace, invoke: Invoke
) -> None:
    with held_here(workspace.home):
        assert_refused(invoke("rollback"), "is in use by another embedllm command")
    assert serving_version(workspace) == two[1]


@pytest.mark.parametrize("arguments", [["list"], ["diff", "x"], ["rollback"], ["serve", "x"]])
def test_before_there_is_one(arguments: list[str], invoke: Invoke) -> None:
    assert_refused(invoke(*arguments), "There is no embedder yet", "embedllm run")
