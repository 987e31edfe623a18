import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.warehouse.imports.readers.reading_logs import FORMATS, read, real_files
from warehouse.imports.readers.lighteval import LightevalReader
from warehouse.imports.readers.reader import OLDER, LogFile

TIME = "2026-08-10T17-22-11.385681"
LATER = "2026-08-11T00-00-00.000000"


def row(number: int, gold: int | list[int], metric: dict[str, Any], **more: Any) -> dict[str, Any]:
    ways = more.pop("ways", ["LOGPROBS"])
    doc = {"query": f"Which colour is {number}?", "choices": [" Red", " Blue"], "gold_index": gold, "id": str(number)}
    response = {"text": [], "logprobs": [-2.0, -1.0], "input_tokens": [], "output_tokens": [], **more}
    doc |= {"task_name": "colours|0", "sampling_methods": ways}
    return {"doc": doc, "metric": metric, "model_response": response}


def write(
    root: Path, rows: list[dict[str, Any]], task: str = "colours|0", time: str = TIME, model: str = "org/m"
) -> Path:
    path = root / "details" / model / time / f"details_{task}_{time}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def test_options_that_were_scored(tmp_path: Path) -> None:
    write(tmp_path, [row(5, 1, {"acc": 1}), row(3, 0, {"acc": 0})])
    answers, notes = read(LightevalReader(), tmp_path)
    shared = {"model": "org/m", "category": "colours", "answer": "Blue"}
    shared |= dict.fromkeys(["item", "split", "tokens_in", "tokens_out", "cost", "latency_s"])
    assert answers == [
        {"row": 1, "text": "Which colour is 5?\nA. Red\nB. Blue", "correct": True, "score": 1.0, **shared}
        | {"doc_id": 5, "target": "Blue"},
        {"row": 2, "text": "Which colour is 3?\nA. Red\nB. Blue", "correct": False, "score": 0.0, **shared}
        | {"doc_id": 3, "target": "Red"},
    ]
    run = notes.runs["org/m", "colours"]
    assert (run.tool, run.metric, run.settings) == ("lighteval", "acc", {"task": "colours|0", "num_fewshot": 0})


def test_replies_and_several_right_answers(tmp_path: Path) -> None:
    wrote = {"text": ["It is blue"], "input_tokens": [1, 2, 3], "output_tokens": [[4, 5]], "logprobs": []}
    rows = [row(1, [0, 1], {"em": True, "f1": 0.5}, ways=["GENERATIVE"], **wrote)]
    write(tmp_path, rows, task="lighteval|colours|5")
    answers, notes = read(LightevalReader(), tmp_path)
    assert answers == []
    assert notes.problems == [
        "colours has 2 metrics that could grade it (em, f1); choose one with --metric em, or for it alone with "
        "--metric colours=em"
    ]
    answers, notes = read(LightevalReader(), tmp_path, metric={"colours": "em"})
    (answer,) = answers
    assert (answer["text"], answer["target"], answer["answer"]) == (
        "Which colour is 1?",
        '["Red", "Blue"]',
        "It is blue",
    )
    assert (answer["correct"], answer["tokens_in"], answer["tokens_out"]) == (True, 3, 2)
    assert notes.runs["org/m", "colours"].settings == {"task": "lighteval|colours|5", "num_fewshot": 5}
    _, notes = read(LightevalReader(), tmp_path, metric={"": "f1"})
    assert notes.problems[0].endswith(
        "row 1: metric f1 is 0.5, neither 0 nor 1; say with --threshold from which number on an answer is right"
    )
    answers, _ = read(LightevalReader(), tmp_path, metric={"": "f1"}, threshold=0.4)
    assert [(one["correct"], one["score"]) for one in answers] == [(True, 0.5)]


def test_columns_as_the_documentation_calls_them(tmp_path: Path) -> None:
    rows = [{f"__{name}__": value for name, value in row(1, 1, {"acc": 1.0}).items()}]
    write(tmp_path, rows)
    answers, _ = read(LightevalReader(), tmp_path)
    assert [(one["text"], one["correct"]) for one in answers] == [("Which colour is 1?\nA. Red\nB. Blue", True)]


def test_columns_that_did_not_fit_are_texts_of_python(tmp_path: Path) -> None:
    texts = {name: str(value) for name, value in row(1, 1, {"acc": 1.0}).items()}
    texts["doc"] = texts["doc"].replace("'LOGPROBS'", "<SamplingMethod.LOGPROBS: 'LOGPROBS'>")
    write(tmp_path, [texts])
    answers, _ = read(LightevalReader(), tmp_path)
    assert [(one["text"], one["correct"]) for one in answers] == [("Which colour is 1?\nA. Red\nB. Blue", True)]


@pytest.mark.parametrize("as_text", [False, True])
def test_details_of_2023_and_2024(tmp_path: Path, as_text: bool) -> None:
    shared = {"instruction": "", "num_asked_few_shots": 5, "gold": [], "cont_tokens": [[7]], "input_tokens": [[1, 2]]}
    rows: list[dict[str, Any]] = [
        {"example": f"Which colour is {number}?", "full_prompt": f"…Which colour is {number}?", **shared}
        | {"choices": ["Red", "Blue"], "gold_index": [number], "predictions": [-1.0, -2.0], "metrics": {"acc": acc}}
        for number, acc in enumerate([1.0, 0.0])
    ]
    if as_text:
        rows = [{name: value if name == "example" else str(value) for name, value in one.items()} for one in rows]
    folder = tmp_path / "details_org__m" / TIME
    folder.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / f"details_harness|colours:warm|25_{TIME}.parquet")
    answers, notes = read(LightevalReader(), tmp_path)
    assert [(one["model"], one["category"], one["text"], one["correct"], one["answer"]) for one in answers] == [
        ("org/m", "colours:warm", "Which colour is 0?\nA. Red\nB. Blue", True, "Red"),
        ("org/m", "colours:warm", "Which colour is 1?\nA. Red\nB. Blue", False, "Red"),
    ]
    assert notes.runs["org/m", "colours:warm"].settings["num_fewshot"] == 25


def test_metrics_that_are_columns_of_their_own(tmp_path: Path) -> None:
    rows = [{"example": "Is it?", "choices": ["yes", "no"], "gold_index": 0, "num_asked_few_shots": 5, "acc": 0.0}]
    write(tmp_path, rows)
    answers, _ = read(LightevalReader(), tmp_path)
    assert [(one["text"], one["correct"]) for one in answers] == [("Is it?\nA. yes\nB. no", False)]


def test_a_missing_grade_is_not_a_wrong_answer(tmp_path: Path) -> None:
    write(tmp_path, [row(1, 1, {"acc": 1.0}), row(2, 1, {"acc": None}), row(3, 1, {"acc": float("nan")})])
    answers, notes = read(LightevalReader(), tmp_path)
    assert [one["doc_id"] for one in answers] == [1]
    assert [(reason, n) for (_, reason), n in notes.left_out.items()] == [
        ("answers without a grade (acc is missing)", 2)
    ]


def test_the_model_of_the_results_and_the_newest_run(tmp_path: Path) -> None:
    older = write(tmp_path, [row(1, 1, {"acc": 0})], model="m")
    write(tmp_path, [row(1, 1, {"acc": 1})], time=LATER, model="m")
    for time in (TIME, LATER):
        config = {"lighteval_sha": "abc", "model_config": {"model_name": "org/true"}}
        (tmp_path / f"results_{time}.json").write_text(json.dumps({"config_general": config, "results": {}}))
    answers, notes = read(LightevalReader(), tmp_path)
    assert [(one["model"], one["correct"]) for one in answers] == [("org/true", True)]
    assert [*notes.left_out] == [(older.relative_to(tmp_path).as_posix(), OLDER)]
    assert notes.runs["org/true", "colours"].version == "abc"


def test_what_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a", [row(1, 1, {"acc": 0})])
    write(tmp_path / "a", [row(1, 1, {"acc": 1})], task="colours|5")
    _, notes = read(LightevalReader(), tmp_path / "a")
    assert notes.problems[0].endswith("are both colours with org/m, and no newer than each other; import one of them")
    pq.write_table(pa.Table.from_pylist([row(1, 1, {"acc": 0})]), tmp_path / "0000.parquet")
    _, notes = read(LightevalReader(), tmp_path / "0000.parquet")
    assert notes.problems == ["neither 0000.parquet nor its folder says its model; say it with --model"]
    answers, _ = read(LightevalReader(), tmp_path / "0000.parquet", model="m")
    assert [(one["model"], one["category"]) for one in answers] == [("m", "colours")]
    cut = write(tmp_path / "b", [row(1, 1, {"acc": 0})])
    cut.write_bytes(cut.read_bytes()[:-100])
    _, notes = read(LightevalReader(), tmp_path / "b")
    assert "is no whole Parquet file" in notes.problems[0]
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / f"results_{TIME}.json").write_text('{"config_general": {}}')
    _, notes = read(LightevalReader(), tmp_path / "c")
    assert notes.problems == [
        f"results_{TIME}.json: totals only; run lighteval with --save-details, and import the folder details, too"
    ]


@real_files
def test_real_details() -> None:
    answers, notes = read(LightevalReader(), FORMATS / "lighteval")
    assert [(one["model"], one["category"], one["doc_id"], one["correct"]) for one in answers] == [
        ("eee-smoke/dummy-model", "anli:r1", 776, False),
        ("eee-smoke/dummy-model", "anli:r1", 507, False),
    ]
    assert notes.problems == []


@real_files
def test_no_other_file_is_taken_for_one_of_lighteval() -> None:
    reader = LightevalReader()
    files = [LogFile(path, path.relative_to(FORMATS).as_posix()) for path in FORMATS.rglob("*") if path.is_file()]
    recognised = {file.name for file in files if reader.recognises(file)}
    assert recognised == {file.name for file in files if file.name.startswith("lighteval/")}
