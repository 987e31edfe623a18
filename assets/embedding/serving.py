"""The embedder in use, for the stages after it and for the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from assets.inputs.home import Home
from assets.inputs.memory import remember_last
from assets.inputs.versions import serving
from assets.matrix.costs import model_costs
from assets.matrix.reading import correctness, described_questions, encoder_in_use, model_labels
from embedder.errors import EmbedderError
from embedder.matrix import CorrectnessMatrix
from embedder.questions import Questions

if TYPE_CHECKING:
    from embedder.bundle import Bundle
    from embedder.predictor import Forecast
    from embedder.question_costs import CostPredictor
    from embedder.router import Router
    from embedder.spectral.spectral import SpectralEmbedder
    from embedder.store import EmbedderInfo


class NoEmbedder(EmbedderError):
    """No embedder was fitted yet in this home."""


@dataclass(frozen=True)
class Serving:
    """The version in use, with what it is evaluated on: answers (Q, M) and the Q questions. What several stages need
    is computed for the first of them."""

    version: str
    embedder: SpectralEmbedder
    matrix: CorrectnessMatrix
    questions: Questions
    question_costs: Mapping[str, CostPredictor] = field(default_factory=dict)  # by column of warehouse.answers.USAGE

    @property
    def embeddings(self) -> npt.NDArray[np.float32]:
        """(M, d); NaN for a model without training answers."""
        return self.embedder.model_embeddings

    @property
    def answering_models(self) -> int:
        """How many of its models have answered something."""
        return int(self.matrix.observed.any(axis=0).sum())

    @cached_property
    def test_questions(self) -> Questions:
        return self.questions.rows(self.matrix.splits == "test")

    @cached_property
    def test_forecast(self) -> Forecast:
        """By their texts alone: people who ask a question seldom say which benchmark it could be of."""
        return self.embedder.forecast(self.test_questions.by_text_alone())

    @cached_property
    def val_forecast(self) -> Forecast:
        return self.embedder.forecast(self.questions.rows(self.matrix.splits == "val").by_text_alone())

    @cached_property
    def knn_test_forecast(self) -> Forecast:
        """What the baseline KNN forecasts of the test questions."""
        from embedder.baselines.knn import KNN

        return KNN().fit(self.matrix, self.questions).forecast(self.test_questions)


def serving_version(workspace: Home) -> str:
    """Return the version in use.

    Raises:
        NoEmbedder: none was fitted yet.
    """
    version = serving(workspace.lake)
    if version is None:
        raise NoEmbedder(
            f"There is no embedder yet in {workspace.home}: run `embedllm run` first, or `embedllm demo` in a home of "
            "its own."
        )
    return version


def load_spectral(folder: Path, encoder: str | None = None) -> tuple[SpectralEmbedder, EmbedderInfo]:
    """Load a version of the embedder.

    Raises:
        StoreError: its files are damaged, or it is of another method, or of another encoder than the one given.
    """
    from embedder.spectral.spectral import SpectralEmbedder
    from embedder.store import StoreError, load_embedder

    fitted, info = load_embedder(folder, encoder=encoder)
    if not isinstance(fitted, SpectralEmbedder):
        raise StoreError(f"{folder}: its method is {fitted.method}, and only {SpectralEmbedder.method} can serve")
    return fitted, info


def serving_state(workspace: Home) -> tuple[str, str, str, str]:
    """Return what decides what there is to read now: the version in use, the encoder in use, and the lake.

    Raises:
        NoEmbedder: none was fitted yet.
    """
    lake = workspace.lake
    return serving_version(workspace), encoder_in_use(workspace).name, lake.address, lake.state()


@remember_last(serving_state)
def load_serving(workspace: Home) -> Serving:
    """Return the serving embedder and the answers in the lake; they are read once for all the stages of a run.

    Raises:
        NoEmbedder: none was fitted yet.
        StoreError: its files are damaged, or it was fitted on another encoder's vectors.
    """
    from embedder.question_costs import load_question_costs

    version, encoder = serving_version(workspace), encoder_in_use(workspace).name
    folder = workspace.embedders / version
    workspace.fetch(folder)
    fitted, _ = load_spectral(folder, encoder)
    # After a rollback, models have answers that the version in use does not know.
    matrix = correctness(workspace).of_models(fitted.models)
    questions = described_questions(workspace, matrix, encoder)
    return Serving(version, fitted, matrix, questions, load_question_costs(folder))


def tabulate_embeddings(version: str, embeddings: Mapping[str, npt.NDArray[np.float32]]) -> pa.Table:
    """Return rows of the table `model_embeddings`: the embedding (d,) of each model in a version."""
    return pa.table(
        {
            "embedder": pa.array([version] * len(embeddings), pa.string()),
            "model": pa.array(list(embeddings), pa.string()),
            "embedding": pa.array(list(embeddings.values()), pa.list_(pa.float32())),
        }
    )


class PlacedModel(NamedTuple):
    """A model with its embedding (d,) and the share of questions it answered right; None is not known."""

    model: str
    embedding: npt.NDArray[np.float32]
    accuracy: float | None


def place_models(workspace: Home) -> list[PlacedModel]:
    """Return every model that has an embedding of the version in use, by name. Those onboarded from a few answers are
    among them, with the accuracy that is predicted of them."""
    served, lake = load_serving(workspace), workspace.lake
    of_serving = pc.field("embedder") == served.version
    embeddings, onboarded = lake.read_table("model_embeddings"), lake.read_table("onboarded")
    matrix = served.matrix
    asked, right = matrix.observed.sum(axis=0), np.nansum(matrix.labels, axis=0, dtype=float)
    accuracy = {model: right[at] / asked[at] for at, model in enumerate(matrix.models) if asked[at]}
    if onboarded:
        overall = onboarded.filter(of_serving & (pc.field("benchmark") == "all"))
        accuracy |= dict(zip(overall["model"].to_pylist(), overall["accuracy"].to_pylist(), strict=True))
    found = embeddings.filter(of_serving).sort_by("model").to_pylist() if embeddings else []
    return [
        PlacedModel(row["model"], np.array(row["embedding"], np.float32), accuracy.get(row["model"])) for row in found
    ]


def open_router(workspace: Home) -> Router:
    """Return the router on the serving embedder and the models onboarded to it. It knows what each model costs: for
    each question, where answers say what they took. Raises what `open_bundle` raises."""
    return open_bundle(workspace).router


def open_bundle(workspace: Home) -> Bundle:
    """Return what the router is made of, for this process or for a folder of its own.

    Raises:
        NoEmbedder: none was fitted yet.
        EncoderError: the question encoder cannot be found or loaded.
        StoreError: its files are damaged, or it was fitted on another encoder's vectors.
    """
    from embedder.bundle import Bundle
    from embedder.question_costs import load_question_costs
    from embedder.spectral.onboarded import load_extended
    from embedder.store import load_embedder

    folder = workspace.embedders / serving_version(workspace)
    encoder = encoder_in_use(workspace)
    fitted, info = load_embedder(folder, encoder=encoder.name)
    extended, costs = load_extended(folder, fitted), model_costs(workspace, load_question_costs(folder))
    known = {label.model: {"family": label.family, "size_b": label.size_b} for label in model_labels(workspace)}
    labels = {name: known.get(name, {}) for name in extended.models}
    return Bundle(extended, info, encoder, workspace.encoder, costs, labels)
