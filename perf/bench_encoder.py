"""What the static encoder loses or gains next to its teacher, and how long both take, on published results.

    python perf/bench_encoder.py [--data ../shared/data] [--cache data/cache] [--sets mmlu_pro zeroeval combined]
                                 [--encoders static ...] [--against all-MiniLM-L6-v2] [--timed 256] [--skip-test]

The default embedder is fitted on each encoder's vectors: five-fold cross-fitted over the train and val questions, by
which encoders are chosen, and fitted on all of them and held against the test questions. Intervals are 95%, over
questions, of the difference to --against. Vectors are kept in the cache; seconds are of encoding --timed questions that
are not looked up there, times how many there are.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY))

from embedder import metrics  # noqa: E402
from embedder.encoder import BUNDLED_ENCODER, Encoder, load_encoder  # noqa: E402
from embedder.matrix import CorrectnessMatrix  # noqa: E402
from embedder.questions import Questions  # noqa: E402
from embedder.spectral.spectral import SpectralEmbedder  # noqa: E402
from perf._common import SETS, embed, is_there, parser, published  # noqa: E402
from perf._common import table as new_table  # noqa: E402
from perf.bench_embedder import cross_fit  # noqa: E402

COLUMNS = ("encoder", "accuracy", "minus the teacher's, points", "log-loss", "minus the teacher's", "ECE")


def quality_table(title: str, labels: np.ndarray, forecasts: dict[str, np.ndarray], against: str) -> Table:
    """A row is an encoder, whose forecasts (n, M) are held against the answers and against another's."""
    table = new_table(title, COLUMNS)
    for name, probabilities in forecasts.items():
        hits = _by_question(_hits(labels, probabilities) - _hits(labels, forecasts[against]))
        loss = _by_question(_losses(labels, probabilities) - _losses(labels, forecasts[against]))
        table.add_row(
            name,
            f"{metrics.accuracy(labels, probabilities):.2%}",
            _interval(*hits, scale=100, digits=2) if name != against else "",
            f"{metrics.log_loss(labels, probabilities):.4f}",
            _interval(*loss, scale=1, digits=4) if name != against else "",
            f"{metrics.ece(labels, probabilities):.4f}",
        )
    return table


def _hits(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(labels), np.nan, (probabilities >= 0.5) == (labels == 1))


def _losses(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    return -np.log(np.clip(np.where(labels == 1, probabilities, 1 - probabilities), 1e-6, 1)) + 0 * labels


def _by_question(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums (n,) of the cells that were asked, and how many these are."""
    return np.nansum(cells, axis=1), (~np.isnan(cells)).sum(axis=1)


def _interval(sums: np.ndarray, counts: np.ndarray, *, scale: float, digits: int) -> str:
    low, high = metrics.bootstrap_interval(sums, counts, seed=0) or (np.nan, np.nan)
    return f"{scale * sums.sum() / counts.sum():+.{digits}f} ({scale * low:+.{digits}f} to {scale * high:+.{digits}f})"


def measure(
    name: str, matrix: CorrectnessMatrix, vectors: dict[str, np.ndarray], against: str, *, test: bool
) -> list[Table]:
    """Forecasts of the questions by the default embedder, on each encoder's `vectors` (n, D)."""
    seen = matrix.splits != "test"
    chosen, tested = {}, {}
    for encoder, of_questions in vectors.items():
        questions = Questions(matrix.texts, of_questions, matrix.benchmarks)
        out = cross_fit(SpectralEmbedder, matrix.rows(seen), questions.rows(seen))
        chosen[encoder] = out.probabilities
        if test:
            learnt_on = replace(matrix, splits=np.where(seen, "train", "test").astype(object))
            tested[encoder] = SpectralEmbedder().fit(learnt_on, questions).predict_proba(questions.rows(~seen))
    tables = [quality_table(f"{name}: {seen.sum():,} train and val questions", matrix.labels[seen], chosen, against)]
    if test:
        tables.append(quality_table(f"{name}: {(~seen).sum():,} test questions", matrix.labels[~seen], tested, against))
    return tables


def speed_table(encoders: dict[str, Encoder], loaded: dict[str, float], texts: list[str], timed: int) -> Table:
    """A row is an encoder; the teacher encodes only some of the questions, spread over all lengths."""
    table = new_table(f"{len(texts):,} questions", ("encoder", "s to load", "s to encode", "longer than a window"))
    for name, encoder in encoders.items():
        by_length = sorted(texts, key=len)
        some = by_length[:: max(len(texts) // timed, 1)]
        started = time.perf_counter()
        encoder.encode(some, progress=False)
        seconds = (time.perf_counter() - started) * len(texts) / len(some)
        share = encoder.count_long(texts) / len(texts)
        table.add_row(name, f"{loaded[name]:.1f}", f"{seconds:.1f}", f"{share:.1%}")
    return table


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    options.add_argument("--encoders", nargs="+", default=["static"])
    options.add_argument("--against", default=BUNDLED_ENCODER)
    options.add_argument("--timed", type=int, default=256, help="questions to encode for the time")
    options.add_argument("--skip-test", action="store_true", help="while something is still to be chosen")
    arguments = options.parse_args()
    if not is_there(arguments.data):
        return
    encoders, loaded = {}, {}
    for name in dict.fromkeys([arguments.against, *arguments.encoders]):
        started = time.perf_counter()
        encoders[name] = load_encoder(name)
        loaded[name] = time.perf_counter() - started
    console = Console(width=132)
    for name in arguments.sets:
        matrix = published(arguments.data, name)
        texts = matrix.texts.tolist()
        console.print(f"\n[bold]{name}[/]", speed_table(encoders, loaded, texts, arguments.timed), sep="\n")
        vectors = {which: embed(encoder, texts, arguments.cache) for which, encoder in encoders.items()}
        for table in measure(name, matrix, vectors, arguments.against, test=not arguments.skip_test):
            console.print(table)


if __name__ == "__main__":
    main()
