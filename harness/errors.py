"""What can go wrong in an evaluation, as types that callers can tell apart.

    HarnessError
    ├── ModelNotFound      no such folder, no such (or no reachable) model on the hub
    ├── TaskUnknown        lm-eval has no task of that name, or the task no such metric or filter
    ├── DataUnreachable    the questions of a task cannot be downloaded or read
    ├── OutOfMemory        the model does not fit, or its batches do not
    ├── ServerRefused      a model behind a server: no connection, or an HTTP error
    └── EvaluationFailed   anything else; the exception it comes from is chained

lm-eval, transformers, the hub's client and requests each raise their own; `explained` turns them into these.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import ClassVar

__all__ = [
    "DataUnreachable",
    "EvaluationFailed",
    "HarnessError",
    "ModelNotFound",
    "OutOfMemory",
    "ServerRefused",
    "Stage",
    "TaskUnknown",
    "explained",
]


class HarnessError(Exception):
    """One sentence: which model, which benchmark, what was found, what to do."""

    kind: ClassVar[str] = "failed"

    def __init__(self, problem: str, *, model: str | None = None, benchmark: str | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.model = model
        self.benchmark = benchmark

    def __str__(self) -> str:
        where = " on ".join(
            f"{what} '{name}'"
            for what, name in (("model", self.model), ("benchmark", self.benchmark))
            if name is not None
        )
        return f"{where}: {self.problem}" if where else self.problem


class ModelNotFound(HarnessError):
    kind = "model_not_found"


class TaskUnknown(HarnessError):
    kind = "task_unknown"


class DataUnreachable(HarnessError):
    kind = "data_unreachable"


class OutOfMemory(HarnessError):
    kind = "out_of_memory"


class ServerRefused(HarnessError):
    kind = "server_refused"


class EvaluationFailed(HarnessError):
    kind = "failed"


class Stage(Enum):
    """What was being done; the same exception (no connection, say) means another thing in each."""

    DATA = "loading the questions"
    MODEL = "loading the model"
    ANSWERS = "answering the questions"


@contextmanager
def explained(stage: Stage, *, model: str | None = None, benchmark: str | None = None) -> Iterator[None]:
    """Raise whatever the block raises as a HarnessError that names model and benchmark."""
    try:
        yield
    except HarnessError as error:
        error.model = error.model or model
        error.benchmark = error.benchmark or benchmark
        raise
    except Exception as error:
        kind, problem = _diagnosis(error, stage)
        raise kind(problem, model=model, benchmark=benchmark) from error


def _diagnosis(error: Exception, stage: Stage) -> tuple[type[HarnessError], str]:
    said = _first_sentence(error)
    if _is_out_of_memory(error):
        return OutOfMemory, (
            f"memory ran out while {stage.value} ({said}); set a smaller batch_size or dtype, or use a larger device"
        )
    if isinstance(error, ImportError):
        return (
            EvaluationFailed,
            f"a package is missing ({said}); install the extra that brings it: api, gguf or vllm",
        )
    if "trust_remote_code" in str(error):
        return EvaluationFailed, (
            f"{stage.value} needs code from the hub ({said}); "
            "if you trust it, set trust_remote_code: true in the registry"
        )
    if stage is Stage.DATA and _is_unreachable(error):
        return DataUnreachable, (
            f"the questions cannot be read ({said}); check the network, local paths and HF_TOKEN "
            "(gated data need their terms accepted), or run where the data are already in the hub's cache"
        )
    if stage is Stage.MODEL and _is_unreachable(error):
        return ModelNotFound, (
            f"the model cannot be found ({said}); check its name or folder in the registry (for a server: "
            "args.tokenizer), the network, and HF_TOKEN for a gated model"
        )
    if stage is Stage.ANSWERS and _comes_from_server(error):
        return ServerRefused, (
            f"the server refused ({said}); check that it runs at base_url, serves this model name, "
            "and accepts OPENAI_API_KEY"
        )
    return EvaluationFailed, f"{stage.value} failed: {type(error).__name__}: {said}"


def _is_out_of_memory(error: Exception) -> bool:
    # torch need not be imported to ask; on the CPU it raises a plain RuntimeError.
    names = {cls.__name__ for cls in type(error).__mro__}
    return bool(names & {"OutOfMemoryError", "MemoryError"}) or (
        isinstance(error, RuntimeError)
        and re.search(r"can't allocate memory|out of memory", str(error), re.IGNORECASE) is not None
    )


def _is_unreachable(error: Exception) -> bool:
    from huggingface_hub.errors import HFValidationError

    # OSError covers missing files, refused connections (requests', too) and HTTP errors of the hub's client.
    return isinstance(error, (OSError, HFValidationError)) or _comes_from_hub_client(error)


def _comes_from_hub_client(error: Exception) -> bool:
    """Its transport errors (no route, time-out) are its HTTP library's, whose name differs by version."""
    return any(cls.__name__ in ("HTTPError", "TransportError") for cls in type(error).__mro__)


def _comes_from_server(error: Exception) -> bool:
    import aiohttp
    import requests

    return isinstance(error, (requests.RequestException, aiohttp.ClientError, ConnectionError, TimeoutError))


def _first_sentence(error: Exception) -> str:
    """The first line that says something, without anything that lets one in."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    line = lines[0].rstrip(".") if lines else type(error).__name__
    line = re.sub(r"://[^/\s@]+@", "://***@", line)
    return line if len(line) <= 300 else f"{line[:300]}..."
