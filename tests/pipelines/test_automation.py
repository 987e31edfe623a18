"""What runs by itself, event by event: what is requested, once, and what is not."""

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.automation.answers import Unanswered, Why
from pipelines.automation.plan import REASON
from pipelines.automation.sensors import build_sensors
from pipelines.instance import held_here
from tests.pipelines.fake_home import CHEAP, EXPENSIVE, FEW, NOTHING, FakeHome, asked, made
from warehouse.imports.ingest import import_results
from warehouse.lake import Failure

pytestmark = pytest.mark.slow  # together they take a while

MODELS = "ash beech cedar elm fir larch maple org/oak pine willow yew".split()  # noqa: SIM905
BELOW_EMBEDDER = {"onboarded", "warehouse", "report", *FEW}
BELOW_ANSWERS = {"correctness_matrix", "coverage", "question_embeddings", "embedder", *BELOW_EMBEDDER}
ALL_BELOW = BELOW_ANSWERS | EXPENSIVE
BOTH = "sums trees"
PUBLISHED = "prompt_id,model_name,category,label,prompt\n"


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHome:
    """A new home, and a registry without entries."""
    return FakeHome(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeHome]:
    with pytest.MonkeyPatch.context() as patch:
        home = FakeHome(tmp_path_factory.mktemp("settled"), patch)
        home.ask("sums", "trees")
        home.add(*MODELS)
        home.settle()
        yield home


@pytest.fixture
def home(settled: FakeHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHome:
    """Eleven models have answered two benchmarks, and all that follows is made. Two more are less than a fifth."""
    return settled.copied(tmp_path, monkeypatch)


def of_all(benchmarks: str) -> dict[str, str]:
    return dict.fromkeys(MODELS, benchmarks)


def test_the_sensors_run_unless_they_are_switched_off(empty: FakeHome) -> None:
    empty.ask("sums")
    sensors = {sensor.name: sensor for sensor in build_sensors(empty.loaded, lambda: empty.workspace)}
    assert set(sensors) == {"evaluate_what_is_new", "refresh_what_changed", "housekeeping"}
    for sensor in sensors.values():
        assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
        assert sensor.description


# --- first things


def test_on_an_empty_home_only_what_needs_no_answers_is_made(empty: FakeHome) -> None:
    assert empty.look() == made("imported_results", "coverage")
    assert empty.run() == [True]
    assert empty.look() == NOTHING


def test_first_models_are_asked_and_everything_follows_once(empty: FakeHome) -> None:
    empty.ask("sums", "trees")
    empty.add("ash", "elm", "org/oak")
    assert empty.look() == asked(ash=BOTH, elm=BOTH, **{"org/oak": BOTH}) | made("imported_results")
    assert empty.look() == NOTHING
    for _ in range(4):
        assert empty.look() == NOTHING
        assert empty.run(1) == [True]
    assert empty.look() == made(*ALL_BELOW)
    assert empty.look() == NOTHING
    assert empty.run() == [True]
    assert empty.look() == NOTHING
    assert empty.harness.asked == [
        f"{model} {benchmark}" for model in ("ash", "elm", "org/oak") for benchmark in BOTH.split()
    ]


def test_so_it_is_with_all_experiments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = FakeHome(tmp_path, monkeypatch, left_out=())
    whole.ask("sums")
    whole.add("ash", "elm")
    first = asked(ash="sums", elm="sums") | made("imported_results")
    assert whole.settle() == [first, made(*ALL_BELOW, *CHEAP)]
    whole.change("elm", family="leafy")
    assert whole.settle() == [made(*BELOW_ANSWERS, *CHEAP)]


def test_where_all_first_models_fail_only_that_is_told(empty: FakeHome) -> None:
    empty.harness.broken = {"ash", "elm"}
    empty.ask("sums")
    empty.add("ash", "elm")
    empty.look()
    empty.run()
    assert empty.look() == made("coverage")
    assert empty.run() == [True]
    assert empty.look() == NOTHING


def test_the_zoo_is_trained_before_its_models_are_asked(empty: FakeHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.zoo.is_built", lambda folder, seed: (folder / "manifest.json").exists())
    empty.made_by = "zoo"
    empty.add("ash", args={"pretrained": "{home}/zoo/ash"})
    empty.ask("sums")
    assert empty.look() == made("zoo", "imported_results")
    assert empty.look() == NOTHING
    assert empty.run() == [True]
    assert empty.look() == asked(ash="sums")
    empty.run()
    assert empty.look() == made(*ALL_BELOW)
    empty.run()
    assert empty.look() == NOTHING


# --- nothing


def test_nothing_changed(home: FakeHome) -> None:
    assert home.look() == NOTHING


def test_the_daemon_is_started_again(home: FakeHome) -> None:
    home.reload()
    assert home.look() == NOTHING


def test_dagster_s_records_are_lost(home: FakeHome) -> None:
    home.instance = dg.DagsterInstance.ephemeral()
    assert home.settle() == []
    home.add("spruce")
    assert home.settle() == [asked(spruce=BOTH), made(*BELOW_ANSWERS)]


def test_the_lake_s_records_are_lost(home: FakeHome) -> None:
    """As in a home made before there were any: everything is made anew, once; no model is asked anything."""
    shutil.rmtree(home.lake.tables.at("provenance"))
    home.lake.tables.forget("provenance")
    assert home.look() == made("imported_results", *ALL_BELOW)
    assert home.run() == [True]
    assert home.look() == NOTHING
    assert home.harness.asked == []


def test_a_home_is_copied_to_another_path(home: FakeHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.change("elm", args={"pretrained": "{home}/models/elm"})
    home.settle()
    copy = home.copied(tmp_path / "elsewhere", monkeypatch)
    copy.instance = dg.DagsterInstance.ephemeral()
    assert copy.workspace.home != home.workspace.home
    assert copy.settle() == []
    assert copy.harness.asked == []


def test_one_record_cannot_be_read(home: FakeHome) -> None:
    (record,) = Path(home.lake.tables.at("provenance")).glob("part=coverage/*.parquet")
    record.write_bytes(b"no Parquet")
    assert home.settle() == [made("coverage", "warehouse", "report")]


@pytest.mark.parametrize(
    "asset", ["imported_results", "correctness_matrix", "question_embeddings", "embedder", "report"]
)
def test_data_made_again_and_identical(home: FakeHome, asset: str) -> None:
    assert home.by_hand(asset) == [True]
    assert home.look() == NOTHING


def test_answers_given_again_and_identical(home: FakeHome) -> None:
    assert home.by_hand("responses/sums", "responses/trees", model="elm") == [True]
    assert home.harness.asked == []
    assert home.look() == NOTHING


def test_a_command_at_work_on_the_home_does_it_itself(home: FakeHome) -> None:
    home.add("spruce")
    with held_here(home.settings.home):
        assert home.look() == NOTHING
        assert home.look() == NOTHING
    assert home.look() == asked(spruce=BOTH)


def test_a_registry_that_cannot_be_read_stops_nothing_for_good(home: FakeHome) -> None:
    assert home.settings.registry
    assert home.look() == NOTHING  # the definitions are loaded
    (home.settings.registry / "models.yaml").write_text("models: [{name: spruce, ", encoding="utf-8")
    assert home.look() == NOTHING
    assert "models.yaml, line 2" in home.skipped["evaluate_what_is_new"]
    home.add("spruce")
    assert home.look() == asked(spruce=BOTH)


# --- models


def test_add_one(home: FakeHome) -> None:
    home.add("spruce")
    assert home.look() == asked(spruce=BOTH)
    assert home.look() == NOTHING
    home.run()
    assert home.look() == made(*BELOW_ANSWERS)
    assert home.look() == NOTHING
    home.run()
    assert home.look() == NOTHING
    assert home.harness.asked == ["spruce sums", "spruce trees"]
    assert [run.tags[REASON] for run in home.instance.get_runs(limit=2)] == [
        "correctness_matrix: answers or entries changed; coverage: evaluations or entries changed; "
        "question_embeddings: correctness_matrix is out of date; and 6 more",
        "sums: new; trees: new",
    ]


def test_add_nine(home: FakeHome) -> None:
    nine = [f"new{number}" for number in range(9)]
    home.add(*nine)
    assert home.look() == asked(**dict.fromkeys(nine, BOTH))
    for _ in nine:
        assert home.look() == NOTHING
        home.run(1)
    assert home.look() == made(*ALL_BELOW)
    home.run()
    assert home.look() == NOTHING


def test_add_one_while_another_is_asked(home: FakeHome) -> None:
    home.add("spruce")
    home.look()
    home.add("aspen")
    assert home.look() == asked(aspen=BOTH)
    home.run(1)
    assert home.look() == NOTHING
    home.run(1)
    assert home.look() == made(*BELOW_ANSWERS)


def test_add_one_while_all_is_refreshed(home: FakeHome) -> None:
    home.add("spruce")
    home.look()
    home.run()
    home.look()
    home.add("aspen")
    assert home.look() == asked(aspen=BOTH)
    home.run(1)  # the refresh, in the midst of which aspen came
    assert home.look() == NOTHING
    home.run()
    assert home.look() == made(*BELOW_ANSWERS)
    home.run()
    assert home.look() == NOTHING


def test_in_the_midst_of_a_refresh_no_other_is_begun(home: FakeHome) -> None:
    looks = []
    home.add("spruce")
    home.settle()
    home.change("spruce", family="leafy")
    home.look()
    home.when_made["embedder"] = lambda: home.lake.record_failure("sums", "elm", "failed", "it is broken")
    home.when_made["forecasts"] = lambda: looks.append(home.look())
    home.run()
    assert looks == [NOTHING]
    assert home.look() == made("coverage", "warehouse", "report")


def test_answers_have_landed_but_their_run_goes_on(home: FakeHome) -> None:
    looks = []
    home.harness.when_answered = lambda: looks.append(home.look())
    home.add("spruce")
    home.look()
    home.run()
    assert looks == [NOTHING, NOTHING]
    assert home.look() == made(*BELOW_ANSWERS)


def test_remove_one_and_take_it_back(home: FakeHome) -> None:
    home.remove("elm")
    assert home.settle() == [made(*BELOW_ANSWERS)]
    assert {"elm sums", "elm trees"} == set(home.aside())
    assert not {"elm sums", "elm trees"} & home.pairs()
    home.add("elm")
    assert home.settle() == [asked(elm=BOTH), made(*BELOW_ANSWERS)]
    assert home.harness.asked == []
    assert home.aside() == []
    assert len(home.pairs()) == 22


def test_remove_one_and_take_it_back_at_once(home: FakeHome) -> None:
    home.remove("elm")
    home.add("elm")
    assert home.settle() == []


def test_remove_one_that_waits_to_be_asked(home: FakeHome) -> None:
    home.add("spruce")
    home.look()
    home.remove("spruce")
    assert home.look() == NOTHING
    assert home.run() == [False]
    assert home.look() == NOTHING
    assert len(home.pairs()) == 22


def test_other_labels_ask_nothing(home: FakeHome) -> None:
    home.change("elm", family="leafy", communities=["wood"])
    assert home.settle() == [made(*BELOW_ANSWERS)]
    assert home.harness.asked == []


def test_another_revision_of_a_model(home: FakeHome) -> None:
    home.change("elm", args={"pretrained": "lab/elm", "revision": "v2"})
    assert home.settle() == [asked(elm=BOTH), made(*BELOW_ANSWERS)]
    assert home.harness.asked == ["elm sums", "elm trees"]
    assert home.aside() == ["elm sums", "elm trees"]
    home.change("elm", args={"pretrained": "lab/elm"})
    assert home.settle() == [asked(elm=BOTH), made(*BELOW_ANSWERS)]
    assert home.harness.asked == ["elm sums", "elm trees"]  # the answers of before hold again


def test_a_few_answers_of_a_model_with_a_budget(home: FakeHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assets.embedding.select_questions.ask", home.interview)
    home.add("spruce", budget=8)
    assert home.settle() == [asked(spruce=BOTH), made("coverage", "onboarded", "communities", "warehouse", "report")]
    assert home.lake.onboarded_models() == ["spruce"]
    assert len(home.pairs()) == 22
    assert home.settle() == []


def test_so_it_is_with_the_real_matrix(home: FakeHome, tmp_path: Path) -> None:
    """What the assets next to the answers say of what they read is what the next look compares with."""
    home.real = {"imported_results", "correctness_matrix", "coverage"}
    home.reload()
    home.remove("elm")
    assert home.settle() == [made(*BELOW_ANSWERS)]
    home.harness.broken = {"aspen"}
    home.add("aspen")
    assert home.settle() == [asked(aspen=BOTH), made("coverage", "warehouse", "report")]
    source = tmp_path / "published.csv"
    source.write_text(PUBLISHED + "0,lab__a,sums,1,What is 1 plus 2?\n", encoding="utf-8")
    import_results(home.lake, str(source), benchmark_of=str)
    assert home.settle() == [made("imported_results", *BELOW_ANSWERS)]


# --- benchmarks


def test_a_new_benchmark(home: FakeHome) -> None:
    home.ask("towns")
    assert home.look() == asked(**of_all("towns"))
    home.run(10)
    assert home.look() == NOTHING
    home.run(1)
    assert home.look() == made(*ALL_BELOW)
    home.run()
    assert home.look() == NOTHING


def test_a_new_benchmark_before_the_definitions_are_loaded_anew(home: FakeHome) -> None:
    assert home.look() == NOTHING  # the definitions are loaded
    home.benchmarks["towns"] = {"tasks": ["towns"], "metric": "acc"}
    home.write_registry()
    assert home.look() == NOTHING
    home.reload()
    assert home.look() == asked(**of_all("towns"))


def test_a_benchmark_asked_with_examples(home: FakeHome) -> None:
    home.ask("sums", num_fewshot=5)
    assert home.settle() == [asked(**of_all("sums")), made(*BELOW_ANSWERS)]
    assert home.aside() == [f"{model} sums" for model in MODELS]
    assert len(home.pairs()) == 22


def test_a_benchmark_leaves(home: FakeHome) -> None:
    home.drop("trees")
    assert home.settle() == [made(*BELOW_ANSWERS)]
    assert home.pairs() == {f"{model} sums" for model in MODELS}
    assert home.aside() == [f"{model} trees" for model in MODELS]


# --- code, settings, imports


def test_new_code_of_the_embedder(home: FakeHome) -> None:
    home.versions["embedder"] = "new"
    home.reload()
    assert home.settle() == [made("embedder", *BELOW_EMBEDDER)]


def test_new_code_of_the_report(home: FakeHome) -> None:
    home.versions["report"] = "new"
    home.reload()
    assert home.settle() == [made("report")]


def test_new_code_of_an_expensive_experiment(home: FakeHome) -> None:
    home.versions["forecast_curve"] = "new"
    home.reload()
    assert home.settle() == [made("forecast_curve", "warehouse", "report")]


def test_what_is_due_takes_what_it_is_made_from_with_it(home: FakeHome) -> None:
    home.change("elm", family="leafy")
    assert home.settle() == [made(*BELOW_ANSWERS)]  # the expensive wait
    home.versions["contributions"] = "new"
    home.reload()
    assert home.settle() == [made("left_out_embeddings", "contributions", "warehouse", "report")]
    home.versions["contributions"] = "newer"
    home.reload()
    assert home.settle() == [made("contributions", "warehouse", "report")]


def test_another_encoder(home: FakeHome) -> None:
    home.settings = home.settings.model_copy(update={"encoder": "another"})
    home.reload()
    assert home.settle() == [made("question_embeddings", "embedder", *BELOW_EMBEDDER)]


def test_an_earlier_version_of_the_embedder_is_to_serve(home: FakeHome) -> None:
    home.add("spruce")
    home.settle()
    home.roll_back()
    assert home.settle() == [made("embedder", *BELOW_EMBEDDER)]


def test_an_import(home: FakeHome, tmp_path: Path) -> None:
    source = tmp_path / "published.csv"
    source.write_text(PUBLISHED + "0,lab__a,sums,1,What is 1 plus 2?\n", encoding="utf-8")
    import_results(home.lake, str(source), benchmark_of=str)
    assert home.settle() == [made("imported_results", *BELOW_ANSWERS)]
    import_results(home.lake, str(source), benchmark_of=str)
    assert home.settle() == []
    source.write_text(PUBLISHED + "0,lab__a,sums,0,What is 1 plus 2?\n", encoding="utf-8")
    import_results(home.lake, str(source), benchmark_of=str)
    assert home.settle() == [made("imported_results", *BELOW_ANSWERS)]
    assert home.harness.asked == []


def test_expensive_experiments_wait_until_the_pool_has_grown_by_a_fifth(home: FakeHome) -> None:
    home.add("spruce", "aspen")
    assert home.settle()[-1] == made(*BELOW_ANSWERS)
    home.add("birch")
    assert home.settle()[-1] == made(*ALL_BELOW)
    home.add("alder")
    assert home.settle()[-1] == made(*BELOW_ANSWERS)


# --- what fails


def test_one_of_two_fails(home: FakeHome) -> None:
    home.harness.broken = {"aspen"}
    home.add("aspen", "birch")
    assert home.look() == asked(aspen=BOTH, birch=BOTH)
    assert home.run(1) == [False]
    assert home.look() == NOTHING  # birch is still to come
    assert home.run() == [True]
    assert home.look() == made(*BELOW_ANSWERS)
    home.run()
    assert home.look() == NOTHING
    assert home.failures() == {"aspen sums": ("failed", 1), "aspen trees": ("failed", 1)}


def test_one_fails_alone(home: FakeHome) -> None:
    home.harness.broken = {"aspen"}
    home.add("aspen")
    assert home.look() == asked(aspen=BOTH)
    assert home.run() == [False]
    assert home.look() == made("coverage", "warehouse", "report")
    home.run()
    assert home.look() == NOTHING


def test_another_reason_of_a_failure_is_told(home: FakeHome) -> None:
    home.lake.record_failure("trees", "elm", "out_of_memory", "it is too large")
    assert home.settle() == [made("coverage", "warehouse", "report")]


def test_one_benchmark_of_a_model_fails(home: FakeHome) -> None:
    home.harness.broken = {"aspen trees"}
    home.add("aspen")
    assert home.settle() == [asked(aspen=BOTH), made(*BELOW_ANSWERS)]
    assert "aspen sums" in home.pairs()
    assert home.failures() == {"aspen trees": ("failed", 1)}


def test_what_failed_is_asked_again_when_its_entry_changes(home: FakeHome) -> None:
    home.harness.broken = {"aspen"}
    home.add("aspen")
    home.settle()
    home.harness.broken = set()
    assert home.look() == NOTHING
    home.change("aspen", args={"pretrained": "lab/aspen-v2"})
    assert home.settle() == [asked(aspen=BOTH), made(*BELOW_ANSWERS)]
    assert home.failures() == {}


def test_what_failed_is_asked_again_by_hand(home: FakeHome) -> None:
    home.harness.broken = {"aspen"}
    home.add("aspen")
    home.settle()
    home.harness.broken = set()
    assert home.by_hand("responses/sums", "responses/trees", model="aspen") == [True]
    assert home.settle() == [made(*BELOW_ANSWERS)]


def test_answers_hold_though_the_changed_entry_fails(home: FakeHome) -> None:
    """As long as nothing better is known, the model counts with the answers it gave."""
    home.harness.broken = {"elm"}
    home.change("elm", args={"pretrained": "lab/elm", "revision": "v2"})
    assert home.settle() == [asked(elm=BOTH), made(*BELOW_ANSWERS)]
    assert home.failures() == {"elm sums": ("failed", 1), "elm trees": ("failed", 1)}
    assert set(home.aside()) == {"elm sums", "elm trees"}


def test_a_fault_nobody_expected_is_not_repeated_at_every_look(home: FakeHome) -> None:
    home.harness.faulty = {"aspen"}
    home.add("aspen")
    home.settle()
    assert home.failures() == {"aspen sums": ("failed", 1), "aspen trees": ("failed", 1)}


def test_a_derived_asset_fails(home: FakeHome) -> None:
    home.failing = {"embedder"}
    home.add("spruce")
    home.look()
    home.run()
    assert home.look() == made(*BELOW_ANSWERS)
    assert home.run() == [False]
    assert home.look() == made("warehouse", "report")  # of what could be made
    assert home.run() == [True]
    assert home.look() == NOTHING
    assert home.waits()["embedder"] == "it failed, and nothing has changed since"
    home.change("elm", family="leafy")  # something upstream is new
    assert home.look() == made(*BELOW_ANSWERS)
    assert home.run() == [False]
    assert home.settle() == [made("warehouse", "report")]
    home.failing, home.versions["embedder"] = set(), "mended"
    home.reload()
    assert home.settle() == [made("embedder", *BELOW_EMBEDDER)]


def test_while_a_derived_asset_fails_what_is_below_waits(home: FakeHome) -> None:
    home.failing, home.versions["embedder"] = {"embedder"}, "new"
    home.reload()
    home.look()
    assert home.run() == [False]
    assert home.settle() == []
    assert home.by_hand("forecasts") == [True]  # somebody tries, and it comes out the same
    assert home.settle() == []
    home.lake.record_failure("sums", "elm", "failed", "it is broken")
    assert home.settle() == [made("coverage", "warehouse", "report")]


def test_a_refresh_that_is_killed_is_repeated_where_it_was(home: FakeHome) -> None:
    home.add("spruce")
    home.look()
    home.run()
    assert home.look() == made(*BELOW_ANSWERS)
    home.killing = {"embedder"}
    assert home.run() == [False]
    home.killing = set()
    assert home.settle() == [made("embedder", *BELOW_EMBEDDER)]


def test_a_refresh_that_is_killed_each_time_is_given_up(home: FakeHome) -> None:
    home.add("spruce")
    home.look()
    home.run()
    home.killing = {"embedder"}
    for attempt in range(6):  # the first one made the correctness matrix, the others are five times the same
        assert home.look() == made(*(BELOW_ANSWERS if attempt == 0 else {"embedder", *BELOW_EMBEDDER}))
        assert home.run() == [False]
    assert home.look() == NOTHING
    assert home.waits()["embedder"] == "5 runs for it have failed"
    home.killing, home.versions["embedder"] = set(), "mended"
    home.reload()
    assert home.settle() == [made("embedder", *BELOW_EMBEDDER)]


def test_an_evaluation_that_is_killed_is_repeated_four_times_at_most(home: FakeHome) -> None:
    home.harness.killing = {"aspen sums"}
    home.add("aspen")
    for attempt in range(1, 5):
        assert home.look() == asked(aspen=BOTH)
        home.run()
        # Which of them it was shows from the second time on, when each tells that it begins.
        assert home.failures() == {"aspen sums": ("interrupted", attempt), "aspen trees": ("interrupted", 1)}
    assert home.look() == asked(aspen="trees")
    home.run()
    assert home.settle() == [made(*BELOW_ANSWERS)]
    assert home.failures() == {"aspen sums": ("interrupted", 4)}


def test_an_evaluation_that_is_killed_once(home: FakeHome) -> None:
    home.harness.killing = {"aspen trees"}
    home.add("aspen")
    home.look()
    home.run()
    home.harness.killing = set()
    assert home.settle() == [asked(aspen="trees"), made(*BELOW_ANSWERS)]
    assert home.harness.asked == ["aspen sums", "aspen trees"]
    assert home.failures() == {}


def test_a_budget_model_that_is_killed_is_not_asked_at_every_look(
    home: FakeHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assets.embedding.select_questions.ask", home.interview)
    home.harness.killing = {"spruce"}
    home.add("spruce", budget=8)
    requested = home.settle()
    assert requested[:4] == [asked(spruce=BOTH)] * 4
    assert "spruce" not in {model for later in requested[4:] for model in later.asked}


# --- whatever happens


def _revise(home: FakeHome, model: str) -> None:
    revision = "third" if "revision" in home.models[model]["args"] else "second"
    home.change(model, args={"pretrained": f"lab/{model}", "revision": revision})


def _mend(home: FakeHome, model: str) -> None:
    home.harness.broken.discard(model)
    home.harness.killing.discard(model)


TO_A_MODEL: dict[str, Callable[[FakeHome, str], object]] = {
    "add": lambda home, model: home.add(model) if model not in home.models else None,
    "remove": lambda home, model: home.remove(model) if model in home.models else None,
    "relabel": lambda home, model: (
        home.change(model, size_b=1.0 + len(home.harness.asked)) if model in home.models else None
    ),
    "revise": lambda home, model: _revise(home, model) if model in home.models else None,
    "break": lambda home, model: home.harness.broken.add(model),
    "kill": lambda home, model: home.harness.killing.add(model),
    "mend": _mend,
}
TO_A_BENCHMARK: dict[str, Callable[[FakeHome, str], object]] = {
    "ask": lambda home, benchmark: home.ask(benchmark),
    "ask with examples": lambda home, benchmark: home.ask(benchmark, num_fewshot=5),
    "drop": lambda home, benchmark: home.drop(benchmark) if benchmark in home.benchmarks else None,
}
OTHERS: dict[str, Callable[[FakeHome, Any], object]] = {
    "look": lambda home, _: home.look(),
    "run": lambda home, count: home.run(min(count, len(home.waiting))),
    "restart": lambda home, _: home.reload(),
    "break the embedder": lambda home, _: home.failing.add("embedder"),
    "mend the embedder": lambda home, _: home.failing.clear(),
}
HAPPENS = {**TO_A_MODEL, **TO_A_BENCHMARK, **OTHERS}
EVENTS = st.one_of(
    st.tuples(st.sampled_from(["add", *TO_A_MODEL]), st.sampled_from(["ash", "elm", "org/oak"])),
    st.tuples(st.sampled_from(["ask", *TO_A_BENCHMARK]), st.sampled_from(["sums", "trees"])),
    st.tuples(st.just("look"), st.none()),
    st.tuples(st.just("run"), st.integers(1, 3)),
    st.tuples(st.sampled_from(list(OTHERS)[2:]), st.none()),
)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(events=st.lists(EVENTS, max_size=12))
def test_in_the_end_all_is_asked_and_made_but_what_failed(events: list[tuple[str, Any]]) -> None:
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        home = FakeHome(Path(folder), patch, left_out=(CHEAP | EXPENSIVE) - {"forecasts"})
        for what, of in events:
            HAPPENS[what](home, of)
        home.run()
        home.settle()
        home.failing, home.versions["embedder"] = set(), "mended"
        home.reload()
        home.settle()
        registered = {f"{model} {benchmark}" for model in home.models for benchmark in home.benchmarks}
        failed = set(home.failures())
        assert not home.models or home.pairs() == registered - failed  # without a model no registry is in force
        assert {pair.split()[0] for pair in failed} <= {of for what, of in events if what in ("break", "kill")}
        assert len(home.harness.fingerprints) == len(set(home.harness.fingerprints))
        assert not home.pairs() or home.stale() == set()


@pytest.mark.parametrize(("attempts", "told"), [(1, "sums: new"), (2, "sums: new (attempt 2)")])
def test_what_is_being_asked_is_not_called_interrupted(attempts: int, told: str) -> None:
    begun = Failure("interrupted", "It began and did not end.", attempts, "", datetime(2026, 4, 1, tzinfo=UTC))
    assert Unanswered("sums", Why.NEW, begun).tell(being_asked=True) == told
    assert Unanswered("sums", Why.NEW, begun).tell() == f"sums: new (interrupted, attempt {attempts + 1})"
