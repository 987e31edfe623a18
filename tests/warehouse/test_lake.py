import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest

from warehouse.errors import CorruptFileError
from warehouse.lake import Lake
from warehouse.lake.questions import question_ids, split_of

QUESTIONS = pa.table({"task": ["t", "t"], "doc_id": [0, 1], "text": ["a", "b"], "category": ["t", "t"]})


def answers(*rows: tuple[str, int, bool | None, float | None]) -> pa.Table:
    schema = pa.schema({"task": pa.string(), "doc_id": pa.int64(), "correct": pa.bool_(), "score": pa.float64()})
    return pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema=schema)


def test_an_empty_lake_has_empty_tables(lake: Lake):
    assert lake.pairs() == []
    assert lake.responses().num_rows == lake.questions().num_rows == lake.failures().num_rows == 0
    assert lake.read_table("forecasts") is None
    assert lake.response_metadata("b", "m") is None
    assert lake.imports() == []


def test_answers_meet_their_questions(lake: Lake):
    written = lake.write_evaluation("b", "m", answers(("t", 1, True, 0.9), ("t", 0, False, 0.2)), QUESTIONS, {})
    first, second = question_ids("b", ["a", "b"])
    assert (written.rows, written.accuracy, written.changed) == (2, 0.5, True)
    assert lake.responses().to_pylist() == [
        {"question_id": first, "model": "m", "benchmark": "b", "correct": False, "score": 0.2},
        {"question_id": second, "model": "m", "benchmark": "b", "correct": True, "score": 0.9},
    ]
    assert lake.questions().to_pylist() == [
        {"question_id": first, "benchmark": "b", "category": "t", "task": "t", "doc_id": 0, "text": "a",
         "split": split_of("a")},
        {"question_id": second, "benchmark": "b", "category": "t", "task": "t", "doc_id": 1, "text": "b",
         "split": split_of("b")},
    ]  # fmt: skip


def test_what_was_not_asked_has_no_row(lake: Lake):
    lake.write_evaluation("b", "m", answers(("t", 1, True, 1.0)), QUESTIONS, {})
    assert lake.responses()["question_id"].to_pylist() == question_ids("b", ["a", "b"])[1:]
    assert lake.questions().num_rows == 2


@pytest.mark.parametrize("name", ["Qwen/Qwen1.5-7B-Chat", "50%", "a b", "2024-01-01", "007", "..", "ü=ö", "NULL"])
def test_any_name_comes_back_as_it_was(lake: Lake, evaluated: Callable[..., None], name: str):
    evaluated(lake, name, name, "10")
    assert lake.pairs() == [(name, name)]
    assert lake.responses()["model"].to_pylist() == [name, name]
    assert lake.questions()["benchmark"].to_pylist() == [name, name]
    assert all(part not in (".", "..") for part in lake.responses_path(name, name).relative_to(lake.address).parts)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (answers(), "are empty"),
        (answers(("t", 0, True, 1.0), ("t", 0, True, 1.0)), "document 0 of t twice"),
        (answers(("t", 0, None, 1.0)), "document 0 of t without a grade"),
        (answers(("t", 5, True, 1.0)), "document 5 of t, which is not among the questions"),
    ],
)
def test_answers_that_make_no_sense_are_refused(
    lake: Lake, versions_of: Callable[[Lake], dict[str, int]], given: pa.Table, message: str
):
    with pytest.raises(ValueError, match=message):
        lake.write_evaluation("b", "m", given, QUESTIONS, {})
    assert versions_of(lake) == {}


def test_the_same_answers_are_not_written_again(lake: Lake, evaluated: Callable[..., None]):
    evaluated(lake, "b", "m", "10", started="2026-01-01")
    os.utime(lake.responses_path("b", "m"), (1, 1))
    os.utime(lake.questions_path("b"), (1, 1))
    evaluated(lake, "b", "m", "10", started="2026-02-02")
    assert lake.responses_path("b", "m").stat().st_mtime == lake.questions_path("b").stat().st_mtime == 1
    evaluated(lake, "b", "m", "10", fingerprint="other")
    assert lake.responses_path("b", "m").stat().st_mtime != 1


def test_metadata_tells_what_determined_the_answers(lake: Lake, evaluated: Callable[..., None]):
    evaluated(lake, "b", "m", "110", fingerprint="abc", seed="0")
    metadata = lake.response_metadata("b", "m")
    assert metadata is not None
    assert metadata["fingerprint"] == "abc"
    assert metadata["seed"] == "0"
    assert metadata["rows"] == "3"
    assert float(metadata["accuracy"]) == pytest.approx(2 / 3)


def test_order_of_evaluations_does_not_matter(tmp_path, versions_of, evaluated: Callable[..., None]):
    one, two = Lake(tmp_path / "one"), Lake(tmp_path / "two")
    for lake, models in ((one, ("m", "n")), (two, ("n", "m"))):
        for model in models:
            evaluated(lake, "b", model, "101")
    assert versions_of(one) == versions_of(two)
    assert one.state() == two.state()


def test_evaluations_at_the_same_time_lose_no_question(lake: Lake):
    def evaluate(number: int) -> None:
        questions = pa.table({"task": ["t"], "doc_id": [number], "text": [f"q{number}"], "category": ["t"]})
        lake.write_evaluation("b", f"m{number}", answers(("t", number, True, 1.0)), questions, {})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(evaluate, range(24)))
    assert set(lake.questions()["text"].to_pylist()) == {f"q{number}" for number in range(24)}
    assert len(lake.pairs()) == 24


def test_tables_of_later_stages_come_back(lake: Lake):
    lake.write_table("forecasts", pa.table({"x": [1]}), "one/two")
    lake.write_table("forecasts", pa.table({"x": [2]}))
    assert lake.table_parts("forecasts") == ["one/two", "part"]
    table = lake.read_table("forecasts")
    assert table is not None
    assert sorted(table["x"].to_pylist()) == [1, 2]
    assert lake.read_table("forecasts", "one/two") == pa.table({"x": [1]})
    with pytest.raises(ValueError, match="write_evaluation"):
        lake.write_table("responses", pa.table({"x": [1]}))


def test_embeddings_are_kept_by_encoder(lake: Lake):
    lake.add_question_embeddings("small", ["a", "b"], np.ones((2, 3), dtype=np.float32))
    lake.add_question_embeddings("large", ["a"], np.ones((1, 5), dtype=np.float32))
    lake.add_question_embeddings("small", ["c"], np.zeros((1, 3), dtype=np.float32))
    assert sorted(lake.embedded_questions("small")) == ["a", "b", "c"]
    assert lake.embedded_questions("large") == ["a"]
    assert lake.embedded_questions("other") == []


def test_state_changes_with_what_was_collected_only(lake: Lake, evaluated: Callable[..., None]):
    states = [lake.state()]
    evaluated(lake, "b", "m", "10")
    states.append(lake.state())
    evaluated(lake, "b", "m", "11")
    states.append(lake.state())
    lake.write_table("imported_models", pa.table({"model": ["m"], "family": ["f"]}))
    states.append(lake.state())
    assert len(set(states)) == 4
    lake.write_table("forecasts", pa.table({"x": [1]}))
    lake.record_failure("b", "n", "failed", "why")
    assert lake.state() == Lake(lake.address).state() == states[-1]


def test_the_same_answers_under_another_entry_are_the_same_state(lake: Lake, evaluated: Callable[..., None]):
    evaluated(lake, "b", "m", "10", fingerprint="old")
    before = lake.state()
    evaluated(lake, "b", "m", "10", fingerprint="new", started="2026-02-02")
    lake.annotate("b", "m", {"registry_entry": "e"})
    assert lake.state() == before
    evaluated(lake, "b", "m", "01", fingerprint="new")
    assert lake.state() != before


def test_answers_are_annotated_and_their_failure_forgotten(lake: Lake, evaluated: Callable[..., None], answers_of):
    evaluated(lake, "b", "m", "10", seed="0")
    lake.record_failure("b", "m", "failed", "why")
    lake.annotate("b", "m", {"registry_entry": "e"})
    metadata = lake.response_metadata("b", "m")
    assert metadata is not None
    assert (metadata["registry_entry"], metadata["seed"]) == ("e", "0")
    assert answers_of(lake) == {("b", "a", "m", True), ("b", "b", "m", False)}
    assert lake.failure("b", "m") is None


def test_questions_are_counted(lake: Lake, evaluated: Callable[..., None]):
    assert lake.count_questions() == 0
    evaluated(lake, "b", "m", "101")
    evaluated(lake, "c", "m", "10")
    assert lake.count_questions() == 5


def test_a_damaged_file_is_named(lake: Lake, evaluated: Callable[..., None]):
    evaluated(lake, "b", "m", "10")
    evaluated(lake, "b", "n", "10")
    path = lake.responses_path("b", "n")
    path.write_bytes(path.read_bytes()[:100])
    for read in (lake.responses, lambda: lake.response_metadata("b", "n")):
        with pytest.raises(CorruptFileError, match=f"{path} cannot be read.*delete it"):
            read()


EVALUATE = """
from pathlib import Path
import pyarrow as pa
from warehouse.lake import Lake
questions = pa.table({"task": ["t", "t"], "doc_id": [0, 1], "text": ["a", "b"], "category": ["t", "t"]})
graded = pa.table({"task": ["t", "t"], "doc_id": [0, 1], "correct": [True, False], "score": [1.0, 0.0]})
Lake(Path(sys.argv[2])).write_evaluation("b", "m", graded, questions, {"fingerprint": "f"})
"""


@pytest.mark.parametrize("moment", [1, 2])
def test_a_killed_evaluation_leaves_no_half_file(
    lake, tmp_path, versions_of, evaluated, killed_before, moment: int
):
    assert killed_before(moment, EVALUATE, lake.address)
    assert lake.pairs() == []
    evaluated(lake, "b", "m", "10")
    undisturbed = Lake(tmp_path / "undisturbed")
    evaluated(undisturbed, "b", "m", "10")
    assert versions_of(lake) == versions_of(undisturbed)
