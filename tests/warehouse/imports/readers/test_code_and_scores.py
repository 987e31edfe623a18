"""EvalPlus, BigCodeBench, scores by question, py-irt, LLMRouterBench, RouterArena, BFCL and SWE-bench."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.warehouse.imports.readers.reading_logs import FORMATS, read, real_files
from warehouse.imports.readers.code_benchmarks import CodeBenchmarkReader
from warehouse.imports.readers.failures_only import BfclReader, SweBenchReader
from warehouse.imports.readers.reader import Choices, LogFile, Notes
from warehouse.imports.readers.router_logs import RouterArenaReader, RouterBenchRunReader
from warehouse.imports.readers.scores import IrtReader, ScoresReader

READERS = [
    CodeBenchmarkReader(), ScoresReader(), IrtReader(), RouterBenchRunReader(), RouterArenaReader(), BfclReader(),
    SweBenchReader(),
]  # fmt: skip


def write(path: Path, document: Any, lines: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(one)}\n" for one in document) if lines else json.dumps(document))
    return path


def brief(answers: list[dict[str, Any]], *names: str) -> list[tuple]:
    return [tuple(answer[name] for name in ("model", "category", "text", "correct", *names)) for answer in answers]


# --- EvalPlus and BigCodeBench

TEXTS = {"HumanEval/0": "def zero():", "HumanEval/1": "def one():"}


def sample(base: str | None, plus: str | None) -> dict[str, Any]:
    return {"task_id": "…", "solution": "return 0", "base_status": base, "plus_status": plus}


def test_evalplus_has_two_gradings_and_tries(tmp_path: Path):
    results = {
        "HumanEval/0": [sample("pass", "fail")] * 3,
        "HumanEval/1": [sample("pass", "pass"), sample("fail", None)],
    }
    name = "org--a_b-7B_vllm_temp_0.2-sanitized_eval_results.json"
    path = write(tmp_path / "humaneval" / name, {"date": "…", "hash": "…", "eval": results})
    _, notes = read(CodeBenchmarkReader(), path, questions=TEXTS)
    assert (
        "humaneval has 2 metrics that could grade it (base, plus); choose one with --metric base" in notes.problems[0]
    )
    answers, notes = read(CodeBenchmarkReader(), path, questions=TEXTS, metric={"": "plus"})
    assert brief(answers, "score", "answer") == [
        ("org/a_b-7B", "humaneval", "def zero():", False, 0.0, "return 0"),
        ("org/a_b-7B", "humaneval", "def one():", True, 1.0, "return 0"),  # the second try has no plus_status
    ]
    assert notes.runs["org/a_b-7B", "humaneval"].settings == {"temperature": 0.2}
    answers, notes = read(CodeBenchmarkReader(), path, questions=TEXTS, metric={"": "base"})
    assert brief(answers) == [("org/a_b-7B", "humaneval", "def zero():", True)]
    assert sum(notes.left_out.values()) == 1  # as many passes as failures
    answers, _ = read(CodeBenchmarkReader(), path, questions=TEXTS, metric={"": "base"}, epochs="any_correct")
    assert [(answer["correct"], answer["score"]) for answer in answers] == [(True, 1.0), (True, 0.5)]


def test_evalplus_never_grades_by_the_other_tests_than_those_asked_for(tmp_path: Path):
    results = {"HumanEval/0": [sample(None, "fail")]}
    path = write(tmp_path / "m_temp_0.0_eval_results.json", {"date": "…", "eval": results})
    answers, notes = read(CodeBenchmarkReader(), path, questions=TEXTS, metric={"": "base"})
    assert answers == []
    assert "says of no solution whether it passed the base tests" in notes.problems[0]
    assert len(read(CodeBenchmarkReader(), path, questions=TEXTS)[0]) == 1


def test_evalplus_counts_plus_as_evalplus_does(tmp_path: Path):
    results = {"HumanEval/0": [sample("fail", "pass")], "HumanEval/1": [sample(None, "pass")]}
    path = write(tmp_path / "m_temp_0.0_eval_results.json", {"date": "…", "eval": results})
    answers, notes = read(CodeBenchmarkReader(), path, questions=TEXTS, metric={"": "plus"})
    assert brief(answers) == [("m", "humaneval", "def zero():", False)]
    assert [*notes.left_out] == [(path.name, "tasks without a status")]


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("org--m_vllm_temp_0.0-sanitized_eval_results.json", "org/m"),
        ("org--m--main--bigcodebench-complete--vllm-0-1-sanitized_calibrated_eval_results.json", "org/m"),
        ("mine_eval_results.json", "given"),  # no name that the tool gives
        ("eval_results.json", "given"),
    ],
)
def test_a_model_is_given_where_the_tool_has_not_named_the_file(tmp_path: Path, name: str, model: str):
    path = write(tmp_path / name, {"date": "…", "eval": {"HumanEval/0": [sample("pass", "pass")]}})
    answers, _ = read(CodeBenchmarkReader(), path, questions=TEXTS, metric={"": "base"}, model="given")
    assert [answer["model"] for answer in answers] == [model]


def test_evalplus_of_2023(tmp_path: Path):
    results = {"HumanEval/0": {"nfiles": 1, "base": [["success", [True]]], "plus": [["failed", [False]]]}}
    path = write(tmp_path / "m_temp_0.0_eval_results.json", {"date": "…", "eval": results})
    answers, _ = read(CodeBenchmarkReader(), path, questions=TEXTS, metric={"": "base"})
    assert brief(answers) == [("m", "humaneval", "def zero():", True)]


def test_bigcodebench_has_one_status_and_needs_texts(tmp_path: Path):
    results = {f"BigCodeBench/{i}": [{"status": status}] for i, status in enumerate(("pass", "timeout"))}
    path = write(tmp_path / "org--m--bigcodebench-complete--vllm-0-1_eval_results.json", {"date": "…", "eval": results})
    _, notes = read(CodeBenchmarkReader(), path)
    assert "2 of its 2 tasks (BigCodeBench/0, …) are not among those that are known; give a table" in notes.problems[0]
    texts = {"BigCodeBench/0": "a", "BigCodeBench/1": "b"}
    answers, _ = read(CodeBenchmarkReader(), path, questions=texts)
    assert brief(answers) == [("org/m", "bigcodebench", "a", True), ("org/m", "bigcodebench", "b", False)]


@real_files
def test_real_results_of_evalplus():
    texts = {f"HumanEval/{i}": f"task {i}" for i in range(164)}
    answers, _ = read(CodeBenchmarkReader(), FORMATS / "evalplus", questions=texts, metric={"": "plus"})
    right: dict[str, list[bool]] = {}
    for answer in answers:
        right.setdefault(answer["model"], []).append(answer["correct"])
    expected = {}
    for path in (FORMATS / "evalplus" / "humaneval").iterdir():
        tasks = json.loads(path.read_text())["eval"].values()
        expected[path.name.split("_vllm")[0].replace("--", "/")] = sum(
            t[0]["base_status"] == t[0]["plus_status"] == "pass" for t in tasks
        )
    assert {model: (len(own), sum(own)) for model, own in right.items()} == {
        model: (164, passed) for model, passed in expected.items()
    }
    assert sorted(expected.values()) == [39, 94]


# --- scores by question


@pytest.mark.parametrize("lines", [False, True])
def test_scores_by_question(tmp_path: Path, lines: bool):
    rows = [
        {"question": "1 + 1?", "scores": {"m": 1, "n": 0.25}, "cluster_id": 3},
        {"question": "2 + 2?", "scores": {"m": None, "n": 0.75}},
    ]
    path = write(tmp_path / "scores.json", rows, lines)
    _, notes = read(ScoresReader(), path, benchmark="sums")
    assert "row 1: the score of n is 0.25, neither 0 nor 1; say with --threshold" in notes.problems[0]
    answers, notes = read(ScoresReader(), path, benchmark="sums", threshold=0.5)
    assert brief(answers, "score") == [
        ("m", "sums", "1 + 1?", True, 1.0), ("n", "sums", "1 + 1?", False, 0.25), ("n", "sums", "2 + 2?", True, 0.75),
    ]  # fmt: skip
    assert [*notes.left_out.values()] == [1]
    assert (
        "does not tell the benchmark of its questions; name it with --benchmark"
        in read(ScoresReader(), path)[1].problems[0]
    )


def test_questions_and_models_without_scores_are_counted(tmp_path: Path):
    path = write(tmp_path / "scores.json", [{"question": "1?", "scores": {"m": 1}}, {"question": "2?", "scores": None}])
    answers, notes = read(ScoresReader(), path, benchmark="sums")
    assert (len(answers), dict(notes.left_out)) == (1, {("scores.json", "questions without scores"): 1})
    rows = [{"subject_id": "m", "responses": {"a b": 1}}, {"subject_id": "n", "responses": None}]
    answers, notes = read(IrtReader(), write(tmp_path / "irt", rows, lines=True), benchmark="sums")
    assert (len(answers), dict(notes.left_out)) == (1, {("irt", "models without responses"): 1})
    assert [*notes.runs] == [("m", "sums")]


def test_a_damaged_line_is_named(tmp_path: Path):
    path = write(tmp_path / "scores.jsonl", [{"question": "1 + 1?", "scores": {"m": 1}}], lines=True)
    path.write_text(path.read_text() + '{"question": "2')
    _, notes = read(ScoresReader(), path, benchmark="sums")
    assert "scores.jsonl, line 2 is no whole JSON" in notes.problems[0]


@real_files
def test_real_scores():
    rows = json.loads((FORMATS / "llmrouter" / "dcrouter_test.json").read_text())
    answers, _ = read(ScoresReader(), FORMATS / "llmrouter", benchmark="mixed", threshold=0.5)
    assert len(answers) == sum(len(row["scores"]) for row in rows)
    assert sum(a["correct"] for a in answers) == sum(score >= 0.5 for row in rows for score in row["scores"].values())


# --- py-irt


def test_responses_by_model(tmp_path: Path):
    rows = [{"subject_id": "m", "responses": {"q1": 1, "What is 2 + 2?": 0}}]
    path = write(tmp_path / "irt.jsonlines", rows, lines=True)
    answers, _ = read(IrtReader(), path, benchmark="sums", questions={"q1": "1 + 1?"})
    assert brief(answers) == [("m", "sums", "1 + 1?", True), ("m", "sums", "What is 2 + 2?", False)]
    _, notes = read(IrtReader(), path, benchmark="sums")
    assert "has items such as 'q1', which are no texts; give a table" in notes.problems[0]


@real_files
def test_real_responses():
    texts = {f"q{i}": f"text {i}" for i in range(1, 5)}
    answers, _ = read(IrtReader(), FORMATS / "pyirt", benchmark="mini", questions=texts)
    assert (len(answers), sum(answer["correct"] for answer in answers)) == (16, 8)


# --- benchmarks of routers


def run(**more: Any) -> dict[str, Any]:
    record = {
        "index": 7, "origin_query": "1 + 1?", "prompt": "What is 1 + 1?", "prediction": "2", "ground_truth": "2",
        "score": 1.0, "prompt_tokens": 9, "completion_tokens": 2, "cost": 0.25,
    }  # fmt: skip
    return {"model_name": "m", "dataset_name": "sums", "split": "test", "demo": False, "records": [record], **more}


def test_the_latest_run_counts_and_no_demonstration(tmp_path: Path):
    older = run(records=[{**run()["records"][0], "score": 0}])
    write(tmp_path / "sums-test-m-20250101_010101.json", older)
    write(tmp_path / "sums-test-m-20250301_010101.json", run())
    write(tmp_path / "sums-test-m-20250401_010101.json", run(demo=True))
    answers, notes = read(RouterBenchRunReader(), tmp_path)
    assert brief(answers, "doc_id", "target", "tokens_in", "tokens_out", "cost") == [
        ("m", "sums", "What is 1 + 1?", True, 7, "2", 9, 2, 0.25)
    ]
    assert {file: count for (file, _), count in notes.left_out.items()} == {
        "sums-test-m-20250101_010101.json": 1, "sums-test-m-20250401_010101.json": 1,
    }  # fmt: skip


def test_a_prompt_may_be_a_chat(tmp_path: Path):
    chat = {**run()["records"][0], "prompt": [{"role": "user", "content": "1 + 1?"}]}
    answers, _ = read(RouterBenchRunReader(), write(tmp_path / "sums.json", run(records=[chat])))
    assert [answer["text"] for answer in answers] == ["1 + 1?"]


def test_a_run_without_records_is_refused_and_one_with_fewer_than_it_counts_is_told(tmp_path: Path):
    path = write(tmp_path / "sums.json", run(records=None))
    assert read(RouterBenchRunReader(), path)[1].problems == ["sums.json has no records; copy the file again"]
    answers, notes = read(RouterBenchRunReader(), write(path, run(counts=3)))
    assert (len(answers), notes.remarks) == (1, ["sums.json has 1 records of the 3 that it counts."])


def test_what_a_router_chose(tmp_path: Path):
    rows = [
        {
            "global_index": "ArcChallenge_12", "question": "Which is wet?", "llm_selected": "m",
            "token_usage": {"input_tokens": 5, "output_tokens": 1}, "success": True,
            "evaluation_result": {"score": 1.0, "ground_truth": "A", "inference_cost": 0.25},
        },
        {
            "global_index": "ArcChallenge_14", "question": "Which is dry?", "llm_selected": "m", "success": False,
            "evaluation_result": {"score": 0.0},
        },
        {"global_index": "ArcChallenge_13", "question": "Which?", "llm_selected": "n", "evaluation_result": None},
    ]  # fmt: skip
    answers, notes = read(RouterArenaReader(), write(tmp_path / "router.jsonl", rows, lines=True))
    assert brief(answers, "doc_id", "tokens_in", "cost", "target") == [
        ("m", "ArcChallenge", "Which is wet?", True, 12, 5, 0.25, "A")
    ]
    assert {reason: count for (_, reason), count in notes.left_out.items()} == {
        "failed requests": 1, "choices without a score": 1,
    }  # fmt: skip


# --- failures only


def failures(total: int, *ids: str, **more: Any) -> list[dict[str, Any]]:
    right = total - len(ids)
    first = {"accuracy": right / total, "correct_count": right, "total_count": total, **more}
    question = [[{"role": "user", "content": "Call it."}]]
    return [first, *({"id": one, "valid": False, "prompt": {"id": one, "question": question}} for one in ids)]


def test_what_a_model_did_not_fail_it_passed(tmp_path: Path):
    for model, own in (("m", failures(2, "simple_0")), ("n", failures(2, "simple_1"))):
        write(tmp_path / "score" / model / "BFCL_v3_simple_score.json", own, lines=True)
    answers, _ = read(BfclReader(), tmp_path)
    assert sorted((a["model"], a["category"], a["doc_id"], a["correct"]) for a in answers) == [
        ("m", "bfcl_simple", 0, False), ("m", "bfcl_simple", 1, True),
        ("n", "bfcl_simple", 0, True), ("n", "bfcl_simple", 1, False),
    ]  # fmt: skip


def test_the_model_of_bfcl_is_the_folder_above_those_of_its_categories(tmp_path: Path):
    for folder in ("non_live", "agentic/memory/kv"):
        own = failures(1, "simple_0")
        write(tmp_path / "score" / "openai_gpt-oss-120b" / folder / "BFCL_v4_simple_score.json", own, lines=True)
    answers, _ = read(BfclReader(), tmp_path)
    assert {answer["model"] for answer in answers} == {"openai/gpt-oss-120b"}
    write(tmp_path / "any" / "simple_score.json", failures(1, "simple_0"), lines=True)
    answers, _ = read(BfclReader(), tmp_path, model="given")  # which stands for what is not called as BFCL does it
    assert {answer["model"] for answer in answers} == {"openai/gpt-oss-120b", "given"}


def test_texts_that_stand_nowhere_are_asked_for(tmp_path: Path):
    path = write(tmp_path / "m" / "simple_score.json", failures(3, "simple_0"), lines=True)
    _, notes = read(BfclReader(), tmp_path)
    assert "the texts of 2 of its 3 questions stand in no file of another model" in notes.problems[0]
    texts = {"simple_1": "Two.", "simple_2": "Three.", "multiple_1": "of another category", "simple_a_1": "another"}
    answers, _ = read(BfclReader(), tmp_path, questions=texts)
    assert [(a["text"], a["correct"]) for a in answers] == [("Two.", True), ("Three.", True), ("Call it.", False)]
    path.write_text("\n".join(map(json.dumps, failures(3, "simple_0", correct_count=0))))
    assert (
        "names 1 failures, but its first line says 3 questions of which 0"
        in read(BfclReader(), tmp_path)[1].problems[0]
    )


def test_swe_bench_counts_what_was_asked(tmp_path: Path):
    results = {"resolved": ["a__a-1"], "submitted_ids": ["a__a-1", "b__b-2"], "empty_patch_ids": ["c__c-3"]}
    name = "20240402_agent_gpt4"  # with its date: an agent is submitted several times
    path = write(tmp_path / name / "results" / "results.json", results)
    _, notes = read(SweBenchReader(), tmp_path)
    assert "has ids only, and 3 of 3 (a__a-1, …) have no text; give a table of instance_id" in notes.problems[0]
    texts = {"a__a-1": "one", "b__b-2": "two", "c__c-3": "three"}
    answers, _ = read(SweBenchReader(), tmp_path, questions=texts)
    assert brief(answers) == [
        (name, "swe-bench", "one", True), (name, "swe-bench", "two", False), (name, "swe-bench", "three", False),
    ]  # fmt: skip
    write(path, {"resolved": ["a__a-1"], "submitted_ids": []})
    assert "names only resolved instances" in read(SweBenchReader(), tmp_path, questions=texts)[1].problems[0]
    write(path, {"resolved": ["a__a-1", None], "submitted_ids": ["a__a-1", "b__b-2"]})
    assert "the list resolved has something that is no id" in read(SweBenchReader(), tmp_path)[1].problems[0]


def test_swe_bench_says_it_instance_by_instance(tmp_path: Path):
    said = {
        "a__a-1": {"cost": 0.72, "api_calls": 32, "resolved": True}, "b__b-2": {"cost": -1, "resolved": False},
        "c__c-3": {"cost": 0.1, "resolved": None},
    }  # fmt: skip
    path = write(tmp_path / "20260217_mini_opus" / "per_instance_details.json", said)
    _, notes = read(SweBenchReader(), tmp_path)
    assert "3 of 3 (a__a-1, …) have no text; give a table of instance_id" in notes.problems[0]
    answers, notes = read(SweBenchReader(), tmp_path, questions={"a__a-1": "one", "b__b-2": "two", "c__c-3": "three"})
    assert brief(answers, "cost") == [
        ("20260217_mini_opus", "swe-bench", "one", True, 0.72), ("20260217_mini_opus", "swe-bench", "two", False, None),
    ]  # fmt: skip
    assert [*notes.left_out.values()] == [1]
    assert SweBenchReader().recognises(LogFile(path, path.name))


def test_submissions_to_swe_bench_leave_their_failures_to_the_split(tmp_path: Path):
    lists = {"no_generation": ["c__c-3"], "no_logs": [], "resolved": ["a__a-1"]}
    write(tmp_path / "verified" / "20251215_agent_opus" / "results" / "results.json", lists)
    texts = {"a__a-1": "one", "b__b-2": "two", "c__c-3": "three"}
    _, notes = read(SweBenchReader(), tmp_path, questions=texts)
    assert (
        "what is not is the rest of its split; give the 500 instances of verified, with --questions"
        in (notes.problems[0])
    )
    answers, notes = read(SweBenchReader(), tmp_path / "verified" / "20251215_agent_opus", model="m", questions=texts)
    assert [(answer["item"], answer["correct"]) for answer in answers] == [
        ("a__a-1", True), ("b__b-2", False), ("c__c-3", False),
    ]  # fmt: skip
    assert notes.remarks == [
        "results/results.json does not list what was asked: of the 3 instances of --questions, 1 that it does not name "
        "count as not resolved."
    ]


# --- whatever a file holds

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["eval", "date", "HumanEval/0", "base_status", "question", "scores", "m", "subject_id", "responses", "records",
         "model_name", "dataset_name", "demo", "global_index", "llm_selected", "evaluation_result", "score", "accuracy",
         "correct_count", "total_count", "id", "prompt", "resolved", "submitted_ids"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
BEGINNINGS = [
    '{"date": 1, "eval": {"HumanEval/0": %s}}', '[{"question": "q", "scores": {"m": %s}}]',
    '{"subject_id": "m", "responses": {"a b": %s}}', '{"model_name": "m", "dataset_name": "d", "records": %s}',
    '{"global_index": 1, "llm_selected": "m", "question": "q", "evaluation_result": %s}',
    '{"accuracy": 0, "correct_count": 0, "total_count": 1}\n%s', '{"resolved": ["a"], "submitted_ids": %s}',
]  # fmt: skip


@given(which=st.integers(0, len(READERS) - 1), value=VALUES, cut=st.integers(0, 20))
def test_whatever_a_file_holds_ends_in_answers_or_sentences(tmp_path_factory, which: int, value: Any, cut: int):
    path = tmp_path_factory.mktemp("any") / "org--m_eval_results.json"
    text = BEGINNINGS[which] % json.dumps(value)
    path.write_text(text[: len(text) - cut] if cut > 10 else text)
    notes, file = Notes(), LogFile(path, path.name)
    choices = Choices(benchmark="b", questions={"HumanEval/0": "def zero():", "a": "one", "": "x"}, metric={"": "base"})
    list(READERS[which].read([file], choices, notes))


@real_files
def test_real_files_have_one_reader_at_most():
    for path in sorted(FORMATS.rglob("*")):
        if path.is_file():
            claimed = [reader.format for reader in READERS if reader.recognises(LogFile(path, path.name))]
            folder = path.relative_to(FORMATS).parts[0]
            expected = {"evalplus": ["evalplus"], "llmrouter": ["scores"], "pyirt": ["py-irt"]}.get(folder, [])
            assert claimed == expected, path
