"""Two homes on two machines, with one lake."""

from pathlib import Path

import pytest

from warehouse.errors import CorruptFileError
from warehouse.lake import Blobs, Lake


@pytest.fixture
def homes(tmp_path: Path) -> tuple[Blobs, Blobs]:
    """Here and there."""
    found = []
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        found.append(Blobs(Lake(tmp_path / "lake"), tmp_path / name))
    return found[0], found[1]


def put(blobs: Blobs, name: str, text: str) -> Path:
    path = blobs.home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_what_is_shared_here_is_fetched_there(homes: tuple[Blobs, Blobs]) -> None:
    here, there = homes
    here.share([put(here, "warehouse.duckdb", "one")])
    fetched = there.home / "warehouse.duckdb"
    there.fetch(fetched, there.home / "never shared")
    assert fetched.read_text() == "one"
    here.share([put(here, "warehouse.duckdb", "two")])
    there.fetch(fetched)
    assert fetched.read_text() == "two"


def test_a_folder_is_shared_whole(homes: tuple[Blobs, Blobs]) -> None:
    here, there = homes
    put(here, "embedders/v1/embedder.json", "{}")
    put(here, "embedders/v1/deep/arrays", "123")
    here.share([here.home / "embedders" / "v1"])
    there.fetch(there.home / "embedders" / "v1")
    assert (there.home / "embedders/v1/embedder.json").read_text() == "{}"
    assert (there.home / "embedders/v1/deep/arrays").read_text() == "123"
    assert not list(there.home.rglob("*.tmp"))


def test_nothing_is_brought_twice(homes: tuple[Blobs, Blobs], monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = homes
    here.share([put(here, "report.html", "one")])
    there.fetch(there.home / "report.html")
    monkeypatch.setattr(Blobs, "_bring", lambda *_: pytest.fail("it is there"))
    there.fetch(there.home / "report.html")
    here.fetch(here.home / "report.html")


def test_what_was_made_here_since_stays(homes: tuple[Blobs, Blobs]) -> None:
    here, there = homes
    here.share([put(here, "report.html", "one")])
    own = put(there, "report.html", "made there")
    there.fetch(own)
    assert own.read_text() == "made there"
    there.share([own])
    here.fetch(here.home / "report.html")
    assert (here.home / "report.html").read_text() == "made there"


def test_what_is_gone_here_is_fetched_again(homes: tuple[Blobs, Blobs]) -> None:
    here, _ = homes
    path = put(here, "report.html", "one")
    here.share([path])
    path.unlink()
    here.fetch(path)
    assert path.read_text() == "one"


def test_a_content_that_is_not_what_was_shared_is_named_and_replaces_nothing(
    homes: tuple[Blobs, Blobs], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = homes
    here.share([put(here, "report.html", "one")])
    there.fetch(there.home / "report.html")
    monkeypatch.setattr("warehouse.lake.blobs._digest_of", lambda _: "another digest")
    here.share([put(here, "report.html", "two")])
    monkeypatch.undo()
    with pytest.raises(CorruptFileError, match=r"report\.html is not what was shared"):
        there.fetch(there.home / "report.html")
    assert (there.home / "report.html").read_text() == "one"


def test_large_and_empty_files(homes: tuple[Blobs, Blobs]) -> None:
    here, there = homes
    content = "0123456789" * 1_000_000
    here.share([put(here, "folder/large", content).parent, put(here, "empty", "")])
    there.fetch(there.home / "folder", there.home / "empty")
    assert (there.home / "folder" / "large").read_text() == content
    assert (there.home / "empty").read_bytes() == b""


def test_what_is_hidden_stays_here(homes: tuple[Blobs, Blobs]) -> None:
    here, there = homes
    for name in ("zoo/model/config.json", "zoo/.lock", "zoo/.unfinished-1/model/config.json"):
        put(here, name, "{}")
    here.share([here.home / "zoo"])
    there.fetch(there.home / "zoo")
    fetched = (there.home / "zoo").rglob("*")
    assert [path.relative_to(there.home).as_posix() for path in fetched if path.is_file()] == ["zoo/model/config.json"]
    assert there.has(there.home / "zoo")
    assert not there.has(there.home / "zoo" / ".lock")
