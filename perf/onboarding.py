"""How much of a new model a few of its answers tell, everything else left as it was.

    python perf/onboarding.py [--sets mmlu_pro] [--answers 16 128] [--data ../shared/data] [--cache data/cache]

Every third model by name, ten at most, is held out in turn: the embedder is fitted on the others, then the model is
folded in from some of its train answers, drawn at random or chosen as the most informative. Accuracy is that of
forecasts on its test questions from their text alone, beside that of an embedder fitted on all models and answers, and
beside what its mean rate in those few answers forecasts. The error of its accuracies is over the benchmarks of which it
answered at least 30 questions. 95% intervals of means over the models held out are Student's.

Targets, on mmlu_pro from 128 informative answers: forecasts within a point of full retraining, and predicted accuracies
off by at most 3 points on average.
"""

import sys
from collections import defaultdict
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from scipy.stats import t as student

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
JUDGED = ("mmlu_pro", 128, "informative")
WITHIN, ERROR = 0.01, 0.03  # what is to be reached there


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


@dataclass(frozen=True)
class Score:
    """Of one model held out: accuracy of forecasts from few answers, by full retraining, and by its mean rate; mean
    error of the accuracies predicted, and of the overall one; share of their intervals that hold."""

    accuracy: float
    joint: float
    mean_rate: float
    error: float
    overall_error: float
    holds: float


Scores = dict[tuple[int, str], list[Score]]


def score(model: HeldOut, folded: FoldedModel, tested: Questions, joint: np.ndarray) -> Score:
    """`joint` (n,) are an embedder's forecasts of the n questions `tested` that was fitted on this model as well."""
    right = model.answers[(model.pool.matrix.splits == "test") & ~np.isnan(model.answers)] == 1
    forecast = folded.forecast(tested).probabilities[:, 0]
    rate = np.nanmean(folded.answers)
    errors, held = [], []
    for found in folded.accuracies():
        answers = model.answers[model.pool.matrix.benchmarks == found.benchmark]
        if (~np.isnan(answers)).sum() >= LEAST_ANSWERS:
            errors.append(abs(found.accuracy - np.nanmean(answers)))
            held.append(found.low <= np.nanmean(answers) <= found.high)
    overall = abs(folded.overall_accuracy().accuracy - np.nanmean(model.answers))
    return Score(
        accuracy=float(((forecast >= 0.5) == right).mean()),
        joint=float(((joint >= 0.5) == right).mean()),
        mean_rate=float(((rate >= 0.5) == right).mean()),
        error=float(np.mean(errors)),
        overall_error=float(overall),
        holds=float(np.mean(held)),
    )


def measure(matrix: CorrectnessMatrix, questions: Questions, counts: list[int]) -> Scores:
    """By number of answers and way of choosing them: a row of scores a model, the means of its draws."""
    joint = SpectralEmbedder().fit(matrix, questions).predict_proba(questions)
    found: Scores = defaultdict(list)
    for column in track(range(0, len(matrix.models), 3)[:10], "models held out"):
        model = hold_out(matrix, questions, column)
        answered = ~np.isnan(model.answers)
        test = (matrix.splits == "test") & answered
        tested = questions.rows(test)
        for count in counts:
            if ((matrix.splits == "train") & answered).sum() < count or not test.any():
                continue
            for way, draws in (("random", range(DRAWS)), ("informative", [None])):
                folded = [model.pool.fold_in(known(model, count, draw)) for draw in draws]
                rows = [astuple(score(model, one, tested, joint[test, column])) for one in folded]
                found[count, way].append(Score(*np.mean(rows, axis=0).tolist()))
    return found


def mean_and_interval(values: list[float]) -> tuple[float, float, float]:
    """And the 95% interval of the mean, over models that are as if drawn from more."""
    reach = student.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return float(np.mean(values)), float(np.mean(values) - reach), float(np.mean(values) + reach)


def judge(scores: list[Score]) -> None:
    """Print what is to be reached, what was, and whether it is enough."""
    gap = mean_and_interval([model.accuracy - model.joint for model in scores])
    error = mean_and_interval([model.error for model in scores])
    overall = mean_and_interval([model.overall_error for model in scores])
    print(f"{len(scores)} models of {JUDGED[0]} held out, {JUDGED[1]} {JUDGED[2]} questions each:")
    print(
        f"  forecasts {np.mean([model.accuracy for model in scores]):.2%} right, with full retraining "
        f"{np.mean([model.joint for model in scores]):.2%}: {points(gap)} points; "
        f"target: at least {-100 * WITHIN:+.2f}: {verdict(gap[0] >= -WITHIN, gap[1] >= -WITHIN)}"
    )
    print(
        f"  predicted benchmark accuracies: mean absolute error {points(error)} points; "
        f"target: at most {100 * ERROR:+.2f}: {verdict(error[0] <= ERROR, error[2] <= ERROR)}"
    )
    print(f"  predicted overall accuracy: mean absolute error {points(overall)} points")


def verdict(on_average: bool, surely: bool) -> str:
    """Of a target, by the mean and by the far end of its interval."""
    return "met" if surely else "met on average, not by all of the interval" if on_average else "NOT MET"


def points(found: tuple[float, float, float]) -> str:
    mean, low, high = (100 * value for value in found)
    return f"{mean:+.2f} (95%: {low:+.2f} to {high:+.2f})"


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
        columns = ("answers", "chosen", "accuracy", "full retraining", "mean rate", "error of accuracies", "overall")
        table = new_table(f"{name}: a new model from a few answers", (*columns, "95% holds"))
        found = measure(matrix, questions, options.answers)
        for (count, way), scores in found.items():
            table.add_row(str(count), way, *(f"{value:.2%}" for value in np.mean([astuple(s) for s in scores], axis=0)))
        console.print(table)
        if name == JUDGED[0] and JUDGED[1:] in found:
            judge(found[JUDGED[1], JUDGED[2]])


if __name__ == "__main__":
    main()
