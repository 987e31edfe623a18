"""Which assets are out of date, and why: only what was made from something else than what is there now."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import dagster as dg
import pytest

from assets.staleness import EXPENSIVE, described, pool, stale
from assets.workspace import Workspace
from harness.entries import BenchmarkEntry, ModelEntry

KEYS = ["imported_results", "correctness_matrix", "coverage", "onboarded"]


def chain(made: dict[str, str], codes: dict[str, str]) -> list[dg.AssetsDefinition]:
    """spring ▶ river ▶ sea, of which the sea is expensive: their data versions as in `made`, else by default."""

    def asset(name: str, deps: list[str], tags: dict[str, str] | None = None) -> dg.AssetsDefinition:
        @dg.asset(name=name, deps=deps, code_version=codes.get(name, "1"), tags=tags)
        def it(workspace: dg.ResourceParam[Workspace]) -> dg.MaterializeResult:
            version = dg.DataVersion(made[name]) if name in made else None
            return dg.MaterializeResult(data_version=version, metadata=pool(workspace))

        return it

    return [asset("spring", []), asset("river", ["spring"]), asset("sea", ["river"], EXPENSIVE)]


class Home:
    """An instance, and the chain as it is coded now."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.instance = dg.DagsterInstance.ephemeral()
        self.made: dict[str, str] = {"spring": "clear"}
        self.codes: dict[str, str] = {}

    def make(self, *names: str) -> None:
        done = dg.materialize(
            chain(self.made, self.codes),
            instance=self.instance,
            resources={"workspace": self.workspace},
            selection=list(names) or None,
        )
        assert done.success

    def stale(self, *, full: bool = False) -> dict[str, str]:
        definitions = dg.Definitions(chain(self.made, self.codes), resources={"workspace": self.workspace})
        graph = definitions.resolve_asset_graph()
        found = stale(self.workspace, self.instance, graph, full=full)
        return {key.to_user_string(): reason for key, reason in found.items()}


@pytest.fixture
def home(workspace: Workspace, answer: Callable[..., None]) -> Home:
    answer("sums", "elm", "1" * 10)
    made = Home(workspace)
    made.make()
    return made


def test_at_first_everything_is(workspace: Workspace) -> None:
    assert Home(workspace).stale() == {"spring": "never made", "river": "never made", "sea": "never made"}


def test_nothing_is_where_nothing_changed(home: Home) -> None:
    assert home.stale() == {}
    assert home.stale(full=True) == {}


def test_other_data_reach_what_is_made_of_them(home: Home) -> None:
    home.made["spring"] = "muddy"
    home.make("spring")
    assert home.stale() == {"river": "spring has changed"}
    assert home.stale(full=True) == {"river": "spring has changed", "sea": "river is out of date"}


def test_identical_data_stop_there(home: Home) -> None:
    home.make("spring")
    assert home.stale(full=True) == {}


def test_other_code(home: Home) -> None:
    home.codes["river"] = "2"
    assert home.stale(full=True) == {
        "river": "its code or a setting changed",
        "sea": "river is out of date",
    }
    home.codes = {"sea": "2"}
    assert home.stale() == {"sea": "its code or a setting changed"}


def test_a_new_asset_upstream(home: Home) -> None:
    home.instance.wipe_assets([dg.AssetKey("spring")])
    assert home.stale() == {"spring": "never made", "river": "spring is out of date"}


def test_the_expensive_wait_until_a_tenth_is_new(home: Home, answer: Callable[..., None]) -> None:
    assert home.stale() == {}
    answer("sums", "org/oak", "1" * 10)  # of one model, a tenth is less than another one
    assert home.stale() == {"sea": "the pool has changed much"}


@pytest.mark.parametrize(("questions", "waits"), [(10, True), (21, True), (22, False)])
def test_a_tenth_of_the_questions(
    workspace: Workspace, answer: Callable[..., None], questions: int, waits: bool
) -> None:
    answer("sums", "elm", "1" * 20)
    home = Home(workspace)
    home.make()
    answer("sums", "elm", "1" * questions)
    assert (home.stale() == {}) is waits


def test_a_new_benchmark_is_much(workspace: Workspace, answer: Callable[..., None]) -> None:
    answer("sums", "elm", "1" * 100)
    home = Home(workspace)
    home.make()
    answer("trees", "elm", "1")
    assert home.stale() == {"sea": "the pool has changed much"}


# --- what assets read that is no asset


def reads(workspace: Workspace) -> dict[str, Any]:
    return {name: value.value for name in KEYS for value in described(name, workspace).values()}


def changes(before: Workspace, after: Workspace) -> set[str]:
    """Which assets read something else now."""
    then, now = reads(before), reads(after)
    return {name for name in KEYS if then[name] != now[name]}


def with_entries(workspace: Workspace, **entries: Any) -> Workspace:
    return replace(workspace, registry=replace(workspace.registry, **entries))


def test_only_some_assets_read_what_is_no_asset(workspace: Workspace) -> None:
    assert set(reads(workspace)) == set(KEYS)
    assert described("question_embeddings", workspace) == {}


def test_answers(workspace: Workspace, answer: Callable[..., None]) -> None:
    answer("sums", "elm", "10")
    before = reads(workspace)
    answer("sums", "elm", "11")
    after = reads(workspace)
    assert {name for name in KEYS if before[name] != after[name]} == {"correctness_matrix"}
    answer("sums", "elm", "11", fingerprint="another")  # the same answers, under another entry
    assert reads(workspace) == after


def test_failures(workspace: Workspace) -> None:
    before = reads(workspace)
    workspace.lake.record_failure("sums", "elm", "interrupted", "it has begun")
    assert reads(workspace) == before
    workspace.lake.record_failure("sums", "elm", "out_of_memory", "too large")
    after = reads(workspace)
    assert {name for name in KEYS if before[name] != after[name]} == {"coverage"}
    workspace.lake.record_failure("sums", "elm", "out_of_memory", "too large")  # for the second time
    assert reads(workspace) == after


def test_labels_of_models_that_have_answered(workspace: Workspace, answer: Callable[..., None]) -> None:
    answer("sums", "elm", "10")
    elm, oak = workspace.registry.models
    family = {"family": "another"}
    assert changes(workspace, with_entries(workspace, models=(elm.model_copy(update=family), oak))) == {
        "correctness_matrix",
        "coverage",
    }
    assert changes(workspace, with_entries(workspace, models=(elm, oak.model_copy(update=family)))) == {"coverage"}


def test_entries_that_come_and_go(workspace: Workspace, answer: Callable[..., None]) -> None:
    answer("sums", "elm", "10")
    elm, oak = workspace.registry.models
    new = ModelEntry(name="ash", args={"pretrained": "org/ash"}, budget=8)
    assert changes(workspace, with_entries(workspace, models=(elm, oak, new))) == {"coverage"}
    assert changes(workspace, with_entries(workspace, models=(oak,))) == {"correctness_matrix", "coverage"}
    towns = BenchmarkEntry(name="towns", tasks=("towns",), metric="acc")
    asked = with_entries(workspace, benchmarks=(*workspace.registry.benchmarks, towns))
    assert changes(workspace, asked) == {"coverage", "onboarded"}


def test_their_order_is_nothing(workspace: Workspace, answer: Callable[..., None]) -> None:
    answer("sums", "elm", "10")
    answer("trees", "org/oak", "10")
    models, benchmarks = workspace.registry.models, workspace.registry.benchmarks
    turned = with_entries(workspace, models=models[::-1], benchmarks=benchmarks[::-1])
    assert changes(workspace, turned) == set()
