"""Sources that mix formats, tables that the user describes, and what is asked for in one round."""

import json
from pathlib import Path
from typing import Any

import pytest

from warehouse.imports.ingest import ImportRefused, ImportSummary, import_results
from warehouse.imports.problems import group_alike
from warehouse.imports.readers.reader import Choices
from warehouse.lake import Lake

LAYOUT = "prompt_id,label,model_name,category,prompt\n1,1,m,math,1 + 1?\n"


def bring(lake: Lake, source: Path, **choices: Any) -> ImportSummary:
    return import_results(lake, str(source), choices=Choices(**choices), benchmark_of=str)


def write(folder: Path, **contents: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / name.replace("_", ".")).write_text(content)
    return folder


def inspect_log(**scores: Any) -> str:
    sample = {"id": 1, "epoch": 1, "input": "Which?", "target": "x"}
    sample["scores"] = {name: {"value": value} for name, value in scores.items()}
    return json.dumps({"version": 2, "status": "success", "eval": {"task": "t", "model": "n"}, "samples": [sample]})


def test_tables_that_the_user_describes_are_read_among_logs(lake: Lake, tmp_path: Path):
    described = {"question_column": "q", "model_columns": ["a", "b"], "benchmark": "mine"}
    lines = json.dumps({"q": "How?", "a": 0, "b": 1})
    write(tmp_path, log_json=inspect_log(match="C"), wide_csv="q,a,b\nWhy?,1,0\n", lines_jsonl=lines, about_json="{}")
    summary = bring(lake, tmp_path, **described)
    assert [(row["model"], row["category"], row["questions"]) for row in summary.overview.to_pylist()] == [
        ("a", "mine", 2), ("b", "mine", 2), ("n", "t", 1),
    ]  # fmt: skip
    assert dict(summary.left_out) == {(f"{tmp_path}/about.json", "files of no known format"): 1}


def test_long_tables_are_read_among_logs(lake: Lake, tmp_path: Path):
    write(tmp_path, log_json=inspect_log(match="C"), long_csv="q,llm,ok\nWhy?,a,1\n")
    columns = {"prompt": "q", "model_name": "llm", "label": "ok"}
    overview = bring(lake, tmp_path, columns=columns, benchmark="mine").overview.to_pylist()
    assert [(row["model"], row["category"]) for row in overview] == [("a", "mine"), ("n", "t")]


def test_tables_of_unknown_columns_are_named(lake: Lake, tmp_path: Path):
    write(tmp_path, log_json=inspect_log(match="C"), wide_csv="q,a,b\nWhy?,1,0\n", long_csv="q,llm,ok\nWhy?,a,1\n")
    summary = bring(lake, tmp_path)
    assert {reason: count for (_, reason), count in summary.left_out.items()} == {
        "tables whose columns are not known": 1,
    }
    assert summary.remarks == [
        f"left out are tables whose columns are not known: {tmp_path}/long.csv (llm, ok, q), {tmp_path}/wide.csv (a, "
        "b, q); say which they are: --map prompt=…,model_name=…,label=… for a row an answer, --question and "
        "--model-columns for a row a question; tables of the layout embedllm are imported alone"
    ]
    with pytest.raises(ImportRefused, match=r"tables whose columns are not known: .*; say which they are"):
        import_results(lake, [str(tmp_path / name) for name in ("long.csv", "wide.csv")], benchmark_of=str)


def test_a_described_column_that_no_table_has_is_told(lake: Lake, tmp_path: Path):
    write(tmp_path, wide_csv="q,a,b\nWhy?,1,0\n")
    with pytest.raises(ImportRefused, match=r"wide.csv has no column Q; it has q, a, b"):
        bring(lake, tmp_path, question_column="Q", model_columns=["a"], benchmark="mine")
    write(tmp_path, log_json=inspect_log(match="C"))
    remarks = bring(lake, tmp_path, columns={"label": "ok"}).remarks
    assert remarks[0] == "no file has the columns that --map name."


def test_logs_next_to_tables_of_the_layout_are_not_lost(lake: Lake, tmp_path: Path):
    write(tmp_path, log_json=inspect_log(match="C"), rows_csv=LAYOUT)
    with pytest.raises(
        ImportRefused, match=r"rows.csv\) and 1 files of other formats \(.*log.json\); import each kind"
    ):
        bring(lake, tmp_path)
    summary = import_results(lake, str(tmp_path), file_format="embedllm", benchmark_of=str)
    assert (summary.models, summary.rows) == (1, 1)


def test_all_choices_are_asked_for_in_one_round(lake: Lake, tmp_path: Path):
    (tmp_path / "a").mkdir()
    write(tmp_path, two_json=inspect_log(match="C", judge=0.5), wide_csv="prompt,m,m_response\nWhy?,True,yes\n")
    write(tmp_path / "a", eval_json=json.dumps({"date": "…", "eval": {"Mine/0": [{"base_status": "pass"}]}}))
    write(tmp_path, eval_results_json=(tmp_path / "a" / "eval.json").read_text())
    with pytest.raises(ImportRefused) as refused:
        bring(lake, tmp_path)
    told = "\n".join(refused.value.problems)
    for option in ("--scorer judge", "--threshold", "--benchmark", "--questions"):
        assert option in told
    assert str(refused.value).count("\n- ") == len(refused.value.problems)


def test_problems_of_one_cause_are_told_once():
    said = [f"{name}.json: the score is 0.{n}; say with --threshold" for n, name in enumerate("abcdef")]
    assert group_alike([*said, "g.json is empty"], {f"{name}.json" for name in "abcdefg"}) == [
        "a.json: the score is 0.0; say with --threshold (and 5 more like this: b.json, c.json, d.json, …)",
        "g.json is empty",
    ]
    asked = [f"{task} has 2 metrics (acc, f1); choose one with --metric {task}=acc" for task in ("arc", "piqa")]
    assert group_alike(asked, {"arc", "piqa"}) == [f"{asked[0]} (and 1 more like this: piqa)"]
