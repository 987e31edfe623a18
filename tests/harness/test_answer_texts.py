"""What is kept of an answer beside its grade, and what would have been right."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.evaluate import LoadedModel, TaskIndex, evaluate, fingerprint
from harness.registry import BenchmarkEntry, ModelEntry
from tests.harness.conftest import CHOICE, SUM

CAPITALS = BenchmarkEntry(name="capitals", tasks=("capitals",), metric="acc")
SUMS = BenchmarkEntry(name="sums", tasks=("sums",), metric="exact_match", filter="flexible")


@pytest.fixture
def tiny(model_dir: Path, tmp_path: Path) -> Callable[..., LoadedModel]:
    def load(**fields: Any) -> LoadedModel:
        entry = ModelEntry(name="tiny", args={"pretrained": str(model_dir)}, **fields)
        return LoadedModel(entry, device="cpu", cache_dir=tmp_path / "cache")

    return load


def test_the_choice_that_was_taken(tiny: Callable[..., LoadedModel], tasks_dir: Path) -> None:
    done = evaluate(tiny(), CAPITALS, TaskIndex(tasks_dir))

    assert done.answers["answer"].to_pylist() == ["Rome", "Rome", "Oslo", "Oslo"]
    assert done.questions["target"].to_pylist() == ["Paris", "Rome", "Oslo", "Lima"]


@pytest.mark.parametrize(("metric", "taken"), [("acc", "Rome"), ("acc_norm", "Rome Rome"), ("acc_mutual_info", "Rome")])
def test_the_choice_is_that_of_the_metric(
    tiny: Callable[..., LoadedModel], write_task: Callable[..., None], tmp_path: Path, metric: str, taken: str
) -> None:
    """Two words are less likely than one of them, but not for their length."""
    metrics = [{"metric": name, "aggregation": "mean"} for name in ("acc", "acc_norm", metric)]
    rows = [{"land": "Italy", "choices": ["Rome", "Rome Rome"], "label": 0}]
    write_task(tmp_path, "italy", rows, CHOICE | {"metric_list": metrics})
    benchmark = BenchmarkEntry(name="italy", tasks=("italy",), metric=metric)
    (row,) = evaluate(tiny(), benchmark, TaskIndex(tmp_path)).answers.to_pylist()

    assert row["answer"] == taken
    assert row["correct"] == (taken == "Rome")


def test_a_choice_that_stands_in_the_prompt(
    tiny: Callable[..., LoadedModel], write_task: Callable[..., None], tmp_path: Path
) -> None:
    """As in Winogrande: the choices begin the sentence, and the model scores its end."""
    rows = [{"choices": ["Rome is", "Lima is"], "label": 1, "end": "the capital"}] * 2
    write_task(tmp_path, "ends", rows, CHOICE | {"doc_to_text": "label", "doc_to_target": "end"})
    benchmark = BenchmarkEntry(name="ends", tasks=("ends",), metric="acc")
    model = tiny(implausible_answers="accept")  # what it says does not depend on what it read
    done = evaluate(model, benchmark, TaskIndex(tmp_path))

    assert done.answers["answer"].to_pylist() == ["Rome is", "Rome is"]
    assert done.questions["target"].to_pylist() == ["Lima is", "Lima is"]


@pytest.mark.parametrize(("found_by", "answers"), [("flexible", ["42", "42"]), ("strict", ["42 42 42", "42 42 42"])])
def test_of_a_reply_what_the_filter_found_or_all_of_it(
    tiny: Callable[..., LoadedModel], tasks_dir: Path, found_by: str, answers: list[str]
) -> None:
    done = evaluate(tiny(), SUMS.model_copy(update={"filter": found_by}), TaskIndex(tasks_dir))

    assert done.answers["answer"].to_pylist() == answers
    assert done.questions["target"].to_pylist() == ["#### 42", "#### 7"]


def test_what_the_model_would_have_said_is_known_only_where_it_is_the_target(
    tiny: Callable[..., LoadedModel], tasks_dir: Path
) -> None:
    done = evaluate(tiny(), BenchmarkEntry(name="finish", tasks=("finish",), metric="acc"), TaskIndex(tasks_dir))

    assert done.answers["answer"].to_pylist() == ["42", None]
    assert done.questions["target"].to_pylist() == ["42", "7"]


def test_long_replies_are_cut(
    tiny: Callable[..., LoadedModel], write_task: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.answer_texts.ANSWER_LENGTH", 5)
    write_task(tmp_path, "sums", [{"sum": "40 + 2", "answer": "#### 42"}], SUM)
    strict = SUMS.model_copy(update={"filter": "strict"})

    assert evaluate(tiny(), strict, TaskIndex(tmp_path)).answers["answer"].to_pylist() == ["42 4…"]


def test_without_the_answers_nothing_else_changes(tiny: Callable[..., LoadedModel], tasks_dir: Path) -> None:
    tasks = TaskIndex(tasks_dir)
    kept, bare = (evaluate(tiny(), CAPITALS, tasks, keep_answers=keep) for keep in (True, False))

    assert bare.answers.equals(kept.answers.drop_columns("answer"))
    assert bare.metadata["fingerprint"] == kept.metadata["fingerprint"] == fingerprint(tiny(), CAPITALS, tasks)


FREE = SUM | {"doc_to_text": "land"}


@pytest.mark.parametrize(
    ("fields", "row", "target"),
    [
        (CHOICE, {"label": 1}, "Rome"),
        (CHOICE | {"doc_to_target": "{{label}}"}, {"label": 1}, "Rome"),
        (CHOICE, {"label": "Rome"}, "Rome"),
        (CHOICE, {"label": [0, 1]}, '["Paris", "Rome"]'),
        (CHOICE | {"doc_to_choice": ["A", "B"]}, {"label": 0}, "A"),
        (FREE | {"doc_to_target": "label"}, {"label": 42}, "42"),
        (FREE | {"doc_to_target": "label"}, {"label": [" 42", "forty-two"]}, '["42", "forty-two"]'),
        (FREE | {"doc_to_target": 0}, {"label": 42}, None),  # as of tasks whose own code grades
    ],
)
def test_what_is_right(
    write_task: Callable[..., None], tmp_path: Path, fields: dict[str, Any], row: dict[str, Any], target: str | None
) -> None:
    write_task(tmp_path, "t", [{"land": "Italy", "choices": ["Paris", "Rome"]} | row], fields)
    benchmark = BenchmarkEntry(
        name="t",
        tasks=("t",),
        metric=fields["metric_list"][0]["metric"],
        filter="strict" if "filter_list" in fields else "none",
    )

    assert TaskIndex(tmp_path).questions(benchmark)["target"].to_pylist() == [target]


def test_what_the_answers_took(tiny: Callable[..., LoadedModel], tasks_dir: Path) -> None:
    """Of a question with choices all requests together; nobody knows how long one of a batch took."""
    tasks = TaskIndex(tasks_dir)
    chosen = evaluate(tiny(), CAPITALS, tasks).answers.to_pylist()
    said = evaluate(tiny(), SUMS, tasks).answers.to_pylist()

    assert {(row["tokens_in"], row["tokens_out"]) for row in chosen} == {(2 * 11, 0)}
    assert {(row["tokens_in"], row["tokens_out"]) for row in said} == {(9, 3)}
    assert "latency_s" not in chosen[0]


def test_tokens_that_were_cut_off_do_not_count(model_dir: Path, tasks_dir: Path, tmp_path: Path) -> None:
    short = ModelEntry(name="short", args={"pretrained": str(model_dir), "max_length": 8})
    with LoadedModel(short, device="cpu", cache_dir=tmp_path / "cache") as model:
        answers = evaluate(model, CAPITALS, TaskIndex(tasks_dir)).answers

    assert answers["tokens_in"].to_pylist() == [2 * 9] * 4  # the last one of a choice is predicted, not read


def test_what_several_tries_took_is_not_known(
    tiny: Callable[..., LoadedModel], write_task: Callable[..., None], tmp_path: Path
) -> None:
    write_task(tmp_path, "sums", [{"sum": "40 + 2", "answer": "#### 42"}], SUM | {"repeats": 2})
    answers = evaluate(tiny(), SUMS, TaskIndex(tmp_path)).answers

    assert answers.column_names == ["task", "doc_id", "correct", "score", "answer"]
    assert answers["answer"].to_pylist() == ["42"]
