import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from warehouse.errors import ImportRefused
from warehouse.lake import Lake
from warehouse.sources import find_source

COMMIT = "0123456789abcdef0123456789abcdef01234567"
DATA_SET = "RZ412/EmbedLLM"


def test_a_folder_needs_train_val_and_test(tmp_path: Path):
    for name in ("train.csv", "val.csv", "val.parquet", "question_order.csv"):
        (tmp_path / name).write_text("x")
    with pytest.raises(ImportRefused) as refused:
        find_source(str(tmp_path))
    assert "it has two files val.csv or val.parquet" in str(refused.value)
    assert "it has no file test.csv or test.parquet" in str(refused.value)


def test_files_of_a_folder_carry_their_split(tmp_path: Path):
    for name in ("train.csv", "val.parquet", "test.csv", "model_order.csv"):
        (tmp_path / name).write_text("x")
    found = find_source(str(tmp_path))
    assert found.name == str(tmp_path)
    assert [(file.path.name, file.split) for file in found.files] == [
        ("train.csv", "train"), ("val.parquet", "val"), ("test.csv", "test"),
    ]  # fmt: skip


@pytest.mark.parametrize("source", ["nothing.csv", "folder/nothing.parquet", "a/b/c", "nothing"])
def test_what_is_neither_file_nor_hub_id_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ImportRefused, match=f"{source} was not imported: there is no such file or folder"):
        find_source(source)


def test_only_csv_and_parquet(tmp_path: Path):
    path = tmp_path / "results.xlsx"
    path.write_text("x")
    with pytest.raises(ImportRefused, match=r"it ends in \.xlsx; it must be a \.csv or \.parquet file"):
        find_source(str(path))


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
            name = path.rpartition("/")[2]
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
from warehouse.ingest import import_results
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
    result = python(IMPORT, lake.root, DATA_SET, **environment)
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
    assert python(IMPORT, lake.root, DATA_SET, **environment).stdout == "RZ412/EmbedLLM 4 False\n"


def test_an_unknown_data_set_and_an_absent_hub_say_so(hub, lake: Lake, tmp_path: Path, python):
    url, _ = hub
    environment = {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0", "NO_PROXY": "*"}
    unknown = python(IMPORT, lake.root, "nobody/nothing", HF_ENDPOINT=url, **environment).stdout
    assert unknown.startswith("nobody/nothing was not imported: it is no local file or folder")
    assert f"could not be downloaded from {url}" in unknown
    absent = python(IMPORT, lake.root, DATA_SET, HF_ENDPOINT="http://127.0.0.1:9", **environment).stdout
    assert "could not be downloaded from http://127.0.0.1:9" in absent
    assert lake.pairs() == []
