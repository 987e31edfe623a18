"""An embedder from a DataFrame of answers, without a home."""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from embedder.bundle import Bundle
from embedder.costs import Costs
from embedder.lazy_encoder import LazyEncoder
from embedder.matrix import CorrectnessMatrix
from embedder.metrics import log_loss
from embedder.questions import Questions
from embedder.spectral.spectral import SpectralEmbedder
from embedder.store import EmbedderInfo
from warehouse.lake.questions import question_ids, split_of

from .router import Router

__all__ = ["fit"]

_NEEDED = ("model", "prompt", "label")
_CATEGORY = "all questions"  # where no categories are given


def fit(
    frame: pd.DataFrame,
    *,
    encoder: str = "static",
    seed: int = 0,
    device: str | None = None,
    cache: str | Path | None = None,
    progress: bool = False,
) -> Router:
    """Return a router that is fitted on `frame`, a row an answer: `model`, `prompt` (all that the model was asked),
    `label` (1 or True is right) and, where known, `category`.

    A model that was not asked a prompt has no row. Prompts are split by their text as everywhere in embedllm: 80% train
    the embedder, on 10% its settings are chosen, and 10% are left for you to test it on (`split_of` tells which). A
    static encoder is kept in `cache` (~/.cache/embedllm). The same frame, in any order, gives the same router. Raises
    ValueError where the frame cannot be used.
    """
    started = time.monotonic()
    answers = _checked(frame)
    questions = answers.groupby(["category", "prompt"], sort=True).size().index.to_frame(index=False)
    ids = np.concatenate(
        [np.array(question_ids(str(name), group["prompt"].tolist()), object)
         for name, group in questions.groupby("category", sort=True)]
    )  # fmt: skip
    questions = questions.assign(question_id=ids, split=[split_of(text) for text in questions["prompt"]])
    matrix = CorrectnessMatrix.from_tables(
        pa.table(
            {
                "question_id": pa.array(ids, pa.string()),
                "benchmark": pa.array(questions["category"].tolist(), pa.string()),
                "category": pa.array(questions["category"].tolist(), pa.string()),
                "text": pa.array(questions["prompt"].tolist(), pa.string()),
                "split": pa.array(questions["split"].tolist(), pa.string()),
            }
        ),
        _responses(answers, questions),
    )
    reader = LazyEncoder(encoder, device=device, cache=Path(cache or Path.home() / ".cache" / "embedllm"))
    asked = Questions(matrix.texts, reader.encode(matrix.texts.tolist(), progress=progress), matrix.categories)
    fitted = SpectralEmbedder().on(device).fit(matrix, asked, seed=seed)
    val = matrix.splits == "val"
    known = matrix.observed & val[:, None]
    right, loss = None, None
    if known.any():
        forecast = fitted.predict_proba(asked.by_text_alone())[known]
        right = float(((forecast > 0.5) == (matrix.labels[known] == 1)).mean())
        loss = float(log_loss(matrix.labels[known], forecast))
    digest = hashlib.sha256("\0".join([*matrix.models, *ids, str(seed), reader.name]).encode())
    digest.update(np.ascontiguousarray(matrix.labels).tobytes())
    info = EmbedderInfo(
        embedder=f"{fitted.method}-{digest.hexdigest()[:12]}",
        encoder=reader.name,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        seed=seed,
        questions=int((matrix.splits == "train").sum()),
        val_accuracy=right,
        val_log_loss=loss,
        seconds=time.monotonic() - started,
    )
    bundle = Bundle(fitted, info, reader, encoder, Costs("US$", {}), {name: {} for name in fitted.models})
    return Router(bundle, reader.static_files)


def _checked(frame: Any) -> Any:
    """Return the answers with checked columns, an answer once. Raises ValueError that names the row."""
    if missing := [name for name in _NEEDED if name not in frame.columns]:
        found = ", ".join(map(str, frame.columns))
        raise ValueError(
            f"the frame lacks the column {missing[0]!r}; it has {found}, and needs model, prompt and label"
        )
    if twice := [name for name in (*_NEEDED, "category") if list(frame.columns).count(name) > 1]:
        raise ValueError(f"the frame has several columns {twice[0]!r}; keep one")
    answers = frame[[*_NEEDED]].assign(category=frame["category"] if "category" in frame.columns else _CATEGORY)
    for name in ("model", "prompt", "category"):
        wrong = ~answers[name].map(lambda value: isinstance(value, str) and value != "").astype(bool)
        _refuse(answers, wrong, name, "text")
    labels: Any = pd.to_numeric(answers["label"], errors="coerce")
    _refuse(answers, ~labels.isin([0, 1]), "label", "0 or 1 (a model that was not asked has no row)")
    answers = answers.assign(label=labels.astype(int)).drop_duplicates()
    twice = answers.duplicated(["category", "prompt", "model"])
    _refuse(answers, twice, "label", "the same in every row of this model and prompt")
    if answers.empty:
        raise ValueError("the frame has no rows")
    return answers.reset_index(drop=True)


def _refuse(answers: Any, wrong: Any, name: str, due: str) -> None:
    if wrong.any():
        at = int(wrong.to_numpy().argmax())
        row = answers.index[at : at + 1].tolist()[0]
        value = answers[name].to_numpy(object)[at]
        raise ValueError(f"row {row!r}: {name} is {value!r}, but must be {due}")


def _responses(answers: Any, questions: Any) -> pa.Table:
    joined = answers.merge(questions, on=["category", "prompt"])
    return pa.table(
        {
            "question_id": pa.array(joined["question_id"].tolist(), pa.string()),
            "model": pa.array(joined["model"].tolist(), pa.string()),
            "correct": pa.array((joined["label"] == 1).tolist(), pa.bool_()),
        }
    )
