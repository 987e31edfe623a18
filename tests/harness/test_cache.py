from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import cache
from harness.cache import AnswerFile

score = st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.booleans())
text = st.text(st.characters(codec="utf-8"))


@given(st.dictionaries(st.tuples(text, text), score))
def test_kept_answers_come_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, answers: dict[tuple[str, str], Any]
) -> None:
    path = tmp_path_factory.mktemp("kept") / "b.jsonl"
    kept = AnswerFile(path)
    for args, answer in answers.items():
        kept.add_partial("loglikelihood", args, answer)
    kept.save()

    found = AnswerFile(path)
    assert {args: found.find("loglikelihood", args) for args in answers} == answers
    assert found.find("generate_until", ("never", {"until": []})) is None


def test_line_torn_by_a_kill_costs_its_own_answer_only(tmp_path: Path) -> None:
    path = tmp_path / "b.jsonl"
    first = AnswerFile(path)
    for context in ("a", "b"):
        first.add_partial("loglikelihood", (context, " c"), (-1.5, True))
    first.save()
    path.write_bytes(path.read_bytes()[:-9])
    second = AnswerFile(path)
    second.add_partial("loglikelihood", ("d", " c"), (-2.5, False))
    second.save()

    found = AnswerFile(path)
    assert [found.find("loglikelihood", (context, " c")) for context in ("a", "b", "d")] == [
        (-1.5, True),
        None,
        (-2.5, False),
    ]


def test_answers_reach_the_disk_while_others_are_awaited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "FLUSH_SECONDS", 0.0)
    AnswerFile(tmp_path / "b.jsonl").add_partial("loglikelihood", ("a", " b"), (-1.0, True))

    assert AnswerFile(tmp_path / "b.jsonl").find("loglikelihood", ("a", " b")) == (-1.0, True)


def test_sampled_text_is_drawn_anew(tmp_path: Path) -> None:
    kept = AnswerFile(tmp_path / "b.jsonl")
    sampled, greedy = ("q", {"do_sample": True}), ("q", {"do_sample": False})
    kept.add_partial("generate_until", sampled, "one of many")
    kept.add_partial("generate_until", greedy, "the only one")
    kept.save()

    found = AnswerFile(tmp_path / "b.jsonl")
    assert (found.find("generate_until", sampled), found.find("generate_until", greedy)) == (
        None,
        "the only one",
    )
