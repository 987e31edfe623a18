"""How well answers to unseen questions are forecast and routed, and how long fitting takes, on published results.

    python perf/bench_embedder.py [--data ../shared/data] [--cache data/cache] [--sets mmlu_pro zeroeval combined]
                            [--encoder NAME] [--cross-fit] [--ablate]

Every method is fitted on the train questions and chosen on the val questions; what is printed is on the test questions.
"told" is the default embedder where it is told the question's benchmark, as model_benchmark_mean always is.
Sentence embeddings are kept in the cache: the first run encodes for some minutes. Ratios are to `mf`, the paper's model
trained until it no longer improves on the val questions.

--cross-fit adds five-fold cross-fitting over all questions: each is forecast and routed by an embedder that was fitted
on the other four fifths (of which mf needs an eighth to know when to stop). --ablate takes parts of the default
embedder away and changes its settings, cross-fitted over the train and val questions, the test questions unseen.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.special import logit
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY))

from embedder import metrics  # noqa: E402
from embedder.baselines.knn import KNN  # noqa: E402
from embedder.baselines.mf import MatrixFactorization  # noqa: E402
from embedder.baselines.rates import Majority, ModelBenchmarkMean, ModelMean, model_rates  # noqa: E402
from embedder.downstream.routing import route  # noqa: E402
from embedder.encoder import load_encoder  # noqa: E402
from embedder.matrix import CorrectnessMatrix  # noqa: E402
from embedder.predictor import Forecast, Predictor  # noqa: E402
from embedder.questions import Questions  # noqa: E402
from embedder.spectral.spectral import SpectralEmbedder  # noqa: E402
from perf._common import SETS, embed, is_there, parser, published  # noqa: E402
from perf._common import table as new_table  # noqa: E402

FEW = 1000  # training questions of the row that shows how few are enough


@dataclass(frozen=True)
class Fitted:
    """What a method says of the test questions, the seconds it took to fit, and the share of its forecasts that another
    seed changes."""

    forecast: Forecast
    seconds: float
    changed: float


def fit_all(matrix: CorrectnessMatrix, texts: np.ndarray, vectors: np.ndarray, seed: int) -> dict[str, Fitted]:
    """Every method, by its name."""
    fitted = {}
    for make in (SpectralEmbedder, MatrixFactorization, KNN, ModelBenchmarkMean, ModelMean, Majority):
        questions = Questions(texts, vectors, matrix.benchmarks)  # anew, so that each pays for what it needs
        started = time.perf_counter()
        predictor = make().fit(matrix, questions, seed=seed)
        seconds = time.perf_counter() - started
        tested = questions.rows(matrix.splits == "test")
        told = predictor.forecast(tested)
        if isinstance(predictor, SpectralEmbedder):
            fitted["spectral, told"] = Fitted(told, seconds, 0.0)
            tested = tested.by_text_alone()
        forecast = predictor.forecast(tested)
        again = make().fit(matrix, questions, seed=seed + 1).predict_proba(tested)
        changed = ((again >= 0.5) != (forecast.probabilities >= 0.5)).mean()
        fitted[predictor.method] = Fitted(forecast, seconds, float(changed))
    few = np.random.default_rng(seed).choice(np.flatnonzero(matrix.splits == "train"), FEW, replace=False)
    splits = np.where(np.isin(np.arange(len(texts)), few) | (matrix.splits == "test"), matrix.splits, "unused")
    questions = Questions(texts, vectors, matrix.benchmarks)
    started = time.perf_counter()
    predictor = SpectralEmbedder().fit(replace(matrix, splits=splits), questions)
    seconds = time.perf_counter() - started
    few_forecast = predictor.forecast(questions.rows(splits == "test").by_text_alone())
    fitted[f"on {FEW:,} questions"] = Fitted(few_forecast, seconds, 0.0)
    return fitted


def forecast_table(name: str, matrix: CorrectnessMatrix, methods: dict[str, Fitted], seed: int) -> Table:
    """A row is a method, held against the answers to the test questions."""
    test = matrix.of_split("test")
    table = new_table(
        f"{name}: {len(test.labels):,} test questions, {len(test.models)} models",
        (*FORECAST_COLUMNS, "fit s", "x mf's time", "changed by seed"),
    )
    for method, fitted in methods.items():
        tested, mf = fitted.forecast.probabilities, methods["mf"].forecast.probabilities
        table.add_row(
            method,
            *_forecast_cells(test.labels, tested, mf, seed),
            f"{fitted.seconds:.2f}",
            f"{fitted.seconds / methods['mf'].seconds:.3f}",
            f"{fitted.changed:.2%}",
        )
    return table


FORECAST_COLUMNS = ("method", "accuracy", "minus mf (95%)", "AUC", "log-loss", "Brier", "ECE")


def _forecast_cells(labels: np.ndarray, probabilities: np.ndarray, mf: np.ndarray, seed: int) -> list[str]:
    asked = ~np.isnan(labels)
    gained = _hits(labels, probabilities) - _hits(labels, mf)
    low, high = metrics.bootstrap_interval(gained, asked.sum(axis=1), seed=seed) or (np.nan, np.nan)
    scores = (metrics.auc, metrics.log_loss, metrics.brier, metrics.ece)
    return [
        f"{metrics.accuracy(labels, probabilities):.2%}",
        f"{low:+.2%} to {high:+.2%}" if probabilities is not mf else "",
        *(f"{score(labels, probabilities):.4f}" for score in scores),
    ]


def _hits(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    return (((probabilities >= 0.5) == (labels == 1)) & ~np.isnan(labels)).sum(axis=1)


def routing_table(matrix: CorrectnessMatrix, fitted: Fitted, seed: int) -> Table:
    """A row is a way to choose a model for each test question."""
    table = new_table(
        "routing by the default embedder", ("router", "right", "95%", "gain over best single", "gap to oracle")
    )
    for row in route(matrix, fitted.forecast, "perf", seed=seed)[0].to_pylist():
        if row["benchmark"] == "all":
            table.add_row(
                row["method"],
                f"{row['accuracy']:.2%}",
                f"{row['ci_low']:.2%} to {row['ci_high']:.2%}",
                f"{row['gain_over_best']:+.2%}",
                f"{row['gap_to_oracle']:.2%}",
            )
    return table


@dataclass(frozen=True)
class OutOfFold:
    """What is said of each question (n, M) by a predictor not fitted on it, and each model's rate on those it was."""

    labels: np.ndarray
    probabilities: np.ndarray
    scores: np.ndarray
    rates: np.ndarray


def cross_fit(
    make: Callable[[], Predictor], matrix: CorrectnessMatrix, questions: Questions, *, folds: int = 5, seed: int = 1
) -> OutOfFold:
    """Every question of `matrix`, by a predictor fitted on the other folds; an eighth of these is for validation where
    the predictor chooses anything."""
    fold = np.random.default_rng(seed).integers(0, folds, len(matrix.labels))
    found = OutOfFold(matrix.labels, *(np.full(matrix.labels.shape, np.nan, np.float32) for _ in range(3)))
    for number in range(folds):
        out = fold == number
        splits = np.where(out, "test", "train").astype(object)
        predictor = make()
        if isinstance(predictor, MatrixFactorization | KNN):
            splits[np.flatnonzero(~out)[::8]] = "val"
        predictor.fit(replace(matrix, splits=splits), questions, seed=seed)
        forecast = predictor.forecast(questions.rows(out))
        found.probabilities[out], found.scores[out] = forecast.probabilities, forecast.routing_scores
        found.rates[out] = model_rates(matrix.rows(~out))
    return found


def cross_fit_tables(name: str, matrix: CorrectnessMatrix, questions: Questions, seed: int) -> list[Table]:
    """Forecasts and routing over all questions, five-fold."""
    alone = questions.by_text_alone()
    found = {m.method: cross_fit(m, matrix, alone) for m in (SpectralEmbedder, MatrixFactorization, KNN)}
    found["spectral, told"] = cross_fit(SpectralEmbedder, matrix, questions)
    found[ModelBenchmarkMean.method] = cross_fit(ModelBenchmarkMean, matrix, questions)
    table = new_table(f"{name}: all {len(matrix.labels):,} questions, 5-fold cross-fitted", FORECAST_COLUMNS)
    for method, out in found.items():
        cells = _forecast_cells(out.labels, out.probabilities, found["mf"].probabilities, seed)
        table.add_row(method, *cells)
    table.add_row("spectral, Platt", *_forecast_cells(matrix.labels, *_recalibrated(found), seed))
    routing = new_table(
        "routing, 5-fold: points gained over the best single model (95%)",
        ("routed by", "all models", "without the two best"),
    )
    ways = {
        "default: routing score": (found["spectral"], "scores"),
        "default: forecast": (found["spectral"], "probabilities"),
        "default, told: routing score": (found["spectral, told"], "scores"),
        "mf": (found["mf"], "probabilities"),
        "knn": (found["knn"], "probabilities"),
    }
    for way, (out, score) in ways.items():
        routing.add_row(way, *(_gain(out, getattr(out, score), drop, seed) for drop in (0, 2)))
    return [table, routing]


def _recalibrated(found: dict[str, OutOfFold]) -> tuple[np.ndarray, np.ndarray]:
    """The default embedder's probabilities after Platt's scaling, fitted on other questions' forecasts; and mf's."""
    out = found["spectral"]
    asked = ~np.isnan(out.labels)
    logits = logit(np.clip(out.probabilities[asked], 1e-6, 1 - 1e-6))[:, None]
    question = np.nonzero(asked)[0]
    scaled = out.probabilities.copy()
    platt = LogisticRegression(C=np.inf)
    others = GroupKFold(5)  # questions, not cells
    predicted = cross_val_predict(platt, logits, out.labels[asked], groups=question, cv=others, method="predict_proba")
    scaled[asked] = np.asarray(predicted)[:, 1]
    return scaled, found["mf"].probabilities


def _gain(out: OutOfFold, score: np.ndarray, drop: int, seed: int) -> str:
    """Points gained by the highest score over the best single model, among all but the `drop` best models."""
    kept = np.argsort(-out.rates.mean(axis=0))[drop:]
    routed, single = (_right(out.labels[:, kept], by[:, kept]) for by in (score, out.rates))
    low, high = metrics.bootstrap_interval(routed - single, np.ones(len(routed)), seed=seed) or (np.nan, np.nan)
    return f"{100 * (routed - single).mean():+.2f} ({100 * low:+.2f} to {100 * high:+.2f})"


def _right(labels: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Whether the model of the highest score, of those that were asked, is right; less questions nobody was asked."""
    asked = ~np.isnan(labels)
    best = np.where(asked, score, -np.inf).argmax(axis=1)
    return labels[np.arange(len(labels)), best][asked.any(axis=1)]


ABLATIONS: dict[str, dict[str, float]] = {
    "default": {},
    "without form": {"lexical_weight": 0},
    "without predicted category": {"category_weight": 0},
    "sentence embedding only": {"lexical_weight": 0, "category_weight": 0},
    "rank 1": {"rank": 1},
    "rank 6": {"rank": 6},
    "landmarks 300": {"landmarks": 300},
    "landmarks 750": {"landmarks": 750},
    "landmarks 3000": {"landmarks": 3000},
    "form x 1/2": {"lexical_weight": 0.75},
    "form x 2": {"lexical_weight": 3},
    "category x 1/3": {"category_weight": 1},
    "category x 2": {"category_weight": 6},
    "width / 2": {"width": 4},
    "width x 2": {"width": 1},
}


def ablation_table(name: str, matrix: CorrectnessMatrix, questions: Questions, seed: int) -> Table:
    """A row is the default embedder with something changed, cross-fitted on train and val questions."""
    seen = matrix.splits != "test"
    matrix, questions = matrix.rows(seen), questions.rows(seen)
    table = new_table(
        f"{name}: {seen.sum():,} train and val questions, 5-fold",
        ("embedder", "accuracy", "log-loss", "ECE", "routing gain", "by forecast alone", "fit s (5)"),
    )
    for way, settings in ABLATIONS.items():
        started = time.perf_counter()
        out = cross_fit(partial(SpectralEmbedder, **settings), matrix, questions)
        seconds = time.perf_counter() - started
        scores = [f"{metric(out.labels, out.probabilities):.4f}" for metric in (metrics.log_loss, metrics.ece)]
        gains = [_gain(out, score, 0, seed).split()[0] for score in (out.scores, out.probabilities)]
        accuracy = f"{metrics.accuracy(out.labels, out.probabilities):.2%}"
        table.add_row(way, accuracy, *scores, *gains, f"{seconds:.1f}")
    return table


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    arguments.add_argument("--encoder", default="static")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--cross-fit", action="store_true")
    arguments.add_argument("--ablate", action="store_true")
    options = arguments.parse_args()
    if not is_there(options.data):
        return
    encoder = load_encoder(options.encoder)
    console = Console(width=132)
    for name in options.sets:
        matrix = published(options.data, name)
        vectors = embed(encoder, matrix.texts.tolist(), options.cache)
        questions = Questions(matrix.texts, vectors, matrix.benchmarks)
        if options.ablate:
            console.print(ablation_table(name, matrix, questions.by_text_alone(), options.seed))
            continue
        methods = fit_all(matrix, matrix.texts, vectors, options.seed)
        console.print(forecast_table(name, matrix, methods, options.seed))
        console.print(routing_table(matrix, methods["spectral"], options.seed))
        if options.cross_fit:
            console.print(*cross_fit_tables(name, matrix, questions, options.seed))


if __name__ == "__main__":
    main()
