"""What an asset does when a file of the lake cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from warehouse.errors import CorruptFileError

from .workspace import Workspace


@contextmanager
def mending(workspace: Workspace) -> Iterator[None]:
    """Set aside a file that turns out damaged in the block, with all others that are damaged, so that what it held is
    asked or made again; the asset fails and says so.

    Raises:
        dagster.Failure: a file could not be read.
    """
    try:
        yield
    except CorruptFileError as error:
        damages = workspace.lake.mend(thoroughly=True)
        raise dg.Failure("; ".join(str(damage) for damage in damages) or str(error), allow_retries=False) from error
