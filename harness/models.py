"""A registry entry as a model that lm-eval can ask, its weights loaded at the first question."""

import sys
from pathlib import Path
from typing import Any, Self

import torch
from lm_eval.api.model import LM

from .asking import CheckedLM
from .backends import HFBackend, backend_class, watch_cut_prompts
from .cache import AnswerFile
from .digests import digest_of
from .errors import Stage, explained
from .identity import check_files, determining_args, is_server, pinned_args
from .registry import ModelEntry

__all__ = ["LoadedModel"]

# On a CPU a batch is so small that its logits (batch by tokens by vocabulary) take at most 256 MB of float32. A tiny
# model is fastest with 32 to 128 questions a batch (measured; with more, padding costs more than it saves); a large one
# computes for seconds on one question anyway.
CPU_BATCH = 64
CPU_LOGITS = 2**26
CPU_TOKENS = 512


class LoadedModel:
    """A context manager: the weights come into memory at the first question and leave at the end.

    device: torch's name for it; None takes the accelerator if there is one, else the CPU.
    cache_dir: where answers are kept until `forget`.
    seed: shifts lm-eval's own seeds; 0 means exactly those.
    """

    def __init__(self, entry: ModelEntry, *, device: str | None = None, cache_dir: Path, seed: int = 0) -> None:
        self.entry = entry
        self.seed = seed
        self._device = device
        self._cache_dir = cache_dir
        self._lm: LM | None = None

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def device(self) -> str:
        if self._device is None:
            accelerator = torch.accelerator.current_accelerator(check_available=True)
            self._device = accelerator.type if accelerator else "cpu"
        return self._device

    @property
    def gpu(self) -> str | None:
        """The name of the GPU that answers; None where a CPU does, or a server."""
        if self.device == "cpu" or is_server(self.entry):
            return None
        return torch.cuda.get_device_name(self.device) if self.device.startswith("cuda") else self.device

    @property
    def lm(self) -> LM:
        """The model, which is loaded now if it was not. Raises ModelNotFound, OutOfMemory, EvaluationFailed."""
        if self._lm is None:
            with explained(Stage.MODEL, model=self.name):
                self._lm = _load(self.entry, self.device)
        return self._lm

    def load(self) -> None:
        """Load the model now, if it was not. Raises as `lm`."""
        _ = self.lm

    def asking(self, benchmark: str, *, whole: bool) -> tuple[CheckedLM, AnswerFile]:
        """Return the model to ask `benchmark` with, the whole of it or a part, and the file that holds its answers."""
        answers = AnswerFile(self._answer_path(benchmark))
        watch_cut_prompts(self.lm, answers.note_cut, refuse=self.entry.truncation == "refuse")
        accept = self.entry.implausible_answers == "accept"
        asked = CheckedLM(self.lm, answers, accept_implausible=accept, whole=whole, progress=sys.stderr.isatty())
        return asked, answers

    def forget(self, benchmark: str) -> None:
        """Drop the kept answers to `benchmark`; call it once they are durably stored."""
        path = self._answer_path(benchmark)
        path.unlink(missing_ok=True)
        if path.parent.is_dir() and not any(path.parent.iterdir()):
            path.parent.rmdir()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._lm is not None:
            self._lm = None
            if self.device != "cpu":
                torch.accelerator.empty_cache()

    def _answer_path(self, benchmark: str) -> Path:
        # Another model, other weights or other arguments: another folder.
        identity = digest_of([determining_args(self.entry), self.seed])
        return self._cache_dir / identity[:32] / f"{benchmark}.jsonl"


def _load(entry: ModelEntry, device: str) -> LM:
    check_files(entry)
    options: dict[str, Any] = {"batch_size": entry.batch_size}
    if entry.trust_remote_code:
        options["trust_remote_code"] = True
    if not is_server(entry):
        options["device"] = device
    fits_cpu = entry.backend == "hf" and device == "cpu" and str(entry.batch_size).startswith("auto")
    if fits_cpu:
        options["batch_size"] = 1  # until the size is known; lm-eval's "auto" would run trial batches
    lm = backend_class(entry.backend).create_from_arg_obj(pinned_args(entry), options)
    if fits_cpu and isinstance(lm, HFBackend):
        tokens = min(lm.max_length, CPU_TOKENS)
        lm.batch_size_per_gpu = max(1, min(CPU_BATCH, CPU_LOGITS // (lm.model.config.vocab_size * tokens)))
    return lm
