import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.warehouse.imports.readers.reading_logs import FORMATS, read, real_files
from warehouse.imports.readers.helm import HelmReader
from warehouse.imports.readers.reader import OLDER, LogFile

NAME = "colour:hue=warm,method=multiple_choice_joint,model=openai_gpt2"
TYPOS = {"name": "typos", "prob": 0.1}


def instance(number: int, right: str = "Blue", **more: Any) -> dict[str, Any]:
    options = [{"output": {"text": text}, "tags": ["correct"] * (text == right)} for text in ("Red", "Blue")]
    asked = {"text": f"Which colour is {number}?"}
    return {"input": asked, "references": options, "split": "test", "id": f"id{number}", **more}


def state(number: int, said: str, trial: int = 0, time: int = 0, **more: Any) -> dict[str, Any]:
    result = {"success": True, "completions": [{"text": said}], "request_datetime": time}
    mapping = {"A": "Red", "B": "Blue"}
    row = {"train_trial_index": trial, "output_mapping": mapping, "request": {"prompt": "…"}, "result": result}
    return {"instance": instance(number, **more), **row}


def stats(number: int, trial: int = 0, perturbation: object = None, **means: float) -> dict[str, Any]:
    named = [{"name": {"name": name, "split": "test"}, "count": 1, "mean": mean} for name, mean in means.items()]
    row = {"instance_id": f"id{number}", "perturbation": perturbation, "train_trial_index": trial, "stats": named}
    return {name: value for name, value in row.items() if value is not None}


def write_run(
    folder: Path, name: str = "colour:hue=warm,method=multiple_choice_joint,model=openai_gpt2", **files: Any
) -> Path:
    adapter = {"method": "multiple_choice_joint", "model": "openai/gpt2", "max_train_instances": 5}
    spec = {"name": name, "scenario_spec": {"class_name": "C", "args": {}}, "adapter_spec": adapter}
    if "states" in files:
        files["scenario_state"] = {"adapter_spec": adapter, "request_states": files.pop("states")}
    folder.mkdir(parents=True, exist_ok=True)
    for kind, document in {"run_spec": spec, **files}.items():
        (folder / f"{kind}.json").write_text(json.dumps(document))
    return folder


def test_a_raw_run(tmp_path: Path) -> None:
    measured = {"num_prompt_tokens": 30.0, "num_output_tokens": 1.0, "inference_runtime": 0.5}
    graded = [
        stats(1, exact_match=1.0, quasi_exact_match=1.0, **measured),
        stats(2, exact_match=0.0, quasi_exact_match=0.0),
        stats(2, perturbation=TYPOS, exact_match=1.0),
        stats(2, trial=1, exact_match=1.0),
    ]
    states = [state(1, " B"), state(2, " A"), state(2, " B", perturbation=TYPOS), state(2, " B", trial=1)]
    answers, notes = read(HelmReader(), write_run(tmp_path, states=states, per_instance_stats=graded))
    nothing = dict.fromkeys(["split", "cost"])
    assert answers == [
        {
            "row": 1,
            "model": "openai/gpt2",
            "category": "colour:hue=warm",
            "text": "Which colour is 1?\nA. Red\nB. Blue",
            "correct": True,
            "score": 1.0,
            "item": "id1",
            "doc_id": 1,
            "target": "Blue",
            "answer": "Blue",
            "tokens_in": 30,
            "tokens_out": 1,
            "latency_s": 0.5,
            **nothing,
        },
        {
            "row": 2,
            "model": "openai/gpt2",
            "category": "colour:hue=warm",
            "text": "Which colour is 2?\nA. Red\nB. Blue",
            "correct": False,
            "score": 0.0,
            "item": "id2",
            "doc_id": 2,
            "target": "Blue",
            "answer": "Red",
            "tokens_in": None,
            "tokens_out": None,
            "latency_s": None,
            **nothing,
        },
    ]
    assert {reason: n for (_, reason), n in notes.left_out.items()} == {
        "perturbed copies": 1,
        "further trials, with other few-shot examples than the first": 1,
    }
    run = notes.runs["openai/gpt2", "colour:hue=warm"]
    assert (run.tool, run.metric) == ("helm", "exact_match")
    assert run.settings == {"method": "multiple_choice_joint", "max_train_instances": 5}


def test_metrics_that_disagree_are_a_choice(tmp_path: Path) -> None:
    graded = [stats(1, exact_match=0.0, quasi_exact_match=1.0, f1_score=0.4)]
    folder = write_run(tmp_path, states=[state(1, "B")], per_instance_stats=graded)
    answers, notes = read(HelmReader(), folder)
    assert answers == []
    assert notes.problems == [
        "colour:hue=warm has 2 metrics that could grade it (exact_match, quasi_exact_match); choose one with "
        "--metric exact_match, or for it alone with --metric colour:hue=warm=exact_match"
    ]
    answers, _ = read(HelmReader(), folder, metric={"": "quasi_exact_match"})
    assert [row["correct"] for row in answers] == [True]
    answers, _ = read(HelmReader(), folder, metric={"": "f1_score"}, threshold=0.5)
    assert [(row["correct"], row["score"]) for row in answers] == [(False, 0.4)]


@pytest.mark.parametrize("summarised", [False, True])
def test_without_a_match_the_chosen_option_is_compared_with_the_right_one(tmp_path: Path, summarised: bool) -> None:
    said = [("B", "Blue"), ("A", "Red"), ("I think", None)]
    if summarised:
        files: dict[str, Any] = {
            "instances": [instance(number) for number in range(3)],
            "display_predictions": [
                {"instance_id": f"id{number}", "train_trial_index": 0, "predicted_text": text}
                | ({"mapped_output": mapped} if mapped else {})
                for number, (text, mapped) in enumerate(said)
            ],
        }
    else:
        files = {"states": [state(number, text) for number, (text, _) in enumerate(said)]}
    answers, notes = read(HelmReader(), write_run(tmp_path, **files))
    assert [row["correct"] for row in answers] == [True, False, False]
    assert notes.problems == []
    assert notes.runs["openai/gpt2", "colour:hue=warm"].metric == "mapped_output"


@pytest.mark.parametrize("method", ["multiple_choice_separate_original", "multiple_choice_joint_chain_of_thought"])
def test_what_is_no_letter_is_wrong_only_where_a_letter_is_asked_for(tmp_path: Path, method: str) -> None:
    folder = write_run(tmp_path, states=[state(1, "B"), state(2, "I think it is B")])
    assert [row["correct"] for row in read(HelmReader(), folder)[0]] == [True, False]
    for name in ("run_spec", "scenario_state"):
        path = folder / f"{name}.json"
        path.write_text(path.read_text().replace('"method": "multiple_choice_joint"', f'"method": "{method}"'))
    answers, notes = read(HelmReader(), folder)
    assert [row["correct"] for row in answers] == [True]
    assert [*notes.left_out.values()] == [1]
    stated = [stats(1, exact_match=1.0), stats(2, exact_match=1.0)]
    (folder / "per_instance_stats.json").write_text(json.dumps(stated))
    answers, _ = read(HelmReader(), folder)
    thought = None if "separate" in method else "I think it is B"
    assert [(row["correct"], row["answer"]) for row in answers] == [(True, "Blue"), (True, thought)]


def test_a_missing_grade_is_not_a_wrong_answer(tmp_path: Path) -> None:
    graded = [stats(1, exact_match=1.0), stats(2, num_prompt_tokens=3)]
    failed = state(3, "")
    failed["result"]["success"] = False
    folder = write_run(tmp_path, states=[state(1, "B"), state(2, "B"), failed], per_instance_stats=graded)
    answers, notes = read(HelmReader(), folder)
    assert [row["doc_id"] for row in answers] == [1]
    assert {reason for _, reason in notes.left_out} == {
        "answers without a grade (exact_match is missing)",
        "failed requests",
    }
    predicted = [{"instance_id": "id1", "train_trial_index": 0, "predicted_text": "A"}] * 2
    predicted[1] = {"instance_id": "id2", "train_trial_index": 0, "predicted_text": "B", "mapped_output": "Blue"}
    predicted += [{**predicted[1], "instance_id": "id3", "mapped_output": odd} for odd in ("", "Green", 1)]
    folder = write_run(tmp_path / "b", instances=[instance(n) for n in (1, 2, 3)], display_predictions=predicted)
    answers, notes = read(HelmReader(), folder)
    assert [row["doc_id"] for row in answers] == [2]
    assert {reason for _, reason in notes.left_out} == {"answers without the chosen option, or the right one"}


@pytest.mark.parametrize(("others", "asked"), [("test", [1]), ("valid", [1, 2])])
def test_questions_to_choose_settings_by_count_only_where_there_are_no_others(
    tmp_path: Path, others: str, asked: list[int]
) -> None:
    states = [state(1, "B", split=others), state(2, "B", split="valid")]
    answers, notes = read(HelmReader(), write_run(tmp_path, states=states))
    assert [row["doc_id"] for row in answers] == asked
    assert sum(notes.left_out.values()) == 2 - len(asked)


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("mmlu:subject=law,method=multiple_choice_joint,model=a_b,eval_split=test,groups=mmlu_law", "mmlu:subject=law"),
        ("commonsense:dataset=hellaswag,method=multiple_choice_joint,model=a_b", "commonsense:dataset=hellaswag"),
        ("narrative_qa:model=a_b", "narrative_qa"),
        ("gsm:model=a_b,stop=none", "gsm"),
    ],
)
def test_the_category_is_the_scenario_with_its_arguments(tmp_path: Path, name: str, category: str) -> None:
    folder = write_run(tmp_path, name, states=[state(1, "B")])
    answers, _ = read(HelmReader(), folder)
    assert [row["category"] for row in answers] == [category]


def test_the_newest_run_wins_if_it_can_be_told(tmp_path: Path) -> None:
    write_run(tmp_path / "a", states=[state(1, "A", time=1700000000)])
    write_run(tmp_path / "b", states=[state(1, "B", time=1600000000)])
    answers, notes = read(HelmReader(), tmp_path)
    assert [row["correct"] for row in answers] == [False]
    assert set(notes.left_out) == {("b/scenario_state.json", OLDER)}
    write_run(tmp_path / "b", states=[state(1, "B", time=1700000000)])
    answers, notes = read(HelmReader(), tmp_path)
    assert answers == []
    assert notes.problems == [
        "a/scenario_state.json and b/scenario_state.json are both runs of colour:hue=warm with openai/gpt2, and do not "
        "say which is newer; import one of them"
    ]


def test_files_without_the_rest_of_their_run_are_refused(tmp_path: Path) -> None:
    folder = write_run(tmp_path, states=[state(1, "B")], per_instance_stats=[stats(1, exact_match=1.0)])
    (folder / "run_spec.json").unlink()
    (folder / "scenario_state.json").unlink()
    answers, notes = read(HelmReader(), folder)
    assert answers == []
    assert notes.problems == [
        "per_instance_stats.json has no run_spec.json next to it, which names the model and the scenario; import the "
        "whole folder of the run, or say them with --model and --benchmark"
    ]


@real_files
def test_real_runs(tmp_path: Path) -> None:
    answers, notes = read(HelmReader(), FORMATS / "helm")
    counts: dict[str, list[bool]] = {}
    for row in answers:
        counts.setdefault(row["category"], []).append(row["correct"])
    assert {category: (len(right), sum(right)) for category, right in counts.items()} == {
        "mmlu:subject=philosophy": (9, 1),
        "narrative_qa": (4, 0),
        "bbq:subject=all": (100, 74),
    }
    assert notes.problems == []
    assert {reason: n for (_, reason), n in notes.left_out.items()} == {
        "questions of the split valid; HELM reports those of test": 1,
    }
    for path in (FORMATS / "helm" / "summarized").rglob("*.json"):
        if path.name != "per_instance_stats.json":
            shutil.copyfile(path, tmp_path / path.name)
    answers, _ = read(HelmReader(), tmp_path)  # 86 chose an option, 14 said something else
    assert (len(answers), sum(row["correct"] for row in answers)) == (100, 74)


@real_files
def test_no_other_file_is_taken_for_one_of_helm() -> None:
    reader = HelmReader()
    files = [LogFile(path, path.relative_to(FORMATS).as_posix()) for path in FORMATS.rglob("*") if path.is_file()]
    recognised = {file.name for file in files if reader.recognises(file)}
    assert recognised == {file.name for file in files if file.name.startswith("helm/")}
