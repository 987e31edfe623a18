"""What can go wrong in an evaluation, as types that callers can tell apart.

    HarnessError
    ├── ModelNotFound         no such folder, no such (or no reachable) model on the hub
    ├── ModelIncomplete       its folder lacks tensors or a tokenizer, or holds pointers instead of files
    ├── TaskUnknown           lm-eval has no task of that name, or the task no such metric or filter
    ├── TaskFaulty            a task's definition does not fit its data: no such column, a label that is no choice
    ├── DataUnreachable       the questions of a task cannot be downloaded or read
    ├── NotApplicable         the backend cannot take this kind of benchmark; not a failure, and never tried again
    ├── OutOfMemory           the model does not fit, or its batches do not
    ├── ServerRefused         a model behind a server: no connection, an HTTP error, or a reply without choices
    ├── NoLogProbabilities    a server that does not return the log probabilities of the prompt
    ├── NotNumbers            log probabilities that are NaN or infinite
    ├── PromptTooLong         a prompt exceeds the model's context, and the entry says `truncation: refuse`
    ├── TooFewAnswered        so many questions without an answer that the rest says little
    ├── ImplausibleAnswers    what was answered first cannot be this model's answers
    └── EvaluationFailed      anything else; the exception it comes from is chained

lm-eval, transformers, the hub's client and requests each raise their own; `explained` turns them into these.
"""

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from json import JSONDecodeError
from typing import ClassVar

from jinja2 import TemplateError

__all__ = [
    "UNEXPLAINED",
    "DataUnreachable",
    "EvaluationFailed",
    "HarnessError",
    "ImplausibleAnswers",
    "ModelIncomplete",
    "ModelNotFound",
    "NoLogProbabilities",
    "NotApplicable",
    "NotNumbers",
    "OutOfMemory",
    "PromptTooLong",
    "ServerRefused",
    "Stage",
    "TaskFaulty",
    "TaskUnknown",
    "TooFewAnswered",
    "explained",
    "first_sentence",
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


class ModelIncomplete(HarnessError):
    kind = "model_incomplete"


class TaskUnknown(HarnessError):
    kind = "task_unknown"


class TaskFaulty(HarnessError):
    kind = "task_faulty"


class DataUnreachable(HarnessError):
    kind = "data_unreachable"


class NotApplicable(HarnessError):
    kind = "not_applicable"


class OutOfMemory(HarnessError):
    kind = "out_of_memory"


class ServerRefused(HarnessError):
    kind = "server_refused"


class NoLogProbabilities(HarnessError):
    kind = "no_log_probabilities"


class NotNumbers(HarnessError):
    kind = "not_numbers"


class PromptTooLong(HarnessError):
    kind = "prompt_too_long"


class TooFewAnswered(HarnessError):
    kind = "too_few_answered"


class ImplausibleAnswers(HarnessError):
    kind = "implausible_answers"


class EvaluationFailed(HarnessError):
    kind = "failed"


# Exceptions whose message names neither the culprit nor the remedy: where they were raised says more.
UNEXPLAINED = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    StopIteration,
    TemplateError,
    TypeError,
    ValueError,
)


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
    said = first_sentence(error)
    if _is_out_of_memory(error):
        return OutOfMemory, (
            f"memory ran out while {stage.value} ({said}); set a smaller batch_size or dtype, or use a larger device"
        )
    if stage is Stage.MODEL and _is_damaged_file(error):
        return ModelIncomplete, f"a file of its weights is damaged or incomplete ({said}); download or export it again"
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
    if stage is Stage.ANSWERS and (_comes_from_server(error) or isinstance(error, JSONDecodeError)):
        return ServerRefused, (
            f"the server refused ({said}); check that it runs at base_url, serves this model name, "
            "and accepts OPENAI_API_KEY"
        )
    if stage is Stage.DATA and isinstance(error, UNEXPLAINED):
        return TaskFaulty, (
            f"the definition of its task does not fit the data ({type(error).__name__}: {said}); compare the columns "
            "that it names with those that the data have"
        )
    place = f" in {_place(error)}" if isinstance(error, UNEXPLAINED) else ""
    return EvaluationFailed, f"{stage.value} failed{place}: {type(error).__name__}: {said}"


def _is_out_of_memory(error: Exception) -> bool:
    # torch need not be imported to ask; on the CPU it raises a plain RuntimeError.
    names = {cls.__name__ for cls in type(error).__mro__}
    return bool(names & {"OutOfMemoryError", "MemoryError"}) or (
        isinstance(error, RuntimeError)
        and re.search(r"can't allocate memory|out of memory", str(error), re.IGNORECASE) is not None
    )


def _is_damaged_file(error: Exception) -> bool:
    """What safetensors, and torch of older files, say of a file that ends too early or is another kind of file."""
    return type(error).__name__ in ("SafetensorError", "UnpicklingError") or (
        isinstance(error, RuntimeError) and "PytorchStreamReader" in str(error)
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


def first_sentence(error: BaseException) -> str:
    """The first line that says something, without anything that lets one in."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    line = lines[0].rstrip(".") if lines else _failed_line(error)
    line = re.sub(r"://[^/\s@]+@", "://***@", line)
    return line if len(line) <= 300 else f"{line[:300]}..."


def _failed_line(error: BaseException) -> str:
    """The line of source that raised an exception without a message: `assert len(context_enc) > 0`."""
    frames = traceback.extract_tb(error.__traceback__)
    return (frames[-1].line if frames else None) or type(error).__name__


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename.rpartition('/')[2]}, line {frames[-1].lineno}" if frames else "unknown code"
