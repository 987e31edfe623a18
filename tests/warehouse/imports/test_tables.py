"""What columns may be: without a name, in bytes, of other types; each in results, split tables and tables of models."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from warehouse.errors import ImportRefused
from warehouse.imports.ingest import import_results
from warehouse.imports.labels import read_labels
from warehouse.lake import Lake

TEXT = "¿Qué?"
ROWS = {"prompt_id": ["1", "2"], "label": ["1", "0"], "model_name": ["m", "n"], "category": ["law", "law"],
        "prompt": [TEXT, "y"]}  # fmt: skip
ANSWERS = {("law", TEXT, "m", True), ("law", "y", "n", False)}


def write(path: Path, columns: dict) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def bring(lake: Lake, path: Path, **options) -> None:
    import_results(lake, str(path), benchmark_of=str, **options)


@pytest.mark.parametrize(
    "content",
    [
        f",prompt_id,label,model_name,category,prompt\n0,1,1,m,law,{TEXT}\n1,2,0,n,law,y\n",
        f",,prompt_id,label,model_name,,category,prompt,\n0,,1,1,m,z,law,{TEXT},\n1,,2,0,n,z,law,y,\n",
        f'" ",prompt_id,label,model_name,"",category,prompt\n0,1,1,m,,law,{TEXT}\n1,2,0,n,,law,y\n',
        f",prompt_id,label,model_name,category,prompt\r\n0,1,1,m,law,{TEXT}\n1,2,0,n,law,y\r\n",
        f"prompt_id,label,model_name,category,Prompt,prompt\n1,1,m,law,no,{TEXT}\n2,0,n,law,no,y\n",
        f'"in two\nlines",prompt_id,label,model_name,category,prompt\n0,1,1,m,law,{TEXT}\n1,2,0,n,law,y\n',
    ],
)
def test_columns_without_a_name_are_ignored(lake: Lake, tmp_path: Path, answers_of, content: str):
    (tmp_path / "r.csv").write_text(content, encoding="utf-8", newline="")
    bring(lake, tmp_path / "r.csv")
    assert answers_of(lake) == ANSWERS


def test_split_tables_and_tables_of_models_may_have_an_index(lake: Lake, tmp_path: Path):
    (tmp_path / "split.csv").write_text(",prompt_id,split\n0,1,test\n1,2,val\n")
    (tmp_path / "models.csv").write_text(",model,,family\n0,m,,llama\n")
    bring(lake, write(tmp_path / "r.parquet", ROWS), split=tmp_path / "split.csv", models=tmp_path / "models.csv")
    assert {row["doc_id"]: row["split"] for row in lake.questions().to_pylist()} == {1: "test", 2: "val"}
    assert read_labels(tmp_path / "models.csv").to_pylist() == [
        {"model": "m", "family": "llama", "size_b": None, "communities": []}
    ]


def in_bytes(texts: list[str], kind: pa.DataType) -> pa.Array:
    return pa.array([text.encode() for text in texts], pa.binary()).cast(kind)


KINDS = {
    "binary": lambda texts: in_bytes(texts, pa.binary()),
    "large_binary": lambda texts: in_bytes(texts, pa.large_binary()),
    "dictionary": lambda texts: in_bytes(texts, pa.binary()).dictionary_encode(),
    "string_view": lambda texts: pa.array(texts, pa.string_view()),
    "dictionary of strings": lambda texts: pa.array(texts).dictionary_encode(),
}


@pytest.mark.parametrize("convert", KINDS.values(), ids=KINDS)
def test_text_in_bytes_is_decoded(lake: Lake, tmp_path: Path, answers_of, convert):
    columns = {**ROWS, "split": ["test", "val"]}
    bring(lake, write(tmp_path / "r.parquet", {name: convert(texts) for name, texts in columns.items()}))
    assert answers_of(lake) == ANSWERS
    assert {row["text"]: row["split"] for row in lake.questions().to_pylist()} == {TEXT: "test", "y": "val"}


def test_bytes_of_fixed_length_are_decoded(lake: Lake, tmp_path: Path, answers_of):
    prompts = pa.array([TEXT.encode(), b"seven b"], pa.binary(7))
    bring(lake, write(tmp_path / "r.parquet", {**ROWS, "prompt": prompts}))
    assert {text for _, text, _, _ in answers_of(lake)} == {TEXT, "seven b"}


def test_bytes_are_decoded_in_split_tables_and_tables_of_models(lake: Lake, tmp_path: Path):
    columns = {"prompt_id": in_bytes(["1", "2"], pa.binary()), "split": in_bytes(["test", "val"], pa.binary())}
    bring(lake, write(tmp_path / "r.parquet", ROWS), split=write(tmp_path / "split.parquet", columns))
    assert {row["doc_id"]: row["split"] for row in lake.questions().to_pylist()} == {1: "test", 2: "val"}
    models = {
        "model": in_bytes(["é"], pa.binary()),
        "family": in_bytes(["llamá"], pa.binary()),
        "communities": pa.array([["é".encode(), b"7b"]], pa.list_(pa.binary())),
    }
    assert read_labels(write(tmp_path / "models.parquet", models)).to_pylist() == [
        {"model": "é", "family": "llamá", "size_b": None, "communities": ["é", "7b"]}
    ]


@pytest.mark.parametrize(
    "prompts",
    [
        pa.array([b"x", b"\xff"]),
        pa.array([b"x", b"\xff"], pa.large_binary()),
        pa.array([b"x", b"\xff"], pa.binary(1)),
        pa.array([b"x", b"\xff"]).dictionary_encode(),
        pa.array([b"x", b"\xff"]).view(pa.string()),
    ],
    ids=["binary", "large_binary", "fixed", "dictionary", "declared as text"],
)
def test_bytes_that_are_no_text_are_told_with_their_row(lake: Lake, tmp_path: Path, prompts: pa.Array):
    path = write(tmp_path / "r.parquet", {**ROWS, "prompt": prompts})
    with pytest.raises(ImportRefused) as refused:
        bring(lake, path)
    assert str(refused.value) == f"{path} was not imported: prompt is not UTF-8 in 1 rows (row 2)"
    assert lake.pairs() == []


def test_every_column_with_such_bytes_is_told(lake: Lake, tmp_path: Path):
    wrong = pa.array([b"\xff", b"\xfe"])
    with pytest.raises(ImportRefused, match=r"label is .* \(row 1, row 2\)\n- model_name is not UTF-8 in 2 rows"):
        bring(lake, write(tmp_path / "r.parquet", {**ROWS, "label": wrong, "model_name": wrong}))
    with pytest.raises(ImportRefused, match=r"models.parquet was not imported: model is not UTF-8 in 2 rows"):
        read_labels(write(tmp_path / "models.parquet", {"model": wrong}))
    split = write(tmp_path / "split.parquet", {"prompt_id": ["1", "2"], "split": wrong})
    with pytest.raises(ImportRefused, match=r"split.parquet was not imported: split is not UTF-8 in 2 rows"):
        bring(lake, write(tmp_path / "r.parquet", ROWS), split=split)


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ([[{"role": "user", "content": "x"}]] * 2, 'a list (STRUCT("role" VARCHAR, "content" VARCHAR)[])'),
        ([["x"], ["y"]], "a list (VARCHAR[])"),
        (pa.array([["x"], ["y"]], pa.list_(pa.string(), 1)), "a list"),
        ([{"text": "x"}] * 2, 'a struct (STRUCT("text" VARCHAR))'),
        (pa.array([[("x", 1)], []], pa.map_(pa.string(), pa.int64())), "a map (MAP(VARCHAR, BIGINT))"),
    ],
)
@pytest.mark.parametrize("column", [*ROWS, "split"])
def test_a_nested_column_is_refused(lake: Lake, tmp_path: Path, column: str, values: object, what: str):
    with pytest.raises(ImportRefused) as refused:
        bring(lake, write(tmp_path / "r.parquet", {**ROWS, column: values}))
    assert f"r.parquet was not imported: the column {column} is {what}" in str(refused.value)
    assert str(refused.value).endswith(", but must hold text")


def test_a_nested_column_is_refused_in_split_tables_and_tables_of_models(lake: Lake, tmp_path: Path):
    split = write(tmp_path / "split.parquet", {"prompt_id": [1, 2], "split": [["test"], ["val"]]})
    with pytest.raises(ImportRefused, match=r"split.parquet was not imported: the column split is a list"):
        bring(lake, write(tmp_path / "r.parquet", ROWS), split=split)
    for column in ("model", "family", "size_b", "is_code"):
        models = write(tmp_path / "models.parquet", {"model": ["m"], column: [["x"]]})
        with pytest.raises(ImportRefused, match=rf"models.parquet was not imported: the column {column} is a list"):
            read_labels(models)


def test_nested_columns_that_are_not_needed_are_ignored(lake: Lake, tmp_path: Path, answers_of):
    split = write(tmp_path / "split.parquet", {"prompt_id": [1, 2], "split": ["test", "val"]})
    bring(lake, write(tmp_path / "r.parquet", {**ROWS, "split": [["x"], []], "choices": [["A"], ["B"]]}), split=split)
    assert answers_of(lake) == ANSWERS


@pytest.mark.parametrize("name", ["Prompt", "PROMPT_ID", "file_row_number", "_row"])
def test_columns_of_other_names_do_not_get_in_the_way(lake: Lake, tmp_path: Path, answers_of, name: str):
    bring(lake, write(tmp_path / "r.parquet", {name: [8, 9], **ROWS}))
    assert answers_of(lake) == ANSWERS


def test_a_folder_named_like_a_partition_adds_no_column(lake: Lake, tmp_path: Path, answers_of):
    bring(lake, write(tmp_path / "category=x" / "r.parquet", ROWS))
    assert answers_of(lake) == ANSWERS


@pytest.mark.parametrize(
    ("right", "wrong"), [("True", "False"), ("TRUE", "FALSE"), ("true", "false"), ("tRuE", "0"), ("1.0", "0.0")]
)
def test_true_and_false_are_labels(lake: Lake, tmp_path: Path, answers_of, right: str, wrong: str):
    (tmp_path / "r.csv").write_text(
        f"prompt_id,label,model_name,category,prompt\n1,{right},m,law,{TEXT}\n2,{wrong},n,law,y\n", encoding="utf-8"
    )
    bring(lake, tmp_path / "r.csv")
    assert answers_of(lake) == ANSWERS


@pytest.mark.parametrize("labels", [[True, False], [1, 0], [1.0, 0.0], ["True", "false"]])
def test_labels_of_any_type(lake: Lake, tmp_path: Path, answers_of, labels: list):
    bring(lake, write(tmp_path / "r.parquet", {**ROWS, "label": labels}))
    assert answers_of(lake) == ANSWERS


def test_what_is_no_label_is_told_next_to_true_and_false(lake: Lake, published):
    rows = [(1, "m", "True", "law", "x"), (1, "n", "t", "law", "x"), (1, "o", "yes", "law", "x")]
    with pytest.raises(ImportRefused, match=r"none of 0, 1, true, false in 2 rows \(row 2: 't', row 3: 'yes'\)"):
        bring(lake, published(rows))


def test_true_and_one_agree_and_true_and_zero_contradict(lake: Lake, published, answers_of):
    bring(lake, published([(1, "m", "True", "law", "x"), (1, "m", 1, "law", "x")]))
    assert answers_of(lake) == {("law", "x", "m", True)}
    with pytest.raises(ImportRefused, match=r"with both labels \(1 and m in rows 1 and 2\)"):
        bring(lake, published([(1, "m", "True", "law", "x"), (1, "m", "0", "law", "x")]))


def test_endings_in_capitals(lake: Lake, published, tmp_path: Path, answers_of):
    write(tmp_path / "R.PARQUET", ROWS)
    (tmp_path / "SPLIT.CSV").write_text("prompt_id,split\n1,test\n2,val\n")
    (tmp_path / "MODELS.CSV").write_text("model,family\nm,llama\n")
    bring(lake, tmp_path / "R.PARQUET", split=tmp_path / "SPLIT.CSV", models=tmp_path / "MODELS.CSV")
    assert answers_of(lake) == ANSWERS
    bring(lake, published([(7, "o", 1, "law", "z")], "O.Csv"))
    assert ("law", "z", "o", True) in answers_of(lake)


def test_ids_that_pandas_made_floats_are_whole_numbers(lake: Lake, tmp_path: Path, answers_of):
    write(tmp_path / "d" / "part-0.parquet", ROWS | {"prompt_id": [1, 2]})
    write(tmp_path / "d" / "part-1.parquet", ROWS | {"prompt_id": [1.0, 2.0], "model_name": ["o", "o"]})
    bring(lake, tmp_path / "d")
    assert answers_of(lake) == ANSWERS | {("law", TEXT, "o", True), ("law", "y", "o", False)}
    assert lake.count_questions() == 2


def test_a_file_with_other_separators_is_told_so(lake: Lake, tmp_path: Path):
    (tmp_path / "r.csv").write_text("prompt_id;label;model_name;category;prompt\n1;1;m;law;x\n")
    with pytest.raises(ImportRefused, match="columns must be separated by commas"):
        bring(lake, tmp_path / "r.csv")


@pytest.mark.parametrize("name", ["r.parquet", "r.csv", "r"])
def test_a_name_of_a_column_that_is_no_text_is_refused(lake: Lake, tmp_path: Path, name: str):
    path = write(tmp_path / name, {**ROWS, "zzz": ["1", "2"]})
    path.write_bytes(path.read_bytes().replace(b"zzz", b"\xff\xfe\xfd"))
    with pytest.raises(ImportRefused, match=f"{name} was not imported"):
        bring(lake, path)
