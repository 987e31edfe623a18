"""A question costs what its tokens do, or else what the model that is asked is big."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from assets.correctness_matrix import build_correctness_matrix
from assets.costs import Costs, model_costs, parameters
from assets.workspace import Workspace
from harness.entries import ModelEntry, Price, Registry
from warehouse.ingest import import_results

Priced = Callable[..., Costs]
HALF = Price(input=0.5, output=1.5)  # 200 tokens in at 0.5, 200 out at 1.5 US$ a million


@pytest.fixture
def costs(workspace: Workspace, answer: Callable[..., None], materialize: Callable[..., dict[str, Any]]) -> Priced:
    def of(**models: dict[str, Any]) -> Costs:
        """Of a warehouse with models of these prices and sizes."""
        entries = tuple(ModelEntry(name=name, args={"pretrained": name}, **what) for name, what in models.items())
        registry = Registry(workspace.registry.folder, entries, workspace.registry.benchmarks)
        object.__setattr__(workspace, "registry", registry)
        answer("sums", entries[0].name, "01")
        materialize(build_correctness_matrix(registry))
        return model_costs(workspace)

    return of


def test_a_typical_question_at_the_registrys_prices(costs: Priced) -> None:
    assert costs(elm={"price": HALF}, oak={}) == Costs("US$", {"elm": pytest.approx(0.0004)})


def test_sizes_where_fewer_models_have_a_price(costs: Priced) -> None:
    found = costs(elm={"price": HALF, "size_b": 7.0}, oak={"size_b": 70.0}, ash={})
    assert found == Costs("billions of parameters", {"elm": 7.0, "oak": 70.0})


def test_prices_where_as_many_models_have_one(costs: Priced) -> None:
    found = costs(elm={"price": HALF, "size_b": 7.0}, oak={"price": Price(input=0.0, output=0.0), "size_b": 70.0})
    assert found == Costs("US$", {"elm": pytest.approx(0.0004), "oak": 0.0})


def test_nothing_is_known(costs: Priced) -> None:
    assert costs(elm={}).by_model == {}


def test_imported_models_have_the_sizes_of_their_labels(
    workspace: Workspace, tmp_path: Path, materialize: Callable[..., dict[str, Any]]
) -> None:
    (tmp_path / "results.csv").write_text(
        "prompt_id,model_name,category,label,prompt\n"
        "1,org__small,sums,1,What is 1 plus 1?\n1,big,sums,0,What is 1 plus 1?\n"
    )
    (tmp_path / "labels.csv").write_text("model_name,size_b\norg__small,1.5\n")
    import_results(workspace.lake, str(tmp_path / "results.csv"), benchmark_of=str, models=tmp_path / "labels.csv")
    materialize(build_correctness_matrix(workspace.registry))
    assert model_costs(workspace) == Costs("billions of parameters", {"org/small": 1.5})


@pytest.mark.parametrize(
    ("size_b", "told"),
    [
        (0.000079296, "79.3K"),
        (0.0000005, "500"),
        (0.135, "135M"),
        (0.9999, "1B"),
        (7, "7B"),
        (46.7, "46.7B"),
        (405, "405B"),
        (1760, "1.76T"),
    ],
)
def test_parameters_are_told_in_three_digits(size_b: float, told: str) -> None:
    assert parameters(size_b) == told
