"""A planted low-rank correctness matrix: who is right about what is known, so that it can be asked back."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit

from embedder.matrix import CorrectnessMatrix
from embedder.questions import Questions

MakeMatrix = Callable[..., CorrectnessMatrix]
MakeQuestions = Callable[..., Questions]


@dataclass(frozen=True)
class World:
    """Answers drawn with known `probabilities` (Q, M)."""

    matrix: CorrectnessMatrix
    questions: Questions
    probabilities: np.ndarray


MakeWorld = Callable[..., World]


@pytest.fixture(scope="session")
def make_matrix() -> MakeMatrix:
    def make(
        labels: list[list[float | None]] | np.ndarray,
        *,
        splits: list[str],
        benchmarks: list[str] | None = None,
        models: tuple[str, ...] | None = None,
    ) -> CorrectnessMatrix:
        """Question i is "q0i"; None or NaN is a cell that was not asked; benchmark "b" unless said."""
        cells = np.array(labels, np.float32)
        n, width = cells.shape
        names = np.array(benchmarks or ["b"] * n, object)
        return CorrectnessMatrix(
            labels=cells,
            models=models or tuple(f"m{i:02d}" for i in range(width)),
            question_ids=np.array([f"q{i:02d}" for i in range(n)], object),
            benchmarks=names,
            categories=names,
            splits=np.array(splits, object),
            texts=np.array([f"question {i}" for i in range(n)], object),
        )

    return make


@pytest.fixture(scope="session")
def make_questions() -> MakeQuestions:
    def make(vectors: list[list[float]] | np.ndarray, *, benchmarks: list[str] | None = None) -> Questions:
        """Questions of these vectors; question i reads "question i", benchmarks are unknown unless said."""
        return Questions(
            np.array([f"question {i}" for i in range(len(vectors))], object),
            np.array(vectors, np.float32),
            None if benchmarks is None else np.array(benchmarks, object),
        )

    return make


@pytest.fixture(scope="session")
def planted(make_matrix: MakeMatrix) -> tuple[CorrectnessMatrix, Questions]:
    """600 questions on three topics (benchmarks) by 12 models; a model is right where its skill suits the
    question.

    Their vectors (600, 8) are unit vectors near the topic's direction; labels follow from them by a rank-4
    product. Their texts tell nothing.
    """
    rng = np.random.default_rng(7)
    topic = rng.integers(0, 3, 600)
    vectors = np.eye(8)[topic] + 0.25 * rng.standard_normal((600, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    skill = np.where(rng.random((12, 3)) < 0.6, 1.0, -1.0) + 0.5 * rng.standard_normal((12, 3))
    logits = vectors[:, :3] @ skill.T + 0.3 * vectors[:, 3:4]
    matrix = make_matrix(
        (logits > 0).astype(np.float32),
        splits=[("val" if i % 10 == 8 else "test" if i % 10 == 9 else "train") for i in range(600)],
        benchmarks=[f"topic{t}" for t in topic],
    )
    return matrix, Questions(matrix.texts, vectors.astype(np.float32), matrix.benchmarks)


@pytest.fixture(scope="session")
def make_world(make_matrix: MakeMatrix) -> MakeWorld:
    def make(n: int = 1200, models: int = 40, *, contrast: float = 0.5, seed: int = 0) -> World:
        """Log-odds are three waves over the questions' unit vectors (n, 6), weighted by model, plus the model's own
        level. `contrast` is the deviation of the first wave's weights. Four benchmarks, by the signs of the vectors'
        first two coordinates; one question in four is of the test split. The texts differ, their form does not.
        """
        rng = np.random.default_rng(seed)
        vectors = rng.standard_normal((n, 6))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        waves = np.sin(vectors @ rng.normal(0, 1.5, (6, 3)) + rng.uniform(0, 2 * np.pi, 3))
        waves = (waves - waves.mean(0)) / waves.std(0)
        weights = rng.standard_normal((models, 3)) * contrast * [1, 0.7, 0.5]
        probabilities = expit(waves @ weights.T + rng.normal(0.3, 0.7, models))
        matrix = make_matrix(
            (rng.random(probabilities.shape) < probabilities).astype(np.float32),
            splits=["test" if i % 4 == 3 else "train" for i in range(n)],
            benchmarks=[f"b{b}" for b in (vectors[:, 0] > 0) + 2 * (vectors[:, 1] > 0)],
        )
        texts = ["what is " + "".join(letters) for letters in islice(product("bcdfghjklm", repeat=4), n)]
        return World(matrix, Questions(np.array(texts, object), vectors.astype(np.float32)), probabilities)

    return make


@pytest.fixture(scope="session")
def save_transformer() -> Callable[..., Path]:
    def save(folder: Path, *, seed: int = 0, window: int = 8) -> Path:
        """A random sentence encoder of one layer that reads `window` tokens, two of them its own, in a folder."""
        import torch
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
        from transformers import BertConfig, BertModel, BertTokenizer

        words = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cat", "dog", "##s", "owl", "fox", "elk", "yak")
        folder.mkdir(parents=True, exist_ok=True)
        BertTokenizer(vocab={word: row for row, word in enumerate(words)}).save_pretrained(folder / "bert")
        torch.manual_seed(seed)
        sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
        BertModel(BertConfig(vocab_size=len(words), initializer_range=1.0, **sizes)).save_pretrained(folder / "bert")
        read = Transformer(str(folder / "bert"), max_seq_length=window)
        SentenceTransformer(modules=[read, Pooling(8)], device="cpu").save(str(folder))
        return folder

    return save
