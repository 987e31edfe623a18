"""What runs at night and at the end of the week: which runs, why, and when not."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from assets.inputs.entries import entry_digest
from pipelines.automation.plan import REASON
from pipelines.automation.schedules import build_schedules
from pipelines.instance import held_here
from tests.pipelines.fake_home import EXPENSIVE, FEW, NOTHING, FakeHome, asked
from warehouse.lake import Failure

pytestmark = pytest.mark.slow  # together they take a while

NIGHT = datetime(2026, 3, 5, 3, 0, tzinfo=UTC)
WEEK_S_END = datetime(2026, 3, 8, 4, 0, tzinfo=UTC)
BELOW_ANSWERS = {
    *("correctness_matrix", "coverage", "question_embeddings", "embedder", "onboarded", "warehouse", "report"),
    *FEW,
}


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeHome]:
    with pytest.MonkeyPatch.context() as patch:
        home = FakeHome(tmp_path_factory.mktemp("settled"), patch)
        home.ask("sums", "trees")
        home.add("elm", "org/oak")
        home.settle()
        yield home


@pytest.fixture
def home(settled: FakeHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHome:
    """Two models have answered two benchmarks, and all that follows is made."""
    return settled.copied(tmp_path, monkeypatch).on_disk()


def fail(home: FakeHome, model: str, benchmark: str, attempts: int, at: datetime, kind: str = "out_of_memory") -> None:
    """As if the last of so many evaluations under the entry as it reads had failed then."""
    workspace = home.workspace
    entry = entry_digest(workspace.registry.model(model), workspace.registry.benchmark(benchmark), workspace)
    failure = Failure(kind, "it is too large", attempts, entry, at)
    answered = home.lake.now().answers.get((benchmark, model))
    with home.lake.together() as writing:
        if answered:  # superseded ones would be taken back
            writing.add(answered.again("dropped", "lost"))
    home.lake.write_failure(benchmark, model, failure)


def requests(home: FakeHome, at: datetime, schedule: str = "nightly_retry") -> dict[str, str]:
    """What a schedule requests then: assets by run key, the answers of a model as words."""
    found = {}
    for request in home.scheduled(schedule, at):
        names = [key.to_user_string().removeprefix("responses/") for key in request.asset_selection or ()]
        assert request.run_key
        assert (request.partition_key or "refresh") in request.run_key
        found[request.run_key] = " ".join(names)
    return found


def asks(home: FakeHome, at: datetime) -> dict[str, str]:
    """Of what the night requests, the evaluations."""
    return {key: benchmarks for key, benchmarks in requests(home, at).items() if key.endswith(" asked")}


def test_all_run_in_utc_unless_they_are_switched_off(home: FakeHome) -> None:
    schedules = {schedule.name: schedule for schedule in build_schedules(lambda: home.workspace)}
    assert {name: schedule.cron_schedule for name, schedule in schedules.items()} == {
        "nightly_retry": "0 3 * * *",
        "weekly_full_refresh": "0 4 * * 0",
        "weekly_compaction": "0 5 * * 0",
    }
    for schedule in schedules.values():
        assert schedule.execution_timezone == "UTC"
        assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
        assert schedule.description


# --- nightly_retry


def test_on_a_quiet_night_nothing_runs(home: FakeHome) -> None:
    assert requests(home, NIGHT) == {}


@pytest.mark.parametrize(
    ("attempts", "hours"),
    [(1, 12), (2, 24), (3, 48), (4, 96), (5, 168), (6, 168), (40, 168)],
)
def test_a_failure_is_tried_again_after_its_back_off(home: FakeHome, attempts: int, hours: int) -> None:
    fail(home, "elm", "sums", attempts, at=NIGHT - timedelta(hours=hours) + timedelta(seconds=1))
    assert asks(home, NIGHT) == {}
    assert asks(home, NIGHT + timedelta(seconds=1)) == {"2026-03-05 03:00 elm asked": "sums"}


def test_a_kill_or_three_need_no_back_off(home: FakeHome) -> None:
    fail(home, "elm", "sums", 3, at=NIGHT, kind="interrupted")
    assert asks(home, NIGHT) == {"2026-03-05 03:00 elm asked": "sums"}
    fail(home, "elm", "sums", 4, at=NIGHT, kind="interrupted")
    assert asks(home, NIGHT + timedelta(hours=95)) == {}
    assert asks(home, NIGHT + timedelta(hours=96)) == {"2026-03-09 03:00 elm asked": "sums"}


def test_a_failure_later_than_now_is_tried_again(home: FakeHome) -> None:
    """The clock was set back."""
    fail(home, "elm", "sums", 5, at=NIGHT + timedelta(days=400))
    assert requests(home, NIGHT) == {"2026-03-05 03:00 elm asked": "sums"}


def test_a_run_a_model_with_its_reason(home: FakeHome) -> None:
    fail(home, "elm", "sums", 1, at=NIGHT - timedelta(days=1))
    fail(home, "elm", "trees", 2, at=NIGHT - timedelta(days=1), kind="data_unreachable")
    fail(home, "org/oak", "sums", 3, at=NIGHT - timedelta(days=1))  # its two days are not over
    home.lake.supersede("trees", "org/oak", "lost")
    found = home.scheduled("nightly_retry", NIGHT)
    assert {request.partition_key: request.tags[REASON] for request in found} == {
        "elm": "sums: failed (out_of_memory, attempt 2); trees: failed (data_unreachable, attempt 3)",
        "org/oak": "trees: new",
    }
    assert requests(home, NIGHT) == {
        "2026-03-05 03:00 elm asked": "sums trees",
        "2026-03-05 03:00 org/oak asked": "trees",
    }


def test_what_follows_from_a_retry_is_made_by_itself(home: FakeHome) -> None:
    fail(home, "elm", "sums", 1, at=NIGHT - timedelta(days=1))
    home.settle()
    (request,) = home.scheduled("nightly_retry", NIGHT)
    assert home.submit(request) == asked(elm="sums")
    assert home.look() == NOTHING
    assert home.run() == [True]
    assert home.failures() == {}
    (refresh,) = home.settle()
    assert refresh.made >= BELOW_ANSWERS


def test_a_retry_that_fails_again_waits_longer(home: FakeHome) -> None:
    fail(home, "elm", "sums", 1, at=datetime.now(UTC) - timedelta(days=1))
    home.harness.broken = {"elm"}
    home.settle()
    (request,) = home.scheduled("nightly_retry", datetime.now(UTC))
    home.submit(request)
    assert home.run() == [False]
    assert home.failures() == {"elm sums": ("failed", 2)}
    assert asks(home, datetime.now(UTC) + timedelta(hours=23)) == {}
    assert len(asks(home, datetime.now(UTC) + timedelta(hours=25))) == 1


def test_what_is_being_asked_is_not_asked_twice(home: FakeHome) -> None:
    fail(home, "elm", "sums", 1, at=NIGHT - timedelta(days=1))
    fail(home, "org/oak", "sums", 1, at=NIGHT - timedelta(days=1))
    home.submit(dg.RunRequest(asset_selection=[dg.AssetKey(["responses", "sums"])], partition_key="elm"))
    assert requests(home, NIGHT) == {"2026-03-05 03:00 org/oak asked": "sums"}


def test_one_night_one_request(home: FakeHome) -> None:
    """Dagster starts no second run of the same key, however often the daemon starts or the clock is set back."""
    fail(home, "elm", "sums", 1, at=NIGHT - timedelta(days=1))
    assert requests(home, NIGHT) == requests(home, NIGHT)
    assert requests(home, NIGHT) != requests(home, NIGHT + timedelta(days=1))


def test_a_derived_asset_that_failed_is_made_again(home: FakeHome) -> None:
    home.failing = {"forecasts"}
    home.change("elm", family="leafy")
    home.settle()
    assert requests(home, NIGHT) == {"2026-03-05 03:00 refresh": "forecasts warehouse report"}
    (request,) = home.scheduled("nightly_retry", NIGHT)
    assert request.tags[REASON].startswith("forecasts: correctness_matrix changed; warehouse: ")
    home.failing = set()
    home.submit(request)
    assert requests(home, NIGHT) == {}  # it waits to be made
    assert home.run() == [True]
    assert requests(home, NIGHT) == {}
    assert home.look() == NOTHING


def test_answers_come_first_and_what_is_made_of_them_follows_by_itself(home: FakeHome) -> None:
    home.failing = {"forecasts"}
    home.change("elm", family="leafy")
    home.settle()
    fail(home, "org/oak", "sums", 1, at=NIGHT - timedelta(days=1))
    assert requests(home, NIGHT) == {"2026-03-05 03:00 org/oak asked": "sums"}


def test_without_answers_only_what_needs_none_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = FakeHome(tmp_path, monkeypatch).on_disk()
    assert requests(empty, NIGHT) == {"2026-03-05 03:00 refresh": "imported_results coverage"}
    empty.settle()
    assert requests(empty, NIGHT) == {}
    assert requests(empty, WEEK_S_END, "weekly_full_refresh") == {}


def test_a_command_at_work_does_it_itself(home: FakeHome) -> None:
    fail(home, "elm", "sums", 1, at=NIGHT - timedelta(days=1))
    with held_here(home.settings.home):
        assert requests(home, NIGHT) == {}
        assert requests(home, WEEK_S_END, "weekly_full_refresh") == {}


# --- weekly_full_refresh


def test_every_answer_is_compared_with_weights_and_tasks(home: FakeHome) -> None:
    found = home.scheduled("weekly_full_refresh", WEEK_S_END)
    assert {request.run_key: request.tags[REASON] for request in found} == {
        "2026-03-08 04:00 elm asked": "weekly: are weights and tasks what they were?",
        "2026-03-08 04:00 org/oak asked": "weekly: are weights and tasks what they were?",
        "2026-03-08 04:00 refresh": "embedder: weekly: does it still come out the same?; "
        "report: weekly: does it still come out the same?",
    }
    for request in found:
        home.submit(request)
    assert home.look() == NOTHING
    assert home.run() == [True, True, True]
    assert home.harness.asked == []
    assert home.look() == NOTHING


def test_other_weights_under_the_same_name_are_found(home: FakeHome) -> None:
    home.harness.weights = {"elm": "retrained"}
    assert home.look() == NOTHING
    for request in home.scheduled("weekly_full_refresh", WEEK_S_END):
        home.submit(request)
    assert home.run() == [True, True, True]
    assert home.harness.asked == ["elm sums", "elm trees"]
    assert home.aside() == ["elm sums", "elm trees"]
    (refresh,) = home.settle()
    assert refresh.made == BELOW_ANSWERS - {"coverage"}


def test_expensive_experiments_wait_no_longer_than_a_week(home: FakeHome) -> None:
    home.change("elm", family="leafy")
    (refresh,) = home.settle()
    assert not refresh.made & EXPENSIVE
    found = home.scheduled("weekly_full_refresh", WEEK_S_END)
    assert found[-1].run_key == "2026-03-08 04:00 refresh"
    assert {key.to_user_string() for key in found[-1].asset_selection or ()} == {
        *EXPENSIVE,
        "embedder",
        "warehouse",
        "report",
    }
    home.submit(found[-1])
    assert home.run() == [True]
    assert home.look() == NOTHING
    later = WEEK_S_END + timedelta(weeks=1)
    assert [request.partition_key for request in home.scheduled("weekly_full_refresh", later)] == [
        "elm",
        "org/oak",
        None,
    ]


def test_the_week_leaves_back_off_to_the_nights(home: FakeHome) -> None:
    fail(home, "elm", "sums", 5, at=WEEK_S_END - timedelta(days=1))
    found = requests(home, WEEK_S_END, "weekly_full_refresh")
    assert found["2026-03-08 04:00 elm asked"] == "trees"
    assert found["2026-03-08 04:00 org/oak asked"] == "sums trees"


def test_models_of_a_zoo_that_is_not_trained_are_not_asked(home: FakeHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.zoo.is_built", lambda folder, seed: False)
    home.made_by = "zoo"
    home.write_registry()
    home.reload()
    (request,) = home.scheduled("weekly_full_refresh", WEEK_S_END)
    assert request.partition_key is None
    assert dg.AssetKey("zoo") in (request.asset_selection or ())
