import hashlib
import os
from pathlib import Path

import pytest

from harness import digests
from harness.digests import file_digest, remember_digests


@pytest.fixture(autouse=True)
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(digests, "_known", {})
    monkeypatch.setattr(digests, "_memory", None)
    monkeypatch.setattr(digests, "LARGE", 8)
    return tmp_path / "memory" / "digests.jsonl"


def forget(monkeypatch: pytest.MonkeyPatch, memory: Path) -> None:
    """As a new process is."""
    monkeypatch.setattr(digests, "_known", {})
    monkeypatch.setattr(digests, "_memory", None)
    remember_digests(memory)


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_large_file_is_read_once_for_all_processes(
    tmp_path: Path, memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember_digests(memory)
    weights, notes = tmp_path / "weights", tmp_path / "notes"
    weights.write_bytes(b"0123456789")
    notes.write_bytes(b"0")
    assert (file_digest(weights), file_digest(notes)) == (sha(b"0123456789"), sha(b"0"))
    assert memory.read_text().count("weights") == 1
    assert "notes" not in memory.read_text()  # a small one is as soon read

    memory.write_text(memory.read_text().replace(sha(b"0123456789"), "what is remembered") + '["torn')
    forget(monkeypatch, memory)
    assert file_digest(weights) == "what is remembered"


def test_a_file_that_was_replaced_is_read_again_even_if_it_looks_as_old(tmp_path: Path, memory: Path) -> None:
    remember_digests(memory)
    weights, other = tmp_path / "weights", tmp_path / "other"
    weights.write_bytes(b"0123456789")
    file_digest(weights)
    at = weights.stat()
    other.write_bytes(b"9876543210")
    os.utime(other, ns=(at.st_atime_ns, at.st_mtime_ns))  # as `cp -p` or rsync leave it
    other.replace(weights)
    assert file_digest(weights) == sha(b"9876543210")

    weights.write_bytes(b"abcdefghij")  # in its place
    os.utime(weights, ns=(at.st_atime_ns, at.st_mtime_ns))
    assert file_digest(weights) == sha(b"abcdefghij")
