import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from warehouse.errors import ImportRefused
from warehouse.imports.ingest import import_results
from warehouse.imports.sources import find_place, find_source
from warehouse.lake import Lake

COMMIT = "0123456789abcdef0123456789abcdef01234567"
DATA_SET = "RZ412/EmbedLLM"


def test_a_folder_needs_train_val_and_test(tmp_path: Path):
    for name in ("train.csv", "val.csv", "val.parquet", "question_order.csv"):
        (tmp_path / name).write_text("x")
    with pytest.raises(ImportRefused) as refused:
        find_source(find_place(str(tmp_path)))
    assert "it has two files val.csv or val.parquet" in str(refused.value)
    assert "it has no file test.csv or test.parquet" in str(refused.value)


def test_versions_of_a_folder_carry_their_split(tmp_path: Path):
    for name in ("train.csv", "val.parquet", "test.csv", "model_order.csv"):
        (tmp_path / name).write_text("x")
    found = find_source(find_place(str(tmp_path)))
    assert found.name == str(tmp_path)
    assert [(file.path.name, file.split) for file in found.files] == [
        ("train.csv", "train"), ("val.parquet", "val"), ("test.csv", "test"),
    ]  # fmt: skip


@pytest.mark.parametrize("source", ["nothing.csv", "folder/nothing.parquet", "a/b/c", "nothing"])
def test_what_is_neither_file_nor_hub_id_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ImportRefused, match=f"{source} was not imported: there is no such file or folder"):
        find_source(find_place(source))


def test_only_csv_and_parquet(tmp_path: Path):
    path = tmp_path / "results.xlsx"
    path.write_text("x")
    with pytest.raises(ImportRefused, match=r"it ends in \.xlsx; it must be a \.csv or \.parquet file"):
        find_source(find_place(str(path)))


HUB = ("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001", "validation-00000-of-00001")


def put(folder: Path, *names: str, content: str = "x") -> str:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return str(folder)


def found_in(folder: str) -> list[tuple[str, str | None]]:
    return [(str(file.path.relative_to(folder)), file.split) for file in find_source(find_place(folder)).files]


def test_a_folder_of_parts_is_one_table_in_the_order_of_names(tmp_path: Path):
    parts = ("part-00001.parquet", "part-00000.csv", "PART-2.CSV")
    others = ("README.md", "_SUCCESS", "_metadata.parquet", ".hidden.csv", "._part-0.csv", "deeper/part-3.csv")
    assert found_in(put(tmp_path, *parts, *others)) == [
        ("PART-2.CSV", None), ("part-00000.csv", None), ("part-00001.parquet", None),
    ]  # fmt: skip


@pytest.mark.parametrize("place", ["", "data/"])
@pytest.mark.parametrize("ending", [".parquet", ".csv", ".PARQUET"])
def test_splits_may_have_several_files(tmp_path: Path, place: str, ending: str):
    assert found_in(put(tmp_path, "README.md", *(f"{place}{name}{ending}" for name in HUB))) == [
        (f"{place}train-00000-of-00002{ending}", "train"), (f"{place}train-00001-of-00002{ending}", "train"),
        (f"{place}validation-00000-of-00001{ending}", "val"), (f"{place}test-00000-of-00001{ending}", "test"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("data/train.csv", "data/validation.csv", "data/test.csv"), ["train", "val", "test"]),
        (("Train.csv", "VAL.csv", "test.CSV"), ["train", "val", "test"]),
        (("train.csv", "val-0.csv", "val-1.csv", "test.parquet"), ["train", "val", "val", "test"]),
        (("train-00000-of-00001-a09b74b3ef9c3b56.parquet", "val_0.csv", "test.1.csv"), ["train", "val", "test"]),
        (("training.csv", "tests.csv"), [None, None]),
        (("data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"), [None, None]),
    ],
)
def test_names_say_splits(tmp_path: Path, names: tuple[str, ...], splits: list[str | None]):
    assert [split for _, split in found_in(put(tmp_path, *names))] == splits


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("README.md", ".train.csv"), "it has no .csv or .parquet file, neither directly nor in its folder data"),
        (("train.csv", "test.csv"), "it has no file val.csv or val.parquet"),
        (("train.csv", "val.csv", "test.csv", "train.parquet"), "it has two files train.csv or train.parquet"),
        (("train.csv", "val.csv", "test.csv", "train-0.csv"), "it has two files train-0.csv or train.csv"),
        (("train.csv", "val.csv", "test.csv", "validation.csv"), "it has two files val.csv or validation.csv"),
        (("train.csv", "val.csv", "test.csv", "data/test.csv"), "it has two files test.csv or data/test.csv"),
        (("train-0-of-1.csv", "train-0-of-2.csv", "val.csv", "test.csv"),
         "it has two files train-0-of-1.csv or train-0-of-2.csv"),
        (("part-0.csv", "data/part-1.csv"), "it has tables in two places (part-0.csv and data/part-1.csv)"),
        (("part-00000-of-00003.csv", "part-00002-of-00003.csv"), "of the 00003 parts of part only 2 are there"),
        (("train-00001-of-00002.csv", "val.csv", "test.csv"), "of the 00002 parts of train only 1 are there"),
    ],
)  # fmt: skip
def test_a_folder_that_is_not_clear_is_refused(tmp_path: Path, names: tuple[str, ...], message: str):
    folder = put(tmp_path, *names)
    with pytest.raises(ImportRefused) as refused:
        find_source(find_place(folder))
    assert f"{folder} was not imported:" in str(refused.value)
    assert message in str(refused.value)


@pytest.mark.parametrize("odd", ["part-00000.csv", "data/more.csv", "results.CSV"])
def test_a_table_of_results_whose_name_says_no_split_is_told(tmp_path: Path, odd: str):
    folder = put(
        tmp_path, "train.csv", "val.csv", "test.csv", odd, content="prompt_id,label,model_name,category,prompt\n"
    )
    put(tmp_path, "model_order.csv", content="model_id,model_name\n")
    with pytest.raises(ImportRefused, match=rf"names of its files say splits \(.*\), but not those of {odd};"):
        find_source(find_place(folder))


def test_an_empty_part_is_told(tmp_path: Path):
    folder = put(tmp_path, "part-0.csv")
    put(tmp_path, "part-1.csv", content="")
    with pytest.raises(ImportRefused, match=r"part-1\.csv was not imported: it is empty"):
        find_source(find_place(folder))


def bring(lake: Lake, folder: Path, **options) -> None:
    import_results(lake, str(folder), benchmark_of=str, **options)


def test_parts_come_in_as_one_table(lake: Lake, tmp_path: Path, published, answers_of):
    published([(1, "m", 1, "law", "a"), (2, "m", 0, "law", "b")], "f/part-00000.csv")
    published([], "f/part-00001.csv")
    published([(2, "n", 1, "law", "b"), (1, "m", 1, "law", "a")], "f/part-00002.csv")
    bring(lake, tmp_path / "f")
    assert answers_of(lake) == {("law", "a", "m", True), ("law", "b", "m", False), ("law", "b", "n", True)}
    assert [(record["rows"], record["duplicates"]) for record in lake.imports()] == [(3, 1)]


def test_a_part_may_have_line_ends_and_columns_of_its_own(lake: Lake, tmp_path: Path, answers_of):
    put(tmp_path / "f", "a.csv", content="prompt_id,label,model_name,category,prompt\n1,1,m,law,a\r2,0,m,law,b\n")
    put(tmp_path / "f", "b.csv", content=",prompt,category,model_name,label,prompt_id\n0,c,law,m,True,3\n")
    pq.write_table(
        pa.table({"prompt_id": [4], "label": [False], "model_name": ["m"], "category": ["law"], "prompt": [b"d"]}),
        tmp_path / "f" / "c.parquet",
    )
    bring(lake, tmp_path / "f")
    assert answers_of(lake) == {
        ("law", "a", "m", True), ("law", "b", "m", False), ("law", "c", "m", True), ("law", "d", "m", False),
    }  # fmt: skip


def test_the_same_rows_in_other_parts_are_the_same_import(lake: Lake, tmp_path: Path, published):
    rows = [(number, "m", number % 2, "law", "same") for number in range(6)]
    published(rows[:2], "f/a.csv")
    published(rows[2:], "f/b.csv")
    bring(lake, tmp_path / "f")
    before = lake.state()
    published(rows[:1:-1], "f/a.csv")
    published(rows[1::-1], "f/b.csv")
    bring(lake, tmp_path / "f")
    assert lake.state() == before


def test_what_is_wrong_in_a_part_is_told_with_its_file(lake: Lake, tmp_path: Path, published):
    published([(1, "m", 1, "law", "a")], "f/part-0.csv")
    published([(2, "m", 1, "law", "b"), (3, "m", "no", "law", "c"), (1, "n", 1, "law", "z")], "f/part-1.csv")
    with pytest.raises(ImportRefused) as refused:
        bring(lake, tmp_path / "f")
    assert refused.value.problems == (
        "the label is none of 0, 1, true, false in 1 rows (part-1.csv row 2: 'no')",
        "1 prompt_id with two texts (1 in part-0.csv row 1 and part-1.csv row 3)",
    )
    put(tmp_path / "f", "part-2.csv", content="prompt_id,label\n")
    with pytest.raises(ImportRefused, match=r"part-2\.csv was not imported: the columns model_name, .* are missing"):
        bring(lake, tmp_path / "f")


def test_parts_all_have_a_split_column_or_none_has(lake: Lake, tmp_path: Path, published):
    published([(1, "m", 1, "law", "a")], "f/part-0.csv")
    published([(2, "m", 1, "law", "b")], "f/part-1.csv", split=["test"])
    message = r"f was not imported: part-1.csv has a column split, but not part-0.csv;"
    with pytest.raises(ImportRefused, match=message):
        bring(lake, tmp_path / "f")
    (tmp_path / "split.csv").write_text("prompt_id,split\n1,val\n2,train\n")
    bring(lake, tmp_path / "f", split=tmp_path / "split.csv")
    assert {row["doc_id"]: row["split"] for row in lake.questions().to_pylist()} == {1: "val", 2: "train"}
    published([(1, "m", 1, "law", "a")], "f/part-0.csv", split=["val"])
    bring(lake, tmp_path / "f")
    assert {row["doc_id"]: row["split"] for row in lake.questions().to_pylist()} == {1: "val", 2: "test"}


class _Hub(BaseHTTPRequestHandler):
    """The part of the hub's protocol that huggingface_hub speaks to download a data set."""

    files: dict[str, bytes]
    asked: list[str]

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        self.asked.append(path)
        if path == f"/api/datasets/{DATA_SET}/revision/main":
            self._json({"id": DATA_SET, "sha": COMMIT, "siblings": [{"rfilename": name} for name in self.files]})
        elif path == f"/api/datasets/{DATA_SET}/tree/{COMMIT}":
            self._json(
                [{"type": "file", "oid": f"{len(c):040x}", "size": len(c), "path": n} for n, c in self.files.items()]
            )
        elif path.startswith(f"/datasets/{DATA_SET}/resolve/{COMMIT}/"):
            name = unquote(path.partition(f"{COMMIT}/")[2])
            content = self.files[name]
            self._reply(200, content, {"ETag": f'"{len(content):040x}"', "X-Repo-Commit": COMMIT})
        else:
            self._reply(404, b"{}", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})

    def _json(self, value: object) -> None:
        self._reply(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _reply(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_request(self, *details: object) -> None:
        """Quiet."""


@pytest.fixture
def hub(published: Callable[..., Path]) -> Iterator[tuple[str, type[_Hub]]]:
    """URL of a server that has DATA_SET, and its handler."""
    rows = {
        "train": [(1, "org__m", 1, "mmlu_anatomy", "first?"), (1, "n", 0, "mmlu_anatomy", "first?")],
        "val": [(2, "org__m", 0, "piqa", "second?")],
        "test": [(3, "org__m", 1, "piqa", "third?")],
    }
    files = {f"{split}.csv": published(rows[split], f"hub/{split}.csv").read_bytes() for split in rows}
    handler = type("Hub", (_Hub,), {"files": files | {"README.md": b"# hello", "model_order.csv": b"x"}, "asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", handler
        server.shutdown()
        thread.join()


IMPORT = """
import sys
from pathlib import Path
from warehouse.errors import ImportRefused
from warehouse.imports.ingest import import_results
from warehouse.lake import Lake
try:
    summary = import_results(Lake(Path(sys.argv[1])), sys.argv[2], benchmark_of=lambda c: c.partition("_")[0])
    print(summary.source, summary.rows, summary.changed)
except ImportRefused as refused:
    print(refused)
"""


def test_a_data_set_is_downloaded_from_the_hub(hub, lake: Lake, tmp_path: Path, python, answers_of):
    url, handler = hub
    environment = {"HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0", "NO_PROXY": "*"}
    result = python(IMPORT, lake.address, DATA_SET, **environment)
    assert result.stdout == "RZ412/EmbedLLM 4 True\n", result.stderr
    assert answers_of(lake) == {
        ("mmlu", "first?", "org/m", True),
        ("mmlu", "first?", "n", False),
        ("piqa", "second?", "org/m", False),
        ("piqa", "third?", "org/m", True),
    }
    assert {row["text"]: row["split"] for row in lake.questions().to_pylist()} == {
        "first?": "train", "second?": "val", "third?": "test",
    }  # fmt: skip
    downloaded = {path.rpartition("/")[2] for path in handler.asked if "/resolve/" in path}
    assert downloaded == {"train.csv", "val.csv", "test.csv"}
    assert python(IMPORT, lake.address, DATA_SET, **environment).stdout == "RZ412/EmbedLLM 4 False\n"


def test_the_parts_of_a_data_set_are_downloaded(hub, lake: Lake, tmp_path: Path, python):
    url, handler = hub
    names = {"train": "train-00000-of-00001", "val": "validation-00000-of-00001", "test": "test-00000-of-00001"}
    handler.files = {f"data/{names[split]}.csv": handler.files[f"{split}.csv"] for split in names} | {
        "README.md": b"# hello", "data/notes.csv": b"x", "other/train-00000-of-00001.csv": b"x",
    }  # fmt: skip
    environment = {"HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0", "NO_PROXY": "*"}
    result = python(IMPORT, lake.address, DATA_SET, **environment)
    assert result.stdout == "RZ412/EmbedLLM 4 True\n", result.stderr
    assert {row["text"]: row["split"] for row in lake.questions().to_pylist()} == {
        "first?": "train", "second?": "val", "third?": "test",
    }  # fmt: skip
    downloaded = {path.partition(COMMIT)[2] for path in handler.asked if "/resolve/" in path}
    assert downloaded == {f"/data/{name}.csv" for name in names.values()}


def test_an_unknown_data_set_and_an_absent_hub_say_so(hub, lake: Lake, tmp_path: Path, python):
    url, _ = hub
    environment = {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0", "NO_PROXY": "*"}
    unknown = python(IMPORT, lake.address, "nobody/nothing", HF_ENDPOINT=url, **environment).stdout
    assert unknown.startswith("nobody/nothing was not imported: it is no local file or folder")
    assert f"could not be downloaded from {url}" in unknown
    absent = python(IMPORT, lake.address, DATA_SET, HF_ENDPOINT="http://127.0.0.1:9", **environment).stdout
    assert "could not be downloaded from http://127.0.0.1:9" in absent
    assert lake.pairs() == []


def test_a_link_that_leads_nowhere_is_not_passed_over(tmp_path: Path):
    (tmp_path / "part-0.csv").write_text("x")
    (tmp_path / "part-1.csv").symlink_to(tmp_path / "pruned")
    with pytest.raises(ImportRefused, match=r"part-1.csv leads to a file that is not there"):
        find_source(find_place(str(tmp_path)))


@pytest.mark.parametrize("source", ["", " "])
def test_an_empty_name_is_not_the_current_folder(source: str):
    with pytest.raises(ImportRefused, match="The empty name was not imported: give a file"):
        find_source(find_place(source))
