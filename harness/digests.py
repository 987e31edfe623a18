"""Digests of values and of files; a file that has not changed is not read twice, even by another process."""

import hashlib
import json
from pathlib import Path
from typing import Any

__all__ = ["digest_of", "file_digest", "remember_digests"]

LARGE = 2**20  # bytes from which on a digest is worth remembering on disk

_known: dict[str, tuple[list[int], str]] = {}  # by path: what the file looked like, and its digest
_memory: Path | None = None


def digest_of(value: Any) -> str:
    """Return the SHA-256 of a JSON value, in hex."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def remember_digests(memory: Path) -> None:
    """Remember digests of large files in `memory` from now on in this process, and believe those that are there.

    Weights of many gigabytes are then read once, not in every process that asks whether they have changed.
    """
    global _memory
    if memory == _memory:
        return
    _memory = memory
    if memory.exists():
        for line in memory.read_text(encoding="utf-8").splitlines():
            try:
                path, looks, digest = json.loads(line)
            except ValueError:  # torn by a kill
                continue
            _known[path] = (looks, digest)


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hex; it is read again only where size, times or place on the disk differ."""
    stat = path.stat()
    looks, key = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino], str(path.absolute())
    known = _known.get(key)
    if known is not None and known[0] == looks:
        return known[1]
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    _known[key] = (looks, digest)
    if _memory is not None and stat.st_size >= LARGE:
        _memory.parent.mkdir(parents=True, exist_ok=True)
        with _memory.open("a", encoding="utf-8") as file:
            file.write("\n" + json.dumps([key, looks, digest]) + "\n")
    return digest
