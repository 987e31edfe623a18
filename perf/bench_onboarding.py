"""How much of a new model a few of its answers tell, everything else left as it was.

    python perf/bench_onboarding.py [--sets mmlu_pro zeroeval] [--answers 16 50 128 400] [--split val] [--refit]
    python perf/bench_onboarding.py --scale [--models 100000] [--answers 128]

A third of the models is held out, each third in turn (every third by name): an embedder is fitted on the others, and
each model held out is folded in from some of its train answers, drawn at random or chosen as the most informative. Its
answers to the questions of the split are then forecast from their text. Next to the fold-in, from the same answers:

    mean rate                 the share of right answers, drawn to the pool's rate as if by 5 more answers
    rates of clusters         k-means over the train questions' vectors; a cluster's rate is drawn to the mean rate as
                              if by 24 more answers (hierarchical shrinkage)
    pool's average and level  the pool's average log-odds of the question, and one number for the model
    logistic fit              ridge regression on the embedder's coordinates, its strength by cross-validation
    the same, pool's prior    on the same coordinates, without what the pool's answers tell
    joint refit (--refit)     an embedder fitted on the pool's answers and on these of all the models held out
    full retraining           (--refit) an embedder fitted on all answers of all models: what there is to reach

Above 0, a difference is in favour of the fold-in. The 95% intervals of differences are bootstrapped over questions;
those of the error of benchmark accuracies (over benchmarks of which the model answered at least 30 questions) are
Student's over models. Constants are chosen on val.

--scale folds in made-up models at once, and prints seconds, models a second and the most memory it took; the target is
100,000 models from 128 answers each within a minute and 8 GB on two cores.
"""

import resource
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from scipy.special import expit
from scipy.stats import t as student
from sklearn.cluster import KMeans

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY))

from embedder.encoder import load_encoder  # noqa: E402
from embedder.matrix import CorrectnessMatrix  # noqa: E402
from embedder.metrics import bootstrap_interval  # noqa: E402
from embedder.questions import Questions  # noqa: E402
from embedder.spectral.evidence import Answers, Gaussian, fit_posteriors  # noqa: E402
from embedder.spectral.fold_in import ModelPool  # noqa: E402
from embedder.spectral.spectral import SpectralEmbedder  # noqa: E402
from perf._common import SETS, embed, is_there, parser, published  # noqa: E402
from perf._common import table as new_table  # noqa: E402

THIRDS = 3
BATCH = 16  # informative questions between two looks at the answers
LEAST_ANSWERS = 30
CLUSTERS, SHRUNK_BY = 20, 24.0  # 20 is better than 60 on val
MEAN_PRIOR_ANSWERS = 5.0
STRENGTHS = tuple(10.0 ** (exponent / 2) for exponent in range(-6, 3))  # variances of a coefficient, a priori
CROSS_FOLDS = 5
SCALE_POOL, SCALE_QUESTIONS, SCALE_DIMENSIONS, SCALE_COORDINATES = 112, 12_000, 384, 32
SCALE_SECONDS, SCALE_GB = 60.0, 8.0


@dataclass(frozen=True)
class HeldOut:
    """A pool, and the answers (Q, H) of the models it lacks; NaN where not asked."""

    pool: ModelPool
    questions: Questions
    answers: np.ndarray
    others: np.ndarray  # (M,) bool: which models of the whole matrix are the pool's

    @cached_property
    def train(self) -> np.ndarray:
        return self.pool.matrix.splits == "train"

    @cached_property
    def coordinates(self) -> np.ndarray:
        return self.pool.text.design

    @cached_property
    def average(self) -> np.ndarray:
        """(Q,) the pool's average log-odds, as its embedder forecasts them."""
        return self.coordinates @ np.nanmean(self.pool.predictor.model_embeddings, axis=0)

    @cached_property
    def clusters(self) -> np.ndarray:
        clustering = KMeans(CLUSTERS, n_init=2, random_state=0)  # pyright: ignore[reportArgumentType]
        found = clustering.fit(self.questions.vectors[self.train])
        return np.asarray(found.predict(self.questions.vectors))


def hold_out(matrix: CorrectnessMatrix, questions: Questions, third: int) -> HeldOut:
    others = np.arange(len(matrix.models)) % THIRDS != third
    names = tuple(name for name, kept in zip(matrix.models, others, strict=True) if kept)
    rest = replace(matrix, labels=matrix.labels[:, others], models=names)
    pool = ModelPool.of(SpectralEmbedder().fit(rest, questions), rest, questions)
    return HeldOut(pool, questions, matrix.labels[:, ~others], others)


def ask(case: HeldOut, model: int, count: int, draw: int | None) -> np.ndarray:
    """Rows of `count` questions, in the order they are asked: a random draw, or the most informative."""
    answers = case.answers[:, model]
    open_ = case.train & ~np.isnan(answers)
    if draw is not None:
        return np.random.default_rng([draw, model]).permutation(np.flatnonzero(open_))[:count]
    known, rows = np.full(len(answers), np.nan), np.empty(0, np.int64)
    while len(rows) < count:
        chosen = case.pool.most_informative(known, open_, min(BATCH, count - len(rows)))
        known[chosen] = answers[chosen]
        rows = np.append(rows, chosen)
    return rows


# Forecasts (Q, H) of H models' answers to all questions, from their answers `labels` (H, k) to the questions `rows`.


def mean_rate(case: HeldOut, rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.tile(_rates(case, labels), (len(case.coordinates), 1))


def rates_of_clusters(case: HeldOut, rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    of_row = case.clusters[rows][:, :, None] == np.arange(CLUSTERS)
    right = (of_row * labels[:, :, None]).sum(1) + SHRUNK_BY * _rates(case, labels)[:, None]
    return (right / (of_row.sum(1) + SHRUNK_BY)).T[case.clusters]


def level(case: HeldOut, rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    design = np.column_stack([case.average, np.ones(len(case.average))])
    variance = np.nanvar(case.pool.predictor.model_embeddings[:, -1])
    only_level = Gaussian(np.array([1.0, 0.0]), np.diag([1e-9, variance]))
    return expit(design @ fit_posteriors(design[rows], labels, np.ones_like(labels), only_level).mean.T)


def logistic(case: HeldOut, rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    design, (models, count) = case.coordinates, labels.shape
    fold = np.random.default_rng(0).permutation(count) % CROSS_FOLDS
    # All folds at once, and after them the fit to all answers: what a fit shall not see has no weight in it.
    seen = np.concatenate([fold != np.arange(CROSS_FOLDS)[:, None], np.ones((1, count), bool)])
    weights = np.repeat(seen, models, axis=0).astype(np.float64)
    asked, known = np.tile(design[rows], (len(seen), 1, 1)), np.tile(labels, (len(seen), 1))
    losses, fitted = [], []
    for strength in STRENGTHS:
        prior = Gaussian(np.zeros(design.shape[1]), np.diag([*[strength] * (design.shape[1] - 1), 4.0]))
        found = fit_posteriors(asked, known, weights, prior).mean
        logits = (asked @ found[:, :, None])[:, :, 0]
        loss = (1 - weights) * (np.logaddexp(0, logits) - known * logits)
        losses.append(loss.sum(1).reshape(len(seen), models).sum(0))
        fitted.append(found[-models:])
    best = np.argmin(losses, axis=0)
    return expit(design @ np.stack(fitted)[best, np.arange(models)].T)


def logistic_with_prior(case: HeldOut, rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    found = fit_posteriors(case.coordinates[rows], labels, np.ones_like(labels), case.pool.text.prior)
    return expit(case.coordinates @ found.mean.T)


def _rates(case: HeldOut, labels: np.ndarray) -> np.ndarray:
    overall = case.pool.predictor.overall_rate
    return (labels.sum(1) + MEAN_PRIOR_ANSWERS * overall) / (labels.shape[1] + MEAN_PRIOR_ANSWERS)


RIVALS: dict[str, Callable[[HeldOut, np.ndarray, np.ndarray], np.ndarray]] = {
    "mean rate": mean_rate,
    "rates of clusters": rates_of_clusters,
    "pool's average and level": level,
    "logistic fit": logistic,
    "the same, pool's prior": logistic_with_prior,
}


@dataclass(frozen=True)
class Forecasts:
    """Of the H models held out: probabilities (Q, H) of a right answer from a question's `text` alone, and what is
    `expected` of the questions that the pool was asked."""

    text: np.ndarray
    expected: np.ndarray


def fold_in(case: HeldOut, asked: dict[int, np.ndarray]) -> Forecasts:
    models = np.concatenate([np.full(len(rows), model) for model, rows in asked.items()])
    rows = np.concatenate(list(asked.values()))
    folded = case.pool.fold_in_many(Answers(case.answers.shape[1], models, rows, case.answers[rows, models]))
    return Forecasts(
        expit(case.coordinates @ folded.embeddings.T), expit(case.pool.responses.design @ folded.responses.T)
    )


def rival(name: str, case: HeldOut, asked: dict[int, np.ndarray]) -> Forecasts:
    found, models, rows = np.full(case.answers.shape, np.nan), list(asked), np.stack(list(asked.values()))
    labels = case.answers[rows, np.array(models)[:, None]].astype(np.float64)
    found[:, models] = RIVALS[name](case, rows, labels)
    return Forecasts(found, found)


def refit(case: HeldOut, matrix: CorrectnessMatrix, asked: dict[int, np.ndarray]) -> Forecasts:
    """Of an embedder that was fitted on the pool and on what each model held out was `asked`."""
    labels = matrix.labels.copy()
    held_out = np.flatnonzero(~case.others)
    labels[:, held_out] = np.nan
    for model, rows in asked.items():
        labels[rows, held_out[model]] = case.answers[rows, model]
    embedder = SpectralEmbedder().fit(replace(matrix, labels=labels), case.questions)
    found = embedder.predict_proba(case.questions)[:, held_out]
    return Forecasts(found, found)


@dataclass
class Scores:
    """Of one way to forecast. Summed over the models held out, by question (Q,): the log-loss, how many forecasts were
    right and how many there were. By model: the mean error of its benchmark accuracies."""

    loss: np.ndarray
    right: np.ndarray
    count: np.ndarray
    errors: dict[tuple[int, int], float] = field(default_factory=dict)
    draws: int = 0  # of questions, over which all of these are summed

    def add(self, case: HeldOut, third: int, asked: dict[int, np.ndarray], found: Forecasts, split: str) -> None:
        self.draws += third == 0
        benchmarks = case.pool.matrix.benchmarks
        for model, rows in asked.items():
            answers = case.answers[:, model]
            answered = ~np.isnan(answers)
            tested = np.flatnonzero(answered & (case.pool.matrix.splits == split))
            right, probability = answers[tested] == 1, np.clip(found.text[tested, model], 1e-6, 1 - 1e-6)
            self.loss[tested] -= np.log(np.where(right, probability, 1 - probability))
            self.right[tested] += (probability >= 0.5) == right
            self.count[tested] += 1
            expected = found.expected[:, model].copy()
            expected[rows] = answers[rows]
            off = [
                abs(expected[asked_of_it].mean() - answers[asked_of_it].mean())
                for name in case.pool.benchmarks
                if (asked_of_it := answered & (benchmarks == name)).sum() >= LEAST_ANSWERS
            ]
            self.errors[third, model] = self.errors.get((third, model), 0.0) + float(np.mean(off))


Found = dict[tuple[int, str], dict[str, Scores]]  # by number of answers and way of choosing, and by whose forecast


def measure(
    matrix: CorrectnessMatrix, questions: Questions, counts: list[int], draws: int, split: str, *, with_refit: bool
) -> Found:
    """Models that have too few train answers for the highest of `counts` are left out."""
    size = len(matrix.labels)
    found: Found = defaultdict(lambda: defaultdict(lambda: Scores(np.zeros(size), np.zeros(size), np.zeros(size))))
    whole = SpectralEmbedder().fit(matrix, questions).predict_proba(questions) if with_refit else None
    for third in range(THIRDS):
        case = hold_out(matrix, questions, third)
        able = np.flatnonzero((~np.isnan(case.answers[case.train])).sum(0) >= max(counts)).tolist()
        for way, draw in [("informative", None), *(("random", draw) for draw in range(draws))]:
            label = f"third {third + 1} of {THIRDS}, {way} questions"
            order = {model: ask(case, model, max(counts), draw) for model in track(able, label)}
            for count in counts:
                asked = {model: rows[:count] for model, rows in order.items()}
                scores = found[count, way]
                scores["fold-in"].add(case, third, asked, fold_in(case, asked), split)
                for name in RIVALS:
                    scores[name].add(case, third, asked, rival(name, case, asked), split)
                if with_refit and not draw:  # of random questions, the first draw
                    scores["joint refit"].add(case, third, asked, refit(case, matrix, asked), split)
                if whole is not None and not draw:
                    retrained = whole[:, ~case.others]
                    scores["full retraining"].add(case, third, asked, Forecasts(retrained, retrained), split)
    return found


def show(found: Found, name: str, split: str, console: Console) -> None:
    """A row a forecast, and below them where a rival is better than the fold-in."""
    columns = ("answers", "chosen", "forecast by", "log-loss", "more than fold-in", "accuracy", "less than fold-in")
    drawn = new_table(f"{name}, {split} questions", (*columns, "error of accuracies", "more than fold-in"))
    better = []
    for (count, way), scores in sorted(found.items()):
        ours = scores["fold-in"]
        for other, theirs in scores.items():
            loss = _paired(theirs.loss / theirs.draws - ours.loss / ours.draws, ours.count / ours.draws)
            right = _paired(ours.right / ours.draws - theirs.right / theirs.draws, ours.count / ours.draws)
            error = np.array([theirs.errors[model] / theirs.draws for model in ours.errors])
            off = _mean_and_interval(error - np.array([ours.errors[model] / ours.draws for model in ours.errors]))
            if loss[0] < 0 and other != "full retraining":
                surely = "surely" if loss[2] < 0 else "not surely"
                better.append(f"{count} {way} answers, {other}: {loss[0]:+.4f} log-loss, {surely}")
            differences = f"{loss[0]:+.4f} ({loss[1]:+.4f} to {loss[2]:+.4f})", _points(right), _points(off)
            drawn.add_row(
                str(count),
                way,
                other,
                f"{theirs.loss.sum() / theirs.count.sum():.4f}",
                "" if theirs is ours else differences[0],
                f"{theirs.right.sum() / theirs.count.sum():.2%}",
                "" if theirs is ours else differences[1],
                f"{error.mean():.2%}",
                "" if theirs is ours else differences[2],
            )
    console.print(drawn)
    console.print(f"better than the fold-in on {name}: " + ("; ".join(better) or "none"))


Interval = tuple[float, float, float]  # a mean, and the ends of its 95% interval


def _paired(sums: np.ndarray, counts: np.ndarray) -> Interval:
    """Over questions (Q,), of which those without a forecast do not count."""
    asked = counts > 0
    interval = bootstrap_interval(sums[asked], counts[asked], seed=0)
    if interval is None:
        raise ValueError("an interval needs at least two questions with answers")
    return float(sums.sum() / counts.sum()), *interval


def _mean_and_interval(values: np.ndarray) -> Interval:
    """Over models (H,), which are as if drawn from more."""
    reach = student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean()), float(values.mean() - reach), float(values.mean() + reach)


def _points(found: Interval) -> str:
    mean, low, high = (100 * value for value in found)
    return f"{mean:+.2f} ({low:+.2f} to {high:+.2f})"


def scale(models: int, count: int) -> None:
    """Fold `models` made-up models in from `count` answers each, and print what that takes."""
    draw = np.random.default_rng(0)
    vectors = draw.standard_normal((SCALE_QUESTIONS, SCALE_DIMENSIONS)).astype(np.float32)
    vectors[:, SCALE_COORDINATES:] *= 0.1  # the embedder shall find the others
    tastes = draw.normal(0, 0.5, (SCALE_COORDINATES, SCALE_POOL)).astype(np.float32)
    labels = (draw.random((SCALE_QUESTIONS, SCALE_POOL)) < expit(vectors[:, :SCALE_COORDINATES] @ tastes)).astype("f4")
    names = np.array([f"q{number}" for number in range(SCALE_QUESTIONS)], object)
    benchmark = np.array([f"b{number % 10}" for number in range(SCALE_QUESTIONS)], object)
    split = draw.choice(np.array(["train", "val", "test"], object), SCALE_QUESTIONS, p=[0.8, 0.1, 0.1])
    matrix = CorrectnessMatrix(
        labels, tuple(f"m{number}" for number in range(SCALE_POOL)), names, benchmark, benchmark, split, names
    )
    questions = Questions(names, vectors, benchmark)
    pool = ModelPool.of(SpectralEmbedder().fit(matrix, questions), matrix, questions)
    train = np.flatnonzero(split == "train")
    # Each model is asked train questions of its own: a stretch of a random order, from a random start.
    order, starts = draw.permutation(train), draw.integers(0, len(train), models)
    asked = order[(starts[:, None] + np.arange(count)) % len(train)].ravel()
    answers = Answers(models, np.repeat(np.arange(models), count), asked, draw.integers(0, 2, len(asked)))
    before = resource.getrusage(resource.RUSAGE_SELF)
    start, processor = time.perf_counter(), time.process_time()
    folded = pool.fold_in_many(answers)
    seconds, processor = time.perf_counter() - start, time.process_time() - processor
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{models:,} models x {count} answers, embeddings of {folded.embeddings.shape[1]} numbers, a pool of "
        f"{SCALE_POOL} models and {SCALE_QUESTIONS:,} questions:\n"
        f"  {seconds:.1f} s (processor {processor:.1f} s): {models / seconds:,.0f} models a second; "
        f"at most {memory:.2f} GB, {before.ru_maxrss / 2**20:.2f} GB of these before"
    )
    if models >= 100_000 and count >= 128:
        met = "met" if seconds <= SCALE_SECONDS and memory <= SCALE_GB else "NOT MET"
        print(f"  target: {SCALE_SECONDS:.0f} s and {SCALE_GB:.0f} GB: {met}")


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--sets", nargs="+", choices=SETS, default=("mmlu_pro", "zeroeval"))
    arguments.add_argument("--answers", nargs="+", type=int, default=None, help="16 50 128 400; with --scale 128")
    arguments.add_argument("--draws", type=int, default=2, help="random draws of the questions asked")
    arguments.add_argument("--split", choices=("val", "test"), default="test", help="whose questions are forecast")
    arguments.add_argument("--refit", action="store_true", help="also refit the embedder, for minutes a set")
    arguments.add_argument("--scale", action="store_true", help="many models at once, made up, in place of all this")
    arguments.add_argument("--models", type=int, default=100_000, help="of --scale")
    options = arguments.parse_args()
    if options.scale:
        scale(options.models, (options.answers or [128])[0])
        return
    if not is_there(options.data):
        return
    encoder, console = load_encoder(), Console(width=200)
    for name in options.sets:
        matrix = published(options.data, name)
        questions = Questions(matrix.texts, embed(encoder, matrix.texts.tolist(), options.cache), matrix.benchmarks)
        counts = options.answers or [16, 50, 128, 400]
        found = measure(matrix, questions, counts, options.draws, options.split, with_refit=options.refit)
        show(found, name, options.split, console)


if __name__ == "__main__":
    main()
