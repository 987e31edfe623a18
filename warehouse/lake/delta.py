"""Delta tables under one address, on a disk or in object storage: written by many at once, read as Arrow.

`s3://`, `gs://` and `az://` take their credentials from the environment, as delta-rs does.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.errors import CorruptFileError, WarehouseError, first_line
from warehouse.files import replacing

if TYPE_CHECKING:
    import pyarrow.dataset as pds
    from deltalake import DeltaTable
    from pyarrow.fs import FileSystem

__all__ = ["PART", "DeltaTables"]

PART = "part"
"""Partition column of tables of which one part is replaced at a time."""
_TRIES, _FIRST_PAUSE = 8, 0.05  # for a commit that lost the race 15 times in delta-rs; seconds, doubled each time
_REMOTE_PAUSE = 1.0  # seconds between two looks for what others wrote, where a look costs a request
_PATIENCE = {  # with object storage that is away; by itself, delta-rs gives up after two seconds
    "max_retries": "1000000",
    "retry_timeout": "300s",
    "backoff_config.init_backoff": "500ms",
    "backoff_config.max_backoff": "5s",
}


class DeltaTables:
    """A lake's tables by name. A log or a file that cannot be read raises a CorruptFileError."""

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        self.on_disk = "://" not in address
        self._open: dict[str, DeltaTable] = {}
        self._looked: dict[str, float] = {}
        self._copies: tempfile.TemporaryDirectory[str] | None = None
        self.lost: set[str] = set()  # addresses of files that count as not there
        self.patient = False
        """Whether object storage that cannot be reached is waited for, for some minutes; true once it was reached, as
        then its address is not the mistake."""

    @property
    def options(self) -> dict[str, str] | None:
        """What delta-rs is told of object storage, next to the environment."""
        return _PATIENCE if self.patient and not self.on_disk else None

    def at(self, name: str) -> str:
        return f"{self.address}/{name}"

    def append(self, name: str, rows: pa.Table) -> None:
        self._write(name, rows, mode="append")

    def replace(self, name: str, rows: pa.Table, part: str) -> None:
        """Replace one part of the table with `rows`."""
        quoted = part.replace("'", "''")
        rows = rows.append_column(PART, pa.repeat(pa.scalar(part, pa.string()), rows.num_rows))
        how = {"mode": "overwrite", "schema_mode": "merge", "partition_by": [PART]}
        self._write(name, rows, predicate=f"{PART} = '{quoted}'", **how)

    def _write(self, name: str, rows: pa.Table, **how: Any) -> None:
        """Write the rows, again where others were faster. Raises WarehouseError where that is not possible."""
        from deltalake import WriterProperties, write_deltalake
        from deltalake.exceptions import CommitFailedError, DeltaError

        rows = rows.combine_chunks()  # chunks would be written in whatever order
        how |= {"writer_properties": WriterProperties(compression="ZSTD")}
        for attempt in range(_TRIES):
            table = self.table(name)
            try:
                write_deltalake(table or self.at(name), rows, **how, storage_options=self.options)
            except DeltaError as error:
                lost_the_race = isinstance(error, CommitFailedError) or table is None
                if not lost_the_race or attempt == _TRIES - 1:
                    raise WarehouseError(f"{self.at(name)} cannot be written ({first_line(error)})") from error
                self._open.pop(name, None)
                time.sleep(_FIRST_PAUSE * 2**attempt)
            else:
                return

    def table(self, name: str) -> DeltaTable | None:
        """Return the table as it is now; None where there is none."""
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError, TableNotFoundError

        known = self._open.get(name)
        if known is not None and not self._may_have_changed(name, known):
            return known
        if known is None and self.on_disk and not Path(self.at(name), "_delta_log").exists():
            return None
        try:
            if known is None:
                if not self.patient:
                    self._reach(name)
                known = self._open[name] = DeltaTable(self.at(name), storage_options=self.options)
            else:
                known.update_incremental()
        except TableNotFoundError:
            return None
        except DeltaError as error:
            raise CorruptFileError(f"{self.at(name)}/_delta_log", first_line(error)) from error
        return known

    def known(self, name: str) -> DeltaTable | None:
        """Return the table as it was when it was last looked at; None where there was none."""
        return self._open.get(name)

    def _reach(self, name: str) -> None:
        from deltalake import DeltaTable

        if not self.on_disk:
            DeltaTable.is_deltatable(self.at(name))  # raises an OSError where there is nobody
        self.patient = True

    def _may_have_changed(self, name: str, table: DeltaTable) -> bool:
        if self.on_disk:
            return Path(self.at(name), "_delta_log", f"{table.version() + 1:020}.json").exists()
        now = time.monotonic()
        if now - self._looked.get(name, -_REMOTE_PAUSE) < _REMOTE_PAUSE:
            return False
        self._looked[name] = now
        return True

    def look_again(self, name: str) -> None:
        """Look for what others have written when the table is next asked for, however recently that was done."""
        self._looked.pop(name, None)

    def names(self) -> list[str]:
        """Return the names of all tables."""
        from pyarrow.fs import FileSelector, FileType

        if self.on_disk and not Path(self.address).exists():
            return []
        folders = [found.path for found in self.filesystem().get_file_info(FileSelector("")) if not found.is_file]
        logs = self.filesystem().get_file_info([f"{folder}/_delta_log" for folder in folders])
        return sorted(folder for folder, log in zip(folders, logs, strict=True) if log.type is FileType.Directory)

    def filesystem(self) -> FileSystem:
        """Return all files under the address."""
        from deltalake.fs import DeltaStorageHandler
        from pyarrow.fs import PyFileSystem

        if self.on_disk and not Path(self.address).exists():
            Path(self.address).mkdir(parents=True)
        return PyFileSystem(DeltaStorageHandler(self.address, options=self.options))

    def _own_filesystem(self, name: str) -> FileSystem | None:
        """Return Arrow's own files of a table on disk: through delta-rs, Arrow's threads call Python, and one that is
        still at it when a short command ends aborts the process."""
        from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

        return SubTreeFileSystem(self.at(name), LocalFileSystem()) if self.on_disk else None

    def forget(self, name: str) -> None:
        """Open the table again when it is next asked for."""
        self._open.pop(name, None)

    def files(self, name: str) -> pa.Table:
        """Return path (below the table's folder), size_bytes, num_records and what else the log says of each file."""
        table = self.table(name)
        if table is None:
            return pa.table({"path": pa.array([], pa.string()), "size_bytes": [], "num_records": []})
        files = pa.table(table.get_add_actions(flatten=True))
        paths = [unquote(path) for path in files["path"].to_pylist()]
        files = files.set_column(files.column_names.index("path"), "path", pa.array(paths, pa.string()))
        return files.filter(pa.array([f"{self.at(name)}/{path}" not in self.lost for path in paths], pa.bool_()))

    def local_files(self, name: str, paths: Sequence[str]) -> list[str]:
        """Return the paths of these files on this machine's disk; of a lake elsewhere, those of copies."""
        if self.on_disk:
            return [f"{self.at(name)}/{path}" for path in paths]
        self._copies = self._copies or tempfile.TemporaryDirectory()
        copies = {path: Path(self._copies.name, name, path) for path in paths}
        for path, copy in copies.items():
            if not copy.exists():
                with replacing(copy) as temporary, naming_what_is_corrupt(f"{self.at(name)}/{path}"):
                    temporary.write_bytes(self.filesystem().open_input_file(f"{name}/{path}").read())
        return list(map(str, copies.values()))

    def read(self, name: str, columns: list[str] | None = None, where: pds.Expression | None = None) -> pa.Table | None:
        """Return the rows, all or some; None where there is no such table."""
        import pyarrow.dataset as pds

        table = self.table(name)
        if table is None:
            return None
        with naming_what_is_corrupt(self.at(name)):
            dataset = table.to_pyarrow_dataset(filesystem=self._own_filesystem(name))
            if self.lost:
                whole = [part for part in dataset.get_fragments() if f"{self.at(name)}/{part.path}" not in self.lost]
                dataset = pds.FileSystemDataset(whole, dataset.schema, dataset.format, dataset.filesystem)
            return dataset.to_table(columns=columns, filter=where)

    def read_file(self, name: str, path: str, columns: list[str] | None = None) -> pa.Table:
        """Return the rows in one file (a path below the table's folder), without the columns in its folder's name."""
        with naming_what_is_corrupt(f"{self.at(name)}/{path}"):
            return pq.ParquetFile(self.filesystem().open_input_file(f"{name}/{path}")).read(columns)


@contextmanager
def naming_what_is_corrupt(address: str) -> Iterator[None]:
    """Turn the many errors that report a damaged or missing file into a CorruptFileError."""
    try:
        yield
    except pa.ArrowException as error:
        raise CorruptFileError(address, first_line(error)) from error
    except OSError as error:
        if isinstance(error, FileNotFoundError) or error.errno is None:
            raise CorruptFileError(address, first_line(error)) from error
        raise
