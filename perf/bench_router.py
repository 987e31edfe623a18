"""How fast the router decides: in bulk from embeddings, and question by question, the encoder apart.

    python perf/bench_router.py [--data ../shared/data] [--cache data/cache] [--models 112] [--questions 3000]

The embedder is fitted on the train questions of the published set `combined`, and without it on made-up questions.
Where models are too few their columns are repeated under other names, where test and val questions are too few they
are repeated: the title says how many there were. On a machine that others use too, set OMP_NUM_THREADS=1.
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY))

from embedder.encoder import Encoder, load_encoder  # noqa: E402
from embedder.lexical import lexical_features  # noqa: E402
from embedder.matrix import CorrectnessMatrix  # noqa: E402
from embedder.questions import Questions  # noqa: E402
from embedder.router import Router, TextEncoder  # noqa: E402
from embedder.spectral.spectral import SpectralEmbedder  # noqa: E402
from perf._common import embed, parser, published  # noqa: E402
from perf._common import table as new_table  # noqa: E402

DECISIONS_A_SECOND, QUERY_MS, ENCODER_SHARE = 50_000, 0.4, 0.9  # the targets
BULK_REPEATS, ENCODED_REPEATS, SINGLE_QUERIES = 9, 200, 1_000
SHORT = "What is the capital of Australia?"


class Ready:
    """An encoder that knows the vectors of its texts."""

    def __init__(self, questions: Questions) -> None:
        self._row = {text: row for row, text in enumerate(questions.texts)}
        self._vectors = questions.vectors

    def encode(self, texts: Sequence[str], *, progress: bool = True) -> np.ndarray:
        return self._vectors[[self._row[text] for text in texts]]


class Timed:
    """An encoder that notes how many seconds each call took."""

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder, self.seconds = encoder, list[float]()

    def encode(self, texts: Sequence[str], *, progress: bool = True) -> np.ndarray:
        started = time.perf_counter()
        vectors = self._encoder.encode(texts, progress=progress)
        self.seconds.append(time.perf_counter() - started)
        return vectors


def made_up(questions: int, models: int) -> CorrectnessMatrix:
    """Questions of random words, answered at random."""
    draw = np.random.default_rng(0)
    words = np.array([f"{a}{b}{c}" for a in "bdklmnprst" for b in "aeiou" for c in ("n", "rd", "st", "ther", "ling")])
    texts = [
        f"Which {' '.join(draw.choice(words, draw.integers(5, 60)))}?\nA. {i}\nB. {draw.choice(words)}"
        for i in range(questions)
    ]
    names = np.array([f"question-{i}" for i in range(questions)], object)
    benchmarks = np.array([f"benchmark-{i % 10}" for i in range(questions)], object)
    return CorrectnessMatrix(
        labels=(draw.random((questions, models)) < 0.6).astype(np.float32),
        models=tuple(f"model-{i:04}" for i in range(models)),
        question_ids=names,
        benchmarks=benchmarks,
        categories=benchmarks,
        splits=draw.choice(np.array(["train", "val", "test"], object), questions, p=[0.6, 0.2, 0.2]),
        texts=np.array(texts, object),
    )


def of_models(matrix: CorrectnessMatrix, count: int) -> CorrectnessMatrix:
    """The matrix of the first `count` models, which start anew where they are too few."""
    columns = np.arange(count) % len(matrix.models)
    names = [f"{matrix.models[c]} {i // len(matrix.models) + 1}" for i, c in enumerate(columns)]
    return replace(matrix, labels=matrix.labels[:, columns], models=tuple(names))


def milliseconds(step: Callable[[], object], repeats: int) -> np.ndarray:
    """How long each call takes; the first, which warms up, is not counted."""
    step()
    times = np.empty(repeats)
    for i in range(repeats):
        started = time.perf_counter()
        step()
        times[i] = time.perf_counter() - started
    return times * 1e3


def bulk_table(fitted: SpectralEmbedder, questions: Questions, title: str) -> Table:
    """A row is how much there is to do for all questions at once."""
    table = new_table(title, ("all at once", "p50 ms", "least ms", "decisions a second", f"x {DECISIONS_A_SECOND:,}"))
    router, fresh = Router(fitted, Ready(questions)), (questions.texts, questions.vectors)
    _ = questions.lexical  # from here on it is known
    steps: dict[str, Callable[[], object]] = {
        "best model, lexical features known": lambda: fitted.routing_scores(questions).argmax(1),
        "best model, lexical features too": lambda: fitted.routing_scores(Questions(*fresh)).argmax(1),
        "Router.rank, the encoder apart": lambda: router.rank(questions.texts.tolist()),
    }
    for name, step in steps.items():
        times = milliseconds(step, BULK_REPEATS)
        half = float(np.median(times))
        speed = len(questions) / half * 1e3
        table.add_row(name, f"{half:.1f}", f"{times.min():.1f}", f"{speed:,.0f}", f"{speed / DECISIONS_A_SECOND:.2f}")
    return table


def query_table(fitted: SpectralEmbedder, questions: Questions) -> Table:
    """A row is a part of one query without its encoder, over many different questions."""
    some = questions.rows(np.arange(SINGLE_QUERIES) % len(questions))
    router = Router(fitted, Ready(some))
    alone = [some.rows(np.array([i])) for i in range(len(some))]
    for question in alone:
        _ = question.lexical
    columns = ("part", "p50 ms", "p99 ms", "least ms", "of the whole")
    table = new_table(f"one query, the encoder apart: {SINGLE_QUERIES:,} questions one by one", columns)
    steps: dict[str, Callable[[int], object]] = {
        "Router.rank": lambda i: router.rank([some.texts[i]]),
        "  lexical features": lambda i: lexical_features(some.texts[i : i + 1]),
        "  forecast with uncertainty": lambda i: fitted.forecast(alone[i]),
        "    of it kernel, category, coordinates": lambda i: fitted.coordinates(alone[i]),
    }
    half = {}
    for name, step in steps.items():
        times = _each(step)
        half[name] = float(np.median(times))
        row = half[name], np.percentile(times, 99), times.min()
        table.add_row(name, *(f"{ms:.3f}" for ms in row), f"{half[name] / half['Router.rank']:.0%}")
    whole, lexical, forecast, _ = half.values()
    rest = whole - lexical - forecast
    table.add_row("  the rest", f"{rest:.3f}", "", "", f"{rest / whole:.0%}")
    table.add_row("target", f"{QUERY_MS:.3f}", "", "", f"{QUERY_MS / whole:.0%}")
    return table


def encoded_table(fitted: SpectralEmbedder, encoder: Encoder, long: str) -> Table:
    """A row is a question asked again and again with the real encoder."""
    columns = ("one query with the encoder", "characters", "p50 ms", "p99 ms", "the router's p50", "encoder", "target")
    table = new_table(f"the encoder is {encoder.name}", columns)
    for name, text in {"a short question": SHORT, "a long question": long}.items():
        timed = Timed(encoder)
        router = Router(fitted, timed)
        times = milliseconds(lambda router=router, text=text: router.rank([text]), ENCODED_REPEATS)
        encoding = np.array(timed.seconds[1:]) * 1e3  # the first call only warms up
        table.add_row(
            name,
            f"{len(text):,}",
            f"{np.median(times):.2f}",
            f"{np.percentile(times, 99):.2f}",
            f"{np.median(times - encoding):.3f}",
            f"{np.median(encoding / times):.1%}",
            f"{ENCODER_SHARE:.0%}",
        )
    return table


def _each(step: Callable[[int], object]) -> np.ndarray:
    turns = iter(range(-1, SINGLE_QUERIES))  # the first call only warms up
    return milliseconds(lambda: step(next(turns)), SINGLE_QUERIES)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--models", type=int, default=112)
    arguments.add_argument("--questions", type=int, default=3_000)
    options = arguments.parse_args()
    there = (options.data / "combined.parquet").exists()
    matrix = published(options.data, "combined") if there else made_up(5 * options.questions, options.models)
    encoder = load_encoder()
    if there:
        vectors = embed(encoder, matrix.texts.tolist(), options.cache)
    else:
        vectors = np.random.default_rng(0).normal(size=(len(matrix.texts), encoder.dimensions)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    questions = Questions(matrix.texts, vectors)
    fitted = SpectralEmbedder().fit(of_models(matrix, options.models), questions)
    unseen = np.flatnonzero(matrix.splits != "train")
    asked = questions.rows(np.resize(unseen, options.questions))
    title = (
        f"{len(asked):,} questions ({min(len(unseen), len(asked)):,} different) x {options.models:,} models "
        f"({min(len(matrix.models), options.models):,} different) of {'combined' if there else 'made-up answers'}"
    )
    console = Console(width=120)
    console.print(bulk_table(fitted, asked, title))
    console.print(query_table(fitted, asked))
    console.print(encoded_table(fitted, encoder, max(asked.texts, key=len)))


if __name__ == "__main__":
    main()
