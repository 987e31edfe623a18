from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from warehouse.lake import Lake

WHY = "Its entry has changed."


def test_superseded_answers_are_kept_apart(lake: Lake, evaluated: Callable[..., None]):
    evaluated(lake, "b", "org/m", "110", fingerprint="f1")
    evaluated(lake, "b", "other", "1")
    assert lake.supersede("b", "org/m", WHY)
    assert lake.pairs() == [("b", "other")]
    (row,) = lake.superseded().to_pylist()
    assert row.pop("superseded_at") is not None
    assert row == {
        "benchmark": "b", "model": "org/m", "n": 3, "accuracy": pytest.approx(2 / 3), "fingerprint": "f1", "why": WHY,
    }  # fmt: skip


def test_there_is_nothing_to_supersede(lake: Lake):
    assert not lake.supersede("b", "m", WHY)
    assert lake.superseded().num_rows == 0


def test_superseding_twice_is_superseding_once(lake: Lake, evaluated: Callable[..., None], versions_of):
    evaluated(lake, "b", "m", "10")
    assert lake.supersede("b", "m", WHY)
    before = versions_of(lake)
    assert not lake.supersede("b", "m", WHY)
    assert versions_of(lake) == before


def test_another_fingerprint_supersedes_the_same_one_replaces(lake: Lake, evaluated: Callable[..., None], answers_of):
    evaluated(lake, "b", "m", "10", fingerprint="f1")
    evaluated(lake, "b", "m", "11", fingerprint="f1")
    assert lake.superseded().num_rows == 0
    evaluated(lake, "b", "m", "01", fingerprint="f2")
    assert answers_of(lake) == {("b", "a", "m", False), ("b", "b", "m", True)}
    (row,) = lake.superseded().to_pylist()
    assert (row["fingerprint"], row["accuracy"]) == ("f1", 1.0)
    assert row["why"] == "It was evaluated again, because what determines its answers had changed."


def test_imported_answers_are_kept_when_an_evaluation_takes_their_place(lake: Lake, evaluated, answer_import):
    answer_import(lake, "law", "m", {"a": 1, "b": 0})
    evaluated(lake, "law", "m", "01", fingerprint="f")
    (row,) = lake.superseded().to_pylist()
    assert (row["model"], row["n"], row["fingerprint"]) == ("m", 2, None)


def test_restored_answers_are_those_of_before(lake: Lake, evaluated: Callable[..., None]):
    evaluated(lake, "b", "m", "10", fingerprint="f1", seed="0", started="2026-01-01")
    before = lake.rows_of(lake.now().answers["b", "m"]), lake.response_metadata("b", "m"), lake.state()
    lake.supersede("b", "m", WHY)
    lake.record_failure("b", "m", "failed", "the new entry is wrong")
    assert not lake.restore("b", "m", "f2")
    assert lake.restore("b", "m", "f1")
    assert (lake.rows_of(lake.now().answers["b", "m"]), lake.response_metadata("b", "m"), lake.state()) == before
    assert lake.superseded().num_rows == lake.failures().num_rows == 0
    assert not lake.restore("b", "m", "f1")


def test_restoring_keeps_what_it_replaces(lake: Lake, evaluated: Callable[..., None], answers_of):
    evaluated(lake, "b", "m", "10", fingerprint="f1")
    evaluated(lake, "b", "m", "01", fingerprint="f2")
    assert lake.restore("b", "m", "f1")
    assert answers_of(lake) == {("b", "a", "m", True), ("b", "b", "m", False)}
    assert [row["fingerprint"] for row in lake.superseded().to_pylist()] == ["f2"]
    assert lake.restore("b", "m", "f2")
    assert [row["fingerprint"] for row in lake.superseded().to_pylist()] == ["f1"]


def test_answers_whose_questions_are_gone_do_not_come_back(
    lake: Lake, evaluated: Callable[..., None], answer_import, answers_of
):
    answer_import(lake, "b", "n", {"a": 1, "b": 1})
    evaluated(lake, "b", "m", "10", fingerprint="f1")
    lake.supersede("b", "m", WHY)
    answer_import(lake, "c", "n", {"a": 1}, source="b of n")  # brings b no more
    assert not lake.restore("b", "m", "f1")
    evaluated(lake, "b", "n", "11")  # brings the questions back
    assert lake.restore("b", "m", "f1")
    assert ("b", "a", "m", True) in answers_of(lake)


def test_what_was_evaluated_can_retire(lake: Lake, evaluated, answer_import):
    for benchmark, model in (("b", "stays"), ("b", "leaves"), ("law", "leaves")):
        evaluated(lake, benchmark, model, "10")
    answer_import(lake, "law", "imported", {"a": 1})
    answer_import(lake, "law", "leaves", {"a": 1})  # agrees with the evaluation: a pair of both sources
    assert lake.evaluated() == [("b", "leaves"), ("b", "stays")]
    lake.retire([("b", "leaves")], "It has left the registry.")
    assert lake.pairs() == [("b", "stays"), ("law", "imported"), ("law", "leaves")]
    assert [(row["model"], row["why"]) for row in lake.superseded().to_pylist()] == [
        ("leaves", "It has left the registry.")
    ]
    lake.retire([("b", "leaves")], "again")
    assert len(lake.superseded()) == 1


STEPS: dict[str, Callable[[Lake], object]] = {
    "supersede": lambda lake: lake.supersede("b", "m", WHY),
    "restore": lambda lake: lake.restore("b", "m", "f1"),
    "retire": lambda lake: lake.retire(lake.evaluated(), WHY),
}


def sets_of_answers(lake: Lake) -> list[tuple[str, float]]:
    """(fingerprint, accuracy) of all sets of answers of m to b, active or set aside."""
    active = lake.response_metadata("b", "m")
    found = [(active["fingerprint"], float(active["accuracy"]))] if active else []
    kept = lake.superseded().to_pylist()
    return sorted(found + [(row["fingerprint"], row["accuracy"]) for row in kept if row["model"] == "m"])


@pytest.mark.parametrize(
    ("step", "moment"), [("supersede", 1), ("restore", 1), ("retire", 1), ("write", 1), ("write", 2)]
)
def test_a_kill_at_any_moment_loses_and_doubles_no_answers(
    lake: Lake, evaluated, cut_off_before, step: str, moment: int
):
    evaluated(lake, "b", "m", "10", fingerprint="f1")
    evaluated(lake, "b", "m", "00", fingerprint="f2")
    take = STEPS.get(step, lambda lake: evaluated(lake, "b", "m", "11", fingerprint="f3"))
    assert cut_off_before(moment, lambda: take(Lake(lake.address)))
    before = [("f1", 0.5), ("f2", 0.0)]
    assert sets_of_answers(lake) == before
    take(Lake(lake.address))  # again, to its end
    assert sets_of_answers(lake) == before + ([("f3", 1.0)] if step == "write" else [])
    active = lake.response_metadata("b", "m")
    assert (active and active["fingerprint"]) == {"write": "f3", "restore": "f1"}.get(step)


GRADES = st.sampled_from(["00", "01", "10", "11"])
ACTIONS = st.one_of(
    st.tuples(st.just("write"), st.sampled_from("pqr")),
    st.tuples(st.just("restore"), st.sampled_from("pqr")),
    st.tuples(st.just("supersede"), st.just("")),
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(grades=st.fixed_dictionaries({"p": GRADES, "q": GRADES, "r": GRADES}), actions=st.lists(ACTIONS, max_size=8))
def test_no_fingerprint_is_lost_whatever_happens(
    tmp_path_factory: pytest.TempPathFactory, evaluated: Callable[..., None], grades: dict[str, str], actions
):
    lake = Lake(tmp_path_factory.mktemp("lake"))
    active, kept = None, set[str]()
    for action, fingerprint in actions:
        if action == "supersede":
            assert lake.supersede("b", "m", WHY) == (active is not None)
            kept, active = kept | ({active} if active else set()), None
            continue
        if action == "restore":
            possible = fingerprint in kept and active != fingerprint
            assert lake.restore("b", "m", fingerprint) == possible
            if not possible:
                continue
            kept = kept - {fingerprint}
        else:
            evaluated(lake, "b", "m", grades[fingerprint], fingerprint=fingerprint)
        if active and active != fingerprint:
            kept = kept | {active}
        active = fingerprint
    metadata = lake.response_metadata("b", "m")
    assert (metadata and metadata["fingerprint"]) == active
    assert {row["fingerprint"] for row in lake.superseded().to_pylist()} >= kept - {active}
    for fingerprint in sorted(kept - {active}):
        assert lake.restore("b", "m", fingerprint)
        found = "".join(str(int(row["correct"])) for row in lake.responses().to_pylist())
        assert found == grades[fingerprint]


ON_PAIRS = st.lists(
    st.tuples(
        st.sampled_from(["write", "supersede", "restore", "fail", "forget", "onboard", "drop", "compact"]),
        st.sampled_from([("b", "m"), ("b", "n"), ("c", "m")]),
        st.sampled_from(["f1", "f2"]),
        GRADES,
    ),
    max_size=12,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=ON_PAIRS)
def test_whoever_opens_the_lake_sees_what_its_writer_sees(
    tmp_path_factory: pytest.TempPathFactory, evaluated: Callable[..., None], asked_few: Callable[..., None], steps
):
    lake = Lake(tmp_path_factory.mktemp("lake"))
    earlier = Lake(lake.address)
    for action, (benchmark, model), fingerprint, grades in steps:
        match action:
            case "write":
                evaluated(lake, benchmark, model, grades, fingerprint=fingerprint)
            case "supersede":
                lake.supersede(benchmark, model, WHY)
            case "restore":
                lake.restore(benchmark, model, fingerprint)
            case "fail":
                lake.record_failure(benchmark, model, "failed", "why", fingerprint)
            case "forget":
                lake.forget_failure(benchmark, model)
            case "onboard":
                asked_few(lake, benchmark, model, grades, fingerprint=fingerprint)
            case "drop":
                lake.drop_onboarding(model, benchmark)
            case "compact":
                lake.compact()
        assert all_of(earlier) == all_of(lake)  # it has followed
    assert all_of(Lake(lake.address)) == all_of(lake)
    assert lake.check() == []


def all_of(lake: Lake) -> tuple[object, ...]:
    return (
        *(lake.pairs(), lake.failures(), lake.superseded(), lake.state(), lake.onboarding_state()),
        *(lake.responses().to_pylist(), lake.onboarding_responses().to_pylist(), lake.questions()),
    )


def test_a_reader_sees_answers_that_are_superseded_meanwhile(lake: Lake, evaluated: Callable[..., None]):
    evaluated(lake, "b", "m", "10")
    evaluated(lake, "b", "n", "1")
    with lake.still():
        Lake(lake.address).supersede("b", "m", WHY)
        assert lake.responses()["model"].to_pylist() == ["m", "m", "n"]
    assert lake.responses()["model"].to_pylist() == ["n"]
