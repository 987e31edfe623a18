"""How well answers to unseen questions are forecast and routed, and how long fitting takes, on published results.

    python perf/embedder.py [--data ../shared/data] [--cache data/cache] [--sets mmlu_pro zeroeval combined]

Every method is fitted on the train questions and chosen on the val questions; what is printed is on the test
questions. Sentence embeddings are kept in the cache: the first run encodes for some minutes. Ratios are to `mf`, the
paper's model trained until it no longer improves on the val questions.
"""

import argparse
import hashlib
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY))  # before this folder, whose embedder.py is not the package

from embedder import metrics  # noqa: E402
from embedder.baselines import KNN, Majority, ModelBenchmarkMean, ModelMean  # noqa: E402
from embedder.downstream.routing import route  # noqa: E402
from embedder.encoder import Encoder, load_encoder  # noqa: E402
from embedder.matrix import CorrectnessMatrix  # noqa: E402
from embedder.mf import MatrixFactorization  # noqa: E402
from embedder.questions import Questions  # noqa: E402

SETS = ("mmlu_pro", "zeroeval", "combined")
CHUNK = 1024  # texts between two saves of the cache


def published(folder: Path, name: str) -> CorrectnessMatrix:
    """The matrix of `<name>.parquet` in the published layout, with the splits of `<name>.split.parquet`."""
    rows = pq.read_table(folder / f"{name}.parquet").to_pandas()
    split = pq.read_table(folder / f"{name}.split.parquet").to_pandas().set_index("prompt_id")["split"]
    questions = rows.drop_duplicates("prompt_id").sort_values("prompt_id")
    ids = questions["prompt_id"].to_numpy()
    names = rows["model_name"].astype(str)
    models = sorted(set(names))
    labels = np.full((len(ids), len(models)), np.nan, np.float32)
    labels[np.searchsorted(ids, rows["prompt_id"]), np.searchsorted(models, names)] = rows["label"]
    categories = questions["category"].astype(str).to_numpy(object)
    return CorrectnessMatrix(
        labels=labels,
        models=tuple(models),
        question_ids=ids.astype(str).astype(object),
        benchmarks=categories,
        categories=categories,
        splits=split.loc[ids].astype(str).to_numpy(object),
        texts=questions["prompt"].astype(str).to_numpy(object),
    )


def embed(encoder: Encoder, texts: list[str], cache: Path) -> np.ndarray:
    """Vectors of `texts`; those not in the cache are encoded and kept there."""
    file = cache / f"{encoder.name}.npz"
    known = dict(np.load(file)) if file.exists() else {"keys": np.empty(0, "U32"), "vectors": np.empty((0, 0))}
    keys = np.array([hashlib.sha256(text.encode()).hexdigest()[:32] for text in texts])
    vector = dict(zip(known["keys"].tolist(), known["vectors"].astype(np.float32), strict=True))
    # Longest first: the estimate of the time left errs on the safe side.
    fresh = {key: text for key, text in zip(keys.tolist(), texts, strict=True) if key not in vector}
    order = sorted(fresh, key=lambda key: -len(fresh[key]))
    for start in range(0, len(order), CHUNK):
        chunk = order[start : start + CHUNK]
        print(f"encoding {start + len(chunk)} of {len(order)}", file=sys.stderr)
        vector.update(zip(chunk, encoder.encode([fresh[key] for key in chunk]), strict=True))
        cache.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial.npz")
        np.savez(partial, keys=np.array(list(vector)), vectors=np.stack(list(vector.values())))
        partial.replace(file)
    return np.stack([vector[key] for key in keys.tolist()])


@dataclass(frozen=True)
class Fitted:
    """A method's probabilities for all questions (Q, M), and the seconds it took to fit."""

    probabilities: np.ndarray
    seconds: float


def fit_all(matrix: CorrectnessMatrix, questions: Questions, seed: int) -> dict[str, Fitted]:
    """Every method, by its name."""
    fitted = {}
    for predictor in (MatrixFactorization(), KNN(), ModelBenchmarkMean(), ModelMean(), Majority()):
        started = time.perf_counter()
        predictor.fit(matrix, questions, seed=seed)
        seconds = time.perf_counter() - started
        fitted[predictor.method] = Fitted(predictor.predict_proba(questions), seconds)
    return fitted


def forecast_table(name: str, matrix: CorrectnessMatrix, methods: dict[str, Fitted], seed: int) -> Table:
    """A row is a method, held against the answers to the test questions."""
    test = matrix.of_split("test")
    tested = {method: fitted.probabilities[matrix.splits == "test"] for method, fitted in methods.items()}
    asked = test.observed.sum(axis=1)
    hits = {m: (((p >= 0.5) == (test.labels == 1)) & test.observed).sum(axis=1) for m, p in tested.items()}
    table = _table(
        f"{name}: {len(asked):,} test questions, {len(test.models)} models",
        ("method", "accuracy", "minus mf (95%)", "AUC", "log-loss", "Brier", "ECE", "fit s", "x mf's time"),
    )
    for method, fitted in methods.items():
        low, high = metrics.bootstrap_interval(hits[method] - hits["mf"], asked, seed=seed) or (np.nan, np.nan)
        scores = [f(test.labels, tested[method]) for f in (metrics.auc, metrics.log_loss, metrics.brier, metrics.ece)]
        table.add_row(
            method,
            f"{metrics.accuracy(test.labels, tested[method]):.2%}",
            f"{low:+.2%} to {high:+.2%}" if method != "mf" else "",
            *(f"{score:.4f}" for score in scores),
            f"{fitted.seconds:.2f}",
            f"{fitted.seconds / methods['mf'].seconds:.3f}",
        )
    return table


def routing_table(matrix: CorrectnessMatrix, probabilities: np.ndarray, seed: int) -> Table:
    """A row is a way to choose a model for each test question."""
    table = _table("routing by mf", ("router", "right", "95%", "gain over best single", "gap to oracle"))
    for row in route(matrix, probabilities, "perf", seed=seed)[0].to_pylist():
        if row["benchmark"] == "all":
            table.add_row(
                row["method"],
                f"{row['accuracy']:.2%}",
                f"{row['ci_low']:.2%} to {row['ci_high']:.2%}",
                f"{row['gain_over_best']:+.2%}",
                f"{row['gap_to_oracle']:.2%}",
            )
    return table


def _table(title: str, columns: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path, default=REPOSITORY.parent / "shared" / "data")
    arguments.add_argument("--cache", type=Path, default=REPOSITORY / "data" / "cache")
    arguments.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args()
    if not (options.data / "mmlu_pro.parquet").exists():
        print(f"skipped: {options.data} has no published results; name their folder with --data")
        return
    encoder = load_encoder()
    console = Console(width=120)
    for name in options.sets:
        matrix = published(options.data, name)
        vectors = embed(encoder, matrix.texts.tolist(), options.cache)
        methods = fit_all(matrix, Questions(matrix.texts, vectors, matrix.benchmarks), options.seed)
        console.print(forecast_table(name, matrix, methods, options.seed))
        console.print(routing_table(matrix, methods["mf"].probabilities, options.seed))


if __name__ == "__main__":
    main()
