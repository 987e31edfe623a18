import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warehouse.database.publish import publish
from warehouse.database.read import query
from warehouse.errors import WarehouseError
from warehouse.imports.ingest import ImportRefused, import_results
from warehouse.imports.readers.reader import Answer, Choices, LogFile, Notes, Refusal, Run, grade, tables_of
from warehouse.imports.withdraw import remove_import
from warehouse.lake import Lake
from warehouse.lake.questions import question_ids


class Toy:
    """JSON lines with the fields of Answer, the first of which says {"toy": model}."""

    format = "toy"

    def recognises(self, file: LogFile) -> bool:
        return file.head.startswith(b'{"toy"')

    def read(self, files: Sequence[LogFile], choices: Choices, notes: Notes) -> Iterator[tuple[LogFile, pa.Table]]:
        for file in files:
            first, *lines = map(json.loads, file.path.read_text().splitlines())
            answers = []
            for row, line in enumerate(lines, start=1):
                try:
                    graded = grade(line.pop("grade"), choices.threshold, f"{file.name}, row {row}: the grade")
                except Refusal as refusal:
                    notes.refuse(str(refusal))
                    continue
                if graded is None:
                    notes.leave_out(file, "answers without a grade")
                    continue
                answers.append(
                    Answer(row, first["toy"], line.pop("category", "math"), correct=graded[0], score=graded[1], **line)
                )
            for category in {answer.category for answer in answers}:
                notes.record(
                    Run(first["toy"], category, file.name, "toy", "1.0", settings={"shots": 5}, labels={"size_b": 7.0})
                )
            for table in tables_of(answers):
                yield file, table


def log(model: str, *answers: dict) -> bytes:
    return "\n".join(json.dumps(line) for line in ({"toy": model}, *answers)).encode()


def bring(lake: Lake, *sources: Path, **options):
    names = [str(source) for source in sources]
    return import_results(lake, names, readers=[Toy()], benchmark_of=lambda category: category, **options)


A = {"text": "1 + 1?", "grade": 1, "doc_id": 0}
B = {"text": "2 + 2?", "grade": 0, "doc_id": 1}
OF_M = {("math", "1 + 1?", "m", True), ("math", "2 + 2?", "m", False)}


def test_all_that_a_log_tells_is_kept(lake: Lake, database: Path, tmp_path: Path):
    known = {"answer": "4", "target": "2", "tokens_in": 7, "tokens_out": 3, "cost": 0.5, "latency_s": 1.5}
    (tmp_path / "m.log").write_bytes(log("m", A | known | {"grade": 0.25}))
    bring(lake, tmp_path / "m.log", choices=Choices(threshold=0.5))
    publish(lake, database)
    rows = query(
        database, "SELECT * EXCLUDE (question_id) FROM responses JOIN questions USING (question_id)"
    ).to_pylist()
    assert [rows[0][name] for name in ("model", "correct", "score", *known)] == ["m", False, 0.25, *known.values()]
    assert query(database, "SELECT model, size_b, source FROM models").to_pylist() == [
        {"model": "m", "size_b": 7.0, "source": "import"}
    ]
    runs = "SELECT * EXCLUDE (source) FROM imported_runs"
    assert query(database, runs).to_pylist() == [
        {
            "benchmark": "math", "model": "m", "category": "math", "file": str(tmp_path / "m.log"), "tool": "toy",
            "version": "1.0", "metric": None, "filter": None, "settings": '{"shots": 5}',
        }
    ]  # fmt: skip
    coverage = "SELECT model, status, tools FROM coverage"
    assert query(database, coverage).to_pylist() == [{"model": "m", "status": "done", "tools": ["toy"]}]


@pytest.mark.parametrize("value", [None, "", " \n", "NaN", float("inf"), "-inf", 10**400, "1e999"])
def test_what_is_no_finite_number_is_no_grade(value: object):
    """Whatever the threshold: an infinite error is not a right answer."""
    try:
        assert grade(value, None, "x") is None
        assert grade(value, 0.5, "x") is None
    except Refusal as refusal:
        assert "which is no grade" in str(refusal)  # noqa: PT017 either will do


def test_problems_are_single_lines_of_bounded_length():
    notes = Notes()
    notes.refuse("a.log: the filter \x1b[31mx\ny\ud800" + "z" * 5000 + "; choose one")
    assert notes.problems[0].startswith("a.log: the filter [31mx y?zzz")
    assert notes.problems[0].endswith("zzz; choose one")
    assert len(notes.problems[0]) < 1010


def test_what_models_said_is_kept_only_if_wanted(lake: Lake, database: Path, tmp_path: Path):
    (tmp_path / "m.log").write_bytes(log("m", A | {"answer": "x" * 5000}, B | {"answer": "short"}))
    bring(lake, tmp_path / "m.log")
    answers = "SELECT length(answer) FROM responses ORDER BY ALL"
    publish(lake, database)
    assert query(database, answers).to_pydict() == {"length(answer)": [5, 1000]}
    bring(lake, tmp_path / "m.log", choices=Choices(keep_answers=False))
    publish(lake, database)
    assert query(database, answers).to_pydict() == {"length(answer)": [None, None]}


def _zipped(files: dict[str, bytes]) -> bytes:
    with zipfile.ZipFile(content := io.BytesIO(), "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


LOG = log("m", A, B)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("m.jsonl", LOG),
        ("m.jsonl.gz", gzip.compress(LOG)),
        ("m.bz2", bz2.compress(LOG)),
        ("m.xz", lzma.compress(LOG)),
        ("m.zst", pa.Codec("zstd").compress(LOG, asbytes=True)),
        ("logs.zip", _zipped({"deep/m.jsonl": LOG, "../../evil": LOG, "README.md": b"no log"})),
        ("logs.tar.gz", None),
        ("of.zip", _zipped({"inner.zip": _zipped({"m.gz": gzip.compress(LOG)})})),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_archives_are_unpacked(lake: Lake, answers_of, tmp_path: Path, name: str, content: bytes | None):
    path = tmp_path / name
    if content is None:
        with tarfile.open(path, "w:gz") as archive:
            (tmp_path / "m.log").write_bytes(LOG)
            archive.add(tmp_path / "m.log", "deep/m.log")
    else:
        path.write_bytes(content)
    bring(lake, path)
    assert answers_of(lake) == OF_M


def test_a_damaged_archive_is_told(lake: Lake, tmp_path: Path):
    (tmp_path / "m.gz").write_bytes(gzip.compress(LOG)[:-9])
    with pytest.raises(ImportRefused, match=r"m\.gz was not imported: it cannot be unpacked"):
        bring(lake, tmp_path / "m.gz")


def test_folders_are_walked_and_patterns_matched(lake: Lake, answers_of, tmp_path: Path):
    for model in ("m", "n"):
        (tmp_path / "runs" / model).mkdir(parents=True)
        (tmp_path / "runs" / model / "log.txt").write_bytes(log(model, A))
        (tmp_path / "runs" / model / ".hidden").write_bytes(log("hidden", A))
    (tmp_path / "runs" / "README.md").write_text("What this is.")
    summary = bring(lake, tmp_path / "runs")
    assert lake.pairs() == [("math", "m"), ("math", "n")]
    assert summary.left_out == {(f"{tmp_path}/runs/README.md", "files of no known format"): 1}
    again = bring(lake, tmp_path / "runs" / "*" / "log.txt")
    assert (again.source, again.rows) == (f"{tmp_path}/runs/*/log.txt", 2)
    both = bring(lake, tmp_path / "runs" / "m", tmp_path / "runs" / "n" / "log.txt")
    assert both.source.startswith(f"{tmp_path}/runs (2 sources, ")
    assert bring(lake, tmp_path / "runs" / "n" / "log.txt", tmp_path / "runs" / "m").source == both.source


def test_a_source_without_logs_is_refused(lake: Lake, tmp_path: Path):
    (tmp_path / "README.md").write_text("What this is.")
    with pytest.raises(ImportRefused, match=r"none of its files \(1\) is of a known format"):
        bring(lake, tmp_path)
    with pytest.raises(ImportRefused, match="no file matches this pattern"):
        bring(lake, tmp_path / "*.jsonl")


def test_models_meet_at_a_question_and_the_same_log_twice_doubles_nothing(lake: Lake, answers_of, tmp_path: Path):
    (tmp_path / "m").write_bytes(log("m", A, B))
    (tmp_path / "copy").write_bytes(log("m", B | {"doc_id": 5}, A | {"doc_id": 9}))  # numbered otherwise
    (tmp_path / "n").write_bytes(log("n", A))
    summary = bring(lake, tmp_path)
    assert (summary.rows, summary.duplicates, summary.questions) == (3, 2, 2)
    assert answers_of(lake) == OF_M | {("math", "1 + 1?", "n", True)}


def test_questions_of_the_same_text_stay_apart(lake: Lake, tmp_path: Path):
    same = [A | {"doc_id": 4, "grade": 1}, A | {"doc_id": 2, "grade": 0}]
    (tmp_path / "m").write_bytes(log("m", *same))
    (tmp_path / "n").write_bytes(log("n", *same[::-1]))
    bring(lake, tmp_path)
    first, second = question_ids("math", ["1 + 1?"] * 2)
    found = {(row["model"], row["question_id"]): row["correct"] for row in lake.responses().to_pylist()}
    assert found == {("m", first): False, ("m", second): True, ("n", first): False, ("n", second): True}


SAME = [A | {"item": "a", "doc_id": None}, A | {"item": "b", "doc_id": None, "grade": 0}]


def correct_by_place(lake: Lake) -> set[tuple[str, int, bool]]:
    """Model, which of the questions of the text "1 + 1?", right or not."""
    ids = question_ids("math", ["1 + 1?"] * 3)
    return {(row["model"], ids.index(row["question_id"]) + 1, row["correct"]) for row in lake.responses().to_pylist()}


def test_a_file_that_lacks_a_question_does_not_move_the_others(lake: Lake, tmp_path: Path):
    (tmp_path / "m").write_bytes(log("m", *SAME))
    (tmp_path / "n").write_bytes(log("n", SAME[1]))
    (tmp_path / "o").write_bytes(log("o", SAME[0] | {"grade": None}, SAME[1]))
    bring(lake, tmp_path)
    assert correct_by_place(lake) == {("m", 1, True), ("m", 2, False), ("n", 2, False), ("o", 2, False)}


def test_ids_of_another_file_are_told_apart_by_their_order(lake: Lake, tmp_path: Path):
    (tmp_path / "m").write_bytes(log("m", *SAME))
    (tmp_path / "n").write_bytes(log("n", A | {"doc_id": 8}, A | {"doc_id": 7, "grade": 0}))
    bring(lake, tmp_path)
    assert correct_by_place(lake) == {("m", 1, True), ("m", 2, False), ("n", 1, False), ("n", 2, True)}


def test_what_no_id_tells_apart_is_left_out_and_counted(lake: Lake, tmp_path: Path):
    (tmp_path / "m").write_bytes(log("m", *SAME, B))
    (tmp_path / "n").write_bytes(log("n", A | {"doc_id": 7}, B))
    (tmp_path / "o").write_bytes(log("o", A | {"doc_id": None}, B))
    summary = bring(lake, tmp_path)
    assert (summary.rows, summary.questions) == (5, 3)
    why = "answers to one of several questions of the same text; no id tells which"
    assert [summary.left_out[f"{tmp_path}/{name}", why] for name in "no"] == [1, 1]


def test_answers_with_one_id_or_none_are_to_one_question(lake: Lake, tmp_path: Path):
    plain = A | {"doc_id": None}
    (tmp_path / "m").write_bytes(log("m", plain, plain, plain | {"grade": 0}))
    with pytest.raises(ImportRefused, match="1 pairs of question and model_name with both labels"):
        bring(lake, tmp_path)
    assert bring(lake, tmp_path, on_conflict="majority").resolved == 1
    assert correct_by_place(lake) == {("m", 1, True)}


def test_an_empty_cell_of_a_wide_table_moves_no_answer(lake: Lake, tmp_path: Path):
    (tmp_path / "wide.csv").write_text("q,m,n\n1 + 1?,1,\n1 + 1?,0,1\n2 + 2?,1,1\n")
    choices = Choices(question_column="q", model_columns=["m", "n"], benchmark="math")
    import_results(lake, str(tmp_path / "wide.csv"), file_format="wide", choices=choices, benchmark_of=str)
    ids = question_ids("math", ["1 + 1?"] * 2)
    found = {(row["model"], row["question_id"]): row["correct"] for row in lake.responses().to_pylist()}
    assert [found.get((model, one)) for model in "mn" for one in ids] == [True, False, None, True]


def test_ids_of_a_long_table_tell_its_questions_apart(lake: Lake, tmp_path: Path):
    lines = ["prompt_id,prompt,model_name,label,category"]
    lines += ["a,1 + 1?,m,1,math", "b,1 + 1?,m,0,math", "b,1 + 1?,n,1,math"]
    (tmp_path / "long.csv").write_text("\n".join(lines))
    import_results(lake, str(tmp_path / "long.csv"), file_format="long", benchmark_of=str)
    assert correct_by_place(lake) == {("m", 1, True), ("m", 2, False), ("n", 2, True)}


def test_what_is_wrong_is_told_at_once_and_nothing_comes_in(lake: Lake, tmp_path: Path):
    (tmp_path / "m").write_bytes(log("m", A | {"grade": 0.5}, B | {"grade": "wrong"}))
    with pytest.raises(ImportRefused) as refused:
        bring(lake, tmp_path)
    assert refused.value.problems == (
        f"{tmp_path}/m, row 1: the grade is 0.5, neither 0 nor 1; say with --threshold from which number on an answer "
        "is right",
        f"{tmp_path}/m, row 2: the grade is 'wrong', which is no grade; it must be 0, 1, true, false or a number",
    )
    assert lake.pairs() == []


def test_answers_that_contradict_each_other_are_named(lake: Lake, tmp_path: Path):
    (tmp_path / "one").write_bytes(log("m", A))
    (tmp_path / "two").write_bytes(log("m", B, A | {"grade": 0}))
    with pytest.raises(ImportRefused) as refused:
        bring(lake, tmp_path)
    assert refused.value.problems == (
        "1 pairs of question and model_name with both labels (math, '1 + 1?' and m in "
        f"{tmp_path}/one row 1 and {tmp_path}/two row 2)",
    )
    assert bring(lake, tmp_path, on_conflict="drop").resolved == 1
    assert lake.responses()["correct"].to_pylist() == [False]


def test_nothing_but_missing_grades_is_told(lake: Lake, tmp_path: Path):
    (tmp_path / "m").write_bytes(log("m", A | {"grade": None}, B | {"grade": ""}))
    with pytest.raises(ImportRefused, match=r"it has no graded answers \(left out: answers without a grade: 2\)"):
        bring(lake, tmp_path)


def test_a_dry_run_tells_what_would_come_in_and_writes_nothing(lake: Lake, tmp_path: Path):
    (tmp_path / "m").write_bytes(log("m", A, B | {"category": "sums"}))
    summary = bring(lake, tmp_path, dry_run=True)
    assert summary.overview.to_pylist() == [
        {"model": "m", "benchmark": "math", "category": "math", "questions": 1, "accuracy": 1.0},
        {"model": "m", "benchmark": "sums", "category": "sums", "questions": 1, "accuracy": 0.0},
    ]
    assert summary.runs["m", "math"].tool == "toy"
    assert (lake.pairs(), lake.imports()) == ([], [])


def test_importing_again_changes_nothing_and_a_new_run_replaces_the_old(lake: Lake, answers_of, tmp_path: Path):
    (tmp_path / "m").write_bytes(log("m", A, B))
    assert bring(lake, tmp_path).changed
    assert not bring(lake, tmp_path).changed
    (tmp_path / "m").write_bytes(log("m", A | {"grade": 0}, B))
    assert bring(lake, tmp_path).changed
    assert answers_of(lake) == {("math", "1 + 1?", "m", False), ("math", "2 + 2?", "m", False)}


def test_an_import_is_taken_back(lake: Lake, answers_of, tmp_path: Path):
    (tmp_path / "one").write_bytes(log("m", A, B | {"category": "sums"}))
    (tmp_path / "two").write_bytes(log("m", A))
    (tmp_path / "three").write_bytes(log("n", B))
    for name in ("one", "two", "three"):
        bring(lake, tmp_path / name)
    assert remove_import(lake, f"{tmp_path}/one") == {f"{tmp_path}/two": 1}
    assert answers_of(lake) == {("math", "2 + 2?", "n", False)}
    assert set(lake.questions()["benchmark"].to_pylist()) == {"math"}
    assert [source["source"] for source in lake.imports()] == [f"{tmp_path}/three", f"{tmp_path}/two"]
    assert bring(lake, tmp_path / "two").changed
    assert answers_of(lake) == {("math", "1 + 1?", "m", True), ("math", "2 + 2?", "n", False)}
    with pytest.raises(WarehouseError, match=f"There is no import one; there are: {tmp_path}/three, {tmp_path}/two"):
        remove_import(lake, "one")


def test_a_package_brings_a_reader_of_its_own(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    package = tmp_path / "package"
    (about := package / "toy-1.0.dist-info").mkdir(parents=True)
    (about / "METADATA").write_text("Name: toy\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[embedllm.importers]\ntoy = toy_reader:Toy\n")
    (package / "toy_reader.py").write_text(TOY_READER)
    monkeypatch.syspath_prepend(str(package))
    (tmp_path / "results.toy").write_text("TOY m\n1 + 1?\t1\n2 + 2?\t0\n")
    import_results(lake, str(tmp_path / "results.toy"), benchmark_of=str)
    assert sorted(lake.responses()["correct"].to_pylist()) == [False, True]


TOY_READER = """
from warehouse.imports.readers.reader import Answer, tables_of

class Toy:
    format = "toy"

    def recognises(self, file):
        return file.head.startswith(b"TOY ")

    def read(self, files, choices, notes):
        for file in files:
            first, *lines = file.path.read_text().splitlines()
            model = first.removeprefix("TOY ")
            rows = [line.split("\t") for line in lines]
            yield from ((file, table) for table in tables_of(
                Answer(row, model, "toys", text, grade == "1", float(grade))
                for row, (text, grade) in enumerate(rows, 1)
            ))
"""

ANSWERS = st.lists(
    st.tuples(st.sampled_from("mno"), st.sampled_from(["1?", "2?", "3?"]), st.sampled_from(["sums", "law"])),
    min_size=1, max_size=8, unique=True,
)  # fmt: skip


@settings(max_examples=15)  # each of which imports twice
@given(answers=ANSWERS, seed=st.randoms(use_true_random=False))
def test_the_order_of_files_and_rows_does_not_matter(tmp_path_factory, answers, seed):
    def imported(order) -> list[dict]:
        folder = tmp_path_factory.mktemp("logs")
        for number, model in enumerate(dict.fromkeys(model for model, _, _ in order)):
            rows = [
                {"text": text, "category": category, "grade": (len(category) + ord(text[0])) % 2}
                for one, text, category in order
                if one == model
            ]
            (folder / f"{number}").write_bytes(log(model, *rows))
        lake = Lake(folder / "lake")
        bring(lake, *sorted(folder.glob("[0-9]*")))
        rows = lake.responses().sort_by([("question_id", "ascending"), ("model", "ascending")]).to_pylist()
        return rows + lake.questions().drop_columns(["doc_id"]).sort_by("question_id").to_pylist()

    other = answers.copy()
    seed.shuffle(other)
    assert imported(answers) == imported(other)
