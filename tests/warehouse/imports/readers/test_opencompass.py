import json
from pathlib import Path
from typing import Any

import pytest

from tests.warehouse.imports.readers.reading_logs import FORMATS, read, real_files
from warehouse.imports.readers.opencompass import OpenCompassReader
from warehouse.imports.readers.reader import OLDER, LogFile

RUN = "20240501_120000"
SHOTS = [{"role": "HUMAN", "prompt": "1+1?"}, {"role": "BOT", "prompt": "2"}]


def write(
    root: Path, stage: str, document: object, run: str = RUN, dataset: str = "sums", model: str = "qwen-7b"
) -> Path:
    path = root / run / stage / model / f"{dataset}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def item(prompt: object, correct: object, **more: object) -> dict[str, Any]:
    return {
        "prompt": prompt,
        "origin_prediction": "It is 4",
        "predictions": "4",
        "references": "4",
        "correct": correct,
        **more,
    }


def texts(answers: list[dict[str, Any]]) -> list[tuple[str, bool]]:
    return [(answer["text"], answer["correct"]) for answer in answers]


def test_generated_answers(tmp_path: Path) -> None:
    details = {"type": "GEN", "0": item("2+2?", True), "1": item([*SHOTS, {"role": "HUMAN", "prompt": "3+1?"}], False)}
    write(tmp_path, "results", {"accuracy": 50.0, "type": "GEN", "details": details})
    answers, notes = read(OpenCompassReader(), tmp_path)
    shared = {"model": "qwen-7b", "category": "sums", "target": "4", "answer": "It is 4"}
    shared |= dict.fromkeys(["split", "tokens_in", "tokens_out", "cost", "latency_s"])
    assert answers == [
        {"row": 1, "text": "2+2?", "correct": True, "score": 1.0, "item": "0", "doc_id": 0, **shared},
        {"row": 2, "text": "3+1?", "correct": False, "score": 0.0, "item": "1", "doc_id": 1, **shared},
    ]
    run = notes.runs["qwen-7b", "sums"]
    assert (run.tool, run.metric, run.settings) == ("opencompass", "correct", {"run": RUN, "data_set": "sums"})


@pytest.mark.parametrize(
    "prompt",
    [
        "<|im_start|>system\nBe kind<|im_end|>\n<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n",
        "<s>[INST] 1+1? [/INST] 2 </s><s>[INST] 2+2? [/INST]",
        "<|start_header_id|>user<|end_header_id|>\n\n2+2?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        "2+2?",
    ],
)
def test_the_template_of_a_model_is_no_part_of_the_question(tmp_path: Path, prompt: str) -> None:
    write(tmp_path, "results", {"accuracy": 100, "details": {"0": item(prompt, True)}})
    answers, _ = read(OpenCompassReader(), tmp_path)
    assert texts(answers) == [("2+2?", True)]


def test_compared_perplexities(tmp_path: Path) -> None:
    tried = {
        letter: {"prompt": f"Shots\nIt is {word} here", "PPL": 3.0}
        for letter, word in {"A": "hot", "B": "cold"}.items()
    }
    details = {"0": {"origin_prediction": tried, "predictions": "A", "references": "A", "correct": True}}
    write(tmp_path, "results", {"accuracy": 100.0, "details": details, "type": "PPL"})
    answers, _ = read(OpenCompassReader(), tmp_path)
    assert texts(answers) == [("Shots\nIt is\nA. hot here\nB. cold here", True)]
    replies = {f"label: {letter}": {**one, "testing input": one["prompt"][6:]} for letter, one in tried.items()}
    write(tmp_path, "predictions", {"0": {**replies, "prediction": "A", "gold": "A"}})
    answers, _ = read(OpenCompassReader(), tmp_path)
    assert texts(answers) == [("It is\nA. hot here\nB. cold here", True)]
    assert (answers[0]["target"], answers[0]["answer"]) == ("A", "A")


def test_the_list_of_newer_versions_has_its_prompts_in_the_predictions(tmp_path: Path) -> None:
    graded = {"sums_1": [True, True, False], "sums_0": [False], "sums_2": [True, False]}
    details = [
        {"example_abbr": name, "pred": ["4"], "answer": ["4"], "correct": right} for name, right in graded.items()
    ]
    write(tmp_path, "results", {"accuracy": 50.0, "nested": {"a": 1}, "details": details})
    answers, notes = read(OpenCompassReader(), tmp_path)
    assert answers == []
    assert notes.problems == [
        f"{RUN}/results/qwen-7b/sums.json has no prompts; import the folder of the run, with "
        "predictions/qwen-7b/sums.json, or give texts with --questions"
    ]
    answers, _ = read(OpenCompassReader(), tmp_path, questions={"sums_0": "0+4?"})
    assert texts(answers) == [("0+4?", False)]
    for part, numbers in enumerate([[0, 1], [2]]):
        replies = {str(place): {"origin_prompt": f"{n}+?", "prediction": "4"} for place, n in enumerate(numbers)}
        write(tmp_path, "predictions", replies, dataset=f"sums_{part}")
    answers, notes = read(OpenCompassReader(), tmp_path)
    assert [(answer["text"], answer["correct"], round(answer["score"], 2)) for answer in answers] == [
        ("1+?", True, 0.67),
        ("0+?", False, 0.0),
    ]
    assert [(reason, n) for (_, reason), n in notes.left_out.items()] == [
        ("answers without a grade, or whose repetitions are a tie", 1)
    ]
    answers, _ = read(OpenCompassReader(), tmp_path, epochs="any_correct")
    assert texts(answers) == [("1+?", True), ("0+?", False), ("2+?", True)]


def test_a_prediction_that_is_missing_shifts_no_other(tmp_path: Path) -> None:
    details = [{"example_abbr": f"sums_{n}", "pred": ["4"], "correct": [n == 1]} for n in range(2)]
    write(tmp_path, "results", {"accuracy": 50.0, "details": details})
    write(tmp_path, "predictions", {"1": {"origin_prompt": "1+?", "prediction": "4"}})
    answers, notes = read(OpenCompassReader(), tmp_path)
    assert texts(answers) == [("1+?", True)]
    assert [(reason, n) for (_, reason), n in notes.left_out.items()] == [("answers without a prompt", 1)]


def test_details_may_follow_anything(tmp_path: Path) -> None:
    more = {"pred": ["4", "5"], "by": {"year": {"2024": 1}}, "accuracy": 100.0}
    path = write(tmp_path, "results", {**more, "details": {"0": item("2+2?", True)}})
    path.write_text(json.dumps(json.loads(path.read_text()), indent=4))
    answers, _ = read(OpenCompassReader(), tmp_path)
    assert texts(answers) == [("2+2?", True)]


def test_a_detail_that_is_no_object_is_counted(tmp_path: Path) -> None:
    write(tmp_path, "results", {"accuracy": 1, "details": {"type": "GEN", "0": item("2+2?", True), "1": None}})
    answers, notes = read(OpenCompassReader(), tmp_path)
    assert texts(answers) == [("2+2?", True)]
    assert [n for _, n in notes.left_out.items()] == [1]


@pytest.mark.parametrize("name", ["is_correct", "cascade_correct"])
def test_other_evaluators_call_the_grade_otherwise(tmp_path: Path, name: str) -> None:
    write(tmp_path, "results", {"accuracy": 1, "details": {"0": {"prompt": "2+2?", "pred": "4", name: True}}})
    answers, _ = read(OpenCompassReader(), tmp_path)
    assert texts(answers) == [("2+2?", True)]


def test_an_answer_that_a_model_picked_out_is_a_choice(tmp_path: Path) -> None:
    details = {"0": item("2+2?", False, model_extract_correct=True)}
    write(tmp_path, "results", {"accuracy": 0.0, "details": details})
    _, notes = read(OpenCompassReader(), tmp_path)
    assert notes.problems[0].startswith("sums has 2 metrics that could grade it (correct, model_extract_correct)")
    answers, _ = read(OpenCompassReader(), tmp_path, metric={"": "model_extract_correct"})
    assert texts(answers) == [("2+2?", True)]


def test_the_newest_run_wins(tmp_path: Path) -> None:
    write(tmp_path, "results", {"accuracy": 0, "details": {"0": item("2+2?", False)}})
    write(tmp_path, "results", {"accuracy": 0, "details": {"0": item("2+2?", True)}}, run="20240601_000000")
    answers, notes = read(OpenCompassReader(), tmp_path)
    assert texts(answers) == [("2+2?", True)]
    assert list(notes.left_out) == [
        (
            f"{RUN}/results/qwen-7b/sums.json",
            OLDER,
        )
    ]


def test_what_is_not_graded_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a", "predictions", {"0": {"origin_prompt": "2+2?", "prediction": "4", "gold": "4"}})
    answers, notes = read(OpenCompassReader(), tmp_path / "a")
    assert answers == []
    assert notes.problems == [
        f"{RUN}/predictions/qwen-7b/sums.json holds predictions that are not graded; grade them with `opencompass "
        f"CONFIG --mode eval --reuse {RUN} --dump-eval-details`, and import the folder results, too"
    ]
    write(tmp_path / "b", "results", {"accuracy": 50.0, "type": "GEN"})
    _, notes = read(OpenCompassReader(), tmp_path / "b")
    assert notes.problems == [
        f"{RUN}/results/qwen-7b/sums.json holds totals only; move the folder results away, and grade again with "
        f"`opencompass CONFIG --mode eval --reuse {RUN} --dump-eval-details`"
    ]
    ungraded = item("2+2?", None)
    del ungraded["correct"]
    write(tmp_path / "c", "results", {"bleu": 50.0, "details": {"type": "GEN", "0": ungraded}})
    answers, notes = read(OpenCompassReader(), tmp_path / "c")
    assert answers == []
    assert notes.problems == [
        f"{RUN}/results/qwen-7b/sums.json: the details say of no answer whether it is correct; its evaluator grades "
        "the data set as a whole, so that it cannot be imported"
    ]


@real_files
def test_real_predictions_are_refused() -> None:
    answers, notes = read(OpenCompassReader(), FORMATS / "opencompass")
    assert answers == []
    assert notes.problems == [
        "predictions/qwen-7b-chat-hf/COREV2_6A_.json holds predictions that are not graded; grade them with "
        "`opencompass CONFIG --mode eval --reuse TIME --dump-eval-details`, and import the folder results, too"
    ]


@real_files
def test_no_other_file_is_taken_for_one_of_opencompass() -> None:
    reader = OpenCompassReader()
    files = [LogFile(path, path.relative_to(FORMATS).as_posix()) for path in FORMATS.rglob("*") if path.is_file()]
    assert {file.name.split("/")[0] for file in files if reader.recognises(file)} == {"opencompass"}
