from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from warehouse.errors import CorruptFileError
from warehouse.files import write_parquet
from warehouse.lake import Lake
from warehouse.publish import publish
from warehouse.read import query


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    """One bit of the first page's data."""
    content = bytearray(path.read_bytes())
    content[60] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def exchange(path: Path) -> None:
    """A whole Parquet file, of something else."""
    write_parquet(pa.table({"x": [1]}), path)


@pytest.fixture
def full(lake: Lake, evaluated: Callable[..., None]) -> Lake:
    """A lake with a file of every kind."""
    evaluated(lake, "b", "m", "10", fingerprint="f1")
    evaluated(lake, "b", "m", "01", fingerprint="f2")
    evaluated(lake, "b", "n", "11")
    evaluated(lake, "c", "m", "1")
    questions = pa.table({"task": ["t"], "doc_id": [0], "text": ["a"], "category": ["t"]})
    answers = pa.table({"task": ["t"], "doc_id": [0], "correct": [True], "score": [1.0]})
    lake.write_onboarding("b", "new", answers, questions, {"fingerprint": "f"})
    lake.record_failure("c", "n", "failed", "why")
    lake.write_table("forecasts", pa.table({"embedder": ["v1"], "method": ["mf"], "benchmark": ["b"], "n": [1]}), "v1")
    return lake


def the_file(lake: Lake, pattern: str) -> Path:
    (path,) = lake.address.glob(pattern)
    return path


def test_a_whole_lake_has_no_damage(full: Lake, versions_of: Callable[[Lake], dict[str, int]]):
    before = versions_of(full)
    assert full.check() == full.mend() == []
    assert {name: content for name, content in versions_of(full).items() if name != ".whole.json"} == before


@pytest.mark.parametrize("damage", [truncate, flip, empty, exchange])
@pytest.mark.parametrize(
    ("pattern", "kind", "what"),
    [
        ("responses/*/model=n/part.parquet", "answers", "answers of n to b"),
        ("superseded/*/*/*.parquet", "superseded answers", "superseded answers of m to b"),
        ("onboarding/*/*/part.parquet", "onboarding answers", "onboarding answers of new to b"),
        ("questions/benchmark=c/part.parquet", "questions", "the questions of c"),
    ],
)
def test_what_cannot_be_read_is_named_and_moved_aside(
    full: Lake, damage: Callable[[Path], None], pattern: str, kind: str, what: str
):
    path = the_file(full, pattern)
    damage(path)
    content = path.read_bytes()
    (found,) = full.check()
    assert (found.path, found.kind, found.what) == (path, kind, what)
    assert str(found).startswith(f"{path} ({what}) cannot be read (")
    assert full.mend() == [found]
    assert not path.exists()
    assert (full.root / "damaged" / path.relative_to(full.root)).read_bytes() == content
    assert full.check() == full.mend() == []


def test_a_table_that_cannot_be_read_is_moved_aside(full: Lake):
    path = full.table_path("forecasts", "v1")
    truncate(path)
    (found,) = full.mend()
    assert (found.kind, found.what) == ("table", "part of the table forecasts")
    assert full.read_table("forecasts") is None


def test_a_record_of_a_failure_that_is_none_is_moved_aside(full: Lake):
    full.failure_path("c", "n").write_text("{")
    (found,) = full.mend()
    assert (found.kind, found.what) == ("failure", "why n failed on c")
    assert full.failures().num_rows == 0


def test_damaged_answers_are_missing_until_they_are_asked_again(full: Lake, database: Path, evaluated):
    truncate(full.responses_path("b", "n"))
    with pytest.raises(CorruptFileError):
        full.responses()
    full.mend()
    assert full.pairs() == [("b", "m"), ("c", "m")]
    publish(full, database)
    evaluated(full, "b", "n", "11")
    publish(full, database)
    assert query(database, "SELECT count(*) AS n FROM responses WHERE model = 'n'").to_pylist() == [{"n": 2}]


def test_answers_to_damaged_questions_are_kept_and_come_back(full: Lake, database: Path, evaluated, answers_of):
    before = answers_of(full)
    truncate(full.questions_path("b"))
    (found,) = full.mend()
    assert found.kind == "questions"
    assert full.pairs() == [("c", "m")]
    assert full.onboarded_models() == []
    kept = {(row["model"], row["fingerprint"]): row["why"] for row in full.superseded().to_pylist()}
    assert kept[("m", "f2")] == kept[("n", "f")] == "The questions that they answer could not be read any more."
    publish(full, database)  # no answer without a question
    evaluated(full, "b", "n", "11")  # one model is asked again: the questions are back
    assert full.restore("b", "m", "f2")
    assert answers_of(full) == before


def test_answers_without_questions_are_damage_too(full: Lake, database: Path):
    full.questions_path("b").unlink()
    (found,) = full.check()
    assert (found.kind, found.reason) == ("questions", "there is no such file")
    full.mend()
    publish(full, database)
    assert full.check() == []


def test_damage_at_the_same_place_again_overwrites_nothing(full: Lake, evaluated: Callable[..., None]):
    path = full.responses_path("b", "n")
    for content in (b"first", b"second"):
        path.write_bytes(content)
        full.mend()
        evaluated(full, "b", "n", "11")
    kept = sorted((full.root / "damaged").rglob("part.parquet*"))
    assert [file.read_bytes() for file in kept] == [b"first", b"second"]


MEND = "from pathlib import Path\nfrom warehouse.lake import Lake\nLake(Path(sys.argv[2])).mend()\n"


@pytest.mark.parametrize("moment", [1, 2, 3, 4, 5, 6, 7, 8])
def test_a_mend_that_is_cut_off_is_completed_by_the_next(full: Lake, killed_before, answers_of, moment: int):
    truncate(full.questions_path("b"))
    empty(full.responses_path("c", "m"))
    assert killed_before(moment, MEND, full.root)
    full.mend()
    assert full.pairs() == []
    assert {(row["model"], row["fingerprint"]) for row in full.superseded().to_pylist()} == {
        ("m", "f1"), ("m", "f2"), ("n", "f"),
    }  # fmt: skip
    assert full.check() == []


def test_a_file_that_may_not_be_read_is_not_taken_for_a_damaged_one(full: Lake, monkeypatch: pytest.MonkeyPatch):
    def refuse(path: Path, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("warehouse.files.pq.ParquetFile", refuse)
    with pytest.raises(PermissionError) as caught:
        full.responses()
    assert str(caught.value.filename).endswith("part.parquet")
    with pytest.raises(PermissionError):
        full.mend()
    assert not (full.root / "damaged").exists()


def test_what_was_whole_is_read_again_once_it_has_changed(full: Lake, monkeypatch: pytest.MonkeyPatch):
    assert full.mend() == []
    read: list[Path] = []
    monkeypatch.setattr("warehouse.damage._damage", lambda lake, path: read.append(path))
    assert full.mend() == []
    assert read == []
    path = the_file(full, "responses/*/model=n/part.parquet")
    flip(path)
    full.mend()
    assert read == [path]


def test_a_spoilt_memory_of_what_was_whole_is_no_harm(full: Lake):
    full.mend()
    (full.root / ".whole.json").write_text("{")
    flip(the_file(full, "responses/*/model=n/part.parquet"))
    assert [damage.what for damage in full.mend()] == ["answers of n to b"]
