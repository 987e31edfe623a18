"""What has changed on this machine is asked again by the next run; by `--again`, whatever has not."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from pipelines.automation.plan import REASON


@pytest.fixture
def own(embedllm: Any, micro: Path, tmp_path: Path) -> Any:
    """The command on a registry of two models and two benchmarks whose files are its own."""
    for name in ("models", "tasks"):
        shutil.copytree(micro / name, tmp_path / name)
    for task in (tmp_path / "tasks").glob("*.yaml"):
        task.write_text(task.read_text().replace(str(micro), str(tmp_path)))
    models = [{"name": f"tiny/{name}", "args": {"pretrained": str(tmp_path / "models" / name)}} for name in "ab"]
    benchmarks = [{"name": name, "tasks": [f"micro_{name}"], "metric": "acc"} for name in ("fruit", "sums")]
    (embedllm.registry / "models.yaml").write_text(yaml.safe_dump({"models": models}))
    (embedllm.registry / "benchmarks.yaml").write_text(
        yaml.safe_dump({"tasks_dir": str(tmp_path / "tasks"), "benchmarks": benchmarks})
    )
    return embedllm


def accuracies(home: Any) -> dict[str, float]:
    rows = home.rows("SELECT model, benchmark, accuracy FROM leaderboard WHERE benchmark <> 'all'")
    return {f"{row['model']} {row['benchmark']}": row["accuracy"] for row in rows}


def reasons(home: Any) -> dict[str, str]:
    """By model, why it was asked, of all runs so far; the last holds."""
    with dg.DagsterInstance.from_config(str(home.home / "dagster")) as instance:
        runs = instance.get_runs(dg.RunsFilter(job_name="evaluate"))
    return {run.tags["dagster/partition"]: run.tags[REASON] for run in reversed(runs)}


@pytest.mark.slow
def test_what_has_changed_is_asked_again_and_nothing_else(own: Any, tmp_path: Path) -> None:
    first = own("run")
    assert first.returncode == 0, first.stderr
    before = accuracies(own)

    shutil.copytree(tmp_path / "models" / "b", tmp_path / "models" / "a", dirs_exist_ok=True)  # b's weights for a
    data = tmp_path / "tasks" / "sums.jsonl"
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    data.write_text("".join(json.dumps({**row, "label": (row["label"] + 1) % 4}) + "\n" for row in rows))
    second = own("run")
    assert second.returncode == 0, second.stderr
    after = accuracies(own)
    assert after["tiny/a fruit"] == after["tiny/b fruit"] == before["tiny/b fruit"] != before["tiny/a fruit"]
    assert after["tiny/a sums"] == after["tiny/b sums"] != before["tiny/b sums"]
    task, weights = "its task definition, its code or its data", "args.pretrained holds other files"
    assert reasons(own) == {
        "tiny/a": f"fruit: changed ({weights}); sums: changed ({weights})",
        "tiny/b": f"sums: changed ({task})",
    }

    third = own("run", "--again", "tiny/b", "--benchmark", "fruit")
    assert third.returncode == 0, third.stderr
    assert reasons(own)["tiny/b"] == "asked again, as was wished"
    assert "correctness_matrix" not in third.stderr  # the same answers: nothing to be made of them
    assert accuracies(own) == after


def test_again_names_what_the_registry_has(own: Any) -> None:
    for arguments, problem in (
        (("--again", "tiny/c"), "No model 'tiny/c' in"),
        (("--again", "tiny/a", "--benchmark", "towns"), "No benchmark 'towns' in"),
        (("--benchmark", "sums"), "--benchmark goes with --again MODEL"),
    ):
        done = own.here("run", *arguments)
        assert done.exit_code != 0
        assert problem in " ".join((done.output + done.stderr).split())


@pytest.mark.slow
def test_a_chat_server_next_to_multiple_choice_is_no_failure(own: Any, write_registry: Callable[..., Path]) -> None:
    chat = {
        "name": "chat",
        "backend": "local-chat-completions",
        "apply_chat_template": True,
        "args": {"base_url": "http://127.0.0.1:9/v1/chat/completions", "model": "m"},
    }
    models = yaml.safe_load((own.registry / "models.yaml").read_text())["models"]
    models[1]["except"] = ["fruit"]
    (own.registry / "models.yaml").write_text(yaml.safe_dump({"models": [*models, chat]}))
    first = own("run")
    assert first.returncode == 0, first.stderr
    assert "chat is not asked fruit, sums: a chat server gives no log probabilities" in first.stderr
    coverage = "SELECT model, benchmark, status, reason FROM coverage WHERE status <> 'done' ORDER BY ALL"
    rows = own.rows(coverage)
    assert [(row["model"], row["benchmark"], row["status"]) for row in rows] == [
        ("chat", "fruit", "not_applicable"),
        ("chat", "sums", "not_applicable"),
        ("tiny/b", "fruit", "not_applicable"),
    ]
    assert rows[2]["reason"] == "the model's entry leaves this benchmark out"
    assert own.rows("FROM failures") == []
    second = own("run")
    assert second.returncode == 0
    assert "Nothing changed" in second.stderr
