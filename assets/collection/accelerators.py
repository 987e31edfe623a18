"""Which GPU an evaluation uses, where there are several."""

from __future__ import annotations

import getpass
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from warehouse.files import locked

LOOK = 1.0  # seconds between two looks for a free one


def count_accelerators() -> int:
    """Return how many GPUs this machine has."""
    import torch

    return torch.cuda.device_count()


@contextmanager
def own_accelerator(device: str | None) -> Iterator[str | None]:
    """Reserve a GPU that no other evaluation on this machine uses for the block, and yield torch's name of it; waits
    until one is free.

    If the settings name a `device`, it is taken as it is; with fewer than two GPUs there is nothing to choose.
    """
    count = count_accelerators() if device is None else 0
    if count < 2:
        yield device
        return
    with ExitStack() as stack:
        while (free := _first_free(count, stack)) is None:
            time.sleep(LOOK)
        yield f"cuda:{free}"


def _first_free(count: int, stack: ExitStack) -> int | None:
    folder = Path(tempfile.gettempdir()) / f"embedllm-{getpass.getuser()}"  # GPUs are the machine's, not a home's
    for number in range(count):
        with ExitStack() as attempt:
            if attempt.enter_context(locked(folder / f"cuda-{number}.lock", wait=False)):
                stack.push(attempt.pop_all())
                return number
    return None
