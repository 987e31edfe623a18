"""How well answers are forecast after 200 and 1,000 training questions, also of models that are all good or all bad.

    python perf/bench_few_questions.py [--data ../shared/data] [--cache data/cache] [--sets mmlu_pro zeroeval combined]
                                       [--encoder NAME] [--sizes 200 1000] [--draws 5]

For each draw some of the train and val questions are the training questions, and the forecasts of the others are held
against their answers; test questions are not looked at. A ninth of a draw is for validation where a method chooses by
it. Figures are means over the draws. "easiest" and "hardest" are the two thirds of the models with the highest and the
lowest rates. "alone" is the default embedder by the texts alone, "told" where it is told the question's category, as
model_benchmark_mean always is; "behind" is by how much its log-loss is above the least of the baselines' that know as
much, with a 95% interval over the draws (Student's t).
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import stats

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY))

from embedder import metrics  # noqa: E402
from embedder.baselines.knn import KNN  # noqa: E402
from embedder.baselines.mf import MatrixFactorization  # noqa: E402
from embedder.baselines.rates import ModelBenchmarkMean, ModelMean  # noqa: E402
from embedder.encoder import load_encoder  # noqa: E402
from embedder.matrix import CorrectnessMatrix  # noqa: E402
from embedder.questions import Questions  # noqa: E402
from embedder.spectral.spectral import SpectralEmbedder  # noqa: E402
from perf._common import SETS, embed, is_there, parser, published  # noqa: E402
from perf._common import table as new_table  # noqa: E402

OURS = ("alone", "told")
UNTOLD = ("mf", "knn", "model_mean")  # baselines that are not told the category


def keep_models(matrix: CorrectnessMatrix, which: str) -> CorrectnessMatrix:
    """All models, or the two thirds that are right most, or least, often."""
    order = np.argsort(np.nanmean(matrix.labels, axis=0))
    two_thirds = 2 * len(order) // 3
    kept = {"all": order, "easiest": order[-two_thirds:], "hardest": order[:two_thirds]}[which]
    kept = np.sort(kept)
    return replace(matrix, labels=matrix.labels[:, kept], models=tuple(matrix.models[column] for column in kept))


def measure_draw(matrix: CorrectnessMatrix, questions: Questions, size: int, draw: int) -> dict[str, tuple]:
    """Log-loss and ECE of every method after `size` training questions."""
    drawn = np.random.default_rng(draw).permutation(len(matrix.labels))[:size]
    splits = np.full(len(matrix.labels), "test", object)
    splits[drawn] = "train"
    splits[drawn[::9]] = "val"
    drawn_matrix = replace(matrix, splits=splits)
    tested = splits == "test"
    labels, asked = matrix.labels[tested], questions.rows(tested)
    ours = SpectralEmbedder().fit(drawn_matrix, questions)
    found = {"alone": ours.predict_proba(asked.by_text_alone()), "told": ours.predict_proba(asked)}
    for make in (MatrixFactorization, KNN, ModelMean, ModelBenchmarkMean):
        found[make.method] = make().fit(drawn_matrix, questions).predict_proba(asked)
    return {name: (metrics.log_loss(labels, p), metrics.ece(labels, p)) for name, p in found.items()}


def add_row(table: Table, case: str, draws: list[dict[str, tuple]]) -> None:
    losses = {name: np.array([draw[name][0] for draw in draws]) for name in draws[0]}
    eces = {name: np.mean([draw[name][1] for draw in draws]) for name in OURS}
    rivals = {"alone": UNTOLD, "told": (*UNTOLD, ModelBenchmarkMean.method)}
    behind = []
    for name in OURS:
        best = min(rivals[name], key=lambda rival: losses[rival].mean())
        off = losses[name] - losses[best]
        reach = stats.t.ppf(0.975, len(off) - 1) * off.std(ddof=1) / np.sqrt(len(off)) if len(off) > 1 else np.nan
        behind.append(f"{off.mean():+.4f} ±{reach:.4f}")
    table.add_row(
        case,
        *(f"{loss.mean():.4f}" for loss in losses.values()),
        *behind,
        *(f"{eces[name]:.4f}" for name in OURS),
    )


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    arguments.add_argument("--encoder", default="static")
    arguments.add_argument("--sizes", nargs="+", type=int, default=[200, 1000])
    arguments.add_argument("--draws", type=int, default=5)
    options = arguments.parse_args()
    if not is_there(options.data):
        return
    encoder, console = load_encoder(options.encoder), Console(width=150)
    columns = (
        "models, questions",
        *OURS,
        *UNTOLD,
        "model × benchmark",
        "alone behind",
        "told behind",
        "ECE",
        "ECE told",
    )
    for name in options.sets:
        matrix = published(options.data, name)
        matrix = matrix.rows(matrix.splits != "test")
        vectors = embed(encoder, matrix.texts.tolist(), options.cache)
        questions = Questions(matrix.texts, vectors, matrix.benchmarks)
        _ = questions.lexical  # once for all draws
        table = new_table(f"{name}: log-loss after few questions, mean of {options.draws} draws", columns)
        for models in ("all", "easiest", "hardest"):
            kept = keep_models(matrix, models)
            for size in options.sizes:
                draws = [measure_draw(kept, questions, size, draw) for draw in range(options.draws)]
                add_row(table, f"{models}, {size:,}", draws)
        console.print(table)


if __name__ == "__main__":
    main()
