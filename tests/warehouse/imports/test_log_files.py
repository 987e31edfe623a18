"""Files of sources with names and contents that nobody expects."""

import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from warehouse.errors import ImportRefused
from warehouse.imports.log_files import find_files, find_places
from warehouse.imports.readers.reader import Notes

LINK = "links that lead to no file, sockets and the like"


def found(scratch: Path, *sources: Path) -> tuple[dict[str, bytes], dict[str, str]]:
    """Return contents by name below the source, and why files were left out."""
    (folder := scratch / "unpacked").mkdir(exist_ok=True)
    notes = Notes()
    files = find_files(find_places([str(source) for source in sources]), folder, notes)
    base = f"{sources[0]}/"
    return (
        {file.name.removeprefix(base): file.path.read_bytes() for file in files},
        {name.removeprefix(base): reason for name, reason in notes.left_out},
    )


def zip_of(path: Path, *members: tuple[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def tar_of(path: Path, *members: tuple[str, bytes | tuple[bytes, str]]) -> Path:
    """Write a tar archive; a member is its contents, or a kind of link with what it leads to."""
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            member = tarfile.TarInfo(name)
            if isinstance(data, bytes):
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
            else:
                member.type, member.linkname = data
                archive.addfile(member)
    return path


@pytest.mark.parametrize("name", ["a/m.log", "./a/m.log", "/a/m.log", "../../a/m.log"])
def test_members_are_called_by_their_place_in_the_archive(tmp_path: Path, name: str) -> None:
    """`tar cf logs.tar .` calls them ./a/m.log."""
    assert found(tmp_path, tar_of(tmp_path / "logs.tar", (name, b"1")))[0] == {"a/m.log": b"1"}
    assert found(tmp_path, zip_of(tmp_path / "logs.zip", (name, b"1")))[0] == {"a/m.log": b"1"}


def test_folders_in_an_archive_from_windows(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "logs.zip", ("a|m.log", b"1"))
    path.write_bytes(path.read_bytes().replace(b"a|m", b"a\\m"))
    assert found(tmp_path, path)[0] == {"a/m.log": b"1"}


def test_links_in_an_archive_are_followed_and_lost_ones_counted(tmp_path: Path) -> None:
    links = [("b", (tarfile.LNKTYPE, "a")), ("c", (tarfile.SYMTYPE, "a")), ("d", (tarfile.SYMTYPE, "/etc/passwd"))]
    files, left_out = found(tmp_path, tar_of(tmp_path / "logs.tar", ("a", b"1"), *links))
    assert (files, left_out) == ({"a": b"1", "b": b"1", "c": b"1"}, {"d": LINK})


@pytest.mark.parametrize("archive_of", [zip_of, tar_of])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_must_be_the_same(tmp_path: Path, archive_of) -> None:
    assert found(tmp_path, archive_of(tmp_path / "logs", ("a", b"1"), ("a", b"1")))[0] == {"a": b"1"}
    with pytest.raises(ImportRefused, match=r"logs/a was not imported: it is there twice, with different contents"):
        found(tmp_path, archive_of(tmp_path / "logs", ("a", b"1"), ("a", b"2")))


def test_what_cannot_be_unpacked_is_to_be_unpacked_by_the_user(tmp_path: Path) -> None:
    whole = zip_of(tmp_path / "logs.zip", ("a", b"1")).read_bytes()
    directory = whole.find(b"PK\x01\x02")
    for offset, value, said in ((8, 1, "a in it is encrypted"), (10, 77, "compression method is not supported")):
        damaged = bytearray(whole)
        damaged[directory + offset] = damaged[offset - 2] = value
        (tmp_path / "logs.zip").write_bytes(damaged)
        with pytest.raises(ImportRefused, match=f"{said}.*unpack it, and import the folder"):
            found(tmp_path, tmp_path / "logs.zip")


def test_a_file_of_zeros_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "core").write_bytes(bytes(2048))
    assert list(found(tmp_path, tmp_path / "core")[0]) == [f"{tmp_path}/core"]


def test_what_a_folder_has_that_cannot_be_opened_is_counted(tmp_path: Path) -> None:
    (folder := tmp_path / "logs").mkdir()
    (folder / "a\nb 😀.log").write_bytes(b"1")
    (folder / "lost").symlink_to("nowhere")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.log")).write_bytes(b"2")
    files, left_out = found(tmp_path, folder)
    assert files == {"a\nb 😀.log": b"1"}
    assert left_out == {"lost": LINK, "?.log": "files whose names, or those of their folders, are not UTF-8"}


def test_a_source_whose_name_is_no_text_is_refused(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.log"))
    path.write_bytes(b"1")
    for source in (path, tmp_path / "*.log"):
        with pytest.raises(ImportRefused, match=r"/\?\.log was not imported: a name in its path is not UTF-8"):
            found(tmp_path, source)
