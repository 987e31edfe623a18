"""How much of a new model a few of its answers tell, everything else left as it was.

    python perf/fold_in.py [--sets mmlu_pro] [--answers 16 128] [--data ../shared/data] [--cache data/cache]

Every third model by name, ten at most, is held out in turn: the embedder is fitted on the others, then the model is
folded in from some of its train answers, drawn at random or chosen as the most informative. Accuracy is that of
forecasts on its test questions from their text alone, beside that of an embedder fitted on all models and answers, and
beside what its mean rate in those few answers forecasts. The error of its accuracies is over the benchmarks of which it
answered at least 30 questions.
"""

import sys
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY))  # before this folder, whose embedder.py is not the package

from embedder.encoder import load_encoder  # noqa: E402
from embedder.fold_in import FoldedModel, Pool  # noqa: E402
from embedder.matrix import CorrectnessMatrix  # noqa: E402
from embedder.questions import Questions  # noqa: E402
from embedder.spectral import SpectralEmbedder  # noqa: E402
from perf._common import SETS, embed, is_there, parser, published  # noqa: E402
from perf._common import table as new_table  # noqa: E402

DRAWS = 10  # random draws of answers a model
BATCH = 16  # informative questions between two looks at the answers
LEAST_ANSWERS = 30


@dataclass(frozen=True)
class HeldOut:
    """A model that the pool lacks: its answers (Q,), NaN where not asked, and its column in the whole matrix."""

    pool: Pool
    answers: np.ndarray
    column: int


def hold_out(matrix: CorrectnessMatrix, questions: Questions, column: int) -> HeldOut:
    others = np.arange(len(matrix.models)) != column
    names = tuple(name for name, kept in zip(matrix.models, others, strict=True) if kept)
    rest = replace(matrix, labels=matrix.labels[:, others], models=names)
    return HeldOut(Pool.of(SpectralEmbedder().fit(rest, questions), rest, questions), matrix.labels[:, column], column)


def known(model: HeldOut, count: int, draw: int | None) -> np.ndarray:
    """(Q,) `count` of the model's train answers: a random draw, or the most informative."""
    train = (model.pool.matrix.splits == "train") & ~np.isnan(model.answers)
    answers = np.full(len(model.answers), np.nan)
    if draw is not None:
        chosen = np.random.default_rng([draw, model.column]).choice(np.flatnonzero(train), count, replace=False)
        answers[chosen] = model.answers[chosen]
    while (missing := count - int((~np.isnan(answers)).sum())) > 0:
        chosen = model.pool.most_informative(answers, train, min(BATCH, missing))
        answers[chosen] = model.answers[chosen]
    return answers


def scores(model: HeldOut, folded: FoldedModel, tested: Questions, joint: np.ndarray) -> list[float]:
    """Accuracy of folded, joint and mean-rate forecasts; error of the accuracies; share of intervals that hold."""
    right = model.answers[(model.pool.matrix.splits == "test") & ~np.isnan(model.answers)] == 1
    forecast = folded.forecast(tested).probabilities[:, 0] >= 0.5
    rate = np.nanmean(folded.answers) >= 0.5
    errors, held = [], []
    for found in folded.accuracies():
        answers = model.answers[model.pool.matrix.benchmarks == found.benchmark]
        if (~np.isnan(answers)).sum() >= LEAST_ANSWERS:
            errors.append(abs(found.accuracy - np.nanmean(answers)))
            held.append(found.low <= np.nanmean(answers) <= found.high)
    accuracies = [(guess == right).mean() for guess in (forecast, joint >= 0.5, rate)]
    return [*accuracies, float(np.mean(errors)), float(np.mean(held))]


def measure(matrix: CorrectnessMatrix, questions: Questions, counts: list[int]) -> dict[tuple[int, str], np.ndarray]:
    """Mean scores by number of answers and way of choosing them."""
    joint = SpectralEmbedder().fit(matrix, questions).predict_proba(questions)
    found = defaultdict(list)
    for column in track(range(0, len(matrix.models), 3)[:10], "models held out"):
        model = hold_out(matrix, questions, column)
        test = (matrix.splits == "test") & ~np.isnan(model.answers)
        tested = questions.rows(test)
        for count in counts:
            if ((matrix.splits == "train") & ~np.isnan(model.answers)).sum() < count or not test.any():
                continue
            for draw in (*range(DRAWS), None):
                folded = model.pool.fold_in(known(model, count, draw))
                way = "informative" if draw is None else "random"
                found[count, way].append(scores(model, folded, tested, joint[test, column]))
    return {key: np.mean(rows, axis=0) for key, rows in found.items()}


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--sets", nargs="+", choices=SETS, default=("mmlu_pro",))
    arguments.add_argument("--answers", nargs="+", type=int, default=[16, 64, 128])
    options = arguments.parse_args()
    if not is_there(options.data):
        return
    encoder, console = load_encoder(), Console(width=120)
    for name in options.sets:
        matrix = published(options.data, name)
        questions = Questions(matrix.texts, embed(encoder, matrix.texts.tolist(), options.cache), matrix.benchmarks)
        columns = (
            "answers",
            "chosen",
            "accuracy",
            "all answers, joint",
            "mean rate",
            "error of accuracies",
            "95% holds",
        )
        table = new_table(f"{name}: a new model from a few answers", columns)
        for (count, way), row in measure(matrix, questions, options.answers).items():
            table.add_row(str(count), way, *(f"{value:.2%}" for value in row))
        console.print(table)


if __name__ == "__main__":
    main()
