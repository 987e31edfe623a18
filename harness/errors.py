"""What can go wrong in an evaluation, as types that callers can tell apart.

lm-eval, transformers, the hub's client and requests each raise their own; `explained` turns them into these.
"""

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from json import JSONDecodeError
from pathlib import Path
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
    kind = "model_not_found"  # no such folder, no such (or no reachable) model on the hub


class ModelIncomplete(HarnessError):
    kind = "model_incomplete"  # its folder lacks tensors or a tokenizer, or holds pointers instead of files


class TaskUnknown(HarnessError):
    kind = "task_unknown"  # lm-eval has no task of that name, or the task no such metric or filter


class TaskFaulty(HarnessError):
    kind = "task_faulty"  # a task's definition does not fit its data: no such column, a label that is no choice


class DataUnreachable(HarnessError):
    kind = "data_unreachable"  # the questions of a task cannot be downloaded or read


class NotApplicable(HarnessError):
    kind = "not_applicable"  # the backend cannot take this kind of benchmark; not a failure, and never tried again


class OutOfMemory(HarnessError):
    kind = "out_of_memory"  # the model does not fit, or its batches do not


class ServerRefused(HarnessError):
    kind = "server_refused"  # a model behind a server: no connection, an HTTP error, or a reply without choices


class NoLogProbabilities(HarnessError):
    kind = "no_log_probabilities"  # a server that does not return the log probabilities of the prompt


class NotNumbers(HarnessError):
    kind = "not_numbers"  # log probabilities that are NaN or infinite


class PromptTooLong(HarnessError):
    kind = "prompt_too_long"  # a prompt exceeds the model's context, and the entry says `truncation: refuse`


class TooFewAnswered(HarnessError):
    kind = "too_few_answered"  # so many questions without an answer that the rest says little


class ImplausibleAnswers(HarnessError):
    kind = "implausible_answers"  # what was answered first cannot be this model's answers


class EvaluationFailed(HarnessError):
    kind = "failed"  # anything else; the exception it comes from is chained


# The messages of these name neither the culprit nor the remedy: where they were raised says more.
UNEXPLAINED = (
    ArithmeticError, AssertionError, AttributeError, LookupError, StopIteration, TemplateError, TypeError, ValueError
)  # fmt: skip


class Stage(Enum):
    """What was being done: the same exception (no connection, say) means something else in each stage."""

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
        return EvaluationFailed, f"a package is missing ({said}); install the extra that brings it: api, gguf or vllm"
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
    if stage is Stage.DATA and isinstance(error, UNEXPLAINED):
        return TaskFaulty, (
            f"the definition of its task does not fit the data ({type(error).__name__}: {said}); compare the columns "
            "that it names with those that the data have"
        )
    place = ""
    if isinstance(error, UNEXPLAINED):
        frames = traceback.extract_tb(error.__traceback__)
        last = f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else "unknown code"
        place = f" in {last}"
    return EvaluationFailed, f"{stage.value} failed{place}: {type(error).__name__}: {said}"


def _is_out_of_memory(error: Exception) -> bool:
    # torch need not be imported to ask; on the CPU it raises a plain RuntimeError.
    names = {cls.__name__ for cls in type(error).__mro__}
    says_so = re.search(r"can't allocate memory|out of memory", str(error), re.IGNORECASE) is not None
    return bool(names & {"OutOfMemoryError", "MemoryError"}) or (isinstance(error, RuntimeError) and says_so)


def _is_damaged_file(error: Exception) -> bool:
    """Whether safetensors, or torch for older files, found a file that ends too early or is of another kind."""
    return type(error).__name__ in ("SafetensorError", "UnpicklingError") or (
        isinstance(error, RuntimeError) and "PytorchStreamReader" in str(error)
    )


def _is_unreachable(error: Exception) -> bool:
    from huggingface_hub.errors import HFValidationError

    # OSError covers missing files, refused connections (requests', too) and HTTP errors of the hub's client. Transport
    # errors of that client (no route, time-out) are its HTTP library's, whose name differs by version.
    names = {cls.__name__ for cls in type(error).__mro__}
    return isinstance(error, (OSError, HFValidationError)) or bool(names & {"HTTPError", "TransportError"})


def _comes_from_server(error: Exception) -> bool:
    import aiohttp
    import requests

    kinds = (requests.RequestException, aiohttp.ClientError, ConnectionError, TimeoutError, JSONDecodeError)
    return isinstance(error, kinds)


def first_sentence(error: BaseException) -> str:
    """Return the first line of the message, without anything that lets one in.

    For an exception without a message it is the line of source that raised it: `assert len(context_enc) > 0`.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    frames = traceback.extract_tb(error.__traceback__)
    source = frames[-1].line if frames else None
    line = lines[0].rstrip(".") if lines else source or type(error).__name__
    line = re.sub(r"://[^/\s@]+@", "://***@", line)
    return line if len(line) <= 300 else f"{line[:300]}..."
