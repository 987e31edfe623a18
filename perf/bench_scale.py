"""Time and memory of the default embedder at sizes beyond the published data, on made-up answers.

    python perf/bench_scale.py [--models 112 1000 10000] [--missing 0 0.6] [--questions 28843]

Answers are drawn from a logistic model of questions and models, so that the best log-loss that anyone can reach is
known; held out is what the questions of the test split are forecast. Every size runs in a process of its own, so that
its peak memory is its own. On a machine that others use too, set OMP_NUM_THREADS=1: threads that wait for one another
take several times as long.
"""

import argparse
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.special import expit

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY))

from embedder import metrics  # noqa: E402
from embedder.baselines.rates import ModelMean  # noqa: E402
from embedder.matrix import CorrectnessMatrix  # noqa: E402
from embedder.questions import Questions  # noqa: E402
from embedder.spectral.fold_in import ModelPool  # noqa: E402
from embedder.spectral.spectral import SpectralEmbedder  # noqa: E402
from embedder.store import EmbedderInfo, load_embedder, save_embedder  # noqa: E402
from perf._common import Spent, peak_memory, timed  # noqa: E402
from perf._common import table as new_table  # noqa: E402

DIMENSIONS, COORDINATES, CATEGORIES = 768, 12, 60
SERVED = 3_000  # questions forecast at once
ANSWERS = 128  # of the model that is folded in
SCORED = 500  # models whose held-out answers are scored: a million cells, and their scoring needs no memory to speak of
BLOCK = 1_000  # questions whose answers are drawn at a time: drawing shall not be what peaks
# Models, and the most a fit may take: seconds, and MB with data and all.
TARGETS = {112: (10.0, None), 1_000: (30.0, None), 10_000: (600.0, 16_000)}


@dataclass(frozen=True)
class Planted:
    """Drawn answers, and the probabilities (Q, S) of the first S models that they were drawn with.

    Log-odds are products of a few of the vectors' directions and the models' tastes, which have much in common.
    """

    matrix: CorrectnessMatrix
    questions: Questions
    probabilities: np.ndarray


def plant(count: int, models: int, missing: float) -> Planted:
    draw = np.random.default_rng(0)
    spectrum = np.arange(1, DIMENSIONS + 1) ** -0.4  # as sentence embeddings, of more variance in some directions
    vectors = (draw.standard_normal((count, DIMENSIONS)) * spectrum).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    coordinates = vectors[:, :COORDINATES] / vectors[:, :COORDINATES].std(0)
    coordinates = np.concatenate([coordinates, np.ones((count, 1), np.float32)], 1)
    tastes = draw.normal(0, 0.4, (models, COORDINATES)) + draw.normal(0, 0.4, COORDINATES)
    tastes = np.concatenate([tastes, draw.normal(0.3, 0.8, (models, 1))], 1).astype(np.float32)
    names = np.array([f"category-{number:02}" for number in range(CATEGORIES)], object)
    categories = names[(vectors @ draw.standard_normal((DIMENSIONS, CATEGORIES))).argmax(1)]
    texts = _texts(count, draw)
    matrix = CorrectnessMatrix(
        labels=_answers(coordinates, tastes, missing, draw),
        models=tuple(f"model-{number:05}" for number in range(models)),
        question_ids=np.array([f"question-{number:06}" for number in range(count)], object),
        benchmarks=categories,
        categories=categories,
        splits=draw.choice(np.array(["train", "val", "test"], object), count, p=[0.8, 0.1, 0.1]),
        texts=texts,
    )
    return Planted(matrix, Questions(texts, vectors, categories), expit(coordinates @ tastes[:SCORED].T))


def _answers(coordinates: np.ndarray, tastes: np.ndarray, missing: float, draw: np.random.Generator) -> np.ndarray:
    labels = np.empty((len(coordinates), len(tastes)), np.float32)
    for start in range(0, len(labels), BLOCK):
        block = labels[start : start + BLOCK]
        draw.random(out=block, dtype=np.float32)
        block[:] = block < expit(coordinates[start : start + BLOCK] @ tastes.T)
        block[draw.random(block.shape, dtype=np.float32) < missing] = np.nan
    return labels


def _texts(count: int, draw: np.random.Generator) -> np.ndarray:
    things = np.array(["apples", "pears", "books", "stones", "miles", "dollars", "pupils", "trains", "wolves"], object)
    drawn = zip(draw.integers(2, 999, (count, 4)), draw.choice(things, (count, 2)), strict=True)
    texts = [
        f"No. {number}: there are {a} {x} and {b} {y}. How many are there?\nA. {a + b}\nB. {c}\nC. {d}"
        for number, ((a, b, c, d), (x, y)) in enumerate(drawn)
    ]
    return np.array(texts, object)


@dataclass(frozen=True)
class Measured:
    """What a size takes. Memory is the most that the process ever held, in MB, by then."""

    models: int
    missing: float
    lexical: Spent
    fit: Spent
    memory_before: float
    memory_fit: float
    memory_all: float
    log_loss: dict[str, float]
    serving: dict[str, Spent]


def measure(questions: int, models: int, missing: float) -> Measured:
    planted = plant(questions, models, missing)
    matrix, asked = planted.matrix, planted.questions
    _, lexical = timed(lambda: asked.lexical)
    before = peak_memory()
    embedder, fit = timed(lambda: SpectralEmbedder().fit(matrix, asked))
    memory_fit = peak_memory()
    return Measured(
        models=models,
        missing=missing,
        lexical=lexical,
        fit=fit,
        memory_before=before,
        memory_fit=memory_fit,
        log_loss=held_out(planted, embedder),
        serving=serve(planted, embedder),
        memory_all=peak_memory(),
    )


def held_out(planted: Planted, embedder: SpectralEmbedder) -> dict[str, float]:
    """Log-loss on the test questions by whose forecast it is."""
    matrix = planted.matrix
    test = matrix.splits == "test"
    few = replace(matrix, labels=matrix.labels[:, :SCORED], models=matrix.models[:SCORED])
    labels, questions = few.labels[test], planted.questions.rows(test)
    mean = ModelMean().fit(few, planted.questions)
    return {
        "Bayes": metrics.log_loss(labels, planted.probabilities[test]),
        "embedder": metrics.log_loss(labels, embedder.predict_proba(questions)[:, :SCORED]),
        "model mean": metrics.log_loss(labels, mean.predict_proba(questions)),
    }


def serve(planted: Planted, embedder: SpectralEmbedder) -> dict[str, Spent]:
    """What a fitted embedder is used for, and how long each takes."""
    matrix, questions = planted.matrix, planted.questions
    some = questions.rows(np.arange(min(SERVED, len(questions))))
    spent = {}
    _, spent[f"forecast {len(some):,}"] = timed(lambda: embedder.predict_proba(some))
    info = EmbedderInfo("scale", "none", "1970-01-01T00:00:00Z", 0, len(questions), None, None, 0.0)
    with tempfile.TemporaryDirectory() as folder:
        _, spent["save"] = timed(lambda: save_embedder(Path(folder), embedder, info))
        _, spent["load"] = timed(lambda: load_embedder(Path(folder)))
    pool, spent["pool"] = timed(lambda: ModelPool.of(embedder, matrix, questions))
    answers, draw = np.full(len(questions), np.nan), np.random.default_rng(1)
    asked = draw.choice(len(questions), min(ANSWERS, len(questions)), replace=False)
    answers[asked] = draw.random(len(asked)) < planted.probabilities[asked, 0]  # a twin of the first model
    _, spent["fold in one"] = timed(lambda: pool.fold_in(answers))
    return spent


def tables(measured: list[Measured], questions: int) -> list[Table]:
    """Fits, and the use of what they learnt; a row is a size."""
    size = f"{questions:,} questions x {DIMENSIONS}-d"
    fits = new_table(
        f"fit, {size}; seconds are wall (processor)",
        ("models", "missing", "lexical s", "fit s", "x target", "MB before", "MB in fit", "x data", "x target"),
    )
    quality = new_table(
        f"held-out log-loss of the first {SCORED} models at most",
        ("models", "missing", "Bayes", "embedder", "model mean", "learnt of what can be"),
    )
    uses = new_table(
        f"use, {size}; seconds are wall (processor)", ("models", "missing", *measured[0].serving, "MB at most")
    )
    for m in measured:
        row = f"{m.models:,}", f"{m.missing:.0%}"
        seconds, memory = TARGETS.get(m.models, (None, None))
        data = questions * (m.models + DIMENSIONS) * 4 / 2**20
        fits.add_row(
            *row,
            str(m.lexical),
            str(m.fit),
            f"{m.fit.wall / seconds:.2f}" if seconds else "",
            f"{m.memory_before:,.0f}",
            f"{m.memory_fit:,.0f}",
            f"{(m.memory_fit - m.memory_before) / data:.1f}",
            f"{m.memory_fit / memory:.2f}" if memory else "",
        )
        bayes, ours, mean = m.log_loss.values()
        quality.add_row(*row, *(f"{loss:.4f}" for loss in (bayes, ours, mean)), f"{(mean - ours) / (mean - bayes):.1%}")
        uses.add_row(*row, *map(str, m.serving.values()), f"{m.memory_all:,.0f}")
    return [fits, quality, uses]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, nargs="+", default=list(TARGETS))
    parser.add_argument("--missing", type=float, nargs="+", default=[0.0], help="share of cells without an answer")
    parser.add_argument("--questions", type=int, default=28_843)
    options = parser.parse_args()
    measured = []
    for models in options.models:
        for missing in options.missing:
            print(f"{models:,} models, {missing:.0%} of cells missing", file=sys.stderr)
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                measured.append(pool.submit(measure, options.questions, models, missing).result())
    for table in tables(measured, options.questions):
        Console(width=120).print(table)


if __name__ == "__main__":
    main()
