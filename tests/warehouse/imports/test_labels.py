from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from warehouse.errors import ImportRefused
from warehouse.imports.labels import read_labels


def test_flags_and_lists_become_communities(tmp_path: Path):
    path = tmp_path / "models.csv"
    path.write_text(
        "model_name,family,size_b,is_code,is_math,communities,note\n"
        "org__b,llama,7,true,false,7B; bio,x\n"
        "a,,,False,1,,\n"
    )
    assert read_labels(path).to_pylist() == [
        {"model": "a", "family": None, "size_b": None, "communities": ["math"]},
        {"model": "org/b", "family": "llama", "size_b": 7.0, "communities": ["7B", "bio", "code"]},
    ]


def test_parquet_with_lists_and_booleans(tmp_path: Path):
    path = tmp_path / "models.parquet"
    pq.write_table(pa.table({"model": ["m"], "communities": [["7B", "physics"]], "is_code": [None]}), path)
    assert read_labels(path).to_pylist() == [
        {"model": "m", "family": None, "size_b": None, "communities": ["7B", "physics"]}
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name,family\nm,x\n", "it has no column model_name, only name, family"),
        ("model\nm\nm\n", "row 2: m is there twice"),
        ("model,family\n,x\n", "row 1: the model is missing"),
        ("model,size_b\nm,7B\n", "row 1: size_b is '7B'; it must be a number"),
        ("model,size_b\nm,-1\n", "row 1: size_b is '-1'"),
        ("model,is_code\nm,maybe\n", "row 1: is_code is 'maybe'; it must be true or false"),
        ("", "it is empty"),
    ],
)
def test_wrong_labels_are_refused(tmp_path: Path, content: str, message: str):
    path = tmp_path / "models.csv"
    path.write_text(content)
    with pytest.raises(ImportRefused, match=message):
        read_labels(path)
