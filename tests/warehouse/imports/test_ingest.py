import fnmatch
import pickle
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from warehouse.database.publish import publish
from warehouse.database.read import query
from warehouse.imports.ingest import ImportRefused, import_results
from warehouse.lake import Lake
from warehouse.lake.questions import question_ids, split_of

DATA = Path(__file__).parents[3].parent / "shared" / "data"

ROWS = [
    (10, "org__m", 1, "piqa", "ten?"),
    (2, "org__m", 0, "piqa", "two?"),
    (2, "n", 1, "piqa", "two?"),
    (3, "n", 1, "mmlu_law", 'three, "quoted"\nin two lines?'),
]
ANSWERS = {
    ("piqa", "ten?", "org/m", True),
    ("piqa", "two?", "org/m", False),
    ("piqa", "two?", "n", True),
    ("mmlu", 'three, "quoted"\nin two lines?', "n", True),
}


def benchmark_of(category: str) -> str:
    return "mmlu" if fnmatch.fnmatch(category, "mmlu_*") else category


def bring(lake: Lake, source: Path, **options):
    return import_results(lake, str(source), benchmark_of=benchmark_of, **options)


def as_parquet(csv: Path) -> Path:
    path = csv.with_suffix(".parquet")
    duckdb.sql(f"COPY (FROM read_csv('{csv}')) TO '{path}'")
    return path


@pytest.mark.parametrize("convert", [lambda path: path, as_parquet], ids=["csv", "parquet"])
def test_a_file_becomes_benchmarks_questions_and_answers(lake: Lake, published, answers_of, convert):
    summary = bring(lake, convert(published(ROWS)))
    assert (summary.rows, summary.duplicates, summary.models, summary.questions) == (4, 0, 2, 3)
    assert (summary.benchmarks, summary.changed) == (2, True)
    assert answers_of(lake) == ANSWERS
    rows = lake.questions().to_pylist()
    assert [(row["benchmark"], row["category"], row["task"], row["doc_id"]) for row in rows] == [
        ("mmlu", "mmlu_law", "mmlu_law", 3), ("piqa", "piqa", "piqa", 2), ("piqa", "piqa", "piqa", 10),
    ]  # fmt: skip
    assert all(row["split"] == split_of(row["text"]) for row in rows)
    assert set(lake.responses()["score"].to_pylist()) == {0.0, 1.0}


def test_a_folder_brings_its_splits(lake: Lake, published, answers_of, tmp_path: Path):
    for split, row in zip(("train", "val", "test"), (ROWS[0], ROWS[1], ROWS[3]), strict=True):
        published([row], f"folder/{split}.csv")
    bring(lake, tmp_path / "folder")
    assert {row["text"]: row["split"] for row in lake.questions().to_pylist()} == {
        "ten?": "train", "two?": "val", ROWS[3][4]: "test",
    }  # fmt: skip


def test_a_split_column_is_kept_and_a_split_table_holds_over_it(lake: Lake, published, tmp_path: Path):
    path = published(ROWS, split=["test", "val", "val", "test"])
    bring(lake, path)
    splits = {row["doc_id"]: row["split"] for row in lake.questions().to_pylist()}
    assert splits == {10: "test", 2: "val", 3: "test"}
    table = tmp_path / "split.csv"
    table.write_text("prompt_id,split\n10,train\n2,test\n3,val\n99,train\n")
    assert bring(lake, path, split=table).changed
    splits = {row["doc_id"]: row["split"] for row in lake.questions().to_pylist()}
    assert splits == {10: "train", 2: "test", 3: "val"}


def test_the_same_text_under_two_prompt_ids_stays_two_questions(lake: Lake, published):
    # By value 9 comes before 10; by text it would not, and the ids would change places.
    bring(lake, published([(10, "m", 1, "law", "same"), (9, "m", 0, "law", "same")]))
    first, second = question_ids("law", ["same", "same"])
    rows = {row["question_id"]: row["correct"] for row in lake.responses().to_pylist()}
    assert rows == {first: False, second: True}


def test_prompt_ids_may_be_words(lake: Lake, published):
    bring(lake, published([("b", "m", 1, "law", "same"), ("a", "m", 0, "law", "same"), ("10", "m", 1, "law", "x")]))
    first, second = question_ids("law", ["same", "same"])
    rows = {row["question_id"]: row["correct"] for row in lake.responses().to_pylist()}
    assert (rows[first], rows[second]) == (False, True)
    assert sorted(lake.questions()["doc_id"].to_pylist()) == [0, 1, 2]


@pytest.mark.parametrize(
    ("written", "name"),
    [("org__m", "org/m"), ("org__m__v2", "org/m__v2"), ("org/m__v2", "org/m__v2"), ("m", "m"), ("a_b", "a_b")],
)
def test_the_slash_of_a_model_name_is_restored(lake: Lake, published, written: str, name: str):
    bring(lake, published([(1, written, 1, "law", "x")]))
    assert lake.pairs() == [("law", name)]


def test_rows_that_say_the_same_twice_count_once(lake: Lake, published, answers_of):
    summary = bring(lake, published([*ROWS, ROWS[0], ROWS[0]]))
    assert (summary.rows, summary.duplicates) == (4, 2)
    assert answers_of(lake) == ANSWERS


def test_labels_of_models_reach_the_warehouse(lake: Lake, database: Path, published, tmp_path: Path):
    labels = tmp_path / "models.csv"
    labels.write_text("model_name,family,size_b,is_math\norg__m,llama,7,true\n")
    bring(lake, published(ROWS), models=labels)
    publish(lake, database)
    rows = query(database, "SELECT model, family, size_b, communities, source FROM models ORDER BY model").to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("n", None, None, None, "import"), ("org/m", "llama", 7.0, ["math"], "import"),
    ]  # fmt: skip


def bad(**changes: object) -> list[tuple]:
    """ROWS with other values in places: row_column=value."""
    columns = ("prompt_id", "model", "label", "category", "prompt")
    rows = [list(row) for row in ROWS]
    for place, value in changes.items():
        row, _, column = place.removeprefix("row").partition("_")
        rows[int(row) - 1][columns.index(column)] = value
    return [tuple(row) for row in rows]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (bad(row1_label="yes", row3_label=0.5, row4_label=2),
         "the label is none of 0, 1, true, false in 3 rows (row 1: 'yes', row 3: '0.5', row 4: '2')"),
        (bad(row2_label=""), "label is missing in 1 rows (row 2)"),
        (bad(row2_prompt="", row3_prompt=""), "prompt is missing in 2 rows (row 2, row 3)"),
        (bad(row4_model=""), "model_name is missing in 1 rows (row 4)"),
        (bad(row4_prompt_id=""), "prompt_id is missing in 1 rows (row 4)"),
        (bad(row4_category=""), "category is missing in 1 rows (row 4)"),
        (bad(row3_prompt="other?"), "1 prompt_id with two texts (2 in rows 2 and 3)"),
        (bad(row3_category="law"), "1 prompt_id with two categories (2 in rows 2 and 3)"),
        (bad(row3_model="org/m"), "1 pairs of prompt_id and model_name with both labels (2 and org/m in rows 2 and 3)"),
        ([], "it has no rows"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_and_nothing_lands(lake: Lake, published, versions_of, rows: list, message: str):
    bring(lake, published([(1, "m", 1, "law", "x")], "before.csv"))
    before = versions_of(lake)
    path = published(rows)
    for source in (path, as_parquet(path)) if rows else (path,):
        with pytest.raises(ImportRefused) as refused:
            bring(lake, source)
        assert message in str(refused.value)
        assert str(refused.value).startswith(f"{source} was not imported:")
        assert versions_of(lake) == before


def test_several_problems_are_told_together(lake: Lake, published):
    rows = bad(row1_label="x", row2_prompt="", row4_model="", row3_category="law")
    with pytest.raises(ImportRefused) as refused:
        bring(lake, published([*rows, *ROWS]))
    assert len(refused.value.problems) == 4
    assert len(str(refused.value)) < 500


def test_a_prompt_id_belongs_to_one_split(lake: Lake, published, tmp_path: Path):
    for split in ("train", "val", "test"):
        published([(1 if split == "val" else 7, f"m-{split}", 1, "law", "x")], f"folder/{split}.csv")
    told = r"1 prompt_id with two splits \(7 in train.csv row 1 and test.csv row 1\)"
    with pytest.raises(ImportRefused, match=told):
        bring(lake, tmp_path / "folder")
    assert lake.pairs() == []


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("10,train\n2,dev\n3,test\n", "split.csv has 1 rows whose split is none of train, val, test"),
        ("10,train\n3,test\n", "split.csv lacks 1 prompt_id of the results (2)"),
        ("10,train\n2,val\n2,val\n3,test\n", "split.csv has 2 rows whose prompt_id is there twice: rows (2, 3)"),
        ("10,train\n,val\n2,val\n3,test\n", "split.csv has 1 rows without prompt_id: rows (2)"),
    ],
)
def test_a_split_table_must_cover_the_results(lake: Lake, published, tmp_path: Path, table: str, message: str):
    path = tmp_path / "split.csv"
    path.write_text("prompt_id,split\n" + table)
    with pytest.raises(ImportRefused) as refused:
        bring(lake, published(ROWS), split=path)
    assert message in str(refused.value)
    assert lake.pairs() == []


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("r.csv", b"", "it is empty"),
        (
            "r.csv",
            b"prompt_id,label\n1,1\n",
            "the columns model_name, category, prompt are missing; it has prompt_id, label",
        ),
        ("r.csv", b"prompt_id;label;model_name;category;prompt\n", "are missing; it has prompt_id;label"),
        ("r.csv", b"prompt_id,label,model_name,category,prompt,label\n", "a column stands twice"),
        ("r.csv", b"prompt_id,label,model_name,category,prompt\n1,1,m\n", "row 1: 3 fields instead of 5"),
        ("r.csv", b'prompt_id,label,model_name,category,prompt\n1,1,m,c,"open\n', "unterminated quote"),
        ("r.csv", b"prompt_id,label,model_name,category,prompt\n1,1,m,c,\xff\xfe\n", "row 1: it is not UTF-8"),
        ("r.csv", b"\xff\xfe\x00prompt", "it cannot be read"),
        ("r.parquet", b"PAR1 and more that is no Parquet", "it cannot be read"),
        ("r.parquet", b"", "it is empty"),
    ],
)
def test_a_file_that_cannot_be_read_is_told(lake: Lake, tmp_path: Path, name: str, content: bytes, message: str):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ImportRefused) as refused:
        bring(lake, path)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500


def test_a_truncated_parquet_file_is_told(lake: Lake, published):
    path = as_parquet(published(ROWS))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ImportRefused, match="it cannot be read"):
        bring(lake, path)


def test_the_same_again_writes_nothing(lake: Lake, published, tmp_path: Path, versions_of):
    labels = tmp_path / "models.csv"
    labels.write_text("model\nn\n")
    path = published(ROWS)
    assert bring(lake, path, models=labels).changed
    before = versions_of(lake)
    assert not bring(lake, path, models=labels).changed
    assert versions_of(lake) == before
    (record,) = lake.imports()
    assert (record["source"], record["rows"], record["benchmarks"]) == (str(path), 4, ["mmlu", "piqa"])
    assert record["labels"] == str(labels)


def test_a_corrected_source_replaces_what_it_brought(lake: Lake, published, answers_of):
    bring(lake, published(ROWS))
    corrected = [(10, "org__m", 0, "piqa", "ten?"), (2, "org__m", 0, "piqa", "two?")]
    assert bring(lake, published(corrected)).changed
    assert answers_of(lake) == {("piqa", "ten?", "org/m", False), ("piqa", "two?", "org/m", False)}
    assert lake.pairs() == [("piqa", "org/m")]
    assert [record["rows"] for record in lake.imports()] == [2]


def test_categories_grouped_otherwise_leave_no_old_benchmark(lake: Lake, published):
    path = published(ROWS)
    import_results(lake, str(path), benchmark_of=lambda category: category)
    assert ("mmlu_law", "n") in lake.pairs()
    bring(lake, path)
    assert lake.pairs() == [("mmlu", "n"), ("piqa", "n"), ("piqa", "org/m")]
    assert set(lake.questions()["benchmark"].to_pylist()) == {"mmlu", "piqa"}


def test_another_source_adds_questions(lake: Lake, published, answers_of):
    bring(lake, published(ROWS[:2]))
    more = [(7, "org/m", 0, "piqa", "two?"), (8, "org/m", 1, "piqa", "new?")]
    bring(lake, published(more, "more.csv"))
    assert answers_of(lake) == {
        ("piqa", "ten?", "org/m", True), ("piqa", "two?", "org/m", False), ("piqa", "new?", "org/m", True),
    }  # fmt: skip
    assert not bring(lake, published(more, "more.csv")).changed
    assert not bring(lake, published(ROWS[:2])).changed


def test_another_source_may_not_contradict(lake: Lake, published, versions_of):
    bring(lake, published(ROWS))
    before = versions_of(lake)
    (question,) = question_ids("piqa", ["ten?"])
    told = rf"(?s)1 answers of org/m to piqa differ .* \(for example to question {question}\).* --on-conflict"
    with pytest.raises(ImportRefused, match=told):
        bring(lake, published([(77, "org__m", 0, "piqa", "ten?")], "other.csv"))
    assert versions_of(lake) == before


def test_another_source_may_not_move_a_question_to_another_split(lake: Lake, published, versions_of):
    bring(lake, published(ROWS[3:], "a.csv", split=["test"]))
    before = versions_of(lake)
    with pytest.raises(ImportRefused, match="in mmlu, 1 questions have another split from the import of"):
        bring(lake, published(ROWS[3:], "b.csv", split=["train"]))
    assert versions_of(lake) == before


def test_an_import_ends_the_record_of_a_failure(lake: Lake, published):
    lake.record_failure("piqa", "n", "model_not_found", "n on piqa: no such model")
    lake.record_failure("gsm8k", "n", "model_not_found", "n on gsm8k: no such model")
    bring(lake, published(ROWS))
    assert lake.failures()["benchmark"].to_pylist() == ["gsm8k"]


def test_an_import_and_an_evaluation_of_the_same_questions_join(lake: Lake, published, evaluated, answers_of):
    evaluated(lake, "law", "evaluated", "10")
    bring(lake, published([(5, "published", 1, "law", "a"), (6, "published", 1, "law", "b")]))
    assert lake.questions().num_rows == 2
    assert answers_of(lake) == {
        ("law", "a", "evaluated", True), ("law", "b", "evaluated", False),
        ("law", "a", "published", True), ("law", "b", "published", True),
    }  # fmt: skip


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    grades=st.dictionaries(st.tuples(st.integers(0, 12), st.sampled_from("mn")), st.booleans(), min_size=1),
    texts=st.lists(st.sampled_from(["x", "y", "a longer one", "ü,\"\n"]), min_size=13, max_size=13),
    order=st.randoms(use_true_random=False),
)  # fmt: skip
def test_what_goes_in_comes_out_whatever_the_order_of_rows(published, tmp_path_factory, grades, texts, order):
    rows = [(p, model, int(correct), f"c{p % 2}", texts[p]) for (p, model), correct in grades.items()]
    expected = {}
    for category in ("c0", "c1"):
        asked = sorted({p for p, _ in grades if f"c{p % 2}" == category})
        for p, question_id in zip(asked, question_ids(category, [texts[p] for p in asked]), strict=True):
            expected |= {(question_id, m): correct for (q, m), correct in grades.items() if q == p}
    order.shuffle(rows)
    lake = Lake(tmp_path_factory.mktemp("lake"))
    bring(lake, published(rows))
    found = {(row["question_id"], row["model"]): row["correct"] for row in lake.responses().to_pylist()}
    assert found == expected


@pytest.mark.parametrize("moment", [1, 2, 3, 4, 5, 6])
def test_a_killed_import_leaves_nothing(lake, tmp_path, published, answers_of, cut_off_before, moment: int):
    """Commits of this import: questions and answers of each of two benchmarks, labels, events."""
    path, labels = published(ROWS), tmp_path / "models.csv"
    labels.write_text("model,family\nn,llama\n")

    def bring(lake: Lake) -> bool:
        return import_results(lake, str(path), models=labels, benchmark_of=str).changed

    assert cut_off_before(moment, lambda: bring(Lake(lake.address)))
    assert (lake.pairs(), lake.questions().num_rows, lake.labels(), lake.imports()) == ([], 0, None, [])
    undisturbed = Lake(tmp_path / "undisturbed")
    assert bring(lake)
    assert bring(undisturbed)
    assert (answers_of(lake), lake.state()) == (answers_of(undisturbed), undisturbed.state())
    assert lake.labels() == undisturbed.labels()
    assert len(lake.imports()) == 1


DISPUTED = [(1, "m", label, "law", "x") for label in (0, 1, 1)] + [
    (2, "m", 1, "law", "tie"), (2, "m", 0, "law", "tie"), (3, "m", 1, "law", "agreed"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("on_conflict", "expected"),
    [
        ("majority", {("x", True), ("agreed", True)}),
        ("drop", {("agreed", True)}),
        ("first", {("x", False), ("tie", True), ("agreed", True)}),
    ],
)
def test_what_a_source_says_twice_is_resolved_as_asked(lake: Lake, published, versions_of, on_conflict, expected):
    path = published(DISPUTED)
    with pytest.raises(ImportRefused, match="2 pairs of prompt_id and model_name with both labels"):
        bring(lake, path)
    summary = bring(lake, path, on_conflict=on_conflict)
    assert (summary.resolved, summary.rows) == (2, len(expected))
    texts = dict(zip(lake.questions()["question_id"].to_pylist(), lake.questions()["text"].to_pylist(), strict=True))
    assert {(texts[r["question_id"]], r["correct"]) for r in lake.responses().to_pylist()} == expected
    before = versions_of(lake)
    assert not bring(lake, path, on_conflict=on_conflict).changed
    assert versions_of(lake) == before


THEIRS = [(7, "m", 1, "law", "x"), (8, "m", 1, "law", "y"), (9, "m", 1, "law", "new")]
OURS = [(1, "m", 0, "law", "x"), (2, "m", 1, "law", "y")]


@pytest.mark.parametrize(
    ("on_conflict", "expected"),
    [
        ("majority", {("y", True), ("new", True)}),
        ("drop", {("y", True), ("new", True)}),
        ("first", {("x", False), ("y", True), ("new", True)}),
    ],
)
def test_what_two_sources_say_otherwise_is_resolved_as_asked(
    lake: Lake, published, answers_of, versions_of, on_conflict, expected
):
    ours, theirs = published(OURS), published(THEIRS, "theirs.csv")
    bring(lake, ours)
    assert bring(lake, theirs, on_conflict=on_conflict).resolved == 1
    assert answers_of(lake) == {("law", text, "m", correct) for text, correct in expected}
    before, state = versions_of(lake), lake.state()
    for path in (ours, theirs, ours):  # the tie does not come back
        assert not bring(lake, path, on_conflict=on_conflict).changed
    assert versions_of(lake) == before
    assert Lake(lake.address).state() == state


def test_where_sources_agree_on_nothing_nothing_is_left(lake: Lake, database: Path, published, answers_of):
    ours, theirs = published(OURS[:1]), published(THEIRS[:1], "theirs.csv")
    bring(lake, ours)
    assert bring(lake, theirs, on_conflict="drop").resolved == 1
    for path in (ours, theirs, ours):
        assert not bring(lake, path).changed
    assert lake.pairs() == Lake(lake.address).pairs() == lake.check() == []
    publish(lake, database)
    assert query(database, "FROM leaderboard").num_rows == 0
    bring(lake, published(THEIRS, "theirs.csv"))  # has more to say now
    assert answers_of(lake) == {("law", "y", "m", True), ("law", "new", "m", True)}


@pytest.mark.parametrize("on_conflict", ["majority", "drop", "first"])
def test_without_conflicts_nothing_is_resolved(lake: Lake, published, answers_of, on_conflict):
    assert bring(lake, published(ROWS), on_conflict=on_conflict).resolved == 0
    assert answers_of(lake) == ANSWERS


def test_copies_of_a_text_get_one_split_where_that_is_asked(lake: Lake, published):
    asked = {1: ("law", "same"), 2: ("math", "same"), 3: ("law", "same"), 4: ("law", "x")}
    path = published([(n, "m", 1, *question) for n, question in asked.items()], split=["test", "train", "val", "test"])

    def splits() -> list[tuple[int, str]]:
        return sorted((row["doc_id"], row["split"]) for row in lake.questions().to_pylist())

    assert bring(lake, path).resplit == 0
    assert splits() == [(1, "test"), (2, "train"), (3, "val"), (4, "test")]
    summary = bring(lake, path, resplit=True)
    assert (summary.resplit, summary.changed) == (2, True)
    assert splits() == [(1, "train"), (2, "train"), (3, "train"), (4, "test")]
    assert not bring(lake, path, resplit=True).changed


@pytest.mark.parametrize(
    ("name", "benchmarks", "repeated"), [("mmlu_pro", 14, 159), ("zeroeval", 3, 0), ("combined", 17, 159)]
)
def test_real_results_import_with_their_totals(lake: Lake, database: Path, name: str, benchmarks: int, repeated: int):
    results, split, models = (DATA / f"{name}{part}.parquet" for part in ("", ".split", ".models"))
    if not results.exists():
        pytest.skip(f"{results} is not there")
    summary = import_results(lake, str(results), split=split, models=models, benchmark_of=lambda category: category)
    assert summary.benchmarks == benchmarks
    publish(lake, database)
    per_category = """
        SELECT category, split, count(*) AS answers, count(DISTINCT {question}) AS questions,
            count(DISTINCT {model}) AS models, sum({correct}::INT)::BIGINT AS right
        FROM {rows}
        GROUP BY ALL
        ORDER BY ALL
    """
    direct = per_category.format(
        question="prompt_id", model="model_name", correct="label",
        rows=f"read_parquet('{results}') r JOIN read_parquet('{split}') s USING (prompt_id)",
    )  # fmt: skip
    published = per_category.format(
        question="question_id", model="model", correct="correct",
        rows="responses JOIN questions USING (question_id, benchmark)",
    )  # fmt: skip
    with duckdb.connect() as connection:
        expected = connection.sql(direct).fetchall()
        labelled = connection.sql(f"SELECT count(*) FROM '{models}' WHERE family IS NOT NULL").fetchall()[0][0]
    assert [tuple(row.values()) for row in query(database, published).to_pylist()] == expected
    (found,) = query(database, "SELECT count(*) AS n FROM models WHERE family IS NOT NULL").to_pylist()
    assert found["n"] == labelled
    (texts,) = query(database, "SELECT count(*) - count(DISTINCT text) AS repeated FROM questions").to_pylist()
    assert texts["repeated"] == repeated


def test_an_error_survives_the_way_between_processes(lake: Lake, tmp_path: Path):
    with pytest.raises(ImportRefused) as refused:
        bring(lake, tmp_path / "nothing.csv")
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)


def test_a_wide_table_with_an_unknown_type_is_read_as_text(lake: Lake, tmp_path: Path):
    path = tmp_path / "r.parquet"
    columns = {
        "prompt_id": [1],
        "label": [1.0],
        "model_name": ["m"],
        "category": ["law"],
        "prompt": ["x"],
        "row": [[1]],
    }
    pq.write_table(pa.table(columns), path)
    assert bring(lake, path).rows == 1


USED = {"cost": [0.5, "", "2e-3", ""], "prompt_tokens": [10, 20.0, "", ""], "completion_tokens": [1, 2, 3, ""]}


@pytest.mark.parametrize("convert", [lambda path: path, as_parquet], ids=["csv", "parquet"])
def test_what_answers_took_is_kept_where_it_is_known(lake: Lake, database: Path, published, convert):
    bring(lake, convert(published(ROWS, **USED)))
    publish(lake, database)
    rows = query(
        database,
        "SELECT text, model, tokens_in, tokens_out, cost FROM responses "
        "JOIN questions USING (question_id) ORDER BY ALL",
    ).to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("ten?", "org/m", 10, 1, 0.5),
        ('three, "quoted"\nin two lines?', "n", None, None, None),
        ("two?", "n", None, 3, 0.002),
        ("two?", "org/m", 20, 2, None),
    ]
    known = {(row["model"], row["tokens_in"], row["tokens_out"], row["cost"]) for row in lake.usage().to_pylist()}
    assert known == {("org/m", 10, 1, 0.5), ("org/m", 20, 2, None), ("n", None, 3, 0.002)}  # n's other file has nothing
    assert lake.check() == []


def test_columns_that_say_nothing_are_as_none(lake: Lake, database: Path, published):
    path = published(ROWS)
    bring(lake, path)
    before = lake.state()
    published(ROWS, cost=["", "", "nan", ""])
    bring(lake, path)
    assert lake.state() == before
    publish(lake, database)
    assert query(database, "SELECT DISTINCT tokens_in, tokens_out, cost FROM responses").to_pylist() == [
        {"tokens_in": None, "tokens_out": None, "cost": None}
    ]
    assert lake.usage().num_rows == 0


def test_costs_that_come_later_are_added_and_two_sources_have_each_their_own(lake: Lake, published, tmp_path: Path):
    path = published(ROWS)
    bring(lake, path)
    before = lake.state()
    published(ROWS, cost=[1, 2, 3, 4])
    assert bring(lake, path).changed
    assert lake.state() != before
    bring(lake, published([(7, "org__m", 1, "piqa", "seven?")], "other.csv", tokens_in=[5]))
    known = {(row["model"], row["tokens_in"], row["cost"]) for row in lake.usage().to_pylist()}
    assert known == {("org/m", None, 1), ("org/m", None, 2), ("org/m", 5, None), ("n", None, 3), ("n", None, 4)}


def test_of_several_files_some_may_not_know_what_answers_took(lake: Lake, published, tmp_path: Path):
    published(ROWS[:2], "folder/a.csv")
    published(ROWS[2:], "folder/b.csv", tokens_out=[6, 7])
    bring(lake, tmp_path / "folder")
    assert {(row["model"], row["tokens_out"]) for row in lake.usage().to_pylist()} == {("n", 6), ("n", 7)}


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"cost": ["", "$1", 1, -2]}, "cost is no number from 0 on in 2 rows (row 2: '$1', row 4: '-2')"),
        ({"cost": ["inf", 1, 1, 1]}, "cost is no number from 0 on in 1 rows (row 1: 'inf')"),
        (
            {"tokens_in": ["", "1.5", "", ""]},
            "tokens_in is no whole number from 0 on in 1 rows (row 2: '1.5')",
        ),
        (
            {"completion_tokens": ["few", 1, 1, 1]},
            "completion_tokens is no whole number from 0 on in 1 rows (row 1: 'few')",
        ),
    ],
)
def test_what_is_no_cost_is_refused_with_its_row(lake: Lake, published, columns, problem):
    with pytest.raises(ImportRefused) as refused:
        bring(lake, published(ROWS, **columns))
    assert refused.value.problems == (problem,)
    assert lake.pairs() == []


def test_an_answer_with_two_costs_is_refused(lake: Lake, published):
    rows = [*ROWS, ROWS[0], ROWS[1]]
    with pytest.raises(ImportRefused) as refused:
        bring(lake, published(rows, cost=[1, 1, 1, 1, 2, 1]))
    told = "1 pairs of prompt_id and model_name with two values of cost (10 and org__m in rows 1 and 5)"
    assert refused.value.problems == (told.replace("org__m", "org/m"),)


def test_questions_that_lack_what_they_speak_of_are_counted_by_benchmark(lake: Lake, published):
    rows = [
        (1, "m", 1, "whole", "Which of the following is a fruit?\nA. apple\nB. brick"),
        (2, "m", 1, "cut", "Which of the following is a fruit?"),
        (3, "m", 1, "cut", "What is 2 plus 2?"),
        (3, "n", 1, "cut", "What is 2 plus 2?"),
    ]
    assert bring(lake, published(rows)).lacking == {"cut": (1, 2), "whole": (0, 1)}
