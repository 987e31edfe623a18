import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from warehouse.database.publish import publish
from warehouse.database.read import query
from warehouse.imports.export import export_results
from warehouse.imports.ingest import import_results
from warehouse.imports.readers.reader import Choices
from warehouse.lake import Lake

ROWS = [
    (3, "org__m", 1, "law", "same"),
    (4, "org__m", 0, "law", "same"),
    (3, "a__b__c", 0, "law", "same"),
    (9, "a__b__c", 1, "sums", 'two\nlines, "quoted"'),
]


@pytest.fixture
def filled(lake: Lake, published, tmp_path: Path) -> Lake:
    labels = tmp_path / "models.csv"
    labels.write_text("model_name,family,size_b,is_math\norg__m,llama,7,true\n")
    usage = {"tokens_in": [1, 2, None, 4], "cost": [0.5, None, 0.25, 1]}
    source = published(ROWS, split=["test", "train", "test", "train"], **usage)
    import_results(lake, str(source), models=labels, benchmark_of=lambda category: category)
    return lake


def exported(lake: Lake, folder: Path, name: str) -> list[Path]:
    return export_results(lake, folder, name, lambda done, total, what: None)


def tables_of(lake: Lake, database: Path) -> list[dict]:
    publish(lake, database)
    questions = query(database, "SELECT * FROM questions ORDER BY ALL").to_pylist()
    models = query(database, "SELECT * FROM models ORDER BY ALL").to_pylist()
    return questions + models + query(database, "SELECT * FROM responses ORDER BY ALL").to_pylist()


def test_an_import_of_an_export_gives_the_same_tables(filled: Lake, tmp_path: Path):
    exported(filled, tmp_path / "out", "embedllm")
    other = Lake(tmp_path / "other")
    labels = tmp_path / "out" / "models.parquet"
    import_results(other, str(tmp_path / "out"), models=labels, benchmark_of=lambda category: category)
    assert tables_of(other, tmp_path / "2.duckdb") == tables_of(filled, tmp_path / "1.duckdb")


def test_an_export_has_labels_even_if_there_are_none(lake: Lake, published, tmp_path: Path):
    import_results(lake, str(published(ROWS)), benchmark_of=str)
    assert pq.read_table(exported(lake, tmp_path / "out", "embedllm")[-1]).num_rows == 0
    other = Lake(tmp_path / "other")
    import_results(other, str(tmp_path / "out"), models=tmp_path / "out" / "models.parquet", benchmark_of=str)
    assert (other.labels(), other.pairs()) == (None, lake.pairs())


def test_every_eval_ever_keeps_all_but_the_labels_of_models(lake: Lake, published, tmp_path: Path):
    usage = {"tokens_in": [1, 2, 3, 4], "tokens_out": [5, 6, 7, 8], "cost": [0.1, None, 0.25, 1]}
    graded = [(*row[:2], 1 / 3 if row[2] else 0, *row[3:]) for row in ROWS]
    source = published(graded, split=["test", "train", "test", "train"], **usage)
    import_results(lake, str(source), benchmark_of=str, choices=Choices(threshold=0.3))
    exported(lake, tmp_path / "out", "eee")
    other = Lake(tmp_path / "other")
    import_results(other, str(tmp_path / "out"), benchmark_of=str)
    assert tables_of(other, tmp_path / "2.duckdb") == tables_of(lake, tmp_path / "1.duckdb")


def test_a_wide_export_keeps_scores_and_splits(lake: Lake, published, tmp_path: Path):
    graded = [(3, "m", 1 / 3, "law", "a"), (4, "m", 0, "law", "b"), (3, "n", 1, "law", "a")]
    import_results(
        lake, str(published(graded, split=["test", "val", "test"])), benchmark_of=str, choices=Choices(threshold=0.3)
    )
    exported(lake, tmp_path / "out", "wide")
    other = Lake(tmp_path / "other")
    import_results(other, str(tmp_path / "out"), benchmark_of=str, choices=Choices(threshold=0.3))
    tables_of(other, tmp_path / "2.duckdb")
    tables_of(lake, tmp_path / "1.duckdb")
    kept = "SELECT * EXCLUDE (doc_id) FROM responses JOIN questions USING (question_id) ORDER BY ALL"
    assert query(tmp_path / "2.duckdb", kept) == query(tmp_path / "1.duckdb", kept)


def test_a_wide_export_has_a_column_a_model(filled: Lake, tmp_path: Path):
    (path,) = exported(filled, tmp_path / "out", "wide")
    header, *rows = csv.reader(path.read_text().splitlines(keepends=True))
    assert header == ["question_id", "benchmark", "category", "split", "prompt", "a/b__c", "org/m"]
    assert [row[1:] for row in rows] == [
        ["law", "law", "test", "same", "0", "1"],
        ["law", "law", "train", "same", "", "0"],
        ["sums", "sums", "train", 'two\nlines, "quoted"', "1", ""],
    ]


def test_every_eval_ever_has_a_document_a_model_and_benchmark(filled: Lake, tmp_path: Path):
    paths = exported(filled, tmp_path / "out", "eee")
    documents = [json.loads(path.read_text()) for path in paths if path.suffix == ".json"]
    about = [(d["model_info"]["id"], d["evaluation_results"][0]["evaluation_name"]) for d in documents]
    assert about == [("a/b__c", "law"), ("org/m", "law"), ("a/b__c", "sums")]
    samples = (tmp_path / "out" / documents[1]["detailed_evaluation_results"]["file_path"]).read_text().splitlines()
    first = json.loads(samples[0])
    assert (first["input"]["raw"], first["metadata"]["category"]) == ("same", "law")
    assert sorted(json.loads(line)["evaluation"]["score"] for line in samples) == [0.0, 1.0]


def test_a_folder_with_files_is_refused(filled: Lake, tmp_path: Path):
    exported(filled, tmp_path / "out", "embedllm")
    with pytest.raises(FileExistsError, match="out has files already; give a new folder"):
        exported(filled, tmp_path / "out", "wide")
    assert pq.read_table(tmp_path / "out" / "val.parquet").num_rows == 0
