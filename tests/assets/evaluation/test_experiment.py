"""An experiment is a function that is called with what it works on; its asset keeps what it returns, and checks it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from assets.embedding.embedder import embedder
from assets.embedding.serving import PlacedModel, Serving
from assets.evaluation.communities import tabulate_communities
from assets.evaluation.experiment import Result, experiment
from assets.evaluation.experiment_checks import PROMISES, find_faults
from assets.evaluation.experiments import EXPERIMENTS
from assets.evaluation.portfolios import portfolios
from assets.evaluation.routing import compare_routers, routing
from assets.figures.sections import Section, read_sections
from assets.inputs.workspace import Workspace
from assets.matrix.costs import Costs
from assets.matrix.reading import ModelLabels
from assets.report.warehouse import warehouse
from embedder.matrix import CorrectnessMatrix
from embedder.predictor import Predictor, Sample
from embedder.questions import Questions
from pipelines.graph import build_resources
from warehouse.lake import Lake


@dataclass(eq=False)
class Told(Predictor):
    """Has the probabilities (n, M) for the vectors of the questions, and the embeddings (M, d) that it is given."""

    method: ClassVar[str] = "told"
    embeddings: np.ndarray = field(default_factory=lambda: np.zeros((2, 1), np.float32))

    def _fit(self, train: Sample, val: Sample, seed: int) -> None: ...
    def _probabilities(self, questions: Questions) -> np.ndarray:
        return questions.vectors

    def _learnt(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        return {}, {}

    def _restore(self, arrays: dict[str, np.ndarray], rest: dict[str, Any]) -> None: ...

    @property
    def model_embeddings(self) -> np.ndarray:
        return self.embeddings


@pytest.fixture
def serving() -> Serving:
    """Elm is right about sums, oak about trees, and so it is told."""
    benchmarks = np.array(["sums", "sums", "sums", "trees", "trees"], object)
    labels = np.array([[1, 0], [1, 0], [1, 0], [0, 1], [0, 1]], np.float32)
    names = np.array([f"q{number}" for number in range(5)], object)
    splits = np.array(["train", "train", "test", "train", "test"], object)
    matrix = CorrectnessMatrix(labels, ("elm", "oak"), names, benchmarks, benchmarks, splits, names)
    questions = Questions(names, np.where(labels == 1, 0.9, 0.2).astype(np.float32), benchmarks)
    return Serving("v1", Told().fit(matrix, questions), matrix, questions)


def test_routing_of_literals(serving: Serving) -> None:
    found = compare_routers(serving, Costs("US$", {"elm": 1.0, "oak": 3.0}), None, seed=0)
    rows = found.tables["routing"].filter(pc.field("benchmark") == "all").to_pylist()
    assert {row["method"]: (row["accuracy"], row["mean_cost"]) for row in rows} == {
        "router": (1.0, 2.0),
        "oracle": (1.0, 2.0),
        "best_per_benchmark": (1.0, 2.0),
        "best_single": (0.5, 1.0),
        "random": (0.5, 2.0),
        "weighted_random": (0.5, 2.0),
    }
    chosen = found.tables["routes"].filter(pc.field("method") == "router").to_pylist()
    assert [(row["question_id"], row["model"]) for row in chosen] == [("q2", "elm"), ("q4", "oak")]
    assert found.figures["accuracy_router"] == 1.0
    assert "gives 100.0% right answers; asking the best model of each benchmark" in found.section.says


def test_communities_of_literals(serving: Serving) -> None:
    names, places = ("ash", "elm", "fir", "yew"), np.array([[0], [1], [10], [11]], np.float32)
    predictor = Told(embeddings=places)
    predictor.models = names
    labels = [
        ModelLabels(name, "leafy" if name in ("ash", "elm") else "evergreen", None, [], None, None) for name in names
    ]
    placed = [PlacedModel(name, place, 0.5) for name, place in zip(names, places, strict=True)]
    found = tabulate_communities(replace(serving, embedder=predictor), labels, placed, seed=0)
    rows = {row["label"]: row for row in found.tables["communities"].to_pylist()}
    assert {label: (row["models"], row["inside"], row["outside"]) for label, row in rows.items()} == {
        "evergreen": (2, 1.0, 10.0),
        "leafy": (2, 1.0, 10.0),
    }
    assert found.figures["tested"] == 2
    assert found.section.pictures[0].svg.count('class="mark"') == 4


def test_the_table_is_loaded_as_dagster_loads_assets(
    answered: Workspace, materialize: Callable[..., dict[str, Any]]
) -> None:
    told = materialize(embedder)
    made = materialize(routing)
    definitions = dg.Definitions(assets=[routing], resources=build_resources(answered))
    with dg.DagsterInstance.ephemeral() as instance:
        table = definitions.load_asset_value("routing", instance=instance, python_type=pa.Table)
    assert table.num_rows == made["dagster/row_count"] > 0
    assert set(table["embedder"].to_pylist()) == {told["version"]}


def test_before_it_was_made_there_is_nothing_to_load(workspace: Workspace) -> None:
    definitions = dg.Definitions(assets=[routing], resources=build_resources(workspace))
    with dg.DagsterInstance.ephemeral() as instance, pytest.raises(LookupError, match="routing has no rows yet"):
        definitions.load_asset_value("routing", instance=instance)


def test_columns_say_what_they_mean(answered: Workspace, materialize: Callable[..., dict[str, Any]]) -> None:
    materialize(embedder)
    columns = {column.name: column for column in materialize(routing)["dagster/column_schema"].columns}
    table = answered.lake.read_table("routing")
    assert table is not None
    assert set(columns) == set(table.column_names)
    assert columns["accuracy"].type == "double"
    assert all(column.description for column in columns.values())


def test_only_the_warehouse_publishes(answered: Workspace) -> None:
    answered.database.unlink()
    with dg.DagsterInstance.ephemeral() as instance:
        resources = build_resources(answered)
        assert dg.materialize([embedder, routing, portfolios], resources=resources, instance=instance).success
        assert not answered.database.exists()
        assert dg.materialize([warehouse], resources=resources, instance=instance).success
    assert answered.database.exists()


def test_what_was_not_written_was_not_made(
    answered: Workspace, materialize: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its record in the lake comes last."""
    from assets.inputs.provenance import read_provenance

    materialize(embedder)
    write = Lake.write_table

    def fail_late(lake: Lake, name: str, *rest: Any) -> None:
        if name == "sections":
            raise OSError("disk full")
        write(lake, name, *rest)

    monkeypatch.setattr(Lake, "write_table", fail_late)
    with dg.DagsterInstance.ephemeral() as instance:
        made = dg.materialize([routing], resources=build_resources(answered), instance=instance, raise_on_error=False)
    assert not made.success
    assert "routing" not in read_provenance(answered)


def test_unsound_results_are_told(answered: Workspace, materialize: Callable[..., dict[str, Any]]) -> None:
    materialize(embedder)

    def boast(serving: Serving) -> Result:
        """Everything is right, and more."""
        row = {"embedder": serving.version, "method": "greedy", "accuracy": 1.2, "ci_low": 1.0, "ci_high": 1.3}
        table = pa.Table.from_pylist([row | {"reason": None}])
        return Result({"portfolios": table}, Section("t", "s"))

    boasted = experiment(boast, name="portfolios", kinds={"python"}, code_version="1")
    with dg.DagsterInstance.ephemeral() as instance:
        made = dg.materialize([boasted], resources=build_resources(answered), instance=instance)
    (check,) = made.get_asset_check_evaluations()
    assert not check.passed
    assert check.description == (
        "portfolios.accuracy is not between 0 and 1 in 1 rows, but 1.2 in the first; "
        "portfolios.ci_high is not between 0 and 1 in 1 rows, but 1.3 in the first; "
        "portfolios has no rows of best_mean, random"
    )
    assert read_sections(answered.lake)["portfolios"].says == "s"  # a check that fails stops nothing


SOUND = pa.table({"kind": ["family"], "p_value": [0.5], "outside": [1.0], "chance_low": [0.9], "chance_high": [1.1]})


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({}, []),
        ({"p_value": [np.nan]}, ["communities.p_value is not between 0 and 1 in 1 rows, but nan in the first"]),
        ({"chance_low": pa.array([None], pa.float64())}, ["communities.chance_low is missing in 1 rows"]),
    ],
)
def test_faults(changed: dict[str, Any], fault: list[str]) -> None:
    table = SOUND.append_column("reason", pa.array([None], pa.string()))
    for name, values in changed.items():
        table = table.set_column(table.column_names.index(name), name, pa.array(values))
    assert find_faults("communities", {"communities": table}) == fault


def test_no_rows_need_a_reason() -> None:
    refused = SOUND.append_column("reason", pa.array(["too few models"]))
    assert find_faults("communities", {"communities": refused}) == []
    nothing = ["communities has no result and no reason why not"]
    assert find_faults("communities", {"communities": refused.slice(1)}) == nothing


def test_every_experiment_promises_something() -> None:
    assert PROMISES.keys() == {asset.key.to_user_string() for asset in EXPERIMENTS}
    assert all(promise.methods or promise.filled for promise in PROMISES.values())
