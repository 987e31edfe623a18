import json
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.warehouse.imports.readers.reading_logs import FORMATS, read, real_files
from warehouse.imports.readers.inspect_logs import InspectReader
from warehouse.imports.readers.reader import OLDER, LogFile


def sample(number: int, value: Any, epoch: int = 1, **more: Any) -> dict[str, Any]:
    scores = {"match": {"value": value, "answer": "4"}}
    return {"id": number, "epoch": epoch, "input": f"What is {number}?", "target": "4", "scores": scores, **more}


def log(samples: list[dict[str, Any]] | None, status: str = "success", **spec: Any) -> dict[str, Any]:
    spec = {"created": "2026-01-01T10:00:00+00:00", "task": "sums", "model": "openai/gpt-4o", **spec}
    document = {"version": 2, "status": status, "eval": spec, "plan": {"config": {}}}
    return document if samples is None else {**document, "samples": samples}


def write(path: Path, document: object) -> Path:
    path.write_text(json.dumps(document))
    return path


def archive(path: Path, document: dict[str, Any]) -> Path:
    samples = document.pop("samples", [])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("_journal/start.json", json.dumps(document))
        for one in samples:
            file.writestr(f"samples/{one['id']}_epoch_{one['epoch']}.json", json.dumps(one))
        file.writestr("header.json", json.dumps(document))
    return path


def zstd_archive(path: Path, members: dict[str, object]) -> Path:
    """Write a zip file by hand, since Python's zipfile knows zstd (method 93) from 3.14 on only."""
    body, directory = b"", b""
    for name, document in members.items():
        data = json.dumps(document).encode()
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, "zstd") as stream:
            stream.write(data)
        packed = sink.getvalue().to_pybytes()
        sizes = struct.pack("<HHHIIIHH", 93, 0, 33, zlib.crc32(data), len(packed), len(data), len(name), 0)
        directory += b"PK\x01\x02" + struct.pack("<HHH", 63, 63, 0) + sizes
        directory += struct.pack("<HHHII", 0, 0, 0, 0, len(body)) + name.encode()
        body += b"PK\x03\x04" + struct.pack("<HH", 63, 0) + sizes + name.encode() + packed
    end = struct.pack("<HHHHIIH", 0, 0, len(members), len(members), len(directory), len(body), 0)
    path.write_bytes(body + directory + b"PK\x05\x06" + end)
    return path


def test_answers_of_a_log(tmp_path: Path) -> None:
    usage = {
        "openai/gpt-4o": {"input_tokens": 7, "input_tokens_cache_read": 5, "output_tokens": 3, "total_tokens": 15},
        "openai/judge": {"input_tokens": 900, "output_tokens": 9, "total_tokens": 909},
    }
    options = {"choices": ["Red", "Blue"], "input": "Which colour?", "target": "B"}
    samples = [sample(1, "C", model_usage=usage, total_time=1.5), sample(2, "I", **options)]
    spec = {"packages": {"inspect_ai": "0.3.1"}, "task_args": {"shots": 2}, "config": {"epochs": 1}}
    answers, notes = read(InspectReader(), write(tmp_path / "log.json", log(samples, **spec)))
    assert answers == [
        {
            "row": 1,
            "model": "openai/gpt-4o",
            "category": "sums",
            "text": "What is 1?",
            "correct": True,
            "score": 1.0,
            "item": "1",
            "doc_id": 1,
            "split": None,
            "target": "4",
            "answer": "4",
            "tokens_in": 12,
            "tokens_out": 3,
            "cost": None,
            "latency_s": 1.5,
        },
        {
            "row": 2,
            "model": "openai/gpt-4o",
            "category": "sums",
            "text": "Which colour?\nA. Red\nB. Blue",
            "correct": False,
            "score": 0.0,
            "item": "2",
            "doc_id": 2,
            "split": None,
            "target": "B",
            "answer": "4",
            "tokens_in": None,
            "tokens_out": None,
            "cost": None,
            "latency_s": None,
        },
    ]
    run = notes.runs["openai/gpt-4o", "sums"]
    assert (run.file, run.tool, run.version, run.filter) == ("log.json", "inspect", "0.3.1", "match")
    assert run.settings == {"task_args": {"shots": 2}, "epochs": 1}


@pytest.mark.parametrize("kind", ["json", "deflate", "zstd"])
def test_each_kind_of_file_says_the_same(tmp_path: Path, kind: str) -> None:
    document = log([sample(1, "C"), sample(2, "N")])
    if kind == "json":
        path = write(tmp_path / "log.json", document)
    elif kind == "deflate":
        path = archive(tmp_path / "log.eval", document)
    else:
        members = {f"samples/{one['id']}_epoch_1.json": one for one in document.pop("samples")}
        path = zstd_archive(tmp_path / "log.eval", {"_journal/start.json": document, "header.json": document} | members)
    answers, notes = read(InspectReader(), path)
    assert [(row["text"], row["correct"]) for row in answers] == [("What is 1?", True), ("What is 2?", False)]
    assert notes.problems == []


def test_a_sample_in_several_members_of_an_archive(tmp_path: Path) -> None:
    shell = sample(1, "C", input="attachment://1")
    members = {"header.json": log(None), "samples/1_epoch_1/sample.json": shell}
    members["samples/1_epoch_1/attachments/0.json"] = ["first"]
    members["samples/1_epoch_1/attachments/1.json"] = ["second"]
    members["samples/1_epoch_1/messages/0.json"] = [{"role": "user"}]
    answers, _ = read(InspectReader(), zstd_archive(tmp_path / "log.eval", members))
    assert [row["text"] for row in answers] == ["second"]


def test_a_log_of_2024_has_tokens_and_answer_with_its_output(tmp_path: Path) -> None:
    said = {"role": "assistant", "source": "generate", "content": "It is 4"}
    output = {"choices": [{"message": said}], "usage": {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}}
    for messages, tokens in (([said], (7, 3)), ([said, said], (None, None))):
        one = sample(1, "C", output=output, messages=messages) | {"scores": {"match": {"value": "C"}}}
        answers, _ = read(InspectReader(), write(tmp_path / "log.json", log([one])))
        assert [(row["answer"], row["tokens_in"], row["tokens_out"]) for row in answers] == [("It is 4", *tokens)]


def test_epochs(tmp_path: Path) -> None:
    values = {1: ["C", "C", "I"], 2: ["I", "I", "C"], 3: ["C", "I"]}
    samples = [sample(number, value, epoch) for number, row in values.items() for epoch, value in enumerate(row, 1)]
    path = write(tmp_path / "log.json", log(samples))

    def graded(how: str) -> list[tuple[bool, float]]:
        answers, notes = read(InspectReader(), path, epochs=how)
        ties = {reason: n for (_, reason), n in notes.left_out.items()}
        assert ties == (
            {"ties between the epochs of a sample; --epochs says how to settle them": 1} if how == "majority" else {}
        )
        return [(row["correct"], round(row["score"], 2)) for row in answers]

    assert graded("majority") == [(True, 0.67), (False, 0.33)]
    assert graded("first") == [(True, 1), (False, 0), (True, 1)]
    assert graded("last") == [(False, 0), (True, 1), (False, 0)]
    assert graded("all_correct") == [(False, 0.67), (False, 0.33), (False, 0.5)]
    assert graded("any_correct") == [(True, 0.67), (True, 0.33), (True, 0.5)]


def test_several_scorers_are_a_choice_and_so_are_the_keys_of_one(tmp_path: Path) -> None:
    scores = {"match": {"value": "C"}, "judge": {"value": {"facts": 0, "style": 1}}, "remark": {"value": "long"}}
    path = write(tmp_path / "log.json", log([sample(1, "C", scores=scores)]))
    answers, notes = read(InspectReader(), path)
    assert answers == []
    assert notes.problems == [
        "sums has 3 scorers that could grade it (judge/facts, judge/style, match); choose one with "
        "--scorer judge/facts, or for it alone with --scorer sums=judge/facts"
    ]
    answers, _ = read(InspectReader(), path, scorer={"": "judge/facts"})
    assert [row["correct"] for row in answers] == [False]


def test_what_no_answer_takes_is_not_read_and_what_is_too_deep_is_refused(tmp_path: Path) -> None:
    usage = {"openai/gpt-4o": {"input_tokens": -1, "output_tokens": 10**400, "total_cost": float("nan")}}
    path = write(tmp_path / "log.json", log([sample(1, "C", model_usage=usage, total_time=-1)]))
    answers, _ = read(InspectReader(), path)
    assert {answers[0][name] for name in ("tokens_in", "tokens_out", "cost", "latency_s")} == {None}
    write(path, log([sample(1, "C", input=json.loads("[" * 900 + "]" * 900))]))
    assert read(InspectReader(), path)[1].problems == [
        "log.json has lists or objects that are nested too deeply to be read; remove them"
    ]


def test_partial_credit_needs_a_threshold(tmp_path: Path) -> None:
    path = write(tmp_path / "log.json", log([sample(1, "P"), sample(2, 0.25), sample(3, True)]))
    _, notes = read(InspectReader(), path)
    assert notes.problems == [
        "log.json: score match of sample 1 is 0.5, neither 0 nor 1; say with --threshold from which number on an "
        "answer is right"
    ]
    answers, _ = read(InspectReader(), path, threshold=0.5)
    assert [(row["correct"], row["score"]) for row in answers] == [(True, 0.5), (False, 0.25), (True, 1.0)]


def test_chats_and_texts_that_are_kept_apart(tmp_path: Path) -> None:
    def chat(system: str) -> list[dict[str, Any]]:
        picture = [{"type": "text", "text": "What is on it?"}, {"type": "image", "image": "data:…"}]
        turns = [{"role": "user", "content": "attachment://7"}, {"role": "assistant", "content": "Yes"}]
        return [{"role": "system", "content": system}, *turns, {"role": "user", "content": picture}]

    one = sample(1, "C", input=chat("Be brief"), attachments={"7": "Look at this"})
    path = write(tmp_path / "log.json", log([one]))
    answers, _ = read(InspectReader(), path)
    assert [row["text"] for row in answers] == ["Look at this\n\nWhat is on it?\n[image]"]
    write(path, log([one, sample(2, "C", input=chat("Be long"), attachments={"7": "Look"})]))
    answers, _ = read(InspectReader(), path)
    assert [row["text"] for row in answers] == [
        "Be brief\n\nLook at this\n\nWhat is on it?\n[image]",
        "Be long\n\nLook\n\nWhat is on it?\n[image]",
    ]


def test_what_was_answered_before_a_run_was_cancelled_counts(tmp_path: Path) -> None:
    failed = sample(2, "C", error={"message": "timeout"})
    unscored = {**sample(3, "C"), "scores": {}}
    path = write(tmp_path / "log.json", log([sample(1, "C"), failed, unscored, sample(4, float("nan"))], "cancelled"))
    answers, notes = read(InspectReader(), path)
    assert [row["text"] for row in answers] == ["What is 1?"]
    assert {reason: n for (_, reason), n in notes.left_out.items()} == {
        "samples that ended in an error": 1,
        "samples without a score (`inspect score` scores a log)": 1,
        "samples without a score by match": 1,
    }
    assert notes.problems == []
    assert notes.remarks == ["log.json was interrupted (status cancelled) and has 2 scored samples; they are read."]
    write(path, log([sample(1, "C")], "error", dataset={"samples": 50}, config={"epochs": 2}))
    assert read(InspectReader(), path)[1].remarks == [
        "log.json was interrupted (status error) and has 1 scored samples of 100; they are read."
    ]


def test_the_newest_whole_run_wins(tmp_path: Path) -> None:
    write(tmp_path / "old.json", log([sample(1, "I")], created="2026-01-01T23:00:00+00:00"))
    write(tmp_path / "new.json", log([sample(1, "C")], created="2026-01-01T22:30:00-05:00"))
    write(tmp_path / "part.json", log([sample(1, "I")], "error", created="2026-02-01T00:00:00+00:00"))
    answers, notes = read(InspectReader(), tmp_path)
    assert [row["correct"] for row in answers] == [True]
    assert set(notes.left_out) == {
        ("old.json", OLDER),
        ("part.json", "interrupted runs of a task, of which a whole run of the same model is there"),
    }


def test_a_limited_run_that_takes_the_place_of_a_whole_one_is_told(tmp_path: Path) -> None:
    write(tmp_path / "a.json", log([sample(1, "C"), sample(2, "C")]))
    write(tmp_path / "b.json", log([sample(1, "I")], created="2026-02-01T10:00:00Z", config={"limit": 1}))
    answers, notes = read(InspectReader(), tmp_path)
    assert [row["correct"] for row in answers] == [False]
    assert notes.remarks == [
        "b.json was run with a limit of 1 samples, and a.json, which is left out as older, with another or none; to "
        "have its answers, import that file alone."
    ]


def test_runs_with_other_arguments_add_their_questions(tmp_path: Path) -> None:
    law = [sample(1, "C"), sample(2, "C")]
    write(tmp_path / "law.json", log(law, task_args={"subject": "law"}, created="2026-01-02T00:00:00+00:00"))
    write(tmp_path / "both.json", log([sample(2, "I"), sample(3, "I")], task_args={"subject": "all"}))
    answers, notes = read(InspectReader(), tmp_path)
    assert [(row["text"], row["correct"]) for row in answers] == [
        ("What is 1?", True),
        ("What is 2?", True),
        ("What is 3?", False),
    ]
    assert dict(notes.left_out) == {("both.json", "questions that a newer run with other task_args has as well"): 1}


def test_what_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "header.json", log(None, task="a"))
    whole = archive(tmp_path / "cut.eval", log([sample(1, "C")], task="b"))
    whole.write_bytes(whole.read_bytes()[:300])
    text = json.dumps(log([sample(1, "C")], task="c"))
    (tmp_path / "cut.json").write_text(text[:-20])
    answers, notes = read(InspectReader(), tmp_path)
    assert answers == []
    assert [problem.split(" (")[0] for problem in sorted(notes.problems)] == [
        "cut.eval is no whole archive of Inspect",
        "cut.json is no whole JSON document",
    ]
    assert dict(notes.left_out) == {("header.json", "logs without samples, which hold their header only"): 1}


@real_files
def test_real_logs() -> None:
    answers, notes = read(InspectReader(), FORMATS / "inspect")
    counts: dict[tuple[str, str], list[bool]] = {}
    for row in answers:
        counts.setdefault((row["model"], row["category"]), []).append(row["correct"])
    assert {key: (len(right), sum(right)) for key, right in counts.items()} == {
        ("ollama/qwen2.5:0.5b", "inspect_evals/arc_easy"): (3, 1),
        ("openai/gpt-4o", "inspect_evals/mmlu_0_shot"): (1, 0),
        ("openai/gpt-4o-mini", "popularity"): (100, 63),
    }
    assert notes.problems == []
    assert sorted(file for file, _ in notes.left_out) == ["data_with_llm_scoring.json", "retry_zstd.eval"]


@real_files
def test_no_other_file_is_taken_for_a_log_of_inspect() -> None:
    reader = InspectReader()
    files = [LogFile(path, path.relative_to(FORMATS).as_posix()) for path in FORMATS.rglob("*") if path.is_file()]
    assert {file.name.split("/")[0] for file in files if reader.recognises(file)} == {"inspect"}


def test_an_encrypted_archive_is_refused(tmp_path: Path) -> None:
    whole = bytearray(archive(tmp_path / "log.eval", log([sample(1, "C")])).read_bytes())
    for mark, flag in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := whole.find(mark, at + 1)) >= 0:
            whole[at + flag] |= 1
    (tmp_path / "log.eval").write_bytes(whole)
    answers, notes = read(InspectReader(), tmp_path)
    assert answers == []
    assert "is encrypted, password required" in notes.problems[0]
