"""Files that appear whole or not at all: temporary file, fsync, rename."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.errors import CorruptFileError, first_line

__all__ = [
    "content_digest",
    "locked",
    "metadata_of",
    "read_metadata",
    "read_parquet",
    "replacing",
    "sync",
    "write_parquet",
]

_FOOTER_LENGTH = 8  # bytes at the end of a Parquet file: the length of what stands before them, and "PAR1"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success it is synced to disk and takes the place of `path`.

    The temporary name is fixed, so what a killed writer left behind is overwritten by the next one:
    callers hold a lock that admits one writer a path. An OSError (no space left, read-only) names its file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Flushes a file, or the entries of a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Holds an exclusive lock on `path` for the block; the system releases it when the process dies.

    Yields False, without the lock, where another process or thread has it and `wait` is False.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


def write_parquet(table: pa.Table, path: Path) -> None:
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def read_parquet(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Raises FileNotFoundError where there is no such file and CorruptFileError where it is not whole."""
    with _naming(path):
        return pq.ParquetFile(path, page_checksum_verification=True).read(columns=columns)


def read_metadata(path: Path) -> dict[str, str]:
    """What the writer of a Parquet file noted in it. Raises as `read_parquet` does."""
    with _naming(path):
        return metadata_of(pq.read_schema(path))


def metadata_of(schema: pa.Schema) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in (schema.metadata or {}).items() if key != b"ARROW:schema"}


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Tells a file that is not whole, which pyarrow reports in many ways, from one that cannot be opened."""
    try:
        yield
    except (pa.ArrowException, ValueError) as error:
        raise CorruptFileError(path, first_line(error)) from error
    except OSError as error:
        if error.errno not in (None, errno.EIO):
            error.filename = error.filename or str(path)
            raise
        raise CorruptFileError(path, first_line(error)) from error


def content_digest(path: Path) -> bytes:
    """SHA-256 of the rows of a Parquet file, whatever its metadata say."""
    content = path.read_bytes()
    footer = int.from_bytes(content[-_FOOTER_LENGTH:-4], "little") + _FOOTER_LENGTH
    return hashlib.sha256(memoryview(content)[: max(len(content) - footer, 0)]).digest()
