"""Whatever a backend returns: a row only where there was an answer."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lm_eval.api.model import LM

from harness.checks import NO_ANSWER
from harness.errors import EvaluationFailed, HarnessError, ImplausibleAnswers, NotNumbers, TooFewAnswered
from harness.evaluate import LoadedModel, TaskIndex, evaluate
from harness.registry import BenchmarkEntry, ModelEntry

LETTERS = {
    "output_type": "multiple_choice",
    "doc_to_text": "{{question}}",
    "doc_to_choice": ["A", "B"],
    "doc_to_target": "label",
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
}
FREE = {
    "output_type": "generate_until",
    "doc_to_text": "{{question}}",
    "doc_to_target": "answer",
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": 3},
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
}
CHOICE = BenchmarkEntry(name="choice", tasks=("choice",), metric="acc")
TEXT = BenchmarkEntry(name="text", tasks=("text",), metric="exact_match")
QUESTIONS = 12


class FakeBackend(LM):
    """Answers what it is told to, by the number of the question and of the choice."""

    def __init__(self, answer: Callable[[int, int], Any], *, tells: bool, drops: int = 0) -> None:
        super().__init__()
        self.answer, self.tells, self.drops = answer, tells, drops
        self.asked = 0

    def _answers(self, attr: str, requests: list[Any]) -> list[Any]:
        answers = []
        for request in requests:
            self.asked += 1
            answers.append(self.answer(request.doc_id, request.idx))
            if self.tells:
                self.cache_hook.add_partial(attr, request.args, answers[-1])
        return answers[self.drops :]

    def loglikelihood(self, requests: list[Any], **_: Any) -> list[Any]:
        return self._answers("loglikelihood", requests)

    def generate_until(self, requests: list[Any], **_: Any) -> list[Any]:
        return self._answers("generate_until", requests)

    def loglikelihood_rolling(self, requests: list[Any], **_: Any) -> list[Any]:
        raise NotImplementedError


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory, write_task: Callable[..., None]) -> TaskIndex:
    folder = tmp_path_factory.mktemp("tasks")
    numbers = range(QUESTIONS)
    write_task(folder, "choice", [{"question": f"Is {i} odd?", "label": i % 2} for i in numbers], LETTERS)
    write_task(folder, "text", [{"question": f"What is {i} + 1?", "answer": str(i + 1)} for i in numbers], FREE)
    many = [{"question": f"Is {i} even?", "label": i % 2} for i in range(200)]
    write_task(folder, "many", many, LETTERS)
    return TaskIndex(folder)


def asking(backend: FakeBackend, cache: Path, **fields: Any) -> LoadedModel:
    model = LoadedModel(ModelEntry(name="m", args={"pretrained": "org/fake"}, **fields), device="cpu", cache_dir=cache)
    model._lm = backend
    return model


@pytest.fixture(autouse=True)
def known_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake model is a hub's, which nobody is asked about."""
    monkeypatch.setattr("harness.identity._resolved", lambda *_: "c0ffee")


finite = st.floats(-50, 0).map(lambda score: (score, False))
no_score = st.sampled_from([None, "x", (math.nan, False), (-math.inf, True), (None, False), 7, []])
text = st.text("0123 ab\n", max_size=3)
no_text = st.sampled_from([None, NO_ANSWER, 7, b"4", ["4"]])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    scores=st.lists(
        st.lists(st.one_of(finite, finite, finite, no_score), min_size=2, max_size=2),
        min_size=QUESTIONS,
        max_size=QUESTIONS,
    ),
    tells=st.booleans(),
    drops=st.sampled_from([0, 0, 0, 1]),
)
def test_a_choice_is_graded_only_where_every_score_is_one(
    scores: list[list[Any]], tells: bool, drops: int, tasks: TaskIndex, tmp_path_factory: pytest.TempPathFactory
) -> None:
    backend = FakeBackend(lambda doc, choice: scores[doc][choice], tells=tells, drops=drops)
    are_answers = all(
        isinstance(s, tuple) and isinstance(s[0], float) and math.isfinite(s[0]) for q in scores for s in q
    )
    try:
        done = evaluate(asking(backend, tmp_path_factory.mktemp("cache")), CHOICE, tasks)
    except HarnessError:
        ties = sum(a[0] == b[0] for a, b in scores) if are_answers else 0
        assert not are_answers or drops or ties > 0.1 * QUESTIONS or all(a[0] == b[0] for a, b in scores[:10])
        return
    assert are_answers
    assert not drops
    scores = [pair if pair[0][0] != pair[1][0] else [] for pair in scores]  # a tie is no answer
    rows = [(row["doc_id"], row["correct"]) for row in done.answers.to_pylist()]
    assert rows == [(i, (pair[1][0] > pair[0][0]) == (i % 2 == 1)) for i, pair in enumerate(scores) if pair]
    assert done.metadata["unanswered"] == str(QUESTIONS - len(rows))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(answers=st.lists(st.one_of(*[text] * 6, no_text), min_size=QUESTIONS, max_size=QUESTIONS), tells=st.booleans())
def test_a_text_is_graded_only_where_there_is_one(
    answers: list[Any], tells: bool, tasks: TaskIndex, tmp_path_factory: pytest.TempPathFactory
) -> None:
    backend = FakeBackend(lambda doc, _: answers[doc], tells=tells)
    answered = [i for i, answer in enumerate(answers) if isinstance(answer, str) and answer != NO_ANSWER]
    missing = sum(answer in (None, NO_ANSWER) for answer in answers)
    try:
        done = evaluate(asking(backend, tmp_path_factory.mktemp("cache")), TEXT, tasks)
    except HarnessError:
        first = [answers[i] for i in range(10)]
        empty = all(isinstance(answer, str) and not answer.strip() for answer in first)
        assert len(answered) + missing < QUESTIONS or missing > 0.1 * QUESTIONS or empty
        return
    assert len(answered) + missing == QUESTIONS
    assert done.answers["doc_id"].to_pylist() == answered
    assert (done.metadata["asked"], done.metadata["unanswered"]) == (str(QUESTIONS), str(missing))


def test_the_document_is_named(tasks: TaskIndex, tmp_path: Path) -> None:
    backend = FakeBackend(lambda doc, _: (math.nan if doc == 3 else -1.0 - doc, False), tells=True)
    with pytest.raises(
        NotNumbers, match=r"'m' on benchmark 'choice': document 3 of task 'choice' \('Is 3 odd\?'\): the log"
    ):
        evaluate(asking(backend, tmp_path), CHOICE, tasks)
    assert backend.asked == 7  # nothing was asked after it


def test_a_faulty_model_is_stopped_before_the_bulk_is_asked(tasks: TaskIndex, tmp_path: Path) -> None:
    many = BenchmarkEntry(name="many", tasks=("many",), metric="acc")
    same = FakeBackend(lambda *_: (-1.5, False), tells=True)
    with pytest.raises(ImplausibleAnswers, match="all choices have the same log probability"):
        evaluate(asking(same, tmp_path / "same"), many, tasks)
    assert same.asked == 20  # ten questions of two choices, of 200

    always_a = FakeBackend(lambda doc, choice: (-1.0 - choice - doc / 100, False), tells=True)
    with pytest.raises(ImplausibleAnswers, match="each of the first 20 questions got the same answer, 'A'"):
        evaluate(asking(always_a, tmp_path / "a"), many, tasks)
    assert always_a.asked == 40

    accepted = evaluate(asking(always_a, tmp_path / "b", implausible_answers="accept"), many, tasks)
    assert accepted.answers.num_rows == 200
    assert (accepted.metadata["commonest_choice"], accepted.metadata["chance"]) == ("1.0", "0.5")


@pytest.fixture
def kept_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.cache.FLUSH_SECONDS", -1.0)


def test_a_model_that_turns_faulty_later_is_found_at_the_end(tasks: TaskIndex, tmp_path: Path) -> None:
    many = BenchmarkEntry(name="many", tasks=("many",), metric="acc")

    def late(doc: int, choice: int) -> tuple[float, bool]:
        return (-1.0 - (doc + choice) % 2 if doc < 150 else -2.0, False)

    with pytest.raises(ImplausibleAnswers, match="in 25% of 200 questions all choices have the same log probability"):
        evaluate(asking(FakeBackend(late, tells=True), tmp_path / "a"), many, tasks)
    once = FakeBackend(lambda doc, choice: (-1.0 - (doc + choice) % 2 if doc != 7 else -2.0, False), tells=True)
    done = evaluate(asking(once, tmp_path / "b"), many, tasks)
    assert (done.answers.num_rows, done.metadata["unanswered"], done.metadata["equal_scores"]) == (199, "1", "0.005")


@pytest.mark.usefixtures("kept_at_once")
def test_a_few_missing_answers_have_no_row_and_are_not_kept(tasks: TaskIndex, tmp_path: Path) -> None:
    silent = FakeBackend(lambda doc, _: None if doc == 4 else str(doc + 1), tells=True)
    first = evaluate(asking(silent, tmp_path), TEXT, tasks)
    assert first.answers["doc_id"].to_pylist() == [i for i in range(QUESTIONS) if i != 4]
    assert first.answers["correct"].to_pylist() == [True] * 11
    assert first.metadata["unanswered"] == "1"

    second = FakeBackend(lambda doc, _: str(doc + 1), tells=True)
    assert evaluate(asking(second, tmp_path), TEXT, tasks).answers.num_rows == QUESTIONS
    assert second.asked == 1  # the others were kept


def test_more_than_a_tenth_missing_is_a_failure(tasks: TaskIndex, tmp_path: Path) -> None:
    half = FakeBackend(lambda doc, _: None if doc % 2 else str(doc + 1), tells=False)
    with pytest.raises(TooFewAnswered, match=r"6 of 12 questions got no answer: .* raise max_gen_toks"):
        evaluate(asking(half, tmp_path), TEXT, tasks)


@pytest.mark.usefixtures("kept_at_once")
def test_answers_that_an_earlier_version_kept_are_checked_too(tasks: TaskIndex, tmp_path: Path) -> None:
    whole = FakeBackend(lambda doc, choice: (-1.0 - (doc + choice) % 2, False), tells=True)
    model = asking(whole, tmp_path)
    evaluate(model, CHOICE, tasks)
    (kept,) = tmp_path.rglob("choice.jsonl")
    kept.write_text(kept.read_text().replace("[-1.0, false]", "[NaN, false]"))

    with pytest.raises(NotNumbers):
        evaluate(model, CHOICE, tasks)


def test_a_backend_that_loses_answers_is_a_failure(tasks: TaskIndex, tmp_path: Path) -> None:
    lossy = FakeBackend(lambda doc, _: str(doc), tells=False, drops=1)
    with pytest.raises(EvaluationFailed, match="the backend returned 11 answers to 12 requests"):
        evaluate(asking(lossy, tmp_path), TEXT, tasks)
