"""The embedder in use, for the stages after it and for the command line."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from embedder.matrix import CorrectnessMatrix
from embedder.questions import Questions

from .costs import model_costs
from .inputs import correctness, described_questions, encoder_in_use
from .workspace import Workspace

if TYPE_CHECKING:
    from embedder.predictor import Predictor
    from embedder.router import Router


class NoEmbedder(LookupError):
    """No embedder was fitted yet in this home."""


@dataclass(frozen=True)
class Serving:
    """The version in use, with what it is evaluated on: answers (Q, M) and the Q questions."""

    version: str
    embedder: Predictor
    matrix: CorrectnessMatrix
    questions: Questions

    @property
    def embeddings(self) -> npt.NDArray[np.float32]:
        """(M, d); NaN for a model without training answers."""
        embeddings = self.embedder.model_embeddings
        assert embeddings is not None, "the method that serves has embeddings"
        return embeddings

    @property
    def test_questions(self) -> Questions:
        return self.questions.rows(self.matrix.splits == "test")

    @property
    def val_questions(self) -> Questions:
        return self.questions.rows(self.matrix.splits == "val")


def serving_version(workspace: Workspace) -> str:
    """The version in use.

    Raises:
        NoEmbedder: none was fitted yet.
    """
    table = workspace.lake.read_table("embedders")
    if table is None:
        raise NoEmbedder(f"There is no embedder yet in {workspace.home}: run `embedllm run` or `embedllm demo` first.")
    return table.filter(pc.field("serving"))["embedder"][0].as_py()


def load_serving(workspace: Workspace) -> Serving:
    """The serving embedder and the answers in the lake; read once for all the stages of a run.

    Raises:
        NoEmbedder: none was fitted yet.
        StoreError: its files are damaged, or it was fitted on another encoder's vectors.
    """
    encoder = encoder_in_use(workspace).name
    return _read(_State(serving_version(workspace), encoder, workspace.lake.state(), workspace))


def open_router(workspace: Workspace) -> Router:
    """The router on the serving embedder, with what each model costs.

    Raises:
        NoEmbedder: none was fitted yet.
        EncoderError: the question encoder cannot be found or loaded.
        StoreError: its files are damaged, or it was fitted on another encoder's vectors.
    """
    from embedder.router import Router
    from embedder.store import load_embedder

    version = serving_version(workspace)
    encoder = encoder_in_use(workspace)
    fitted, _ = load_embedder(workspace.embedders / version, encoder=encoder.name)
    return Router(fitted, encoder, model_costs(workspace).by_model)


@dataclass(frozen=True)
class _State:
    """What decides what is read."""

    version: str
    encoder: str
    lake: str
    workspace: Workspace = field(compare=False)


@lru_cache(maxsize=1)
def _read(state: _State) -> Serving:
    from embedder.store import load_embedder

    matrix = correctness(state.workspace)
    questions = described_questions(state.workspace, matrix, state.encoder)
    fitted, _ = load_embedder(state.workspace.embedders / state.version, encoder=state.encoder)
    return Serving(state.version, fitted, matrix, questions)
