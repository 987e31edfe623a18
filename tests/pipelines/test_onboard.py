"""`embedllm onboard` on a home whose other models have been evaluated."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.errors import CommandError

pytestmark = pytest.mark.slow  # the first run is


@pytest.fixture
def home(embedllm: Any, first_run: Any) -> Any:
    """A copy of the first run's home, with four of its models registered."""
    shutil.copytree(first_run.home, embedllm.home)
    return embedllm


@pytest.fixture
def weights(tmp_path: Path, save_model: Callable[[Path, int], None]) -> str:
    save_model(tmp_path / "weights", 7)
    return f"pretrained={tmp_path / 'weights'}"


def registered(home: Any) -> dict[str, dict[str, Any]]:
    assert home.registry
    return {entry["name"]: entry for entry in yaml.safe_load((home.registry / "models.yaml").read_text())["models"]}


def test_a_new_model_from_a_few_answers(home: Any, weights: str) -> None:
    others = home.rows("FROM model_embeddings ORDER BY model")
    files = {path: path.read_bytes() for path in (home.home / "embedders").rglob("*") if path.is_file()}

    done = home.here("onboard", "tiny/new", "--budget", "24", "--arg", weights, "--family", "new")
    assert done.exit_code == 0, done.output
    assert "Onboarded tiny/new from 24 answers, 24 of them new." in done.stdout
    assert registered(home)["tiny/new"] == {
        "name": "tiny/new",
        "args": {"pretrained": weights.removeprefix("pretrained=")},
        "family": "new",
        "budget": 24,
    }

    found = home.rows("FROM onboarded ORDER BY benchmark")
    assert [(row["benchmark"], row["n"]) for row in found] == [("all", 120), ("fruit", 40), ("sums", 40), ("towns", 40)]
    assert "24 questions" in home.here("models", "list").stdout
    assert found[0]["answered"] == sum(row["answered"] for row in found[1:]) == 24
    for row in found:
        assert f"{row['accuracy']:.4f} │ {row['ci_low']:.4f} │  {row['ci_high']:.4f}" in done.stdout
    nearest = home.rows("SELECT other FROM model_similarity WHERE model = 'tiny/new' ORDER BY distance")
    assert [row["other"] in done.stdout for row in nearest] == [True] * 4

    assert [row for row in home.rows("FROM model_embeddings ORDER BY model") if row["model"] != "tiny/new"] == others
    assert {path: path.read_bytes() for path in files} == files
    routed = home.here("route", "What is 3 plus 4 ?")
    assert "tiny/new" in routed.stdout
    assert home.rows("SELECT DISTINCT model, estimated FROM leaderboard WHERE model = 'tiny/new'") == [
        {"model": "tiny/new", "estimated": True}
    ]
    statuses = home.rows("SELECT benchmark, status FROM coverage WHERE model = 'tiny/new' AND n > 0")
    assert {row["status"] for row in statuses} == {"onboarded"}

    more = home.here("onboard", "tiny/new", "--budget", "40")
    assert "Onboarded tiny/new from 40 answers, 16 of them new." in more.stdout
    again = home.here("onboard", "tiny/new")
    assert "Onboarded tiny/new from 40 answers, 0 of them new." in again.stdout
    assert home.rows("SELECT count(*) AS n FROM onboarding_responses") == [{"n": 40}]
    assert home.rows("SELECT count(*) AS n FROM responses WHERE model = 'tiny/new'") == [{"n": 0}]


def test_a_registered_model_without_a_budget_is_still_to_be_evaluated(
    home: Any, micro: Path, write_registry: Callable[..., Path]
) -> None:
    assert home.registry
    with (home.registry / "models.yaml").open("a") as file:
        file.write(f"- name: tiny/new\n  args: {{pretrained: {micro / 'models' / 'a'}}}\n")
    done = home.here("onboard", "tiny/new", "--budget", "16")
    assert done.exit_code == 0, done.output
    assert "its entry has no `budget`, so" in done.stdout
    assert "budget" not in registered(home)["tiny/new"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["tiny/new"], "tiny/new is not in the registry: add --arg pretrained=…"),
        (["tiny/a"], "tiny/a has been evaluated in full"),
        (["tiny/new", "--arg", "pretrained=x", "--budget", "500"], "A budget of 500 is more than the 95 training"),
        (["tiny/new", "--arg", "pretrained", "--budget", "16"], "--arg 'pretrained' has no value"),
        (["tiny/new", "--arg", "pretrained=x", "--budget", "3"], "budget"),
    ],
)
def test_what_cannot_be_onboarded_is_said_in_a_sentence(home: Any, arguments: list[str], said: str) -> None:
    before = registered(home)
    done = home.here("onboard", *arguments)
    assert done.exit_code == 1
    assert said in done.stderr
    assert "Traceback" not in done.output
    assert registered(home) == before


def test_what_is_in_the_registry_is_not_described_again(home: Any, weights: str) -> None:
    assert home.here("onboard", "tiny/new", "--budget", "16", "--arg", weights).exit_code == 0
    done = home.here("onboard", "tiny/new", "--family", "other")
    assert done.exit_code == 1
    assert "models.yaml already; change its entry there, and give nothing but --budget here" in done.stderr


def test_a_model_whose_folder_is_missing(home: Any, tmp_path: Path) -> None:
    before = registered(home)
    done = home.here("onboard", "tiny/new", "--budget", "16", "--arg", f"pretrained={tmp_path / 'gone'}")
    assert done.exit_code == 1
    assert f"there is no {tmp_path / 'gone'}" in done.stderr
    assert registered(home) == before


def test_a_model_that_cannot_be_asked_leaves_no_entry(home: Any, tmp_path: Path) -> None:
    before = registered(home)
    (tmp_path / "empty").mkdir()
    done = home.here("onboard", "tiny/new", "--budget", "16", "--arg", f"pretrained={tmp_path / 'empty'}")
    assert done.exit_code == 1
    assert "tiny/new" in done.stderr
    assert registered(home) == before
    assert "tiny/new" not in home.here("models", "list").stdout


def test_an_entry_is_written_last_and_answers_are_kept_until_then(
    home: Any, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = registered(home)
    command = ("onboard", "tiny/new", "--budget", "16", "--arg", weights)
    with monkeypatch.context() as patch:

        def fail(*_: Any, **__: Any) -> None:
            raise CommandError("no space left")

        patch.setattr("pipelines.local.runner.make_assets", fail)
        done = home.here(*command)
    assert "no space left" in done.stderr
    assert registered(home) == before
    done = home.here(*command)
    assert "Onboarded tiny/new from 16 answers, 0 of them new." in done.stdout
    assert registered(home).keys() == {*before, "tiny/new"}


def test_a_name_that_is_taken_is_refused_before_anything_is_asked(home: Any, weights: str) -> None:
    done = home.here("onboard", "TINY/A", "--budget", "16", "--arg", weights)
    assert done.exit_code == 1
    assert "the name 'tiny/a' is taken" in done.stderr


def test_before_anything_was_evaluated(embedllm: Any, weights: str) -> None:
    before = registered(embedllm)
    done = embedllm.here("onboard", "tiny/new", "--arg", weights)
    assert done.exit_code == 1
    assert "There is no embedder yet" in done.stderr
    assert registered(embedllm) == before
