import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from warehouse.database.publish import publish
from warehouse.database.read import query
from warehouse.errors import CorruptFileError
from warehouse.imports.ingest import import_results
from warehouse.lake import Lake


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
    pq.write_table(pa.table({"x": [1]}), path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, evaluated, asked_few) -> Lake:
    """A lake with rows of every kind, each in a file of its own."""
    lake = Lake(tmp_path_factory.mktemp("whole"))
    evaluated(lake, "b", "m", "100", fingerprint="f1")
    evaluated(lake, "b", "m", "010", fingerprint="f2")
    evaluated(lake, "b", "n", "110")
    evaluated(lake, "c", "m", "1")
    asked_few(lake, "b", "new", "1")
    lake.record_failure("c", "n", "failed", "why")
    lake.write_table("forecasts", pa.table({"embedder": ["v1"], "method": ["mf"], "benchmark": ["b"], "n": [1]}), "v1")
    return lake


@pytest.fixture
def full(whole: Lake, lake: Lake) -> Lake:
    """A copy of it."""
    shutil.copytree(whole.address, lake.address)
    return lake


FILES = [  # table, number of the file in the order of writing, what is lost with it
    ("responses", 0, [("superseded answers", "superseded answers of m to b")]),
    ("responses", 2, [("answers", "answers of n to b")]),
    ("responses", 4, [("onboarding answers", "onboarding answers of new to b")]),
    ("questions", 1, [("questions", "the questions of c")]),
    ("evaluations", 5, []),
    ("forecasts", 0, []),
]


def the_file(lake: Lake, table: str, number: int) -> Path:
    files = sorted(map(Path, DeltaTable(lake.tables.at(table)).file_uris()), key=lambda path: path.stat().st_mtime_ns)
    return files[number]


def the_log(lake: Lake, table: str, pattern: str = "*.json") -> list[Path]:
    return sorted(Path(lake.tables.at(table), "_delta_log").glob(pattern))


def moved(lake: Lake, path: Path) -> Path:
    return Path(lake.address, "damaged", path.relative_to(lake.address))


def test_a_whole_lake_has_no_damage(full: Lake, versions_of: Callable[[Lake], dict[str, int]]):
    before = versions_of(full)
    assert full.check() == full.mend() == full.mend(thoroughly=True) == []
    assert versions_of(full) == before


@pytest.mark.parametrize(
    ("damage", "table", "number", "lost"),
    [
        *((damage, *file) for damage in (truncate, flip, Path.unlink) for file in FILES),
        *((damage, *FILES[1]) for damage in (empty, exchange)),
    ],
)
def test_what_cannot_be_read_is_named_and_moved_aside(
    full: Lake, damage: Callable[[Path], None], table: str, number: int, lost: list[tuple[str, str]]
):
    path = the_file(full, table, number)
    damage(path)
    content = path.read_bytes() if path.exists() else None
    found = full.check()
    assert [(damage.kind, damage.what) for damage in found] == [("file", f"rows of the table {table}"), *lost]
    assert str(found[0]).startswith(f"{path} (rows of the table {table}) cannot be read (")
    assert [damage.what for damage in full.mend(thoroughly=damage is flip)] == [damage.what for damage in found]
    assert not path.exists()
    assert content is None or moved(full, path).read_bytes() == content
    assert full.check() == full.mend() == Lake(full.address).check() == []


def test_what_was_not_damaged_stays(full: Lake, answers_of):
    before = answers_of(full)
    truncate(the_file(full, "responses", 2))
    full.mend()
    assert answers_of(full) == {answer for answer in before if answer[2] != "n"}
    assert full.superseded()["fingerprint"].to_pylist() == ["f1"]
    assert full.onboarded_models() == ["new"]
    assert full.failures().num_rows == 1
    assert full.read_table("forecasts", "v1") is not None


def test_damaged_answers_are_missing_until_they_are_asked_again(full: Lake, database: Path, evaluated):
    truncate(the_file(full, "responses", 2))
    for read in (full.responses, lambda: full.rows_of(full.now().answers["b", "n"]), lambda: publish(full, database)):
        with pytest.raises(CorruptFileError, match=f"{full.address}/responses.* cannot be read"):
            read()
    full.mend()
    assert full.pairs() == [("b", "m"), ("c", "m")]
    publish(full, database)
    evaluated(full, "b", "n", "110")
    publish(full, database)
    assert query(database, "SELECT count(*) AS n FROM responses WHERE model = 'n'").to_pylist() == [{"n": 3}]


def test_answers_to_damaged_questions_are_kept_and_come_back(full: Lake, database: Path, evaluated, answers_of):
    before = answers_of(full)
    truncate(the_file(full, "questions", 0))
    full.mend()
    assert full.pairs() == [("c", "m")]
    assert full.onboarded_models() == []
    kept = {(row["model"], row["fingerprint"]): row["why"] for row in full.superseded().to_pylist()}
    assert kept[("m", "f2")] == kept[("n", "f")] == "The questions that they answer could not be read any more."
    publish(full, database)  # no answer without a question
    evaluated(full, "b", "n", "110")  # one model is asked again: the questions are back
    assert full.restore("b", "m", "f2")
    assert answers_of(full) == before


def test_questions_of_which_some_are_lost_are_asked_again(full: Lake, evaluated: Callable[..., None]):
    evaluated(full, "b", "n", "1101", fingerprint="longer")
    truncate(the_file(full, "questions", 2))
    _, questions = full.mend()
    assert (questions.what, questions.reason) == ("the questions of b", "of 4 entries on questions of b 3 are there")
    assert full.pairs() == [("c", "m")]
    evaluated(full, "b", "n", "1101", fingerprint="longer")
    assert full.check() == []
    assert full.count_questions() == 5


def test_damage_at_the_same_place_again_overwrites_nothing(full: Lake, evaluated: Callable[..., None]):
    for content in (b"first", b"second"):
        path = the_log(full, "responses")[-1]
        path.write_bytes(content)
        full.mend()
        evaluated(full, "b", "late", "110")
        full.supersede("b", "late", "why")
    kept = sorted((Path(full.address) / "damaged").rglob("*.json*"))
    assert [file.read_bytes() for file in kept] == [b"first", b"second"]


@pytest.mark.parametrize("table", ["responses", "questions", "evaluations", "forecasts"])
def test_a_truncated_end_of_a_log_is_moved_aside(full: Lake, evaluated, table: str):
    path = the_log(full, table)[-1]
    truncate(path)
    (found,) = full.check()
    assert (found.where, found.kind, found.what) == (str(path), "log", f"log of the table {table}")
    assert full.mend() == [found]
    assert moved(full, path).exists()
    assert full.check() == []
    evaluated(full, "c", "m", "1")
    assert ("c", "m") in full.pairs()
    assert full.responses().num_rows == 7
    assert Lake(full.address).check() == []


def test_the_last_entries_of_all_logs_may_be_lost(full: Lake, evaluated: Callable[..., None]):
    """As where the power fails."""
    for table in ("responses", "questions", "evaluations"):
        for path in the_log(full, table)[-2:]:
            empty(path)
    full.mend()
    for benchmark, model, grades in (("b", "m", "010"), ("b", "n", "110"), ("c", "m", "1")):
        evaluated(full, benchmark, model, grades, fingerprint="f2")
    assert full.responses().num_rows == 7
    assert Lake(full.address).check() == []


@pytest.mark.parametrize("table", ["responses", "evaluations"])
@pytest.mark.parametrize("damage", [truncate, Path.unlink])
def test_a_damaged_checkpoint_is_done_without(full: Lake, answers_of, table: str, damage: Callable[[Path], None]):
    before = answers_of(full)
    full.compact()
    (checkpoint,) = the_log(full, table, "*.checkpoint.parquet")
    damage(checkpoint)
    assert [damage.kind for damage in full.mend()] == ["log"]
    assert answers_of(full) == answers_of(Lake(full.address)) == before
    assert full.check() == []


def test_a_log_that_is_damaged_before_its_end_is_named_and_left(full: Lake, versions_of):
    path = the_log(full, "responses")[1]
    truncate(path)
    content = path.read_bytes()
    (found,) = full.check()
    assert (found.kind, found.what) == ("log", "log of the table responses")
    assert "move the table's folder away" in str(found)
    for use in (full.mend, Lake(full.address).responses):
        with pytest.raises(CorruptFileError, match=f"{full.address}/responses/_delta_log cannot be read"):
            use()
    assert path.read_bytes() == content
    assert len(the_log(full, "responses")) == 5


@pytest.mark.parametrize("moment", [1, 2, 3])
def test_a_mend_that_is_cut_off_is_completed_by_the_next(full: Lake, cut_off_before, moment: int):
    truncate(the_file(full, "questions", 0))
    empty(the_file(full, "responses", 3))
    # Before it moves the first, the second, and before its events.
    assert cut_off_before(moment, Lake(full.address).mend)
    full.mend()
    assert full.pairs() == []
    assert {(row["model"], row["fingerprint"]) for row in full.superseded().to_pylist()} == {
        ("m", "f1"), ("m", "f2"), ("n", "f"),
    }  # fmt: skip
    assert full.check() == []


def test_a_file_that_may_not_be_read_is_not_taken_for_a_damaged_one(full: Lake, monkeypatch: pytest.MonkeyPatch):
    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied", "part")

    monkeypatch.setattr("warehouse.lake.delta.pq.ParquetFile", refuse)
    for read in (full.check, lambda: full.mend(thoroughly=True)):
        with pytest.raises(PermissionError):
            read()
    assert not (Path(full.address) / "damaged").exists()


def test_imported_answers_and_labels_come_back_by_importing_again(lake: Lake, published, tmp_path: Path, answers_of):
    labels = tmp_path / "models.csv"
    labels.write_text("model,family\nm,llama\n")
    path = published([(1, "m", 1, "law", "x"), (2, "m", 0, "law", "y")])

    def bring() -> None:
        import_results(lake, str(path), models=labels, benchmark_of=str)

    bring()
    before = answers_of(lake), lake.labels(), lake.state()
    for table in ("responses", "questions", "evaluations", "imported_models"):
        truncate(the_file(lake, table, 0))
        lake.mend()
        bring()
        assert (answers_of(lake), lake.labels(), lake.state()) == before
        assert lake.check() == []
