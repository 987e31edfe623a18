"""Logs of lm-eval in the layouts of its versions, as small as they can be."""

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.warehouse.imports.readers.reading_lm_eval import log_files, read
from warehouse.imports.readers.lm_eval import LmEval
from warehouse.imports.readers.reader import OLDER, LogFile

TIME, LATER = "2024-08-21T03-44-09.494230", "2025-01-02T00-00-00.000001"
FORMATS = Path(__file__).parents[4].parent / "shared" / "formats"


def choice(doc_id: int, *, names: Sequence[str] = ("acc",), **fields: Any) -> dict[str, Any]:
    """A sample of a multiple-choice question since 2025: 3 + n is asked, the model takes the second option."""
    sums, wrong = f"{3 + doc_id}", f"{9 + doc_id}"
    prompt = f"Q: What is 1 + 1?\nA: 2\n\nQ: What is 3 + {doc_id}, please?\nA:"
    return {
        "doc_id": doc_id,
        "doc": {"question": f"What is 3 + {doc_id}, please?", "choices": [sums, wrong], "gold": 0},
        "target": "0",
        "arguments": {f"gen_args_{n}": {"arg_0": prompt, "arg_1": f" {o}"} for n, o in enumerate((sums, wrong))},
        "resps": [[["-2.5", "False"]], [["-1.5", "False"]]],
        "filtered_resps": [["-2.5", "False"], ["-1.5", "False"]],
        "filter": "none",
        "metrics": list(names),
        "doc_hash": f"{doc_id:064x}",
        "prompt_hash": "1" * 64,
        "target_hash": "2" * 64,
        **dict.fromkeys(names, 0.0),
        **fields,
    }


def reply(doc_id: int, correct: float | None, **fields: Any) -> dict[str, Any]:
    """A sample of a question that is answered in words, of 2024: without `filter` and `metrics`."""
    return {
        "doc_id": doc_id,
        "doc": {"question": f"How many legs have {doc_id} dogs?", "answer": f"#### {4 * doc_id}"},
        "target": f"#### {4 * doc_id}",
        "arguments": {
            "gen_args_0": {"arg_0": f"Question: How many legs have {doc_id} dogs?\nAnswer:", "arg_1": {"until": ["\n"]}}
        },
        "resps": [[f" It is {4 * doc_id}."]],
        "filtered_resps": [f"{4 * doc_id}"],
        "doc_hash": f"{doc_id:064x}",
        "prompt_hash": "1" * 64,
        "target_hash": "2" * 64,
        "exact_match": correct,
        **fields,
    }


def write(path: Path, samples: Sequence[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    return path


def write_results(folder: Path, task: str, *, time: str = TIME, model: str = "org/m", **fields: Any) -> Path:
    said = {
        "results": {task: {"alias": task, "exact_match,none": 0.5}},
        "configs": {task: {"task": task, "num_fewshot": 5, "generation_kwargs": {"temperature": 0.0}}},
        "versions": {task: 1.0},
        "n-shot": {task: 5},
        "config": {"model": "hf", "model_args": f"pretrained={model}", "model_num_parameters": 93069280},
        "lm_eval_version": "0.4.9.2",
        "model_name": model,
        **fields,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"results_{time}.json"
    path.write_text(json.dumps(said, indent=2))
    return path


def grades(answers: Sequence[Mapping[str, Any]]) -> dict[tuple[str, int], bool]:
    return {(answer["model"], answer["doc_id"]): answer["correct"] for answer in answers}


def test_an_answer_of_today(tmp_path: Path) -> None:
    write(tmp_path / "org__m" / f"samples_sums_{TIME}.jsonl", [choice(0), choice(1, acc=1.0)])
    write_results(tmp_path / "org__m", "sums", model="org/m")
    answers, notes = read(tmp_path)

    assert answers[0] == {
        "row": 1,
        "model": "org/m",
        "category": "sums",
        "text": "Q: What is 3 + 0, please?\nA:\n- 3\n- 9",
        "correct": False,
        "score": 0.0,
        "item": "0",
        "doc_id": 0,
        "split": None,
        "target": "3",
        "answer": "9",
        **dict.fromkeys(("tokens_in", "tokens_out", "cost", "latency_s")),
    }
    assert grades(answers) == {("org/m", 0): False, ("org/m", 1): True}
    assert (notes.problems, dict(notes.left_out)) == ([], {})
    (run,) = notes.runs.values()
    assert (run.model, run.category, run.tool, run.version) == ("org/m", "sums", "lm-eval", "0.4.9.2")
    assert (run.metric, run.filter, run.labels) == ("acc", "none", {"size_b": 0.093})
    assert run.settings == {
        "backend": "hf",
        "num_fewshot": 5,
        "task_version": 1.0,
        "generation": {"temperature": 0.0},
        "text_from": "the logged prompt, without examples",
    }


def test_flat_arguments_of_2023_with_the_model_in_the_files_name(tmp_path: Path) -> None:
    sample = {
        "doc_id": 0,
        "doc": {"sentence": "Sarah beat Maria so _ won."},
        "target": "won.",
        "arguments": ["Sarah beat Maria so Sarah", " won."],
        "resps": [[[-15.5, False]], [[-15.7, False]]],
        "filtered_resps": [[-15.5, False], [-15.7, False]],
        "acc": 1.0,
    }
    write(tmp_path / "pretrained=EleutherAI__pythia-2.8b_winogrande.jsonl", [sample])
    ((answer,), notes) = read(tmp_path)

    assert (answer["model"], answer["category"]) == ("EleutherAI/pythia-2.8b", "winogrande")
    assert (answer["text"], answer["correct"], answer["target"]) == ("Sarah beat Maria so Sarah", True, "won.")
    assert notes.problems == []


@pytest.mark.parametrize(
    ("name", "model", "task"),
    [
        ("pretrained=EleutherAI__pythia-2.8b,dtype=float_arc_easy.jsonl", "EleutherAI/pythia-2.8b", "arc_easy"),
        (
            "pretrained__EleutherAI__pythia-160m,trust_remote_code__True_my_task.jsonl",
            "EleutherAI/pythia-160m",
            "my_task",
        ),
        ("model__gpt-4_my_task.jsonl", "gpt-4", "my_task"),
        ("pretrained=org__a_b_arc_easy.jsonl", "org/a_b", "arc_easy"),  # because arc_easy is known
        ("org__m/samples_arc_easy_2024-08-21T03-44-09.494230.json", "org/m", "arc_easy"),
        ("org__m/samples_my_task_2024-08-21T03:44:09.jsonl", "org/m", "my_task"),
        ("org__m/samples_my_task.jsonl", "org/m", "my_task"),
        ("arc_easy.jsonl", "given", "arc_easy"),
        ("_arc_easy.jsonl", "given", "arc_easy"),
        ("anything.jsonl", "given", "said"),
    ],
)
def test_model_and_task_in_names(tmp_path: Path, name: str, model: str, task: str) -> None:
    write(tmp_path / name, [choice(0)])

    def text_of(task: str, doc: object) -> str | None:
        return "a text" if task == "arc_easy" else None

    ((answer,), notes) = read(tmp_path, model="given", benchmark="said", text_of=text_of)

    assert (answer["model"], answer["category"], notes.problems) == (model, task, [])


def test_a_model_that_nothing_tells(tmp_path: Path) -> None:
    file = write(tmp_path / "logs" / f"samples_sums_{TIME}.jsonl", [choice(0)])

    assert read(file)[1].problems == [
        f"neither the folder nor the name of {file} tells whose answers it holds, and no results_*.json of its run is "
        "next to it; say it with --model"
    ]
    assert [answer["model"] for answer in read(file, model="mine")[0]] == ["mine"]


def test_a_task_that_nothing_tells(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.jsonl", [choice(0)])

    assert read(file, model="m")[1].problems == [
        f"the name of {file} does not tell which task it holds; say it with --benchmark"
    ]


def test_results_next_to_a_file_that_is_named_alone(tmp_path: Path) -> None:
    file = write(tmp_path / "logs" / f"samples_sums_{TIME}.jsonl", [choice(0)])
    write_results(tmp_path / "logs", "sums", model="gpt-4o")

    assert grades(read(file)[0]) == {("gpt-4o", 0): False}


def test_a_name_that_lm_eval_made_up_is_none(tmp_path: Path) -> None:
    write(tmp_path / "a1b2c3d4" / f"samples_sums_{TIME}.jsonl", [choice(0)])
    write_results(tmp_path / "a1b2c3d4", "sums", model_name="a1b2c3d4", config={"model": "dummy", "model_args": ""})

    assert "say it with --model" in read(tmp_path)[1].problems[0]


def test_one_array_in_a_file_called_jsonl(tmp_path: Path) -> None:
    rows = [reply(1, 1.0), reply(2, None)]
    for row in rows:
        row["arguments"] = [[row["arguments"]["gen_args_0"]["arg_0"], {"until": ["\n"]}]]
    (tmp_path / "model__gpt-4_legs.jsonl").write_text(json.dumps(rows, indent=2))
    ((answer,), notes) = read(tmp_path)

    assert (answer["row"], answer["model"], answer["text"]) == (
        1,
        "gpt-4",
        "Question: How many legs have 1 dogs?\nAnswer:",
    )
    assert (answer["answer"], answer["target"]) == ("4", "#### 4")
    assert {reason: n for (_, reason), n in notes.left_out.items()} == {
        "answers without a grade (exact_match is missing)": 1
    }
    assert notes.runs["gpt-4", "legs"].settings["generation"] == {"until": ["\n"]}


FILTERS = {"filter_list": [{"name": "strict-match", "filter": []}, {"name": "flexible-extract", "filter": []}]}


def two_filters(folder: Path) -> Path:
    """Two rows a document without names: strict-match finds nothing, flexible-extract all but the last."""
    rows = [reply(n, 0.0) for n in range(3)] + [reply(n, float(n < 2)) for n in range(3)]
    return write(folder / f"samples_legs_{TIME}.jsonl", rows)


@pytest.mark.parametrize(("name", "right"), [("strict-match", 0), ("flexible-extract", 2)])
def test_filters_without_names_follow_each_other_as_the_results_name_them(
    tmp_path: Path, name: str, right: int
) -> None:
    two_filters(tmp_path / "org__m")
    write_results(tmp_path / "org__m", "legs", configs={"legs": FILTERS})
    answers, notes = read(tmp_path, filter={"legs": name})

    assert (len(answers), sum(answer["correct"] for answer in answers)) == (3, right)
    assert list(notes.left_out.values()) == [3]
    assert notes.runs["org/m", "legs"].filter == name


def test_filters_that_only_the_keys_of_results_name(tmp_path: Path) -> None:
    two_filters(tmp_path / "org__m")
    named = {"alias": "legs", "exact_match,strict-match": 0.0, "exact_match_stderr,strict-match": 0, "exact_match,b": 1}
    write_results(tmp_path / "org__m", "legs", configs={}, results={"legs": named})

    assert sum(answer["correct"] for answer in read(tmp_path, filter={"": "b"})[0]) == 2


def test_filters_that_the_tasks_definition_names(tmp_path: Path) -> None:
    two_filters(tmp_path / "org__m")
    answers, _ = read(tmp_path, filter={"": "second"}, filters_of=lambda task: ("first", "second"))

    assert sum(answer["correct"] for answer in answers) == 2


def test_filters_that_nothing_names_are_numbered(tmp_path: Path) -> None:
    two_filters(tmp_path / "org__m")

    assert read(tmp_path)[1].problems == [
        "legs has 2 filters that could grade it (1, 2); choose one with --filter 1, or for it alone with "
        "--filter legs=1"
    ]
    assert sum(answer["correct"] for answer in read(tmp_path, filter={"": "2"})[0]) == 2


def test_named_filters(tmp_path: Path) -> None:
    rows = [
        reply(n, grade, filter=name, metrics=["exact_match"]) for name, grade in (("a", 0), ("b", 1)) for n in (1, 2)
    ]
    write(tmp_path / "org__m" / f"samples_legs_{TIME}.jsonl", rows)

    assert "legs has 2 filters that could grade it (a, b)" in read(tmp_path)[1].problems[0]
    assert [answer["score"] for answer in read(tmp_path, filter={"": "b"})[0]] == [1.0, 1.0]
    assert [a["score"] for a in read(tmp_path, grading_of=lambda category: {"filter": "a"})[0]] == [0.0, 0.0]


def test_half_a_file_without_names_of_filters(tmp_path: Path) -> None:
    write(tmp_path / "org__m" / f"samples_legs_{TIME}.jsonl", [reply(1, 0), reply(2, 0), reply(1, 1)])

    assert "has 2 rows of some documents and fewer of others" in read(tmp_path)[1].problems[0]


def test_one_row_a_document_of_a_run_with_two_filters(tmp_path: Path) -> None:
    write(tmp_path / "org__m" / f"samples_legs_{TIME}.jsonl", [reply(1, 0), reply(2, 0)])
    write_results(tmp_path / "org__m", "legs", configs={"legs": FILTERS})

    assert "its run had 2 filters (strict-match, flexible-extract), and nothing tells" in read(tmp_path)[1].problems[0]


def test_several_metrics(tmp_path: Path) -> None:
    rows = [choice(n, names=["acc", "acc_norm"], acc=0, acc_norm=True) for n in range(2)]
    write(tmp_path / "org__m" / f"samples_sums_{TIME}.jsonl", rows)

    assert read(tmp_path)[1].problems == [
        "sums has 2 metrics that could grade it (acc, acc_norm); choose one with --metric acc, or for it alone with "
        "--metric sums=acc"
    ]
    assert [answer["correct"] for answer in read(tmp_path, metric={"": "acc_norm"})[0]] == [True, True]


def test_metrics_that_are_not_0_or_1(tmp_path: Path) -> None:
    """mae is no candidate: the less, the better; bleu is one if it is asked for, with a threshold."""
    names = ["exact_match", "bleu", "mae", "pairs"]
    rows = [choice(n, names=names, exact_match=1, bleu=41.1 * n, mae="inf", pairs=["a", "b"]) for n in range(2)]
    write(tmp_path / "org__m" / f"samples_sums_{TIME}.jsonl", rows)

    assert [answer["correct"] for answer in read(tmp_path)[0]] == [True, True]
    assert "bleu in row 2" in read(tmp_path, metric={"": "bleu"})[1].problems[0]
    assert "--threshold" in read(tmp_path, metric={"": "bleu"})[1].problems[0]
    graded, _ = read(tmp_path, metric={"": "bleu"}, threshold=40)
    assert [(answer["correct"], answer["score"]) for answer in graded] == [(False, 0), (True, 41.1)]
    assert read(tmp_path, metric={"": "mae"})[1].problems == [
        "mae cannot grade sums: the less, the better; choose another metric with --metric"
    ]


def test_a_choice_for_any_task_does_not_concern_one_without_alternatives(tmp_path: Path) -> None:
    write(tmp_path / "org__m" / f"samples_sums_{TIME}.jsonl", [choice(0, names=["acc", "acc_norm"])])
    write(tmp_path / "org__m" / f"samples_legs_{TIME}.jsonl", [reply(1, 1)])
    answers, notes = read(tmp_path, metric={"": "acc_norm"}, filter={"": "strict-match"})

    assert (len(answers), notes.problems) == (2, [])


def test_predictions_alone(tmp_path: Path) -> None:
    write(tmp_path / "org__m" / f"samples_legs_{TIME}.jsonl", [reply(1, None, bypass=None, metrics=["bypass"])])
    answers, notes = read(tmp_path)

    assert answers == []
    assert [reason for _, reason in notes.left_out] == ["answers without a grade, as of --predict_only"]


def test_metrics_of_whole_runs_only(tmp_path: Path) -> None:
    samples = [choice(n, names=["word_perplexity", "f1"], word_perplexity=[-3.5, 7], f1=["a", "b"]) for n in range(2)]
    file = write(tmp_path / "org__m" / f"samples_sums_{TIME}.jsonl", samples)
    answers, notes = read(tmp_path)

    assert answers == []
    assert dict(notes.left_out) == {
        (file.as_posix(), "answers without a grade of their own (f1, word_perplexity are no numbers)"): 2
    }


def test_a_short_question_before_a_long_option(tmp_path: Path) -> None:
    prompt = "Examples come first.\n\nWhich is wet?\n\nA. the water of a river in spring\nB. sand\nAnswer:"
    doc = {"question": "Which is wet?", "choices": ["the water of a river in spring", "sand"]}
    arguments = {f"gen_args_{n}": {"arg_0": prompt, "arg_1": f" {letter}"} for n, letter in enumerate("AB")}
    write(tmp_path / "org__m" / f"samples_sums_{TIME}.jsonl", [choice(0, doc=doc, arguments=arguments)])

    assert read(tmp_path)[0][0]["text"] == prompt.removeprefix("Examples come first.\n\n")


def test_results_alone(tmp_path: Path) -> None:
    file = write_results(tmp_path, "sums")

    assert read(tmp_path)[1].problems == [
        f"{file}: aggregated results hold no answers; evaluate with --log_samples, and import that folder"
    ]


def test_the_newest_run_counts(tmp_path: Path) -> None:
    old = write(tmp_path / "a" / "org__m" / f"samples_sums_{TIME}.jsonl", [choice(0), choice(1)])
    new = write(tmp_path / "b" / "org__m" / f"samples_sums_{LATER}.jsonl", [choice(0, acc=1.0)])
    answers, notes = read(tmp_path)

    assert grades(answers) == {("org/m", 0): True}
    assert dict(notes.left_out) == {(old.as_posix(), OLDER): 1}
    assert notes.remarks == [
        f"{new} has 1 questions, but {old}, which is left out as older, has 2; to have those, import that file alone."
    ]


def test_a_file_with_fewer_documents_than_its_run_counted_is_told(tmp_path: Path) -> None:
    file = write(tmp_path / "org__m" / f"samples_legs_{TIME}.jsonl", [reply(0, 1.0), reply(1, 1.0)])
    for asked, said in ((2, []), (1319, [f"{file} has 2 of the 1,319 documents that its results count."])):
        write_results(tmp_path / "org__m", "legs", **{"n-samples": {"legs": {"original": 1319, "effective": asked}}})
        assert read(tmp_path)[1].remarks == said


def test_the_newest_run_with_grades_counts(tmp_path: Path) -> None:
    write(tmp_path / "org__m" / f"samples_legs_{TIME}.jsonl", [reply(0, 1)])
    write(tmp_path / "org__m" / f"samples_legs_{LATER}.jsonl", [reply(0, None, metrics=["bypass"], bypass=None)])

    assert grades(read(tmp_path)[0]) == {("org/m", 0): True}


def test_copies_and_runs_of_unknown_age(tmp_path: Path) -> None:
    write(tmp_path / "a" / "org__m" / "samples_sums.jsonl", [choice(0)])
    other = write(tmp_path / "b" / "org__m" / "samples_sums.jsonl", [choice(0)])
    answers, notes = read(tmp_path)
    assert (len(answers), list(notes.left_out)) == (1, [(other.as_posix(), "copies of another file")])

    write(other, [choice(0, acc=1.0)])
    assert "and nothing tells which are newer; import one of them" in read(tmp_path)[1].problems[0]


def test_rows_that_repeat_or_contradict(tmp_path: Path) -> None:
    file = tmp_path / "org__m" / f"samples_sums_{TIME}.jsonl"
    write(file, [choice(0), choice(0)])
    answers, notes = read(tmp_path)
    assert (len(answers), list(notes.left_out.items())) == (1, [((file.as_posix(), "rows that repeat another one"), 1)])

    write(file, [choice(0), choice(0, acc=1.0)])
    assert read(tmp_path)[1].problems == [
        f"acc in row 2 of {file} is 1, but 0 in row 1, of the same document (doc_id 0) and filter; import files of one "
        "run each"
    ]


LLAMA = "<|start_header_id|>{}<|end_header_id|>\n\n{}<|eot_id|>".format
CHATML = "<|im_start|>{}\n{}<|im_end|>\n".format


@pytest.mark.parametrize(
    "prompt",
    [
        "Question: How many legs have 2 dogs?\nAnswer:",
        "Count legs.\n\nQuestion: How many eyes?\nAnswer: 2\n\nQuestion: How many legs have 2 dogs?\nAnswer:",
        "<|begin_of_text|>" + LLAMA("system", "Today is Monday")
        + LLAMA("user", "Question: How many eyes?\nAnswer:") + LLAMA("assistant", "2")
        + LLAMA("user", "Question: How many legs have 2 dogs?\nAnswer:")
        + "<|start_header_id|>assistant<|end_header_id|>\n\n",
        CHATML("user", "Question: How many legs have 2 dogs?\nAnswer:") + "<|im_start|>assistant\n",
        "<s>[INST] Question: How many legs have 2 dogs?\nAnswer: [/INST]",
        ['[{"role": "system", "content": "Count."}, {"role": "user", "content": "Question: How many eyes?"}, '
         '{"role": "assistant", "content": "2"}, '
         '{"role": "user", "content": "Question: How many legs have 2 dogs?\\nAnswer:"}]'],
        [{"role": "user", "content": [{"type": "text", "text": "Question: How many legs have 2 dogs?\nAnswer:"}]}],
    ],
)  # fmt: skip
def test_the_question_without_examples_and_template(tmp_path: Path, prompt: Any) -> None:
    sample = reply(2, 1, arguments={"gen_args_0": {"arg_0": prompt, "arg_1": {"until": ["\n"]}}})
    write(tmp_path / "org__m" / f"samples_legs_{TIME}.jsonl", [sample])
    ((answer,), _) = read(tmp_path)

    assert answer["text"] == "Question: How many legs have 2 dogs?\nAnswer:"


def test_the_text_of_a_known_task_is_asked_once_a_document(tmp_path: Path) -> None:
    for model in "abc":
        write(tmp_path / f"org__{model}" / f"samples_sums_{TIME}.jsonl", [choice(0), choice(1)])
    asked: list[tuple[str, Any]] = []

    def text_of(task: str, doc: Mapping[str, Any]) -> str:
        asked.append((task, doc["question"]))
        return f"ours: {doc['question']}"

    answers, notes = read(tmp_path, text_of=text_of)

    assert asked == [("sums", "What is 3 + 0, please?"), ("sums", "What is 3 + 1, please?")]
    assert [answer["text"] for answer in answers] == [
        "ours: What is 3 + 0, please?",
        "ours: What is 3 + 1, please?",
    ] * 3
    assert "text_from" not in notes.runs["org/a", "sums"].settings


@given(st.randoms(use_true_random=False))
def test_the_order_of_files_and_rows_does_not_matter(
    tmp_path_factory: pytest.TempPathFactory, shuffle: random.Random
) -> None:
    root = tmp_path_factory.mktemp("logs")
    rows = [reply(n, float(n % 2), filter=name, metrics=["exact_match"]) for name in "ab" for n in range(4)]
    shuffle.shuffle(rows)
    write(root / "org__m" / f"samples_legs_{TIME}.jsonl", rows)
    write(root / "org__n" / f"samples_sums_{TIME}.jsonl", [choice(0)])
    files = log_files(root)
    shuffle.shuffle(files)

    assert grades(read(files=files, filter={"": "b"})[0]) == {
        **{("org/m", n): bool(n % 2) for n in range(4)},
        ("org/n", 0): False,
    }


WRONG = (None, "", "x\x00y\ud800", -1, 10**400, 1e308, True, [], {}, [[]], [None], {"": None}, float("nan"), [[["a"]]])


@given(st.dictionaries(st.sampled_from([*choice(0)]), st.sampled_from(WRONG)))
@example({"doc_id": "x\x00y\ud800"})
@example({"arguments": -1})
@example({"filtered_resps": [10**400, [10**400]]})
def test_wrong_types_are_refused_or_left_out(tmp_path_factory: pytest.TempPathFactory, wrong: dict[str, Any]) -> None:
    file = write(tmp_path_factory.mktemp("logs") / "org__m" / "samples_sums.jsonl", [choice(0), choice(1) | wrong])
    answers, notes = read(file)

    assert len(answers) == 2 or notes.problems or notes.left_out
    assert all(file.name in problem or "sums" in problem for problem in notes.problems)


def test_true_is_no_number_of_a_document_and_a_blank_no_name_of_a_filter(tmp_path: Path) -> None:
    rows = [choice(0) | {"doc_id": True}, choice(1) | {"filter": " "}]
    answers, _ = read(write(tmp_path / "org__m" / "samples_sums.jsonl", [rows[0], choice(1)]))
    assert [answer["doc_id"] for answer in answers] == [None, 1]
    answers, notes = read(write(tmp_path / "org__m" / "samples_sums.jsonl", [choice(0), rows[1]]))
    assert "row 2 of" in notes.problems[0]
    assert "names no filter, as other rows do" in notes.problems[0]


def test_settings_that_are_nested_too_deeply_are_refused(tmp_path: Path) -> None:
    deep = json.loads("[" * 900 + "]" * 900)
    file = write(tmp_path / "org__m" / "samples_legs.jsonl", [reply(0, 1.0)])
    row = json.loads(file.read_text())
    row["arguments"]["gen_args_0"]["arg_1"] = {"until": deep}
    file.write_text(json.dumps(row))
    assert read(file)[1].problems == [f"{file} has lists or objects that are nested too deeply to be read; remove them"]


def test_half_a_character_is_no_obstacle(tmp_path: Path) -> None:
    """As an answer that was cut between two surrogates brings it, in any field."""
    row = reply(0, 1.0) | {"target": "\ud83d", "resps": [["four \ud83d"]], "filtered_resps": ["four \ud83d"]}
    answers, notes = read(write(tmp_path / "org__m" / "samples_legs.jsonl", [row]))

    assert [(answer["target"], answer["answer"]) for answer in answers] == [("?", "four ?")]
    assert notes.problems == []


@pytest.mark.parametrize(
    "damage", [b'{"doc_id": 1, "doc": {"a', b"\xff\xfe\n", b'"text"\n', b"[" * 100_000, b'{"a": %s}' % (b"9" * 5000)]
)
def test_a_damaged_row_is_named(tmp_path: Path, damage: bytes) -> None:
    file = write(tmp_path / "org__m" / "samples_sums.jsonl", [choice(0)])
    file.write_bytes(file.read_bytes() + damage)
    answers, notes = read(tmp_path)

    assert answers == []
    assert notes.problems[0].startswith(f"row 2 of {file} is no")


def test_a_file_cut_off_anywhere(tmp_path: Path) -> None:
    """It is refused, or not taken for a log; never read in part."""
    whole = json.dumps([choice(0), choice(1)], indent=1).encode()
    file = tmp_path / "org__m" / "samples_sums.jsonl"
    file.parent.mkdir()
    for end in range(0, len(whole) - 1, 37):
        file.write_bytes(whole[:end])
        answers, notes = read(file)
        assert (answers, len(notes.problems)) in (([], 1), ([], 0))
        assert notes.problems or not LmEval().recognises(LogFile(file, file.name))


def test_damaged_results_are_named(tmp_path: Path) -> None:
    file = write_results(tmp_path, "sums")
    file.write_bytes(file.read_bytes()[:-20])

    assert read(tmp_path)[1].problems[0].startswith(f"{file} is not whole")


def test_empty_lines_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    file = write(tmp_path / "org__m" / "samples_sums.jsonl", [choice(0), choice(1)])
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n\r\n"))
    answers, notes = read(tmp_path)

    assert ([answer["row"] for answer in answers], notes.problems) == ([1, 3], [])


needs_files = pytest.mark.skipif(not FORMATS.is_dir(), reason="../shared/formats is not there")


@needs_files
@pytest.mark.parametrize(
    ("file", "choices", "count", "right"),
    [
        ("2023-06/_mathqa.jsonl", {"model": "m", "metric": {"": "acc"}}, 16, 2),
        ("2023-06/_mathqa.jsonl", {"model": "m", "metric": {"": "acc_norm"}}, 16, 3),
        ("2023-06/pretrained=EleutherAI__pythia-2.8b_winogrande.jsonl", {}, 4, 1),
        ("2024-08", {}, 50, 46),
        ("2025-05", {"model": "m", "metric": {"": "bleu_acc"}}, 20, 10),
        ("2025-05", {"model": "m", "metric": {"": "bleu_max"}, "threshold": 40}, 20, 4),
        ("2026-01", {}, 10, 0),
    ],
)
def test_real_files(file: str, choices: dict[str, Any], count: int, right: int) -> None:
    answers, notes = read(FORMATS / "lm_eval" / file, **choices)

    assert notes.problems == []
    assert (len(answers), sum(answer["correct"] for answer in answers)) == (count, right)


@needs_files
def test_only_logs_of_lm_eval_are_recognised() -> None:
    ours = {file.path.name for file in log_files(FORMATS) if LmEval().recognises(file)}

    assert ours == {file.path.name for file in log_files(FORMATS / "lm_eval")}
