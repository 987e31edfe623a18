import json
from pathlib import Path
from typing import Any

import pytest

from tests.warehouse.imports.readers.reading_logs import FORMATS, read, real_files
from warehouse.imports.readers.every_eval_ever import EveryEvalEverReader
from warehouse.imports.readers.reader import LogFile


def sample(number: int, score: float | None, **more: Any) -> dict[str, Any]:
    return {
        "schema_version": "0.3.0", "evaluation_id": "e", "model_id": "org/m", "evaluation_name": "wet",
        "sample_id": number, "input": {"raw": f"{number}?", "reference": ["water"], "choices": ["water", "sand"]},
        "output": {"raw": ["water"]}, "evaluation": {"score": score, "is_correct": score == 1},
        "token_usage": {"input_tokens": 5, "output_tokens": 1}, "performance": {"latency_ms": 500}, **more,
    }  # fmt: skip


def write(path: Path, *samples: dict[str, Any]) -> Path:
    path.write_text("".join(f"{json.dumps(one)}\n" for one in samples))
    return path


def test_all_that_a_sample_tells(tmp_path: Path):
    whole = {"schema_version": "0.3.0", "evaluation_id": "e", "eval_library": {"name": "helm", "version": "0.5"}}
    (tmp_path / "u.json").write_text(json.dumps({**whole, "evaluation_results": []}))
    timed = {"performance": {"latency_ms": None, "generation_time_ms": 500}}
    write(tmp_path / "u_samples.jsonl", sample(1, 1.0, **timed), sample(2, None), sample(3, 0, error="time-out"))
    answers, notes = read(EveryEvalEverReader(), tmp_path)
    assert answers == [
        {
            "row": 1, "model": "org/m", "category": "wet", "text": "1?\nA. water\nB. sand", "correct": True,
            "score": 1.0, "item": "1", "doc_id": None, "split": None, "target": "water", "answer": "water",
            "tokens_in": 5, "tokens_out": 1, "cost": None, "latency_s": 0.5,
        }
    ]  # fmt: skip
    assert [*notes.left_out.values()] == [2]
    assert (notes.runs["org/m", "wet"].tool, notes.runs["org/m", "wet"].version) == ("helm", "0.5")


def test_a_metric_of_which_less_is_better_grades_nothing(tmp_path: Path):
    results = [{"evaluation_name": "wet", "metric_config": {"lower_is_better": True}}, {"evaluation_name": "dry"}]
    whole = {"schema_version": "0.3.0", "evaluation_id": "e", "evaluation_results": results}
    (tmp_path / "u.json").write_text(json.dumps(whole))
    write(tmp_path / "u_samples.jsonl", sample(1, 1.0))
    answers, notes = read(EveryEvalEverReader(), tmp_path)
    assert answers == []
    assert notes.problems == ["u_samples.jsonl: score cannot grade wet, as its results say: the less, the better"]


def test_metrics_filters_and_epochs_are_told_apart(tmp_path: Path):
    rows = [
        sample(1, 1.0, evaluation_result_id="wet.acc:test", metadata={"filter": "strict", "epoch": epoch})
        | {"evaluation_name": "wet/strict"}
        for epoch in (1, 2, 3)
    ]
    rows[2]["evaluation"] = {"score": 0.0, "is_correct": False}
    rows.append(
        sample(1, 0.0, evaluation_result_id="wet.acc:test", metadata={"filter": "loose"})
        | {"evaluation_name": "wet/loose"}
    )
    path = write(tmp_path / "s.jsonl", *rows)
    answers, _ = read(EveryEvalEverReader(), path, filter={"": "strict"})
    assert [(answer["category"], answer["correct"], answer["score"]) for answer in answers] == [("wet", True, 2 / 3)]
    _, notes = read(EveryEvalEverReader(), path)
    assert "wet has 2 filters that could grade it (loose, strict); choose one with --filter loose" in notes.problems[0]


def test_a_score_between_is_what_the_log_says_or_the_threshold(tmp_path: Path):
    graded = [{"evaluation": {"score": score, "is_correct": score > 0.4}} for score in (0.5, 0.25)]
    path = write(tmp_path / "s.jsonl", *(sample(n, 1.0) | own for n, own in enumerate(graded)))
    answers, notes = read(EveryEvalEverReader(), path)
    assert [(answer["correct"], answer["score"]) for answer in answers] == [(True, 0.5), (False, 0.25)]
    assert notes.remarks == [
        "s.jsonl has 2 scores that are neither 0 nor 1; its is_correct says which are right, unless --threshold does."
    ]
    answers, notes = read(EveryEvalEverReader(), path, threshold=0.2)
    assert ([answer["correct"] for answer in answers], notes.remarks) == ([True, True], [])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"evaluation": {"score": 0.5}}, "line 1: the score is 0.5, neither 0 nor 1; say with --threshold"),
        ({"evaluation": {"score": 1, "is_correct": False}}, "line 1: the score is 1 and is_correct is false"),
        ({"model_id": None}, "line 1 has no model_id"),
    ],
)
def test_what_cannot_be_told_is_refused(tmp_path: Path, change: dict[str, Any], said: str):
    _, notes = read(EveryEvalEverReader(), write(tmp_path / "s.jsonl", sample(1, 1.0) | change))
    assert said in notes.problems[0]


@real_files
def test_real_samples():
    answers, _ = read(EveryEvalEverReader(), FORMATS / "eee")
    assert [(answer["model"], answer["category"], answer["correct"]) for answer in answers] == [
        ("ollama/qwen2.5-0.5b", "allenai/ai2_arc", True), ("ollama/qwen2.5-0.5b", "allenai/ai2_arc", False),
        ("ollama/qwen2.5-0.5b", "allenai/ai2_arc", False), ("demo-org/demo-model", "demo-source.demo_bench", True),
    ]  # fmt: skip
    others = [path for path in FORMATS.rglob("*") if path.is_file() and path.parent.name != "eee"]
    assert not any(EveryEvalEverReader().recognises(LogFile(path, path.name)) for path in others)
