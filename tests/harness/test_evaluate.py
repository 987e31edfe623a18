import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

from harness.errors import EvaluationFailed, TaskUnknown
from harness.evaluate import LoadedModel, TaskIndex, evaluate, fingerprint
from harness.registry import BenchmarkEntry, ModelEntry

REPOSITORY = Path(__file__).parents[2]

CAPITALS = BenchmarkEntry(name="capitals", tasks=("capitals",), metric="acc")


def entry(folder: Path, **fields: Any) -> ModelEntry:
    return ModelEntry(name="tiny", args={"pretrained": str(folder)}, **fields)


@pytest.fixture
def tiny(model_dir: Path, tmp_path: Path) -> LoadedModel:
    return LoadedModel(entry(model_dir), device="cpu", cache_dir=tmp_path / "cache")


def correct(model: LoadedModel, benchmark: BenchmarkEntry, tasks_dir: Path, **options: Any) -> list[tuple[Any, ...]]:
    answers = evaluate(model, benchmark, TaskIndex(tasks_dir), **options).answers
    return [(row["task"], row["doc_id"], row["correct"]) for row in answers.to_pylist()]


def test_multiple_choice_is_one_graded_row_a_question(tiny: LoadedModel, tasks_dir: Path) -> None:
    evaluation = evaluate(tiny, CAPITALS, TaskIndex(tasks_dir))

    assert evaluation.answers.select(["task", "doc_id", "correct", "score"]).to_pylist() == [
        {"task": "capitals", "doc_id": 0, "correct": False, "score": 0.0},  # the model takes Rome
        {"task": "capitals", "doc_id": 1, "correct": True, "score": 1.0},
        {"task": "capitals", "doc_id": 2, "correct": True, "score": 1.0},  # and Oslo
        {"task": "capitals", "doc_id": 3, "correct": False, "score": 0.0},
    ]
    assert evaluation.questions.slice(0, 1).to_pylist() == [
        {
            "task": "capitals",
            "doc_id": 0,
            "text": "What is the capital of France?\nAnswer:\n- Paris\n- Rome",
            "category": "capitals",
            "target": "Paris",
        }
    ]


def test_group_is_one_benchmark_with_its_tasks_as_categories(tiny: LoadedModel, tasks_dir: Path) -> None:
    world = BenchmarkEntry(name="world", tasks=("world",), metric="acc_norm")
    evaluation = evaluate(tiny, world, TaskIndex(tasks_dir))

    assert evaluation.questions.column("category").to_pylist() == ["south", "south", "south", "north"]
    assert evaluation.answers.column("task").to_pylist() == ["south", "south", "south", "north"]
    assert evaluation.answers.column("correct").to_pylist() == [False, True, False, True]


@pytest.mark.parametrize(("name", "expected"), [("strict", [False, False]), ("flexible", [True, False])])
def test_of_several_filters_the_benchmarks_counts(
    tiny: LoadedModel, tasks_dir: Path, name: str, expected: list[bool]
) -> None:
    sums = BenchmarkEntry(name="sums", tasks=("sums",), metric="exact_match", filter=name)

    assert correct(tiny, sums, tasks_dir) == [("sums", 0, expected[0]), ("sums", 1, expected[1])]


def test_loglikelihood_task_is_right_where_the_target_is_what_the_model_would_say(
    tiny: LoadedModel, tasks_dir: Path
) -> None:
    finish = BenchmarkEntry(name="finish", tasks=("finish",), metric="acc")

    assert correct(tiny, finish, tasks_dir) == [("finish", 0, True), ("finish", 1, False)]


def test_subset_asks_these_questions_only_and_returns_all_questions(tiny: LoadedModel, tasks_dir: Path) -> None:
    world = BenchmarkEntry(name="world", tasks=("world",), metric="acc")
    tasks = TaskIndex(tasks_dir)
    evaluation = evaluate(tiny, world, tasks, subset={"north": [], "south": [2, 1, 2]})

    assert [(row["task"], row["doc_id"], row["correct"]) for row in evaluation.answers.to_pylist()] == [
        ("south", 1, True),
        ("south", 2, False),
    ]
    assert evaluation.questions.num_rows == 4


@pytest.mark.parametrize("subset", [{"capitals": [4]}, {"capitals": [-1]}, {"elsewhere": [0]}])
def test_subset_of_questions_that_are_not_there_is_refused(
    tiny: LoadedModel, tasks_dir: Path, subset: dict[str, list[int]]
) -> None:
    with pytest.raises(ValueError, match="the subset asks for question"):
        evaluate(tiny, CAPITALS, TaskIndex(tasks_dir), subset=subset)


def test_metadata_says_where_and_how_fast_it_was_asked(tiny: LoadedModel, tasks_dir: Path) -> None:
    evaluation = evaluate(tiny, CAPITALS, TaskIndex(tasks_dir))

    tokens = sum(row["tokens_in"] + row["tokens_out"] for row in evaluation.answers.to_pylist())
    seconds = float(evaluation.metadata["seconds"])
    assert evaluation.metadata["node"] == socket.gethostname()
    assert "gpu" not in evaluation.metadata
    assert float(evaluation.metadata["tokens_per_second"]) * seconds == pytest.approx(tokens, rel=0.05)


def test_metadata_says_what_determined_the_answers(tiny: LoadedModel, tasks_dir: Path) -> None:
    tasks = TaskIndex(tasks_dir)
    shots = CAPITALS.model_copy(update={"num_fewshot": 2})
    metadata = evaluate(tiny, shots, tasks).metadata

    assert all(isinstance(value, str) for value in metadata.values())
    assert metadata["fingerprint"] == fingerprint(tiny.entry, shots, tasks)
    assert metadata["weights"].startswith("folder sha256:")
    assert {name: metadata[name] for name in ("model", "benchmark", "metric", "filter", "num_fewshot", "seed")} == {
        "model": "tiny",
        "benchmark": "capitals",
        "metric": "acc",
        "filter": "none",
        "num_fewshot": "2",
        "seed": "0",
    }
    assert json.loads(metadata["task_versions"]) == {"capitals": "1.0"}
    assert metadata["started"] <= metadata["finished"]
    assert metadata["started"].endswith("+00:00")


@pytest.mark.parametrize(
    ("task", "metric", "filter_name", "num_fewshot"),
    [
        ("capitals", "acc", "none", 3),
        ("world", "acc_norm", "none", None),
        ("sums", "exact_match", "flexible", 1),
    ],
)
def test_answers_equal_those_of_simple_evaluate(
    save_model: Callable[..., None],
    tmp_path: Path,
    tasks_dir: Path,
    task: str,
    metric: str,
    filter_name: str,
    num_fewshot: int | None,
) -> None:
    save_model(tmp_path / "random", seed=3)
    theirs = simple_evaluate(
        "hf",
        model_args={"pretrained": str(tmp_path / "random")},
        tasks=[task],
        num_fewshot=num_fewshot,
        task_manager=TaskManager(include_path=str(tasks_dir), include_defaults=False),
        device="cpu",
        bootstrap_iters=0,
    )
    benchmark = BenchmarkEntry(name="b", tasks=(task,), metric=metric, filter=filter_name, num_fewshot=num_fewshot)
    with LoadedModel(entry(tmp_path / "random"), device="cpu", cache_dir=tmp_path) as model:
        ours = evaluate(model, benchmark, TaskIndex(tasks_dir)).answers.to_pylist()

    assert theirs is not None
    assert {(row["task"], row["doc_id"]): row["score"] for row in ours} == {
        (name, sample["doc_id"]): sample[metric]
        for name, samples in theirs["samples"].items()
        for sample in samples
        if sample["filter"] == filter_name
    }


def test_answers_do_not_depend_on_the_batch_size(
    save_model: Callable[..., None], tmp_path: Path, tasks_dir: Path
) -> None:
    save_model(tmp_path / "random", seed=5)
    one, many = (
        LoadedModel(entry(tmp_path / "random", batch_size=n), device="cpu", cache_dir=tmp_path) for n in (1, 256)
    )

    assert correct(one, CAPITALS, tasks_dir) == correct(many, CAPITALS, tasks_dir)


def test_chat_template_wraps_the_question_and_is_on_record(
    save_model: Callable[..., None], tmp_path: Path, tasks_dir: Path
) -> None:
    save_model(tmp_path / "chat", chat_template="{% for m in messages %}{{ m.content }} Berlin {% endfor %}")
    asked: list[int] = []
    model = LoadedModel(entry(tmp_path / "chat", apply_chat_template=True), device="cpu", cache_dir=tmp_path)
    model.lm.model.register_forward_pre_hook(lambda _, inputs: asked.extend(inputs[0].flatten().tolist()))  # type: ignore[attr-defined]
    metadata = evaluate(model, CAPITALS, TaskIndex(tasks_dir)).metadata

    assert asked.count(4 + 12) >= 4  # "Berlin", which no question contains, stands in each
    assert len(metadata["chat_template_hash"]) == 64


def test_unknown_names_are_found_before_the_model_is_looked_for(tmp_path: Path, tasks_dir: Path) -> None:
    model = LoadedModel(entry(tmp_path / "missing"), device="cpu", cache_dir=tmp_path)
    unknown = BenchmarkEntry(name="b", tasks=("capital",), metric="acc")

    with pytest.raises(TaskUnknown, match=r"model 'tiny' on benchmark 'b': lm-eval has no task 'capital'.*capitals"):
        evaluate(model, unknown, TaskIndex(tasks_dir))


class TestFingerprint:
    def test_follows_content_not_place(self, model_dir: Path, tasks_dir: Path, tmp_path: Path) -> None:
        import shutil

        before = fingerprint(entry(model_dir), CAPITALS, TaskIndex(tasks_dir))
        shutil.copytree(model_dir, tmp_path / "elsewhere" / "model")
        shutil.copytree(tasks_dir, tmp_path / "elsewhere" / "tasks")
        for task in (tmp_path / "elsewhere" / "tasks").glob("*.yaml"):
            task.write_text(task.read_text().replace(str(tasks_dir), str(tmp_path / "elsewhere" / "tasks")))
        after = fingerprint(entry(tmp_path / "elsewhere/model"), CAPITALS, TaskIndex(tmp_path / "elsewhere/tasks"))

        assert before == after

    @pytest.mark.parametrize("what", ["weights", "data", "prompt", "metric", "shots", "dtype", "seed"])
    def test_changes_with_whatever_determines_the_answers(
        self, save_model: Callable[..., None], tasks_dir: Path, tmp_path: Path, what: str
    ) -> None:
        save_model(tmp_path / "m")
        model, benchmark, seed = entry(tmp_path / "m"), CAPITALS, 0
        before = fingerprint(model, benchmark, TaskIndex(tasks_dir))
        if what == "weights":
            save_model(tmp_path / "m", seed=1)
        elif what == "data":
            data = tasks_dir / "capitals.jsonl"
            data.write_text(data.read_text().replace("Peru", "Chile"))
        elif what == "prompt":
            task = tasks_dir / "capitals.yaml"
            task.write_text(task.read_text().replace("capital of", "chief city of"))
        elif what == "dtype":
            model = model.model_copy(update={"args": model.args | {"dtype": "bfloat16"}})
        elif what == "seed":
            seed = 1
        else:
            change = {"metric": "acc_norm"} if what == "metric" else {"num_fewshot": 1}
            benchmark = benchmark.model_copy(update=change)

        assert fingerprint(model, benchmark, TaskIndex(tasks_dir), seed) != before

    def test_does_not_change_with_the_batch_size(self, model_dir: Path, tasks_dir: Path) -> None:
        tasks = TaskIndex(tasks_dir)

        assert fingerprint(entry(model_dir), CAPITALS, tasks) == fingerprint(
            entry(model_dir, batch_size=7), CAPITALS, tasks
        )


class StoppedError(Exception):
    pass


def count_asked(model: LoadedModel, stop_after: int | None = None) -> list[int]:
    """Rows the model computes from now on; with `stop_after`, it fails at the next one."""
    rows: list[int] = []

    def hook(_: Any, inputs: Any) -> None:
        if stop_after is not None and sum(rows) >= stop_after:
            raise StoppedError
        rows.append(len(inputs[0]))

    model.lm.model.register_forward_pre_hook(hook)  # type: ignore[attr-defined]
    return rows


class TestResume:
    def test_what_was_answered_is_not_asked_again(self, model_dir: Path, tasks_dir: Path, tmp_path: Path) -> None:
        one_by_one = entry(model_dir, batch_size=1)
        broken = LoadedModel(one_by_one, device="cpu", cache_dir=tmp_path / "cache")
        count_asked(broken, stop_after=3)
        with pytest.raises(EvaluationFailed):
            evaluate(broken, CAPITALS, TaskIndex(tasks_dir))
        resumed = LoadedModel(one_by_one, device="cpu", cache_dir=tmp_path / "cache")
        asked = count_asked(resumed)

        assert [c for *_, c in correct(resumed, CAPITALS, tasks_dir)] == [False, True, True, False]
        assert sum(asked) == 1  # four contexts, three of them answered before

    def test_answers_of_other_weights_are_never_used(
        self, save_model: Callable[..., None], tasks_dir: Path, tmp_path: Path
    ) -> None:
        save_model(tmp_path / "m")
        one_by_one = entry(tmp_path / "m", batch_size=1)
        broken = LoadedModel(one_by_one, device="cpu", cache_dir=tmp_path / "cache")
        count_asked(broken, stop_after=3)
        with pytest.raises(EvaluationFailed):
            evaluate(broken, CAPITALS, TaskIndex(tasks_dir))
        save_model(tmp_path / "m", seed=9)  # the same name and folder, other weights
        retrained = LoadedModel(one_by_one, device="cpu", cache_dir=tmp_path / "cache")
        asked = count_asked(retrained)
        evaluate(retrained, CAPITALS, TaskIndex(tasks_dir))

        assert sum(asked) == 4

    def test_forget_removes_what_was_kept(self, model_dir: Path, tasks_dir: Path, tmp_path: Path) -> None:
        broken = LoadedModel(entry(model_dir, batch_size=1), device="cpu", cache_dir=tmp_path / "cache")
        count_asked(broken, stop_after=2)
        with pytest.raises(EvaluationFailed):
            evaluate(broken, CAPITALS, TaskIndex(tasks_dir))
        assert len(list((tmp_path / "cache").rglob("capitals.jsonl"))) == 1

        broken.forget("capitals")

        assert list((tmp_path / "cache").iterdir()) == []

    def test_killed_evaluation_goes_on_and_ends_like_an_undisturbed_one(
        self, save_model: Callable[..., None], write_task: Callable[..., None], tmp_path: Path
    ) -> None:
        save_model(tmp_path / "m", seed=2)
        (tmp_path / "tasks").mkdir()
        _write_many(write_task, tmp_path / "tasks", 120)
        script = textwrap.dedent("""
            import sys, time
            from pathlib import Path
            from harness.evaluate import *
            from harness.registry import *
            home = Path(sys.argv[1])
            entry = ModelEntry(name="tiny", args={"pretrained": str(home / "m")}, batch_size=1)
            model = LoadedModel(entry, device="cpu", cache_dir=home / "cache")
            model.lm.model.register_forward_pre_hook(lambda *_: time.sleep(0.05))
            many = BenchmarkEntry(name="many", tasks=("many",), metric="acc")
            evaluate(model, many, TaskIndex(home / "tasks"))
        """)
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)],
            cwd=REPOSITORY,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        try:
            deadline = time.monotonic() + 60
            while not list(tmp_path.glob("cache/*/many.jsonl")) and time.monotonic() < deadline:
                time.sleep(0.05)
            assert process.poll() is None, "the evaluation ended before it could be killed"
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()

        many = BenchmarkEntry(name="many", tasks=("many",), metric="acc")
        one_by_one = entry(tmp_path / "m", batch_size=1)
        resumed = LoadedModel(one_by_one, device="cpu", cache_dir=tmp_path / "cache")
        undisturbed = LoadedModel(one_by_one, device="cpu", cache_dir=tmp_path / "other")
        asked, asked_in_all = count_asked(resumed), count_asked(undisturbed)
        after_kill = evaluate(resumed, many, TaskIndex(tmp_path / "tasks"))
        straight = evaluate(undisturbed, many, TaskIndex(tmp_path / "tasks"))

        assert 0 < sum(asked) < sum(asked_in_all) == 120
        assert after_kill.answers.equals(straight.answers)
        assert after_kill.questions.equals(straight.questions)
        assert after_kill.metadata["fingerprint"] == straight.metadata["fingerprint"]


def _write_many(write_task: Callable[..., None], folder: Path, n: int) -> None:
    texts = [" ".join(["What is", *["the"] * (i % 11), *["Peru"] * (i // 11)]) for i in range(n)]
    rows = [{"text": text, "choices": ["Paris", "Rome"], "label": 0} for text in texts]
    config = {
        "output_type": "multiple_choice",
        "doc_to_text": "text",
        "doc_to_choice": "choices",
        "doc_to_target": "label",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
    write_task(folder, "many", rows, config)
