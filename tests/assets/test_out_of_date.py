"""Which assets are out of date, and why: only what was made from something else than what is there now."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from assets.inputs.external import EXTERNALS
from assets.inputs.provenance import EXPENSIVE, Made, asset, read_provenance
from assets.inputs.workspace import Workspace
from harness.registry import BenchmarkEntry, ModelEntry, load_registry
from pipelines.automation.plan import find_out_of_date

KEYS = ["imports", "answers", "evaluations", "few_answers"]


class Home:
    """spring ▶ river ▶ sea, of which the river leaves a table and a file, and the sea is expensive."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.codes: dict[str, str] = {}
        self.spring = "clear"  # its data
        self.failing: set[str] = set()

    def assets(self) -> list[dg.AssetsDefinition]:
        @asset(code_version=self.codes.get("spring", "1"))
        def spring(_: Workspace) -> Made:
            return Made({}, data_version=self.spring)

        @asset(deps=["spring"], code_version=self.codes.get("river", "1"))
        def river(workspace: Workspace) -> Made:
            workspace.lake.write_table("fish", pa.table({"fish": ["trout"]}), "upper")
            (bridge := workspace.home / "bridge.txt").write_text("of stone")
            if "river" in self.failing:
                raise dg.Failure("it is dry", allow_retries=False)
            return Made({}, tables={"fish": ["upper"]}, files=[bridge])

        @asset(deps=["river"], code_version=self.codes.get("sea", "1"), tags=EXPENSIVE)
        def sea(_: Workspace) -> Made:
            return Made({"depth": 11})

        return [spring, river, sea]

    def make(self, *names: str) -> dg.ExecuteInProcessResult:
        """With a new instance each time: what Dagster remembers plays no part."""
        with dg.DagsterInstance.ephemeral() as instance:
            return dg.materialize(
                self.assets(),
                instance=instance,
                resources={"workspace": self.workspace},
                selection=list(names) or None,
                raise_on_error=False,
            )

    def stale(self, *, full: bool = False) -> dict[str, str]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("pipelines.automation.plan.build_assets", lambda _: self.assets())
            found = find_out_of_date(self.workspace, full=full)
        return {key.to_user_string(): one.reason for key, one in found.items() if not one.later}


@pytest.fixture
def home(workspace: Workspace, answer: Callable[..., None]) -> Home:
    answer("sums", "elm", "1" * 10)
    made = Home(workspace)
    assert made.make().success
    return made


def test_at_first_everything_is(workspace: Workspace) -> None:
    assert Home(workspace).stale() == {"spring": "never made", "river": "never made", "sea": "never made"}


def test_nothing_is_where_nothing_changed(home: Home) -> None:
    assert home.stale() == {}
    assert home.stale(full=True) == {}


def test_other_data_reach_what_is_made_of_them(home: Home) -> None:
    home.spring = "muddy"
    home.make("spring")
    assert home.stale() == {"river": "spring changed"}
    assert home.stale(full=True) == {"river": "spring changed", "sea": "river is out of date"}


def test_identical_data_stop_there(home: Home) -> None:
    home.make("spring")
    assert home.stale(full=True) == {}


def test_other_code(home: Home) -> None:
    home.codes["river"] = "2"
    assert home.stale(full=True) == {
        "river": "its code changed",
        "sea": "river is out of date",
    }
    home.codes = {"sea": "2"}
    assert home.stale() == {"sea": "its code changed"}


def test_other_code_counts_as_other_data(home: Home) -> None:
    home.codes["river"] = "2"
    home.make("river")
    assert home.stale(full=True) == {"sea": "river changed"}


def test_a_new_asset_upstream(workspace: Workspace) -> None:
    home = Home(workspace)
    home.make("river")
    assert home.stale() == {"spring": "never made", "river": "spring is out of date", "sea": "never made"}
    home.make("spring")
    assert home.stale() == {"river": "spring changed", "sea": "never made"}


def test_what_it_wrote_is_gone(home: Home) -> None:
    (home.workspace.home / "bridge.txt").unlink()
    assert home.stale() == {"river": "bridge.txt is gone"}
    home.make("river")
    assert home.stale() == {}
    shutil.rmtree(home.workspace.lake.tables.at("fish"))
    home.workspace.lake.tables.forget("fish")
    assert home.stale() == {"river": "part upper of the table fish is gone"}


def test_what_fails_has_recorded_nothing(home: Home) -> None:
    home.spring, home.failing = "muddy", {"river"}
    assert not home.make().success
    assert home.stale(full=True) == {"river": "spring changed", "sea": "river is out of date"}


def test_a_copied_home(home: Home, tmp_path: Path) -> None:
    shutil.copytree(home.workspace.home, tmp_path / "copy")
    copy = Home(replace(home.workspace, home=tmp_path / "copy"))
    assert copy.stale(full=True) == {}
    (home.workspace.home / "bridge.txt").unlink()  # each looks at its own
    assert copy.stale(full=True) == {}


def test_dagster_is_told_the_same_versions(home: Home) -> None:
    done = home.make()
    told = {
        event.asset_key.to_user_string(): (event.materialization.tags or {})["dagster/data_version"]
        for event in done.get_asset_materialization_events()
        if event.asset_key
    }
    assert told == {name: record.data_version for name, record in read_provenance(home.workspace).items()}
    assert told["spring"] == "clear"


def test_the_expensive_wait_until_a_fifth_is_new(home: Home, answer: Callable[..., None]) -> None:
    home.spring = "muddy"
    home.make("spring", "river")
    assert home.stale() == {}
    assert home.stale(full=True) == {"sea": "river changed"}
    answer("sums", "org/oak", "1" * 10)  # of one model, a fifth is less than another one
    assert home.stale() == {"sea": "river changed"}


@pytest.mark.parametrize(("questions", "waits"), [(10, True), (23, True), (24, False)])
def test_a_fifth_of_the_questions(
    workspace: Workspace, answer: Callable[..., None], questions: int, waits: bool
) -> None:
    answer("sums", "elm", "1" * 20)
    home = Home(workspace)
    home.make()
    answer("sums", "elm", "1" * questions)
    home.spring = "muddy"
    home.make("spring", "river")
    assert (home.stale() == {}) is waits


def test_a_new_benchmark_of_few_questions_does_not_count(workspace: Workspace, answer: Callable[..., None]) -> None:
    answer("sums", "elm", "1" * 100)
    home = Home(workspace)
    home.make()
    answer("trees", "elm", "1")
    home.spring = "muddy"
    home.make("spring", "river")
    assert home.stale() == {}


# --- external assets


def reads(workspace: Workspace) -> dict[str, Any]:
    return {name: EXTERNALS[name].version(workspace) for name in KEYS}


def changes(before: Workspace, after: Workspace) -> set[str]:
    """Which external assets are others now."""
    then, now = reads(before), reads(after)
    return {name for name in KEYS if then[name] != now[name]}


def with_entries(workspace: Workspace, **entries: Any) -> Workspace:
    return replace(workspace, registry=replace(workspace.registry, **entries))


def test_answers(workspace: Workspace, answer: Callable[..., None]) -> None:
    answer("sums", "elm", "10")
    before = reads(workspace)
    answer("sums", "elm", "11")
    after = reads(workspace)
    assert {name for name in KEYS if before[name] != after[name]} == {"answers"}
    answer("sums", "elm", "11", fingerprint="another")  # the same answers, under another entry
    assert reads(workspace) == after


def test_failures(workspace: Workspace) -> None:
    before = reads(workspace)
    workspace.lake.record_failure("sums", "elm", "interrupted", "it has begun")
    assert reads(workspace) == before
    workspace.lake.record_failure("sums", "elm", "out_of_memory", "too large")
    after = reads(workspace)
    assert {name for name in KEYS if before[name] != after[name]} == {"evaluations"}
    workspace.lake.record_failure("sums", "elm", "out_of_memory", "too large")  # for the second time
    assert reads(workspace) == after


def test_labels_of_models_that_have_answered(workspace: Workspace, answer: Callable[..., None]) -> None:
    answer("sums", "elm", "10")
    elm, oak = workspace.registry.models
    family = {"family": "another"}
    assert changes(workspace, with_entries(workspace, models=(elm.model_copy(update=family), oak))) == {
        "answers",
        "evaluations",
    }
    assert changes(workspace, with_entries(workspace, models=(elm, oak.model_copy(update=family)))) == {"evaluations"}


def test_entries_that_come_and_go(workspace: Workspace, answer: Callable[..., None]) -> None:
    answer("sums", "elm", "10")
    elm, oak = workspace.registry.models
    new = ModelEntry(name="ash", args={"pretrained": "org/ash"}, budget=8)
    assert changes(workspace, with_entries(workspace, models=(elm, oak, new))) == {"evaluations"}
    assert changes(workspace, with_entries(workspace, models=(oak,))) == {"answers", "evaluations"}
    towns = BenchmarkEntry(name="towns", tasks=("towns",), metric="acc")
    asked = with_entries(workspace, benchmarks=(*workspace.registry.benchmarks, towns))
    assert changes(workspace, asked) == {"evaluations", "few_answers"}


def test_their_order_is_nothing(workspace: Workspace, answer: Callable[..., None]) -> None:
    answer("sums", "elm", "10")
    answer("trees", "org/oak", "10")
    models, benchmarks = workspace.registry.models, workspace.registry.benchmarks
    turned = with_entries(workspace, models=models[::-1], benchmarks=benchmarks[::-1])
    assert changes(workspace, turned) == set()


def test_entries_are_read_as_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text('models: [{name: elm, args: {pretrained: "{home}/elm"}, family: tree}]')
    (tmp_path / "benchmarks.yaml").write_text("benchmarks: [{name: sums, tasks: [sums], metric: acc}]")
    here, there = (Workspace(home, load_registry(tmp_path, home)) for home in (tmp_path / "here", tmp_path / "there"))
    assert here.registry.models != there.registry.models
    assert reads(here) == reads(there)
