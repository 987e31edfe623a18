from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from warehouse.database.publish import publish
from warehouse.database.read import query
from warehouse.lake import Lake
from warehouse.lake.answers import Written
from warehouse.lake.questions import question_ids

TEXTS = list("abcdef")
QUESTIONS = pa.table(
    {"task": ["t"] * 6, "doc_id": range(6), "text": TEXTS, "category": ["t"] * 6},
)


def ask(lake: Lake, model: str, grades: Mapping[int, bool], fingerprint: str = "f", benchmark: str = "b") -> Written:
    answers = pa.table(
        {
            "task": ["t"] * len(grades),
            "doc_id": list(grades),
            "correct": list(grades.values()),
            "score": [float(grade) for grade in grades.values()],
        }
    )
    return lake.write_onboarding(benchmark, model, answers, QUESTIONS, {"fingerprint": fingerprint})


def answered(lake: Lake, benchmark: str = "b") -> dict[str, bool]:
    """Text of the question and whether the answer was right, in the lake's order."""
    texts = dict(zip(question_ids(benchmark, TEXTS), TEXTS, strict=True))
    return {texts[row["question_id"]]: row["correct"] for row in lake.onboarding_responses().to_pylist()}


def test_onboarding_answers_lie_apart(lake: Lake, evaluated: Callable[..., None]):
    evaluated(lake, "b", "full", "101010")
    state, onboarding = lake.state(), lake.onboarding_state()
    lake.record_failure("b", "new", "failed", "why")
    assert ask(lake, "new", {4: True, 1: False}) == Written(rows=2, accuracy=0.5, changed=True)
    assert answered(lake) == {"b": False, "e": True}
    assert lake.pairs() == [("b", "full")]
    assert lake.failure("b", "new") is None
    assert lake.state() == state
    assert lake.onboarding_state() != onboarding
    assert lake.onboarded_models() == ["new"]
    metadata = lake.onboarding_metadata("b", "new")
    assert metadata is not None
    assert (metadata["fingerprint"], metadata["rows"], metadata["model"]) == ("f", "2", "new")
    assert lake.onboarding_metadata("b", "full") is None


def test_more_answers_are_added_and_newer_ones_hold(lake: Lake):
    ask(lake, "m", {0: True, 1: True})
    assert ask(lake, "m", {1: False, 5: True}) == Written(rows=3, accuracy=pytest.approx(2 / 3), changed=True)
    assert answered(lake) == {"a": True, "b": False, "f": True}


def test_the_same_answers_again_change_nothing(lake: Lake, versions_of: Callable[[Lake], dict[str, int]]):
    ask(lake, "m", {0: True, 1: True})
    before = versions_of(lake)
    assert not ask(lake, "m", {1: True}).changed
    assert versions_of(lake) == before


def test_answers_under_another_fingerprint_make_place(lake: Lake):
    ask(lake, "m", {0: True, 1: True}, "old")
    ask(lake, "m", {2: False}, "new")
    assert answered(lake) == {"c": False}


def test_dropped_answers_are_gone(lake: Lake):
    for model in ("m", "n"):
        for benchmark in ("b", "c"):
            ask(lake, model, {0: True}, benchmark=benchmark)
    lake.drop_onboarding("m", "c")
    assert lake.onboarding_metadata("c", "m") is None
    assert lake.onboarded_models() == ["m", "n"]
    lake.drop_onboarding("m")
    lake.drop_onboarding("m")
    assert lake.onboarded_models() == ["n"]
    assert lake.onboarding_responses()["benchmark"].to_pylist() == ["b", "c"]


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    truth=st.lists(st.booleans(), min_size=6, max_size=6),
    batches=st.lists(st.sets(st.integers(0, 5), min_size=1), min_size=1, max_size=4),
    order=st.randoms(use_true_random=False),
)
def test_the_order_of_batches_does_not_show(
    tmp_path_factory: pytest.TempPathFactory,
    truth: Sequence[bool],
    batches: list[set[int]],
    order,
):
    one, other = (Lake(tmp_path_factory.mktemp("lake")) for _ in range(2))
    shuffled = order.sample(batches, len(batches))
    for lake, sequence in ((one, batches), (other, shuffled)):
        for batch in sequence:
            ask(lake, "m", {document: truth[document] for document in batch})
    assert one.onboarding_responses().to_pylist() == other.onboarding_responses().to_pylist()
    assert one.onboarding_state() == other.onboarding_state()
    assert answered(one) == {TEXTS[n]: truth[n] for n in sorted(set().union(*batches))}


def test_onboarding_answers_reach_a_table_of_their_own(lake: Lake, database: Path, evaluated: Callable[..., None]):
    evaluated(lake, "b", "full", "101010")
    ask(lake, "new", {4: True, 1: False})
    publish(lake, database)
    rows = query(
        database,
        "SELECT text, model, benchmark, correct, score FROM onboarding_responses "
        "JOIN questions USING (question_id, benchmark) ORDER BY text",
    ).to_pylist()
    assert [tuple(row.values()) for row in rows] == [("b", "new", "b", False, 0.0), ("e", "new", "b", True, 1.0)]
    assert query(database, "SELECT DISTINCT model FROM responses").to_pylist() == [{"model": "full"}]
