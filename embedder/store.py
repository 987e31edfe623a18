"""A fitted embedder on disk: `embedder.json` and the safetensors file it names."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as tensor_bytes

from embedder.baselines.knn import KNN
from embedder.baselines.mf import MatrixFactorization
from embedder.baselines.rates import Majority, ModelBenchmarkMean, ModelMean
from embedder.spectral.spectral import SpectralEmbedder

from .errors import EmbedderError
from .predictor import Predictor

__all__ = [
    "EmbedderInfo",
    "StoreError",
    "digest_arrays",
    "load_embedder",
    "read_tensors",
    "save_embedder",
    "write_file",
]

FORMAT = 2  # 1 knew neither support nor known categories
METHODS: dict[str, type[Predictor]] = {
    predictor.method: predictor
    for predictor in (SpectralEmbedder, MatrixFactorization, KNN, ModelBenchmarkMean, ModelMean, Majority)
}


class StoreError(EmbedderError):
    """A stored embedder is missing, damaged, of another format, or fitted on another encoder's vectors."""


@dataclass(frozen=True)
class EmbedderInfo:
    """Where an embedder comes from: a row of the table `embedders`, without what the embedder itself knows."""

    embedder: str  # the version's name
    encoder: str  # name of the question encoder, with the digest of its weights
    created_at: str  # UTC, ISO 8601
    seed: int
    questions: int  # in the train split
    val_accuracy: float | None  # None where there were no validation answers
    val_log_loss: float | None
    seconds: float  # to fit
    # These are None in versions that are older than the field.
    data_version: str | None = None  # of the answers it was fitted on
    code_version: str | None = None  # of the way it was fitted
    aligned_to: str | None = None  # the version whose axes it took over, None where it has its own
    drift_distance: float | None = None  # from that version: see alignment.Drift
    drift_predictions: float | None = None
    verdict: str | None = None  # what is wrong with it, see gate.py; None where nothing is
    held_back: bool | None = None  # so that the version before should go on serving


def save_embedder(folder: Path, predictor: Predictor, info: EmbedderInfo) -> None:
    """Write `predictor` into `folder`, replacing what is there: a reader sees the old or the new one, whole."""
    arrays, learnt = predictor.state()
    payload = tensor_bytes({name: np.asarray(array, order="C") for name, array in arrays.items()})
    digest = sha256(payload).hexdigest()
    config = {
        "format": FORMAT,
        "method": predictor.method,
        "settings": predictor.settings(),
        "info": asdict(info),
        "learnt": learnt,
        "tensors": {
            "file": f"{digest[:16]}.safetensors",
            "sha256": digest,
            "shapes": {name: list(array.shape) for name, array in arrays.items()},
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / config["tensors"]["file"], payload)
    # From here on the new tensors are in force.
    write_file(folder / "embedder.json", json.dumps(config, indent=1).encode())
    for other in folder.glob("*.safetensors"):
        if other.name != config["tensors"]["file"]:
            other.unlink()


def load_embedder(folder: Path, *, encoder: str | None = None) -> tuple[Predictor, EmbedderInfo]:
    """Return the embedder in `folder`; with `encoder` (a name), only if it was fitted on that encoder's vectors.

    Raises StoreError.
    """
    file = folder / "embedder.json"
    try:
        config = json.loads(file.read_text())
    except FileNotFoundError:
        raise StoreError(f"{file}: no such file; there is no fitted embedder here, fit one first") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise StoreError(f"{file}: not JSON ({error}); fit the embedder again") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        found = config.get("format") if isinstance(config, dict) else None
        raise StoreError(f"{file}: format {found!r}, this version reads {FORMAT}; fit the embedder again")
    try:
        info = EmbedderInfo(**config["info"])
        if encoder is not None and info.encoder != encoder:
            raise StoreError(
                f"{folder}: fitted on vectors of the encoder {info.encoder}, but {encoder} is in use; "
                "set that encoder, or fit a new embedder"
            )
        method = METHODS.get(config["method"])
        if method is None:
            raise StoreError(f"{folder}: unknown method {config['method']!r}; known are {', '.join(sorted(METHODS))}")
        arrays = _load_checked(folder / config["tensors"]["file"], config["tensors"])
        named, described = len(config["learnt"]["models"]), len(arrays["has_answers"])
        if named != described:
            raise StoreError(
                f"{folder}: {named} models are named, but the tensors describe {described}; fit the embedder again"
            )
        return method.restored(config["settings"], arrays, config["learnt"]), info
    except KeyError as error:
        raise StoreError(f"{folder}: embedder.json lacks {error}; fit the embedder again") from error
    except (TypeError, RuntimeError) as error:
        reason = str(error).split("\n")[0]
        raise StoreError(
            f"{folder}: embedder.json and its tensors do not fit together ({reason}); fit the embedder again"
        ) from error


def _load_checked(file: Path, expected: dict[str, Any]) -> dict[str, np.ndarray]:
    try:
        payload = file.read_bytes()
        arrays = load_tensors(payload)
    except FileNotFoundError:
        raise StoreError(f"{file}: no such file, though embedder.json names it; fit the embedder again") from None
    except SafetensorError as error:
        raise StoreError(f"{file}: not a safetensors file ({error}); fit the embedder again") from error
    for name, shape in expected["shapes"].items():
        found = list(arrays[name].shape) if name in arrays else "nothing"
        if found != shape:
            raise StoreError(f"{file}: tensor {name!r} should be {shape}, found {found}; fit the embedder again")
    if sha256(payload).hexdigest() != expected["sha256"]:
        raise StoreError(f"{file}: its SHA-256 is not the one in embedder.json; fit the embedder again")
    return arrays


def read_tensors(file: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the tensors and the metadata of a safetensors file; raises SafetensorError where it is none."""
    with safe_open(file, framework="numpy") as stored:
        return {name: stored.get_tensor(name) for name in stored.keys()}, stored.metadata() or {}  # noqa: SIM118  no __iter__


def digest_arrays(arrays: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of the arrays' bytes, in the order of their names."""
    return sha256(b"".join(arrays[name].tobytes() for name in sorted(arrays))).hexdigest()


def write_file(file: Path, content: bytes) -> None:
    """Replace `file` by `content`: a reader sees the old or the new one, whole."""
    with tempfile.NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}.", delete=False) as stream:
        try:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
            Path(stream.name).replace(file)
        except BaseException:
            Path(stream.name).unlink(missing_ok=True)
            raise
