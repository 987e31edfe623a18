"""Labels of models (family, size, communities) that come with published results."""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from warehouse.database.connect import empty_table, identifier, open_database
from warehouse.errors import ImportRefused

from .layout import MODEL_NAME
from .problems import NameFault
from .readers.reader import Run
from .tables import ImportedTable

__all__ = ["add_logged_labels", "no_labels", "read_labels"]

_COLUMNS = ("family", "size_b", "communities")
_FLAGS = {"true": True, "1": True, "false": False, "0": False, "": False}


def read_labels(path: Path, name_fault: NameFault = lambda name: None) -> pa.Table:
    """Read model, family, size_b and communities, as in the warehouse's table of models, from a CSV or Parquet table.

    Its columns are model_name (or model) and optionally family, size_b, communities (a list, or text with commas or
    semicolons), is_<community> (true or false).

    Raises ImportRefused for a model that is missing, repeated or has a name that cannot be used, a size that is no
    positive number, or a flag that is neither true nor false.
    """
    problems: list[str] = []
    labels: dict[str, dict[str, Any]] = {}
    for number, row in enumerate(_rows(path), start=1):
        try:
            label = _label(row)
        except ValueError as error:
            problems.append(f"row {number}: {error}")
            continue
        if fault := name_fault(label["model"]):
            problems.append(f"row {number}: the model name {fault}")
        if label["model"] in labels:
            problems.append(f"row {number}: {label['model']} is there twice")
        labels[label["model"]] = label
    if problems:
        raise ImportRefused(path, problems[:5])
    return _table(labels)


def add_logged_labels(labels: pa.Table | None, runs: Mapping[tuple[str, str], Run]) -> pa.Table | None:
    """Return `labels` with what the logs of `runs` (by model and category) tell of other models; None for nothing."""
    known = {row["model"]: row for row in labels.to_pylist()} if labels else {}
    for (model, _), run in sorted(runs.items()):
        if run.labels and model not in known:
            known[model] = {"model": model, "family": None, "size_b": None, "communities": []} | dict(run.labels)
    return _table(known) if known else None


def no_labels() -> pa.Table:
    """Return the table of labels without rows."""
    return _table({})


def _table(labels: Mapping[str, Mapping[str, Any]]) -> pa.Table:
    schema = empty_table("models").select(["model", *_COLUMNS]).schema
    return pa.Table.from_pylist([labels[model] for model in sorted(labels)], schema=schema)


def _rows(path: Path) -> list[dict[str, str]]:
    """Return the columns that matter as text ('' for null), with the original name as `model`."""
    with open_database() as connection, tempfile.TemporaryDirectory() as scratch:
        table = ImportedTable(connection, path, Path(scratch))
        name = next((name for name in ("model_name", "model") if name in table.columns), None)
        if name is None:
            raise ImportRefused(path, [f"it has no column model_name, only {', '.join(table.columns)}"])
        others = [c for c in table.columns if c in _COLUMNS or c.startswith("is_")]
        table.require([column for column in (name, *others) if column != "communities"])
        texts = [f"coalesce({identifier(c)}, '') AS {identifier(c)}" for c in others]
        texts = ", ".join(["_row", f"{identifier(name)} AS model_name", *texts])
        table.execute([name, *others], lambda rows: f"CREATE TABLE label AS SELECT {texts} FROM {rows}")
        found = connection.sql(f"SELECT coalesce({MODEL_NAME}, '') AS model, * FROM label ORDER BY _row")
        return found.to_arrow_table().to_pylist()


def _label(row: Mapping[str, str]) -> dict[str, Any]:
    if not row["model"]:
        raise ValueError("the model is missing")
    flags = {column: value for column, value in row.items() if column.startswith("is_")}
    wrong = [f"{column} is '{value}'" for column, value in flags.items() if value.lower() not in _FLAGS]
    if wrong:
        raise ValueError(f"{wrong[0]}; it must be true or false")
    named = re.findall(r"[^\[\],;'\"]+", row.get("communities", ""))
    flagged = [column.removeprefix("is_") for column, value in flags.items() if _FLAGS[value.lower()]]
    size = row.get("size_b", "")
    try:
        size_b = float(size) if size else None
    except ValueError:
        size_b = math.nan
    if size_b is not None and not 0 < size_b < math.inf:
        raise ValueError(f"size_b is '{size}'; it must be a number of billions of parameters")
    return {
        "model": row["model"],
        "family": row.get("family") or None,
        "size_b": size_b,
        "communities": list(dict.fromkeys([*filter(None, map(str.strip, named)), *flagged])),
    }
