"""A registry entry as a model that lm-eval can ask, its weights loaded at the first question."""

import sys
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import torch
from lm_eval.api.model import LM
from lm_eval.api.registry import get_model
from lm_eval.models.huggingface import HFLM

from harness.cache import AnswerFile, ResumingLM
from harness.entries import ModelEntry
from harness.errors import Stage, explained
from harness.identity import determining_args, digest_of, is_server, pinned_args

__all__ = ["LoadedModel"]

# On a CPU a batch is only as large as its logits (batch by tokens by vocabulary) stay within 256 MB of
# float32. A tiny model is fastest with 32 to 128 questions a batch (measured; beyond, padding costs more
# than it saves), a large one computes for seconds on one question anyway.
CPU_BATCH = 64
CPU_LOGITS = 2**26
CPU_TOKENS = 512
KEPT_TEXTS = 50_000  # encoded texts kept for reuse; a long one takes about 10 kB


class LoadedModel:
    """Use as a context manager; the weights come into memory at the first question and leave at the end.

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
    def lm(self) -> LM:
        """The model, loaded now if it was not. Raises ModelNotFound, OutOfMemory, EvaluationFailed."""
        if self._lm is None:
            with explained(Stage.MODEL, model=self.name):
                self._lm = _load(self.entry, self.device)
        return self._lm

    def resuming(self, benchmark: str) -> tuple[ResumingLM, AnswerFile]:
        """The model as it is asked `benchmark`, and the file that holds what it has answered."""
        answers = AnswerFile(self._answer_path(benchmark))
        return ResumingLM(self.lm, answers, progress=sys.stderr.isatty()), answers

    def forget(self, benchmark: str) -> None:
        """Drop the kept answers to `benchmark`; call it once they are durably stored."""
        path = self._answer_path(benchmark)
        path.unlink(missing_ok=True)
        if path.parent.is_dir() and not any(path.parent.iterdir()):
            path.parent.rmdir()

    def close(self) -> None:
        if self._lm is not None:
            self._lm = None
            if self.device != "cpu":
                torch.accelerator.empty_cache()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _answer_path(self, benchmark: str) -> Path:
        # Another model, other weights or other arguments: another folder.
        identity = digest_of([determining_args(self.entry), self.seed])
        return self._cache_dir / identity[:32] / f"{benchmark}.jsonl"


def _load(entry: ModelEntry, device: str) -> LM:
    options: dict[str, Any] = {"batch_size": entry.batch_size}
    if entry.trust_remote_code:
        options["trust_remote_code"] = True
    if not is_server(entry):
        options["device"] = device
    fits_cpu = entry.backend == "hf" and device == "cpu" and str(entry.batch_size).startswith("auto")
    if fits_cpu:
        options["batch_size"] = 1  # until the size is known; lm-eval's "auto" would run trial batches
    backend = _EncodingOnce if entry.backend == "hf" else get_model(entry.backend)
    lm = backend.create_from_arg_obj(pinned_args(entry), options)
    if fits_cpu and isinstance(lm, _EncodingOnce):
        tokens = min(lm.max_length, CPU_TOKENS)
        lm.batch_size_per_gpu = max(1, min(CPU_BATCH, CPU_LOGITS // (lm.model.config.vocab_size * tokens)))
    return lm


_HFLM: Any = HFLM  # lm-eval's decorator hides its type


class _EncodingOnce(_HFLM):
    """lm-eval's `hf` backend, encoding each text once.

    The choices of a question share its context, and the checkpoints of a family share their tokenizer;
    encoding would else be 40% of the time of a tiny model, and half of it is repetition for a large one, too.
    """

    _kept: ClassVar[dict[str, dict[str, list[int]]]] = {}  # by tokenizer (the last one only) and text

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        key = self._tokenizer_key()
        if key not in self._kept:
            self._kept.clear()
            self._kept[key] = {}
        self._tokens = self._kept[key]

    def tok_encode(
        self,
        string: str,
        add_special_tokens: bool | None = None,
        left_truncate_len: int | None = None,
        **kwargs: Any,
    ) -> list[int]:
        if add_special_tokens is not None or left_truncate_len is not None:
            return super().tok_encode(string, add_special_tokens, left_truncate_len, **kwargs)
        tokens = self._tokens.get(string)
        if tokens is None:
            if len(self._tokens) >= KEPT_TEXTS:
                self._tokens.clear()
            tokens = self._tokens[string] = super().tok_encode(string)
        return tokens

    def _tokenizer_key(self) -> str:
        if not self.tokenizer.is_fast:  # nothing tells two slow tokenizers apart: share nothing
            return f"{self.pretrained}@{self.revision}"
        content = [self.tokenizer.backend_tokenizer.to_str(), self.add_bos_token, self.prefix_token_id]
        return digest_of([*content, getattr(self.tokenizer, "split_special_tokens", False)])
