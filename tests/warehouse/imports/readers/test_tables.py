"""Wide and long tables, and the texts of questions."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from warehouse.errors import ImportRefused
from warehouse.imports.readers import all_readers
from warehouse.imports.readers.code_benchmarks import CodeBenchmarkReader
from warehouse.imports.readers.failures_only import BfclReader
from warehouse.imports.readers.long_tables import LongTableReader
from warehouse.imports.readers.questions import read_questions
from warehouse.imports.readers.reader import Choices, LogFile, Notes, Reader
from warehouse.imports.readers.wide_tables import WideTableReader

from .reading_logs import FORMATS, as_imported, read, real_files

ROUTERBENCH = """\
,sample_id,prompt,eval_name,org/a,b|c,org/a|model_response,b|c|model_response,org/a|total_cost,b|c|total_cost,oracle_model_to_route_to
0,mmlu.1,"['Be brief.', ""It's 2 + 2?""]",mmlu,1.0,,['4'],,0.001,,org/a
1,arc.1,[not a list,arc,0.0,1.0,no,yes,0.002,0.25,b|c
"""


def read_as(reader: Reader, *paths: Path, **choices: object) -> tuple[list[dict], Notes]:
    """Read files that the user said are of this format."""
    notes = Notes()
    files = [LogFile(path, path.name) for path in paths]
    chosen = Choices(**choices)  # type: ignore[arg-type]
    tables = [table for _, table in reader.read(files, chosen, notes)]
    return as_imported([row for table in tables for row in table.to_pylist()], notes, chosen)


def write(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


def test_routerbench(tmp_path: Path) -> None:
    answers, notes = read(WideTableReader(), write(tmp_path / "any.txt", ROUTERBENCH))
    first = {"row": 1, "doc_id": 0, "model": "org/a", "category": "mmlu", "text": "Be brief.\nIt's 2 + 2?"}
    second = {"row": 2, "doc_id": 1, "category": "arc", "text": "[not a list"}
    assert answers == [
        {**first, "correct": True, "score": 1.0, "answer": "['4']", "cost": 0.001},
        {**second, "model": "org/a", "correct": False, "score": 0.0, "answer": "no", "cost": 0.002},
        {**second, "model": "b|c", "correct": True, "score": 1.0, "answer": "yes", "cost": 0.25},
    ]
    assert notes.left_out == {("any.txt", "empty cells (not asked)"): 1}
    assert not notes.problems
    assert sorted(notes.runs) == [("b|c", "arc"), ("org/a", "arc"), ("org/a", "mmlu")]


def test_routerbench_as_parquet_gives_the_same(tmp_path: Path) -> None:
    rows = pa.table(
        {
            "sample_id": ["mmlu.1"],
            "prompt": ["['2 + 2?']"],
            "eval_name": ["mmlu"],
            "m": pa.array([0.25]),
            "n": pa.array([None], pa.float64()),
            "m|total_cost": [0.5],
        }
    )
    pq.write_table(rows, tmp_path / "routerbench")
    answers, _ = read(WideTableReader(), tmp_path, threshold=0.2)
    assert answers == [
        {
            "row": 1, "doc_id": 0, "model": "m", "category": "mmlu", "text": "2 + 2?", "correct": True, "score": 0.25,
            "cost": 0.5,
        }
    ]  # fmt: skip
    _, notes = read(WideTableReader(), tmp_path)
    assert notes.problems == [
        "routerbench, row 1: m is '0.25', neither 0 nor 1; say with --threshold from which number on an answer is right"
    ]


def test_blank_cells_are_none_and_what_is_no_plain_number_is_refused(tmp_path: Path) -> None:
    wide = {"question_column": "q", "model_columns": ["a", "b"], "benchmark": "x", "threshold": 0.5}
    path = write(tmp_path / "any.csv", 'q,a,b\n1?," \n",1\n2?,"\ttrue\n",0\n')
    answers, notes = read_as(WideTableReader(), path, **wide)
    assert [(row["row"], row["model"], row["correct"]) for row in answers] == [
        (1, "b", True), (2, "a", True), (2, "b", False),
    ]  # fmt: skip
    assert (notes.problems, [*notes.left_out.values()]) == ([], [1])
    _, notes = read_as(WideTableReader(), write(path, "q,a,b\n1?,٣,1\n"), **wide)
    assert notes.problems == ["any.csv, row 1 has a grade that is no plain number; correct it"]
    table = "prompt,model_name,category,label\n1?,a,x,{}\n1?,b,x,1\n"
    answers, notes = read_as(LongTableReader(), write(path, table.format('" \n"')), threshold=0.5)
    assert ([row["model"] for row in answers], notes.problems, [*notes.left_out.values()]) == (["b"], [], [1])
    _, notes = read_as(LongTableReader(), write(path, table.format("٣")), threshold=0.5)
    assert notes.problems == ["any.csv, row 1: label is no plain number; correct the row"]


def test_other_parquet_files_with_prompts_are_not_taken_for_routellm(tmp_path: Path) -> None:
    for column in ([["x"]], [{"a": 1}], [b"\xff"], [None], ["text"], []):
        table = pa.table({"prompt": ["a"] * len(column), "m": column})
        pq.write_table(table, tmp_path / "chats.parquet")
        assert not WideTableReader().recognises(LogFile(tmp_path / "chats.parquet", "chats.parquet"))
    pq.write_table(pa.table({"prompt": ["a", "b"], "m": [True, None]}), tmp_path / "chats.parquet")
    assert WideTableReader().recognises(LogFile(tmp_path / "chats.parquet", "chats.parquet"))


@pytest.mark.parametrize("threshold", [None, 0.5])
def test_infinite_cells_are_no_grades(tmp_path: Path, threshold: float | None) -> None:
    path = write(tmp_path / "any.csv", "q,a,b\n1?,inf,1\n2?,-Infinity,nan\n")
    wide = {"question_column": "q", "model_columns": ["a", "b"], "benchmark": "x", "threshold": threshold}
    answers, notes = read_as(WideTableReader(), path, **wide)
    assert [(row["model"], row["correct"]) for row in answers] == [("b", True)]
    assert (notes.problems, [*notes.left_out.values()]) == ([], [3])
    path = write(tmp_path / "any.csv", "prompt,model_name,category,label\n1?,a,x,inf\n1?,b,x,1\n")
    answers, notes = read_as(LongTableReader(), path, threshold=threshold)
    assert [(row["model"], row["correct"]) for row in answers] == [("b", True)]
    assert (notes.problems, [*notes.left_out.values()]) == ([], [1])


def test_routellm(tmp_path: Path) -> None:
    path = write(tmp_path / "mmlu_law.csv", 'prompt,org/a,b,b_response\n"Is it?\nA. Yes",True,False,No\nOr?,False,,\n')
    answers, notes = read(WideTableReader(), path)
    assert [(row["row"], row["model"], row["text"], row["correct"], row["answer"]) for row in answers] == [
        (1, "org/a", "Is it?\nA. Yes", True, None),
        (1, "b", "Is it?\nA. Yes", False, "No"),
        (2, "org/a", "Or?", False, None),
    ]
    assert {row["category"] for row in answers} == {"mmlu_law"}
    assert notes.left_out == {("mmlu_law.csv", "empty cells (not asked)"): 1}


def test_any_wide_table(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "subject,q,Alpha,beta,note\nlaw,Why?,0,1,0.7\n")
    assert not WideTableReader().recognises(LogFile(path, "t.csv"))
    chosen = {"question_column": "q", "model_columns": ["Alpha", "beta"]}
    answers, _ = read_as(WideTableReader(), path, **chosen, columns={"category": "subject"})
    assert [(row["model"], row["category"], row["correct"]) for row in answers] == [
        ("Alpha", "law", False),
        ("beta", "law", True),
    ]
    answers, _ = read_as(WideTableReader(), path, **chosen, benchmark="mine")
    assert {row["category"] for row in answers} == {"mine"}


@pytest.mark.parametrize(
    ("choices", "problem"),
    [
        (
            {"question_column": "q", "model_columns": ["a"]},
            "t.csv does not tell the benchmark of its questions; name it with --benchmark, or its column with "
            "--map category=COLUMN",
        ),
        (
            {"question_column": "Q", "model_columns": ["a", "z"], "benchmark": "x"},
            "t.csv has no column Q, z; it has q, a, b",
        ),
        (
            {"question_column": "q", "benchmark": "x"},
            "t.csv: name the columns of models with --model-columns; it has q, a, b",
        ),
        (
            {"question_column": "q", "model_columns": ["a", "b"], "benchmark": "x"},
            "t.csv, row 2: b is 'yes', which is no grade; it must be 0, 1, true, false or a number",
        ),
    ],
)
def test_what_a_wide_table_lacks_is_said(tmp_path: Path, choices: dict, problem: str) -> None:
    path = write(tmp_path / "t.csv", "q,a,b\nWhy?,1,0\nWhen?,1,yes\n")
    answers, notes = read_as(WideTableReader(), path, **choices)
    assert (answers, notes.problems) == ([], [problem])


def test_our_export_of_a_wide_table(tmp_path: Path) -> None:
    content = "question_id,benchmark,category,split,prompt,m/1,m/2\n7,mmlu,mmlu_law,test,Why?,1,\n8,b,c,train,How?,,0\n"
    answers, _ = read(WideTableReader(), write(tmp_path / "wide.csv", content))
    assert [(row["model"], row["category"], row["text"], row["split"], row["correct"]) for row in answers] == [
        ("m/1", "mmlu_law", "Why?", "test", True),
        ("m/2", "c", "How?", "train", False),
    ]


LONG = {"prompt": "q", "model_name": "llm", "label": "ok", "category": "set"}


def test_long_table_as_csv_and_as_json_lines(tmp_path: Path) -> None:
    lines = [
        {"q": "Why?", "llm": "a", "ok": True, "set": "s", "n": 3, "usd": 0.5, "split": "test", "extra": {"deep": [1]}},
        {"q": "How?", "llm": "b", "ok": 0, "set": "s", "n": None, "usd": None, "split": None},
        {"q": "How?", "llm": "c", "ok": None, "set": "s"},
    ]
    as_json = write(tmp_path / "t.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    as_csv = write(
        tmp_path / "t.csv", "q,llm,ok,set,n,usd,split\nWhy?,a,True,s,3,0.5,test\nHow?,b,0,s,,,\nHow?,c,,s,,,\n"
    )
    mapping = {**LONG, "tokens_out": "n", "cost": "usd"}
    expected = [
        ("a", "s", "Why?", True, 1.0, 3, 0.5, "test"),
        ("b", "s", "How?", False, 0.0, None, None, None),
    ]
    for path in (as_json, as_csv):
        answers, notes = read_as(LongTableReader(), path, columns=mapping)
        names = ("model", "category", "text", "correct", "score", "tokens_out", "cost", "split")
        assert [tuple(row[name] for name in names) for row in answers] == expected
        assert notes.left_out == {(path.name, "answers without a grade"): 1}


def test_long_table_takes_texts_from_questions_and_the_rest_from_options(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "id,score\nq1,1\nq2,0\n")
    chosen = {"columns": {"prompt_id": "id", "label": "score"}, "model": "m", "benchmark": "b"}
    answers, _ = read_as(LongTableReader(), path, **chosen, questions={"q1": "One?", "q2": "Two?"})
    assert [(row["text"], row["model"], row["category"]) for row in answers] == [("One?", "m", "b"), ("Two?", "m", "b")]
    _, notes = read_as(LongTableReader(), path, **chosen, questions={"q1": "One?"})
    assert notes.problems == ["t.csv, row 2: the table of --questions has no text of 'q2'"]
    _, notes = read_as(LongTableReader(), path, **chosen)
    assert notes.problems == [
        "t.csv has no column prompt; name it with --map prompt=COLUMN, or say prompt with --questions; it has id, score"
    ]


def test_all_that_a_long_table_lacks_is_told_at_once(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "q,ok\nWhy?,1\n")
    assert read_as(LongTableReader(), path, columns={"label": "ok"})[1].problems == [
        "t.csv has no column model_name nor category nor prompt; name them with --map "
        "model_name=COLUMN,category=COLUMN,prompt=COLUMN, or say model_name with --model and category with "
        "--benchmark; it has q, ok"
    ]


def test_long_table_with_a_column_that_is_not_there(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "q,llm,ok,set\nWhy?,a,1,s\n")
    _, notes = read_as(LongTableReader(), path, columns={**LONG, "label": "score"})
    assert notes.problems == ["t.csv has no column score; it has q, llm, ok, set"]


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"q,llm", b"{", b'{"q": ', b"[1, 2]", b"PAR1xx", b"\xff\xfe,\x00", b'"q']
)
@pytest.mark.parametrize("reader", [WideTableReader(), LongTableReader()])
def test_damaged_tables_are_refused(tmp_path: Path, reader: Reader, content: bytes) -> None:
    (tmp_path / "t").write_bytes(content)
    reader.recognises(LogFile(tmp_path / "t", "t"))
    answers, notes = read_as(reader, tmp_path / "t", columns=LONG, question_column="q", model_columns=["llm"])
    assert not answers
    assert len(notes.problems) == 1
    assert notes.problems[0].startswith("t")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("q.csv", b"task_id,prompt\nHumanEval/0,Add.\n7,Why?\n"),
        ("q.jsonl", b'{"ID": "HumanEval/0", "problem_statement": "Add."}\n{"ID": 7, "problem_statement": "Why?"}\n'),
        ("q.jsonl.gz", gzip.compress(b'{"question": "Add.", "id": "HumanEval/0"}\n{"question": "Why?", "id": 7}\n')),
        ("q.json", b'[{"id": "HumanEval/0", "question": [[{"role": "user", "content": "Add."}]]},'
         b' {"id": "7", "question": [[{"role": "user", "content": "Why?"}]]}]'),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_questions(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert read_questions(tmp_path / name) == {"HumanEval/0": "Add.", "7": "Why?"}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("a,b\n1,2\n", "it has no column of ids"),
        ("id,b\n1,2\n", "none of texts"),
        ("id,text\n1,a\n1,b\n", "row 2 gives '1' another text than a row before"),
        ("id,text\n1,\n", "row 1 has no text"),
        ("id,text\n", "it has no rows"),
        ("", "is empty"),
    ],
)
def test_questions_that_cannot_be_read(tmp_path: Path, content: str, problem: str) -> None:
    with pytest.raises(ImportRefused, match=problem):
        read_questions(write(tmp_path / "q.csv", content))


@real_files
def test_real_routellm() -> None:
    answers, notes = read(WideTableReader(), FORMATS / "routellm" / "mmlu_abstract_algebra.csv")
    right: dict[str, list[bool]] = {}
    for row in answers:
        right.setdefault(row["model"], []).append(row["correct"])
    lines = (FORMATS / "routellm" / "mmlu_abstract_algebra.csv").read_text().split("\n")
    ends = [line.rsplit(",", 2)[1:] for line in lines if line.endswith((",True", ",False"))]
    assert {model: (sum(said), len(said)) for model, said in right.items()} == {
        "mistralai/Mixtral-8x7B-Instruct-v0.1": (sum(end[0] == "True" for end in ends), len(ends)),
        "gpt-4-1106-preview": (sum(end[1] == "True" for end in ends), len(ends)),
    }
    assert not notes.problems


@real_files
def test_wide_tables_claim_no_file_of_another_format() -> None:
    paths = [path for path in FORMATS.rglob("*") if path.is_file()]
    claimed = {path.parent.name for path in paths if WideTableReader().recognises(LogFile(path, path.name))}
    assert claimed == {"routellm"}


def test_command_line_names_of_the_formats_are_there() -> None:
    assert {"wide", "long"} <= {reader.format for reader in all_readers()}


def test_texts_that_evalplus_has_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    utils = ModuleType("evalplus.data.utils")
    utils.CACHE_DIR = str(tmp_path / "cache")  # type: ignore[attr-defined]
    for name, module in {"evalplus": ModuleType("evalplus"), "evalplus.data": ModuleType("data")}.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, "evalplus.data.utils", utils)
    logs = tmp_path / "logs" / "humaneval"
    logs.mkdir(parents=True)
    graded = {"base_status": "pass", "plus_status": "fail"}
    write(
        logs / "org--m_vllm_temp_0.0_eval_results.json",
        json.dumps({"date": "2024-08-08 17:18", "hash": "f", "eval": {"HumanEval/0": [graded]}}),
    )
    answers, notes = read(CodeBenchmarkReader(), tmp_path / "logs", metric={"": "base"})
    assert not answers
    assert len(notes.problems) == 1
    (tmp_path / "cache").mkdir()
    write(tmp_path / "cache" / "HumanEvalPlus-v0.1.10.jsonl", '{"task_id": "HumanEval/0", "prompt": "def add():"}\n')
    answers, notes = read(CodeBenchmarkReader(), tmp_path / "logs", metric={"": "base"})
    assert [(row["text"], row["correct"]) for row in answers] == [("def add():", True)]


def test_prompts_of_bfcl_may_be_the_turns_themselves(tmp_path: Path) -> None:
    turns = [[{"role": "user", "content": "Who?"}]]
    score = tmp_path / "score" / "m" / "BFCL_v4_web_search_score.json"
    score.parent.mkdir(parents=True)
    lines = [
        {"accuracy": 0.5, "correct_count": 1, "total_count": 2},
        {"id": "web_search_0", "valid": False, "prompt": turns},
    ]
    write(score, "".join(json.dumps(line) + "\n" for line in lines))
    answers, notes = read(BfclReader(), tmp_path, questions={"web_search_1": "Where?"})
    assert not notes.problems
    assert [(row["text"], row["correct"]) for row in answers] == [("Where?", True), ("Who?", False)]


@pytest.mark.parametrize("prompt", ['[{"role": "user", "content": "a"}]', '["a", "b"]', '{"text": "a"}'])
def test_a_question_that_is_no_text_is_refused(tmp_path: Path, prompt: str) -> None:
    row = '{{"prompt": {}, "model_name": "m", "label": 1, "category": "c"}}\n'
    path = write(tmp_path / "long.jsonl", row.format('"a"') + row.format(prompt))
    _, notes = read_as(LongTableReader(), path)
    assert notes.problems == ["long.jsonl, row 2: prompt is a list or an object; give the text of the question"]
