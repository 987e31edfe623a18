"""A question costs what its tokens do, or else what the model that is asked is big."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assets.embedding.embedder import embedder
from assets.embedding.question_embeddings import question_embeddings
from assets.embedding.serving import load_serving
from assets.figures.style import parameters
from assets.inputs.workspace import Workspace
from assets.matrix.correctness_matrix import build_correctness_matrix
from assets.matrix.costs import Costs, model_costs
from embedder.questions import Questions
from harness.registry import ModelEntry, Price, Registry
from warehouse.imports.ingest import import_results

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


def imported(folder: Path, **usage: Callable[[int, str], object]) -> Path:
    """100 questions of sums (even numbers) and trees (odd) by two models; further columns by number and model."""
    rows = ["prompt_id,model_name,category,label,prompt" + "".join(f",{name}" for name in usage)]
    for number in range(100):
        for model in ("elm", "oak"):
            topic = ("sums", "trees")[number % 2]
            more = "".join(f",{value(number, model)}" for value in usage.values())
            rows.append(f"{number},{model},{topic},{number % 3 // 2},{topic}: what is number {number}?{more}")
    path = folder / "results.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def predicted(workspace: Workspace, materialize: Callable[..., dict[str, Any]]) -> Costs:
    materialize(build_correctness_matrix(workspace.registry), question_embeddings, embedder)
    return model_costs(workspace, load_serving(workspace).question_costs)


def asked(*benchmarks: str) -> Questions:
    texts = np.array([f"{benchmark}: what is number 7?" for benchmark in benchmarks], object)
    return Questions(texts, np.zeros((len(texts), 4), np.float32), np.array(benchmarks, object))


def test_dollars_that_answers_took_are_predicted_by_category(
    workspace: Workspace, tmp_path: Path, encoder: Any, materialize: Callable[..., dict[str, Any]]
) -> None:
    """Oak's are not known, nor is a price of it."""
    dollars = {
        "cost": lambda number, model: (0.03 if number % 2 else 0.01) if model == "elm" else "",
        "tokens_in": lambda number, model: 7,
    }
    import_results(workspace.lake, str(imported(tmp_path, **dollars)), benchmark_of=str)
    costs = predicted(workspace, materialize)
    assert costs == Costs("US$", {"elm": pytest.approx(0.02, rel=0.1)})
    assert costs.predicted_by == "category"
    found = costs.predict(asked("sums", "trees", "unheard of"), ("oak", "elm"))
    assert found[:2, 1] == pytest.approx([0.01, 0.03])
    assert 0.01 <= found[2, 1] <= 0.03
    assert np.isnan(found[:, 0]).all()


def test_tokens_cost_what_the_registry_says_and_another_price_holds_at_once(
    workspace: Workspace, tmp_path: Path, encoder: Any, materialize: Callable[..., dict[str, Any]]
) -> None:
    """Elm's tokens are known but for its price out, oak has a price and no tokens."""
    tokens = {
        "prompt_tokens": lambda number, model: 1000 if model == "elm" else "",
        "completion_tokens": lambda number, model: (number % 2) * 100 if model == "elm" else "",
    }
    import_results(workspace.lake, str(imported(tmp_path, **tokens)), benchmark_of=str)
    for price, expected in ((Price(input=1.0, output=20.0), [0.001, 0.003]), (HALF, [0.0005, 0.00065])):
        entries = [ModelEntry(name=name, args={"pretrained": name}, price=price) for name in ("elm", "oak")]
        registry = Registry(workspace.registry.folder, tuple(entries), ())
        object.__setattr__(workspace, "registry", registry)
        costs = predicted(workspace, materialize)
        found = costs.predict(asked("sums", "trees"), ("elm", "oak"))
        assert found[:, 0] == pytest.approx(expected)
        typical = 200 * (price.input + price.output) / 1e6
        assert found[:, 1] == pytest.approx([typical, typical])
        assert costs.predicted_by == "mean (tokens_in), category (tokens_out)"


def test_costs_that_become_known_later_count_without_a_new_version(
    workspace: Workspace, tmp_path: Path, encoder: Any, materialize: Callable[..., dict[str, Any]]
) -> None:
    import_results(workspace.lake, str(imported(tmp_path)), benchmark_of=str)
    assert predicted(workspace, materialize) == Costs("US$", {})
    version = load_serving(workspace).version
    import_results(workspace.lake, str(imported(tmp_path, cost=lambda number, model: 0.5)), benchmark_of=str)
    assert predicted(workspace, materialize) == Costs("US$", {"elm": 0.5, "oak": 0.5})
    assert load_serving(workspace).version == version
