"""How well questions in another form are recognised, on published results.

    python perf/bench_robustness.py [--data ../shared/data] [--cache data/cache] [--sets mmlu_pro zeroeval]
                                    [--encoder NAME] [--split val]
                                    [--methods embedder mf knn model_benchmark_mean model_mean]

Up to 400 val questions (with --split test, test questions) are asked in each form; what is printed is what the
experiment `robustness` records of a home, of the n questions that a form changes: how many are routed right, how many
were forecast to be, the difference, what is lost of the same questions as asked, and the rate of the models chosen;
log-loss and calibration error of all answers, and what log-loss rises by; mean forecast and mean rate. Sentence
embeddings are kept in the cache, those of the forms in its folder `forms`: the first run encodes for some minutes.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY))

from embedder.baselines.knn import KNN  # noqa: E402
from embedder.baselines.mf import MatrixFactorization  # noqa: E402
from embedder.baselines.rates import ModelBenchmarkMean, ModelMean  # noqa: E402
from embedder.downstream.robustness import measure_robustness  # noqa: E402
from embedder.encoder import load_encoder  # noqa: E402
from embedder.questions import Questions  # noqa: E402
from embedder.spectral.spectral import SpectralEmbedder  # noqa: E402
from perf._common import SETS, embed, is_there, parser, published  # noqa: E402
from perf._common import table as new_table  # noqa: E402

BASELINES = {base.method: base for base in (MatrixFactorization, KNN, ModelBenchmarkMean, ModelMean)}
COLUMNS = (
    *("form", "method", "n", "right", "forecast", "too sure", "lost (95%)", "their rate"),
    *("log-loss", "rise (95%)", "ECE", "mean", "rate"),
)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--encoder", default="static")
    options.add_argument("--sets", nargs="+", choices=SETS, default=["mmlu_pro", "zeroeval"])
    options.add_argument("--split", choices=("val", "test"), default="val")
    options.add_argument("--methods", nargs="+", choices=("embedder", *BASELINES), default=["embedder", *BASELINES])
    asked = options.parse_args()
    if not is_there(asked.data):
        return
    encoder = load_encoder(asked.encoder)
    console = Console()

    def encode(texts: Sequence[str]) -> np.ndarray:
        return embed(encoder, list(texts), asked.cache / "forms")

    for name in asked.sets:
        matrix = published(asked.data, name)
        questions = Questions(matrix.texts, embed(encoder, matrix.texts.tolist(), asked.cache), matrix.benchmarks)
        rows = measure_robustness(
            matrix,
            questions,
            SpectralEmbedder().fit(matrix, questions),
            [BASELINES[method]() for method in asked.methods if method != "embedder"],
            encode,
            "measured",
            split=asked.split,
            progress=lambda done, total, label: print(f"{label}: {done} of {total}", file=sys.stderr),
        ).to_pylist()
        drawn = new_table(f"{name}: {asked.split} questions, {len(matrix.models)} models", COLUMNS)
        for row in sorted(rows, key=lambda row: asked.methods.index(row["method"])):
            if row["n"]:
                drawn.add_row(*_cells(row))
        console.print(drawn)


def _cells(row: dict[str, Any]) -> list[str]:
    def said(name: str, form: str) -> str:
        return "" if row[name] is None else format(row[name], form)

    def changed(name: str, form: str) -> str:
        return f"{said(name, form)} ({said(name + '_low', form)}, {said(name + '_high', form)})" if row[name] else ""

    return [
        row["form"],
        row["method"],
        f"{row['n']}",
        *(said(name, ".1%") for name in ("routing_accuracy", "routing_forecast", "overconfidence")),
        changed("routing_loss", "+.1%"),
        said("routing_rate", ".1%"),
        said("log_loss", ".4f"),
        changed("log_loss_rise", "+.3f"),
        *(said(name, ".4f") for name in ("ece", "mean_forecast", "mean_rate")),
    ]


if __name__ == "__main__":
    main()
