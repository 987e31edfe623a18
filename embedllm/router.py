"""A router with DataFrames around it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from embedder.bundle import Bundle, save_bundle
from embedder.errors import EmbedderError
from embedder.router import UnknownModel

__all__ = ["Router"]

_ROUTED = ("model", "probability", "low", "high", "score", "cost", "support")


class Router:
    """Says of questions which models answer them, how sure that is, and what it costs."""

    def __init__(self, bundle: Bundle, encoder_files: Path | None = None) -> None:
        self._bundle, self._encoder_files = bundle, encoder_files
        self._router = bundle.router

    def __repr__(self) -> str:
        return f"<embedllm.Router {self.version}, {len(self.models)} models>"

    @property
    def models(self) -> list[str]:
        """The names of the models."""
        return list(self._bundle.predictor.models)

    @property
    def categories(self) -> list[str]:
        """The benchmarks and categories that it knows, each of which helps where a question is known to be of it."""
        return list(self._bundle.predictor.known_categories())

    @property
    def version(self) -> str:
        """The name of the embedder's version."""
        return self._bundle.info.embedder

    @property
    def cost_unit(self) -> str:
        """What `cost` counts: US$, or billions of parameters where no prices are known."""
        return self._router.cost_unit

    @property
    def least_support(self) -> float | None:
        """The support below which a forecast is little more than the models' average."""
        return self._router.least_support

    def route(
        self,
        questions: Sequence[str],
        *,
        top: int = 5,
        among: Collection[str] | None = None,
        without: Collection[str] = (),
        cost_weight: float = 0,
        category: str | None = None,
    ) -> pd.DataFrame:
        """Return the `top` models for each question, the best first.

        A row is a model for a question: `question`, `rank` (1 is the best), `model`, `probability` that its answer is
        right, `low` and `high` (95% interval), `score` that it is ranked by (less `cost_weight` times the cost), `cost`
        in `cost_unit`, and the question's `support`: 1 like many training questions, 0 unlike all. What is not known is
        missing. Raises UnknownModel or UnknownBenchmark, both ValueError's kind, for names that it does not know.
        """
        texts = _as_list(questions)
        ranked = self._router.rank(
            texts, models=among, without=without, cost_weight=cost_weight, top=top, benchmark=category
        )
        rows = [
            {"question": question, "rank": rank, **{name: getattr(choice, name) for name in _ROUTED}}
            for question, choices in zip(texts, ranked, strict=True)
            for rank, choice in enumerate(choices, start=1)
        ]
        return _as_frame(rows, ("question", "rank", *_ROUTED))

    def forecast(self, questions: Sequence[str], *, category: str | None = None) -> pd.DataFrame:
        """Return the probability that each model's answer is right: a row a question, a column a model."""
        texts = _as_list(questions)
        ranked = self._router.rank(texts, top=len(self.models), benchmark=category)
        rows = [{choice.model: choice.probability for choice in choices} for choices in ranked]
        return pd.DataFrame(rows, index=pd.Index(texts, name="question"), columns=pd.Index(self.models, name="model"))

    def frame(self, frame: pd.DataFrame, question: str = "prompt", **options: object) -> pd.DataFrame:
        """Return `frame` with the best model for the text in its column `question`, as the columns `model`,
        `probability`, `low`, `high`, `score`, `cost` and `support`; `options` are those of `route`."""
        if question not in frame.columns:
            raise KeyError(f"the frame has no column {question!r}, only {', '.join(map(str, frame.columns))}")
        if taken := [name for name in _ROUTED if name in frame.columns]:
            raise ValueError(f"the frame has a column {taken[0]!r} already; rename it")
        texts = frame[question].tolist()
        if bad := [at for at, text in enumerate(texts) if not isinstance(text, str)]:
            row = frame.index[bad[0] : bad[0] + 1].tolist()[0]
            raise ValueError(f"row {row!r}: {question} is {texts[bad[0]]!r}, but must be text")
        routed = self.route(texts, **{**options, "top": 1})  # type: ignore[arg-type]
        return frame.assign(**{name: routed[name].to_numpy() for name in _ROUTED})

    def similar(self, model: str, top: int = 10) -> pd.DataFrame:
        """Return the models whose embeddings are nearest to that of `model`: `model`, `cosine`, `distance`.

        Raises UnknownModel; EmbedderError where the method has no embeddings.
        """
        embeddings = self.embeddings
        if model not in embeddings.index:
            raise UnknownModel(f"unknown model {model!r}: the router knows {', '.join(self.models[:5])} …")
        vectors = embeddings.to_numpy(float)
        own = vectors[embeddings.index.get_loc(model)]
        lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(own)
        found: Any = pd.DataFrame(
            {
                "model": embeddings.index,
                "cosine": (vectors @ own) / np.where(lengths > 0, lengths, 1),
                "distance": np.linalg.norm(vectors - own, axis=1),
            }
        )
        return found[found["model"] != model].sort_values("distance", ignore_index=True).head(top)

    @property
    def embeddings(self) -> pd.DataFrame:
        """The models' embeddings, a row a model; missing for one without training answers. Raises EmbedderError where
        the method has none."""
        found = self._bundle.predictor.model_embeddings
        if found is None:
            raise EmbedderError(f"the method {self._bundle.predictor.method} has no embeddings")
        return pd.DataFrame(found, index=pd.Index(self.models, name="model"))

    def save(self, folder: str | Path) -> Path:
        """Write the router into a new folder, from which `embedllm.load` and `embedllm serve --router` read it; push it
        to a model hub with `hf upload NAME FOLDER`. Raises BundleExists."""
        folder = Path(folder).expanduser()
        save_bundle(folder, self._bundle, encoder_files=self._encoder_files)
        return folder


def _as_list(questions: Sequence[str]) -> list[str]:
    if isinstance(questions, str):
        raise TypeError("give a list of questions; put the one question into a list")
    if bad := [at for at, text in enumerate(questions) if not isinstance(text, str)]:
        raise TypeError(f"question {bad[0]} is {list(questions)[bad[0]]!r}, but must be text")
    return [text.encode(errors="replace").decode() for text in questions]  # it may hold half a character


def _as_frame(rows: list[dict[str, object]], columns: Sequence[str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(columns))
    numbers = [name for name in columns if name not in ("question", "rank", "model")]
    return frame.astype(dict.fromkeys(numbers, float))
