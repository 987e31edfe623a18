import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from warehouse.database.publish import publish
from warehouse.database.read import query
from warehouse.errors import WarehouseError
from warehouse.lake import Lake, question_ids
from warehouse.lake.questions import split_of

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
         "split": split_of("a"), "target": None},
        {"question_id": second, "benchmark": "b", "category": "t", "task": "t", "doc_id": 1, "text": "b",
         "split": split_of("b"), "target": None},
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


def test_the_same_answers_are_not_written_again(lake: Lake, evaluated: Callable[..., None], versions_of):
    evaluated(lake, "b", "m", "10", started="2026-01-01")
    before, state = versions_of(lake), lake.state()
    evaluated(lake, "b", "m", "10", started="2026-02-02")
    assert versions_of(lake) == before
    evaluated(lake, "b", "m", "10", seed="1")  # says more of the same answers
    assert versions_of(lake) == before | {"evaluations": 1}
    assert lake.state() == state


def test_the_same_answers_again_end_a_failure(lake: Lake, evaluated: Callable[..., None], versions_of):
    evaluated(lake, "b", "m", "10")
    lake.record_failure("b", "m", "interrupted", "it began")
    before = versions_of(lake)
    evaluated(lake, "b", "m", "10")
    assert lake.failure("b", "m") is None
    assert versions_of(lake) == before | {"evaluations": 2}


def test_metadata_tells_what_determined_the_answers(lake: Lake, evaluated: Callable[..., None]):
    evaluated(lake, "b", "m", "110", fingerprint="abc", seed="0")
    metadata = lake.response_metadata("b", "m")
    assert metadata is not None
    assert metadata["fingerprint"] == "abc"
    assert metadata["seed"] == "0"
    assert metadata["rows"] == "3"
    assert float(metadata["accuracy"]) == pytest.approx(2 / 3)


def test_where_and_how_fast_it_was_asked_is_told(lake: Lake, database: Path):
    where = {"fingerprint": "f", "node": "rack-7", "gpu": "H100", "seconds": "2.5", "tokens_per_second": "810.4"}
    lake.write_evaluation("b", "m", answers(("t", 1, True, 0.9)), QUESTIONS, {**where, "asked": "2"})
    lake.write_evaluation("b", "old", answers(("t", 1, True, 0.9)), QUESTIONS, {"fingerprint": "f"})
    publish(lake, database)
    rows = query(database, "SELECT model, asked, node, gpu, seconds, tokens_per_second FROM evaluations ORDER BY model")
    assert rows.to_pylist() == [
        {"model": "m", "asked": 2, "node": "rack-7", "gpu": "H100", "seconds": 2.5, "tokens_per_second": 810.4},
        {"model": "old", "asked": None, "node": None, "gpu": None, "seconds": None, "tokens_per_second": None},
    ]


def test_the_same_answers_from_elsewhere_are_the_same(lake: Lake, versions_of: Callable[[Lake], dict[str, int]]):
    known = {"fingerprint": "f", "node": "here", "seconds": "2.5"}
    lake.write_evaluation("b", "m", answers(("t", 1, True, 0.9)), QUESTIONS, known)
    before = versions_of(lake)
    lake.write_evaluation("b", "m", answers(("t", 1, True, 0.9)), QUESTIONS, known | {"node": "there", "gpu": "H100"})
    assert versions_of(lake) == before


def test_order_of_evaluations_does_not_matter(tmp_path, evaluated: Callable[..., None]):
    one, two = Lake(tmp_path / "one"), Lake(tmp_path / "two")
    for lake, models in ((one, ("m", "n")), (two, ("n", "m"))):
        for model in models:
            evaluated(lake, "b", model, "101")
    assert (one.responses(), one.questions(), one.state()) == (two.responses(), two.questions(), two.state())


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
    assert len(set(states)) == 3
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


def test_what_is_known_of_answers_comes_back(lake: Lake, database: Path, evaluated: Callable[..., None]):
    known = {"answer": "Paris", "tokens_in": 9, "tokens_out": 1, "cost": 0.25, "latency_s": 1.5}
    evaluated(lake, "b", "m", "1", known)
    evaluated(lake, "b", "n", "1", {"answer": "Rome"})
    evaluated(lake, "b", "silent", "1")
    nothing = dict.fromkeys(known)
    expected = [("m", known), ("n", nothing | {"answer": "Rome"}), ("silent", nothing)]
    for model, told in expected:
        answers = lake.rows_of(lake.now().answers["b", model])
        assert answers.select(list(known)).to_pylist() == [told]
    assert [(row["model"], row["cost"]) for row in lake.usage().to_pylist()] == [("m", 0.25)]
    publish(lake, database)
    rows = query(database, f"SELECT model, {', '.join(known)} FROM responses ORDER BY model").to_pylist()
    assert rows == [{"model": model} | told for model, told in expected]


def test_what_else_becomes_known_of_the_same_grades_is_no_other_state(lake: Lake, evaluated: Callable[..., None]):
    evaluated(lake, "b", "m", "1")
    state = lake.state()
    evaluated(lake, "b", "m", "1", {"answer": "Paris"})
    assert lake.responses().num_rows == 1
    answers = lake.rows_of(lake.now().answers["b", "m"])
    assert answers["answer"].to_pylist() == ["Paris"]
    assert lake.state() == state


def test_what_is_right_comes_back_and_is_not_forgotten(lake: Lake, database: Path):
    told = QUESTIONS.append_column("target", pa.array(["Paris", None]))
    lake.write_evaluation("b", "m", answers(("t", 0, True, 1.0)), told, {})
    lake.write_evaluation("b", "n", answers(("t", 0, True, 1.0)), QUESTIONS, {})
    assert lake.questions()["target"].to_pylist() == ["Paris", None]
    publish(lake, database)
    rows = query(database, "SELECT text, target FROM questions ORDER BY text").to_pylist()
    assert rows == [{"text": "a", "target": "Paris"}, {"text": "b", "target": None}]


def test_what_is_written_together_is_one_commit_seen_at_its_end(
    lake: Lake, evaluated: Callable[..., None], versions_of
):
    other = Lake(lake.address)
    done: list[int] = []
    with lake.together() as writing:
        for model in ("m", "n"):
            evaluated(lake, "b", model, "10")
        lake.record_failure("b", "o", "failed", "why")
        writing.after(lambda: done.append(len(lake.pairs())))
        assert lake.pairs() == other.pairs() == done == []
    assert lake.pairs() == other.pairs() == [("b", "m"), ("b", "n")]
    assert other.failures().num_rows == 1
    assert done == [2]
    assert versions_of(lake) == {"evaluations": 0, "questions": 0, "responses": 0}


def test_what_was_finished_before_an_error_is_kept(lake: Lake, evaluated: Callable[..., None]):
    with pytest.raises(KeyboardInterrupt), lake.together():  # noqa: PT012
        evaluated(lake, "b", "m", "10")
        raise KeyboardInterrupt
    assert Lake(lake.address).pairs() == [("b", "m")]
    evaluated(lake, "b", "n", "10")  # is not held back
    assert Lake(lake.address).pairs() == [("b", "m"), ("b", "n")]


def test_what_is_discarded_never_was(lake: Lake, evaluated: Callable[..., None], versions_of):
    with lake.together() as writing:
        evaluated(lake, "b", "m", "10")
        writing.discard()
    assert versions_of(lake) == {}
    evaluated(lake, "b", "m", "10")
    assert lake.pairs() == [("b", "m")]
    assert lake.count_questions() == 2


def test_who_asks_for_a_still_lake_sees_what_was_there(lake: Lake, evaluated: Callable[..., None]):
    evaluated(lake, "b", "m", "10")
    with lake.still(), ThreadPoolExecutor(1) as pool:
        evaluated(Lake(lake.address), "b", "n", "10")
        pool.submit(evaluated, lake, "b", "o", "10").result()
        assert lake.pairs() == [("b", "m")]
    assert lake.pairs() == [("b", "m"), ("b", "n"), ("b", "o")]


EVALUATE = """
import sys
import pyarrow as pa
from warehouse.lake import Lake
questions = pa.table({"task": ["t", "t"], "doc_id": [0, 1], "text": ["a", "b"], "category": ["t", "t"]})
graded = pa.table({"task": ["t", "t"], "doc_id": [0, 1], "correct": [True, False], "score": [1.0, 0.0]})
lake = Lake(sys.argv[1])
before = lake.pairs()
lake.write_evaluation("b", "m", graded, questions, {"fingerprint": "f"})
print(before, lake.pairs())
"""


KILLED = """
import os, signal
import deltalake
write = deltalake.write_deltalake
def dying(table, *arguments, **options):
    if "evaluations" in str(table):
        os.kill(os.getpid(), signal.SIGKILL)
    write(table, *arguments, **options)
deltalake.write_deltalake = dying
"""


def test_processes_see_what_others_write(lake: Lake, evaluated: Callable[..., None], python):
    evaluated(lake, "b", "first", "10")
    done = python(EVALUATE, lake.address)
    assert done.stdout == "[('b', 'first')] [('b', 'first'), ('b', 'm')]\n", done.stderr
    assert lake.pairs() == [("b", "first"), ("b", "m")]
    lake.supersede("b", "m", "why")
    assert lake.responses()["model"].to_pylist() == ["first", "first"]


@pytest.mark.parametrize("moment", [1, 2, 3])
def test_a_killed_evaluation_leaves_nothing_to_be_seen(lake, tmp_path, evaluated, cut_off_before, moment: int):
    assert cut_off_before(moment, lambda: evaluated(Lake(lake.address), "b", "m", "10"))
    assert lake.pairs() == []
    assert lake.questions().num_rows == 0
    evaluated(lake, "b", "m", "10")
    undisturbed = Lake(tmp_path / "undisturbed")
    evaluated(undisturbed, "b", "m", "10")
    assert (lake.responses(), lake.questions(), lake.state()) == (
        *(undisturbed.responses(), undisturbed.questions(), undisturbed.state()),
    )


def test_a_process_that_is_killed_as_it_commits_holds_up_nobody(lake: Lake, evaluated: Callable[..., None], python):
    done = python(KILLED + EVALUATE, lake.address)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert lake.pairs() == []
    evaluated(lake, "b", "n", "10")
    assert lake.pairs() == [("b", "n")]


@pytest.fixture
def used(lake: Lake, evaluated: Callable[..., None], asked_few: Callable[..., None], cut_off_before) -> Lake:
    """A lake with answers of every kind, and with some that no event speaks of."""
    for fingerprint, grades in (("f1", "10"), ("f2", "01"), ("f1", "11")):
        evaluated(lake, "b", "m", grades, fingerprint=fingerprint)
    asked_few(lake, "b", "few", "1")
    asked_few(lake, "b", "few", "01")
    lake.record_failure("b", "n", "failed", "why")
    lake.write_table("forecasts", pa.table({"x": [1]}), "it's one")
    lake.write_table("forecasts", pa.table({"x": [2]}), "it's one")
    assert cut_off_before(2, lambda: evaluated(lake, "b", "killed", "10"))
    return lake


def test_a_compaction_that_fails_takes_nothing_from_what_was_written(
    lake: Lake, evaluated: Callable[..., None], monkeypatch: pytest.MonkeyPatch
):
    def lose_the_race(*_: object) -> None:
        raise CommitFailedError("another came first")

    monkeypatch.setattr("warehouse.lake.lake._MANY_FILES", 0)
    monkeypatch.setattr("deltalake.table.TableOptimizer.compact", lose_the_race)
    evaluated(lake, "b", "m", "10")  # which compacts the events
    assert Lake(lake.address).pairs() == [("b", "m")]
    with pytest.raises(WarehouseError, match=r"could not be compacted \(another came first\)"):
        lake.compact()


def test_compaction_removes_what_nobody_needs_and_changes_nothing(used: Lake):
    def seen(lake: Lake) -> tuple[object, ...]:
        tables = lake.responses(), lake.questions(), lake.superseded(), lake.onboarding_responses(), lake.failures()
        return *tables, lake.read_table("forecasts"), lake.state(), lake.onboarding_state(), lake.check()

    def count(lake: Lake) -> tuple[int, int]:
        rows = DeltaTable(lake.tables.at("responses")).to_pyarrow_table().num_rows
        return rows, len(list(Path(lake.tables.at("forecasts")).glob("part=*/*.parquet")))

    other = Lake(used.address)
    before = seen(other)
    used.compact()
    assert count(used) == (11, 2)  # who reads or writes now may still need them
    used.compact(kept=timedelta(0))
    assert seen(used) == seen(other) == seen(Lake(used.address)) == before
    assert count(used) == (2 + 4 + 2, 1)  # in force, superseded, onboarding
    assert len(DeltaTable(used.tables.at("evaluations")).file_uris()) == 1
