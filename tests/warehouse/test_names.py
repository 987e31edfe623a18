"""Which names an import refuses, and that nothing is stored then. What a name may be is the caller's to say."""

from pathlib import Path

import pytest

from warehouse.errors import ImportRefused
from warehouse.imports.ingest import import_results
from warehouse.imports.labels import read_labels
from warehouse.lake import Lake


def fault(name: str) -> str | None:
    return f"'{name}' is a bad name; choose another" if name.startswith("bad") else None


def bring(lake: Lake, path: Path, **options) -> None:
    import_results(lake, str(path), **{"benchmark_of": str, "model_fault": fault, "benchmark_fault": fault, **options})


def test_names_that_cannot_be_used_are_all_told_with_their_rows(lake: Lake, published, versions_of):
    bring(lake, published([(1, "m", 1, "law", "x")], "before.csv"))
    before = versions_of(lake)
    rows = [
        (1, "m", 1, "law", "a"), (1, "bad1", 1, "law", "a"), (2, "bad__2", 1, "bad3", "b"),
        (3, "bad__2", 0, "law", "c"), (4, "m", 0, "bad3", "d"),
    ]  # fmt: skip
    with pytest.raises(ImportRefused) as refused:
        bring(lake, published(rows))
    assert refused.value.problems == (
        "the model name 'bad/2' is a bad name; choose another (2 rows, the first is row 3)",
        "the model name 'bad1' is a bad name; choose another (1 row, the first is row 2)",
        "the benchmark name 'bad3' is a bad name; choose another (2 rows, the first is row 3)",
        "to have a category under another benchmark name, list it in `covers` of an entry of the registry's "
        "benchmarks.yaml",
    )
    assert versions_of(lake) == before


def test_the_name_of_the_benchmark_counts_and_not_that_of_the_category(lake: Lake, published):
    path = published([(1, "m", 1, "bad", "a")])
    bring(lake, path, benchmark_of=lambda category: "good")
    assert lake.pairs() == [("good", "m")]
    with pytest.raises(ImportRefused, match="the benchmark name 'bad2'"):
        bring(lake, published([(1, "m", 1, "good", "a")], "other.csv"), benchmark_of=lambda category: "bad2")


def test_many_such_names_are_counted(lake: Lake, published):
    with pytest.raises(ImportRefused) as refused:
        bring(lake, published([(1, f"bad{number}", 1, "law", "a") for number in range(25)]))
    assert len(refused.value.problems) == 21
    assert refused.value.problems[-1] == "5 more model names cannot be used"


def test_names_are_told_with_their_file(lake: Lake, published, tmp_path: Path):
    for split, model in (("train", "m"), ("val", "n"), ("test", "bad")):
        published([(split, model, 1, "law", split)], f"folder/{split}.csv")
    with pytest.raises(ImportRefused, match=r"the model name 'bad' .* \(1 row, the first is test.csv row 1\)"):
        bring(lake, tmp_path / "folder")


def test_names_in_a_table_of_models_follow_the_same_rule(lake: Lake, published, tmp_path: Path):
    (tmp_path / "models.csv").write_text("model\nm\nbad\n")
    with pytest.raises(ImportRefused, match=r"models.csv was not imported: row 2: the model name 'bad' is a bad name"):
        bring(lake, published([(1, "m", 1, "law", "x")]), models=tmp_path / "models.csv")
    assert lake.pairs() == []
    assert read_labels(tmp_path / "models.csv").num_rows == 2


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(1, "Org__M", 1, "law", "a"), (1, "org__m", 1, "law", "a")],
         "the model names 'Org/M' (1 row, the first is row 1) and 'org/m' (1 row, the first is row 2) differ in letter "
         "case only; write them alike"),
        ([(1, "m", 1, "Law", "a"), (2, "m", 1, "law", "b"), (3, "n", 1, "law", "c")],
         "the benchmark names 'Law' (1 row, the first is row 1) and 'law' (2 rows, the first is row 2) differ"),
    ],
)  # fmt: skip
def test_names_that_differ_in_letter_case_only_are_refused(lake: Lake, published, rows: list, message: str):
    with pytest.raises(ImportRefused) as refused:
        bring(lake, published(rows))
    assert message in str(refused.value)
    assert lake.pairs() == []


def test_also_against_what_the_lake_has(lake: Lake, published, evaluated, versions_of):
    bring(lake, published([(1, "M", 1, "law", "a")], "before.csv"))
    evaluated(lake, "Gsm8k", "n", "1")
    before = versions_of(lake)
    with pytest.raises(ImportRefused, match="the model name 'm' differs from 'M', which the lake has, in letter case"):
        bring(lake, published([(1, "m", 1, "law", "b")], "other.csv"))
    with pytest.raises(ImportRefused, match="the benchmark name 'gsm8k' differs from 'Gsm8k', which the lake has"):
        bring(lake, published([(1, "o", 1, "gsm8k", "b")], "other.csv"))
    assert versions_of(lake) == before


def test_a_new_version_of_a_source_may_change_the_case_of_its_names(lake: Lake, published):
    bring(lake, published([(1, "M", 1, "law", "a")]))
    bring(lake, published([(1, "m", 1, "Law", "a")]))
    assert lake.pairs() == [("Law", "m")]


@pytest.mark.parametrize(
    "name", ["法律", "🤖", "../../etc", "<script>alert(1)</script>", "mmlu_pro/computer science", "100%", "it's"]
)
def test_other_names_are_kept_as_they_are(lake: Lake, published, name: str):
    bring(lake, published([(1, name, 1, name, "x")]))
    assert lake.pairs() == [(name, name)]
