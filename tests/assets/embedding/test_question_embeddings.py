"""Each question is encoded once by an encoder."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from assets.embedding.question_embeddings import question_embeddings
from assets.inputs.workspace import Workspace
from assets.matrix.reading import correctness, described_questions
from embedder.errors import EmbedderError
from warehouse.database.read import query

Materialize = Callable[..., dict[str, Any]]


def test_only_new_questions_are_encoded(
    workspace: Workspace, answer: Callable[..., None], materialize: Materialize, encoder: Any
) -> None:
    answer("sums", "elm", "10")
    assert materialize(question_embeddings)["encoded_now"] == 2
    assert materialize(question_embeddings)["encoded_now"] == 0
    answer("trees", "elm", "1")
    found = materialize(question_embeddings)
    assert (found["encoded_now"], found["dagster/row_count"]) == (1, 3)
    assert sorted(encoder.seen) == [
        "sums: what is number 0?",
        "sums: what is number 1?",
        "trees: what is number 0?",
    ]


def test_another_encoder_encodes_everything_and_does_not_mix(
    workspace: Workspace, answer: Callable[..., None], materialize: Materialize, encoder: Any
) -> None:
    answer("sums", "elm", "10")
    materialize(question_embeddings)
    encoder.name = "counting@2"
    assert materialize(question_embeddings)["encoded_now"] == 2
    rows = query(workspace.database, "SELECT encoder, count(*) AS n FROM question_embeddings GROUP BY ALL ORDER BY ALL")
    assert rows.to_pylist() == [{"encoder": "counting@1", "n": 2}, {"encoder": "counting@2", "n": 2}]
    assert described_questions(workspace, correctness(workspace), "counting@1").vectors.shape == (2, 4)


def test_vectors_follow_the_order_of_the_matrix(
    workspace: Workspace, answer: Callable[..., None], materialize: Materialize, encoder: Any
) -> None:
    answer("trees", "elm", "1010")
    answer("sums", "elm", "10")
    materialize(question_embeddings)
    matrix = correctness(workspace)
    expected = encoder.encode(matrix.texts.tolist())
    questions = described_questions(workspace, matrix, encoder.name)
    np.testing.assert_array_equal(questions.vectors, expected)
    assert list(questions.texts) == matrix.texts.tolist()
    assert questions.benchmarks is not None
    assert questions.benchmarks.tolist() == ["sums"] * 2 + ["trees"] * 4


def test_a_question_without_embedding_is_an_error(
    workspace: Workspace, answer: Callable[..., None], materialize: Materialize, encoder: Any
) -> None:
    answer("sums", "elm", "10")
    materialize(question_embeddings)
    answer("trees", "elm", "1")
    with pytest.raises(EmbedderError, match="1 of 3 questions have no embedding by counting@1"):
        described_questions(workspace, correctness(workspace), encoder.name)


def test_how_many_texts_are_longer_than_a_window(
    workspace: Workspace, answer: Callable[..., None], materialize: Materialize, encoder: Any
) -> None:
    encoder.window = len("sums: what is number 0?")
    answer("sums", "elm", "10")
    answer("trees", "elm", "1")  # one character more
    assert materialize(question_embeddings)["longer_than_a_window"] == pytest.approx(1 / 3, abs=1e-4)
    assert "longer_than_a_window" not in materialize(question_embeddings)  # nothing was read
