"""`embedllm import` of logs, `imports`, `export` and `models adopt`, as a user types them."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.cli.adopt import why_not_on_hub
from tests.command import Command
from warehouse.lake import Lake

ASKED = ("Which is wet?", "Which is dry?", "Which is cold?")


def write_log(folder: Path, model: str, right: tuple[int, ...], **metrics: Any) -> Path:
    """Write what lm-eval logs of a task that it does not bring itself."""
    folder = folder / model.replace("/", "__")
    folder.mkdir(parents=True)
    rows = [
        {
            "doc_id": i, "doc": {"question": text}, "target": "water", "arguments": {"gen_args_0": {"arg_0": text}},
            "resps": [["water"]], "filtered_resps": ["water"], "filter": "none", "metrics": ["acc", *metrics],
            "doc_hash": "…", "prompt_hash": "…", "target_hash": "…", "acc": float(grade), **metrics,
        }
        for i, (text, grade) in enumerate(zip(ASKED, right, strict=False))
    ]  # fmt: skip
    (folder / "samples_wetness_2025-06-01T00-00-00.000000.jsonl").write_text(
        "".join(f"{json.dumps(r)}\n" for r in rows)
    )
    return folder


def run(embedllm: Any, *arguments: object) -> str:
    done = embedllm.here(*map(str, arguments))
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split())


def refusal(embedllm: Any, *arguments: object) -> str:
    done = embedllm.here(*map(str, arguments))
    assert done.exit_code == 1, done.output
    return " ".join(done.stderr.split())


def accuracies(embedllm: Any) -> list[tuple[str, str, float]]:
    answers = Lake(embedllm.home / "lake").now().answers
    return [(*pair, event.accuracy) for pair, event in sorted(answers.items())]


def test_a_folder_of_logs_comes_in_and_goes(embedllm: Any, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    write_log(logs, "org/m", (1, 0, 1))
    write_log(logs, "org/n", (0, 0, 1))
    said = run(embedllm, "import", logs, "--dry-run")
    assert f"Would import {logs}: 6 answers of 2 models to 3 questions in 1 benchmarks." in said
    assert "org/m │ wetness │ wetness │ 3 │ 0.6667 │ new │ acc │ none │ lm-eval" in said
    assert accuracies(embedllm) == []
    assert f"Imported {logs}: 6 answers" in run(embedllm, "import", logs)
    assert f"Nothing new in {logs}" in run(embedllm, "import", logs)
    assert accuracies(embedllm) == [("wetness", "org/m", 2 / 3), ("wetness", "org/n", 1 / 3)]
    assert "`embedllm run` makes it of what was imported" in refusal(embedllm, "sql", "FROM imported_runs")
    write_log(logs, "org/o", (0, 0, 1))
    said = run(embedllm, "import", logs, "--dry-run", "--metric", "acc")
    assert [said.count(f"│ {word} │ acc") for word in ("new", "same")] == [1, 2]
    shutil.rmtree(logs / "org__o")
    shutil.rmtree(logs / "org__n")
    assert "would lose what this source brings no longer: org/n on wetness." in run(
        embedllm, "import", logs, "--dry-run"
    )
    said = run(embedllm, "imports", "list")
    assert re.search(rf"{logs} │ 6 │ 2 │ 3 │ lm-eval │ │ \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d │", said)
    assert f"{logs} is removed." in run(embedllm, "imports", "remove", logs)
    assert accuracies(embedllm) == []
    assert "Nothing was imported" in run(embedllm, "imports", "list")
    assert "; there are: none." in refusal(embedllm, "imports", "remove", logs)


def test_what_a_log_leaves_open_is_asked_for(embedllm: Any, tmp_path: Path) -> None:
    log = write_log(tmp_path / "logs", "org/m", (1, 0, 1), acc_norm=1.0, f1=0.75)
    said = refusal(embedllm, "import", log)
    assert "wetness has 2 metrics that could grade it (acc, acc_norm); choose one with --metric acc" in said
    assert "say with --threshold" in refusal(embedllm, "import", log, "--metric", "wetness=f1")
    assert "--threshold nan: give a number" in refusal(embedllm, "import", log, "--metric", "f1", "--threshold", "nan")
    run(embedllm, "import", log, "--metric", "f1", "--threshold", "0.5")
    assert accuracies(embedllm) == [("wetness", "org/m", 1.0)]
    said = run(embedllm, "import", log, "--metric", "acc", "--filter", "stric")
    assert "Warning: nothing here was graded by --filter stric." in said
    assert "there is no format lm_eval; choose one of embedllm, lm-eval" in refusal(
        embedllm, "import", log, "--format", "lm_eval"
    )
    assert "--map label: give OURS=THEIRS" in refusal(embedllm, "import", log, "--map", "label")


def test_what_a_user_should_know_of_an_import_is_said(embedllm: Any, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    write_log(logs, "org/m", (1, 0, 1))
    newest = write_log(logs / "later", "org/m", (1,)) / "samples_wetness_2025-06-01T00-00-00.000000.jsonl"
    newest.rename(newest.with_name("samples_wetness_2025-07-01T00-00-00.000000.jsonl"))
    (other := write_log(logs, "org/n", (0, 0, 1))).joinpath("notes.txt").write_text("no log")
    log = next(other.glob("*.jsonl"))
    log.write_text(log.read_text().replace('"acc"', '"exact_match"'))
    said = run(embedllm, "import", logs)
    assert f"Left out: files of no known format (1, in {other}/notes.txt)." in said
    assert "has 1 questions, but" in said
    assert "has 3; to have those, import that file alone." in said
    assert (
        "Note: the text of the questions of wetness is that of the log, without its few-shot part as far as the log "
        "tells (no definition of the task is known)." in said
    )
    assert (
        "Warning: in wetness, models are graded by different metrics, filters or scorers (acc, none; exact_match, "
        "none); choose one for all" in said
    )


def test_imported_models_are_adopted(embedllm: Any, tmp_path: Path) -> None:
    write_log(tmp_path / "logs", "org/m", (1, 0, 1))
    api = write_log(tmp_path / "more", "api-model", (1, 0, 1))
    run(embedllm, "import", api, "--model", "api-model")
    labels = tmp_path / "models.csv"
    labels.write_text("model_name,family,size_b,communities\norg/m,llama-2,7,coding\n")
    run(embedllm, "import", tmp_path / "logs", "--models", labels)
    assert "Would add 1 models (org/m)." in run(embedllm, "models", "adopt", "--dry-run")
    said = run(embedllm, "models", "adopt")
    assert "Added 1 models to" in said
    assert "Left out: a name without an owner (owner/name) (api-model)." in said
    assert yaml.safe_load((embedllm.registry / "models.yaml").read_text())["models"][-1] == {
        "name": "org/m", "backend": "hf", "args": {"pretrained": "org/m"}, "family": "llama-2", "size_b": 7.0,
        "communities": ["coding"],
    }  # fmt: skip
    assert "nothing is not among the imported models" in refusal(embedllm, "models", "adopt", "nothing")


@pytest.mark.parametrize(
    ("name", "run", "reason"),
    [
        ("org/m", {"tool": "inspect"}, None),
        ("openai/gpt-oss-20b", {"tool": "lm-eval", "settings": '{"backend": "vllm"}'}, None),
        ("openai/gpt-oss-20b", {"tool": "inspect"}, "called by the provider"),
        ("anthropic/x", {}, "called by the provider"),
        ("ollama/qwen2.5", {}, "called by the provider"),
        ("org/qwen2.5:0.5b", {}, "no name that a hub can have"),
        ("hf/org/m", {"tool": "inspect"}, "no name that a hub can have"),
        ("org/m", {"tool": "lm-eval", "settings": '{"backend": "openai-chat-completions"}'}, "asked through an API"),
        ("openai/gpt-4o", {}, "only an API serves"),
        ("gpt2", {}, "without an owner"),
    ],
)
def test_what_cannot_be_a_model_of_a_hub_is_known_by_its_name_or_its_log(
    name: str, run: dict[str, Any], reason: str | None
) -> None:
    said = why_not_on_hub(name, [{"tool": "table", "settings": None, **run}])
    assert (said is None) if reason is None else (said is not None and reason in said)


def test_adopting_makes_a_registry_where_there_is_none(tmp_path: Path) -> None:
    embedllm = Command(tmp_path / "home")
    run(embedllm, "import", write_log(tmp_path / "logs", "org/m", (1, 0, 1)))
    said = run(embedllm, "models", "adopt")
    assert f"Made {embedllm.home / 'registry'}, the registry of this home" in said
    assert "org/m" in run(embedllm, "models", "list")
    assert "No imported model can be added." in run(embedllm, "models", "adopt")


def test_an_export_is_a_home_s_answers_for_others(embedllm: Any, tmp_path: Path) -> None:
    run(embedllm, "import", write_log(tmp_path / "logs", "org/m", (1, 0, 1)))
    assert f"{tmp_path / 'out'} has 4 files." in run(embedllm, "export", tmp_path / "out")
    assert "has files already" in refusal(embedllm, "export", tmp_path / "out", "--format", "wide")
    run(embedllm, "imports", "remove", tmp_path / "logs" / "org__m")
    run(embedllm, "import", tmp_path / "out")
    assert accuracies(embedllm) == [("wetness", "org/m", 2 / 3)]
