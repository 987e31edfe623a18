"""Judge by its forecasts of validation answers whether a new embedder is good enough to serve.

It is not good enough where it is worse than the embedder that serves or than a table of rates, or badly calibrated, by
more than chance explains. Questions are what is drawn by chance: the answers of many models to one question count as
one observation. With few questions intervals are wide, so that little data holds nothing back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from scipy.stats import t as student

from embedder.baselines.rates import ModelBenchmarkMean, ModelMean

from . import metrics
from .matrix import CorrectnessMatrix
from .predictor import Predictor
from .questions import Questions
from .store import write_file

__all__ = [
    "Rival",
    "Verdict",
    "Version",
    "judge",
    "judge_version",
    "load_training_texts",
    "save_training_texts",
]

# Chosen on the train and val questions of the published sets: perf/bench_gate.py.
WORSE = 0.002  # nats of log-loss
OFF = 0.03  # of a probability, on average
LEVEL = 0.95  # of the intervals
BINS = 15  # of the probabilities, as in `metrics.ece`

_FILE = "training_texts.npy"


@dataclass(frozen=True)
class Version:
    """An earlier embedder, and which texts it was trained on (`load_training_texts`)."""

    name: str
    predictor: Predictor
    training_texts: np.ndarray | None


@dataclass(frozen=True)
class Rival:
    """What an embedder is compared with: its `name`, its probabilities `theirs` (Q, M), and the embedder's own ones,
    `ours` (Q, M), that are based on the same knowledge of the questions."""

    name: str
    theirs: np.ndarray
    ours: np.ndarray


@dataclass(frozen=True)
class Verdict:
    """What is wrong with an embedder, one sentence for each fault, and whether the version before should go on
    serving."""

    faults: Sequence[str]
    holds_back: bool


def judge_version(
    predictor: Predictor,
    matrix: CorrectnessMatrix,
    questions: Questions,
    probabilities: np.ndarray,
    before: Version | None = None,
) -> Verdict:
    """Judge whether `predictor`, on `matrix` and its `questions`, is good enough to serve instead of the version
    `before`.

    `probabilities` are its forecasts of the val questions by their texts alone. The two are compared on the models and
    benchmarks that both know (otherwise a bad version would seem better as soon as a benchmark joins), and on questions
    that neither was trained on, as splits may have changed. Where something is wrong with `before` as well, only that
    comparison holds back.
    """
    val = matrix.splits == "val"
    asked = questions.rows(val)
    labels = np.where(predictor.has_answers, matrix.labels[val], np.nan)
    rates, by_benchmark = (
        baseline.fit(matrix, questions).predict_proba(asked) for baseline in (ModelMean(), ModelBenchmarkMean())
    )

    def find_faults(labels: np.ndarray, alone: np.ndarray, told: np.ndarray) -> list[str]:
        rivals = [Rival("the models' rates", rates, alone), Rival("their rates by benchmark", by_benchmark, told)]
        return judge(labels, alone, rivals)

    faults = find_faults(labels, probabilities, predictor.predict_proba(asked))
    if before is None:
        return Verdict(faults, holds_back=False)
    column = {model: at for at, model in enumerate(before.predictor.models) if before.predictor.has_answers[at]}
    known = np.array([model in column for model in predictor.models])
    columns = [column.get(model, 0) for model in predictor.models]
    alone, told = (before.predictor.predict_proba(rows)[:, columns] for rows in (asked.by_text_alone(), asked))
    labels = np.where(known, labels, np.nan)
    labels[~np.isin(matrix.benchmarks[val], before.predictor.known_categories())] = np.nan
    if before.training_texts is not None:
        labels[np.isin(_digest_texts(asked.texts), before.training_texts)] = np.nan
    worse = _find_worse(labels, Rival(before.name, alone, probabilities))
    better_before = np.isfinite(labels).any() and not find_faults(labels, alone, told)
    return Verdict([*([worse] if worse else []), *faults], bool(worse or (faults and better_before)))


def judge(labels: np.ndarray, probabilities: np.ndarray, rivals: Sequence[Rival]) -> list[str]:
    """Return what is wrong with `probabilities` (Q, M) by `labels` (Q, M; NaN: not asked), one sentence for each
    fault."""
    faults = [sentence for rival in rivals if (sentence := _find_worse(labels, rival))]
    off, beyond_chance = _find_bias(labels, probabilities)
    if beyond_chance > OFF:
        faults.append(
            f"the probabilities are off by {100 * off:.1f} percentage points on average on "
            f"{np.isfinite(labels).sum():,} validation answers, of which {100 * beyond_chance:.1f} are beyond chance"
        )
    return faults


def save_training_texts(folder: Path, texts: np.ndarray) -> None:
    """Keep a digest of each of the texts that an embedder is trained on in its `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    content = BytesIO()
    np.save(content, _digest_texts(texts))
    write_file(folder / _FILE, content.getvalue())


def load_training_texts(folder: Path) -> np.ndarray | None:
    """Return what was saved in `folder`; None for versions that are older than that file."""
    return np.load(folder / _FILE) if (folder / _FILE).exists() else None


def _digest_texts(texts: np.ndarray) -> np.ndarray:
    """Return n numbers (uint64) that tell n texts apart."""
    return np.frombuffer(b"".join(hashlib.sha256(text.encode()).digest()[:8] for text in texts), np.uint64)


def _find_worse(labels: np.ndarray, rival: Rival) -> str | None:
    """Return a sentence where the rival's log-loss is less by more than `WORSE`."""
    compared = np.isfinite(labels)
    ours, theirs = (metrics.losses(labels, p) for p in (rival.ours, rival.theirs))
    counts = compared.sum(axis=1)
    worse, low, high = _interval(np.where(compared, ours - theirs, 0).sum(axis=1), counts)
    if low <= WORSE:
        return None
    loss = ours[compared].mean()
    return (
        f"the log-loss on {counts.sum():,} validation answers is {loss:.4f}, that of {rival.name} {loss - worse:.4f} "
        f"(worse by {worse:.4f}, 95%: {low:.4f} to {high:.4f})"
    )


def _find_bias(labels: np.ndarray, probabilities: np.ndarray) -> tuple[float, float]:
    """Return the expected calibration error (`metrics.ece`), and what is left of it if each bin's excess counts only as
    far as its interval leaves no doubt."""
    asked = np.isfinite(labels)
    bin_of = np.minimum((probabilities * BINS).astype(int), BINS - 1)
    excess = np.where(asked, probabilities - np.float64(labels), 0)
    off = beyond_chance = 0.0
    for bin_ in range(BINS):
        inside = asked & (bin_of == bin_)
        counts = inside.sum(axis=1)
        mean, low, high = _interval(np.where(inside, excess, 0).sum(axis=1), counts)
        share = counts.sum() / max(asked.sum(), 1)
        off += share * abs(mean)
        beyond_chance += share * max(low, -high, 0)
    return off, beyond_chance


def _interval(sums: np.ndarray, counts: np.ndarray) -> tuple[float, float, float]:
    """Return sum(sums) / sum(counts), each per question (Q,), and its Student interval over the questions; it is
    unbounded below two questions.

    The deviation is taken about 0: about their mean, a few questions that happen to agree would prove anything. With
    deviations about 0, at least seven questions are needed to prove something.
    """
    n, total = np.count_nonzero(counts), counts.sum()
    mean = float(sums.sum() / max(total, 1))
    if n < 2:
        return mean, -np.inf, np.inf
    reach = float(student.ppf((1 + LEVEL) / 2, n - 1) * np.sqrt(np.square(sums).sum()) / total)
    return mean, mean - reach, mean + reach
