"""What ends a command in one sentence instead of a traceback."""

from __future__ import annotations

import errno
import os
import sys

__all__ = ["CommandError", "explain"]


class CommandError(RuntimeError):
    """What was asked cannot be done; the message says why and what to do instead."""


def explain(error: Exception) -> str | None:
    """Return the sentence for an error that the user can mend, and None for a mistake in the program.

    What defines these errors is imported here, once something has gone wrong, so that commands start quickly.
    """
    from pydantic import ValidationError

    from embedder.errors import EmbedderError
    from harness.errors import HarnessError
    from harness.registry import RegistryError
    from warehouse.errors import WarehouseError

    if isinstance(error, CommandError | EmbedderError | HarnessError | RegistryError | WarehouseError):
        return str(error)
    if isinstance(error, ValidationError):  # of the settings
        first = error.errors()[0]
        name = "_".join(["EMBEDLLM", *(str(part).upper() for part in first["loc"])])
        return f"{name} is {str(first['input'])!r}: {first['msg'].removeprefix('Value error, ')}."
    if isinstance(error, OSError):
        if error.errno == errno.ENOSPC:
            return f"{error.filename or 'the output'}: {error.strerror}; make room and run the command again."
        remedy = "correct the path, or set EMBEDLLM_HOME to a folder you may write to"
        return f"{error.filename}: {error.strerror}; {remedy}." if error.filename else str(error)
    database = sys.modules.get("sqlalchemy.exc")  # Dagster keeps its records with it
    if database and isinstance(error, database.DatabaseError):
        return (
            f"{os.environ.get('DAGSTER_HOME', 'the records of runs')}: {getattr(error, 'orig', error)}; see that the "
            "disk has space and that you may write there, and run the command again. If a file there is damaged, "
            "delete the folder: the list of earlier runs is lost with it, but no answers."
        )
    return None
