"""Experiment: is a question recognised when it comes in another form?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from embedder import metrics
from embedder.baselines.rates import ModelBenchmarkMean, model_rates
from embedder.matrix import CorrectnessMatrix
from embedder.predictor import Forecast, Predictor
from embedder.questions import Questions

from .columns import counts, figures, texts
from .forecast import NO_TEST_ANSWERS
from .routing import choose_models
from .text_forms import AS_ASKED, EXAMPLES, FORMS, NONSENSE, digest, rewrite, write_nonsense

__all__ = ["MOST_QUESTIONS", "ROBUSTNESS", "measure_robustness"]

MOST_QUESTIONS = 400  # of the test split: each is encoded once a form
_NONSENSE_TEXTS = 18  # of each kind
_NOTHING_TO_CHANGE = "no test question has what this form changes"

ROBUSTNESS = pa.schema(
    [
        *texts("embedder", "form", "method"),
        *figures("changed"),
        *counts("n"),
        *figures("routing_accuracy", "ci_low", "ci_high", "routing_forecast", "overconfidence", "routing_rate"),
        *figures("mean_forecast", "mean_rate", "accuracy", "log_loss", "ece", "asked_routing_accuracy"),
        *figures("asked_routing_forecast", "asked_accuracy", "asked_log_loss", "asked_ece", "routing_loss"),
        *figures("routing_loss_low", "routing_loss_high", "log_loss_rise", "log_loss_rise_low"),
        *figures("log_loss_rise_high"),
        *texts("reason"),
    ]
)
Encode = Callable[[Sequence[str]], np.ndarray]
Row = dict[str, Any]


def measure_robustness(
    matrix: CorrectnessMatrix,
    questions: Questions,
    predictor: Predictor,
    baselines: Sequence[Predictor],
    encode: Encode,
    version: str,
    *,
    split: str = "test",
    seed: int = 0,
    progress: Callable[[int, int, str], None] = lambda done, total, label: None,
) -> pa.Table:
    """Table `robustness`: a row is how one method does where the test questions of `matrix` (Q, M) come in one of
    `FORMS`, or where it is asked one of the kinds of `NONSENSE`.

    The answers are those to the questions as they were asked: this says whether a question is recognised in another
    form, not what models would answer to it in that form. Up to `MOST_QUESTIONS` answered ones of the `split` are
    taken, from each benchmark its share, by the digests of their ids. `encode` returns the vectors (n, D) of texts.
    `predictor` is the embedder of the `version` that is evaluated, fitted on all of `matrix`; the `baselines` are
    fitted here. No method is told the benchmark of a question but model_benchmark_mean, which knows nothing else.

    `changed` is the share of the questions that a form changes; all the rest is of these n questions only, and the
    columns that begin with `asked_` are of the same ones as they were asked. Each goes to the model that ranks first
    among those that answered: `routing_accuracy` of them are right, `routing_forecast` is the mean of the
    probabilities forecast for them, `overconfidence` what it is above, and `routing_rate` the mean share of right
    training answers of the models chosen. `mean_forecast`, `accuracy`, `log_loss`, `ece` and `mean_rate`, of training
    answers as well, are of all the answers. `routing_loss` is what routing accuracy falls by from the questions as
    asked, `log_loss_rise` what log-loss rises by, with bootstrap intervals over questions (null below two). Nonsense
    has no right answer: its rows have forecasts and rates, of all models that have training answers.

    Where no question of the split has an answer, the only row has the reason, as has each row of a form that changes
    nothing. Raises ValueError where no training question has an answer.
    """
    chosen = _choose_questions(matrix, split)
    if not len(chosen):
        row = {"form": AS_ASKED, "method": "embedder", "n": 0, "reason": NO_TEST_ANSWERS}
        return pa.Table.from_pylist([{"embedder": version} | row], schema=ROBUSTNESS)
    fitted = [base.fit(matrix, questions, seed=seed) for base in baselines]
    trial = _Trial(
        test=matrix.rows(chosen),
        asked=questions.rows(chosen),
        examples=_draw_examples(matrix, chosen),
        predictors={"embedder": predictor} | {base.method: base for base in fitted},
        rates=model_rates(matrix.of_split("train")),
        encode=encode,
        seed=seed,
    )
    rows, total = [], len(FORMS) + len(NONSENSE)
    for done, form in enumerate((*FORMS, *NONSENSE), 1):
        found = trial.in_nonsense(form) if form in NONSENSE else trial.in_form(form)
        rows += [{"embedder": version, "form": form, "method": method} | row for method, row in found.items()]
        progress(done, total, "test questions in other forms")
    return pa.Table.from_pylist(rows, schema=ROBUSTNESS)


def _choose_questions(matrix: CorrectnessMatrix, split: str) -> np.ndarray:
    """(n,) rows of the answered questions of the split; where they are too many, the first of each benchmark by the
    digests of their ids, as many as it has a share in all."""
    answered = np.flatnonzero((matrix.splits == split) & matrix.observed.any(axis=1))
    position = np.empty(len(answered))  # between 0 and 1, in the question's benchmark
    order = np.array([digest(question) for question in matrix.question_ids[answered].tolist()], np.uint64)
    for name in np.unique(matrix.benchmarks[answered]):
        of_it = np.flatnonzero(matrix.benchmarks[answered] == name)
        position[of_it] = (np.argsort(np.argsort(order[of_it])) + 0.5) / len(of_it)
    return np.sort(answered[np.lexsort((order, position))[:MOST_QUESTIONS]])


def _draw_examples(matrix: CorrectnessMatrix, chosen: np.ndarray) -> list[list[str]]:
    """Texts of some training questions for each of the `chosen` (n,), of its benchmark where that has any."""
    train = np.flatnonzero(matrix.splits == "train")
    drawn = []
    for row in chosen:
        alike = train[matrix.benchmarks[train] == matrix.benchmarks[row]]
        candidates = alike if len(alike) else train
        rng = np.random.default_rng(digest(str(matrix.texts[row])))
        some = rng.choice(candidates, min(EXAMPLES, len(candidates)), replace=False)
        drawn.append(matrix.texts[some].tolist())
    return drawn


@dataclass(frozen=True)
class _Outcome:
    """What a method predicts for n questions and M models, and how the models answered.

    `labels` and `probabilities` are (n, M), `chosen` (n,) the column of the model that the question goes to, and
    `rates` (M,) the models' shares of right training answers.
    """

    labels: np.ndarray
    probabilities: np.ndarray
    chosen: np.ndarray
    rates: np.ndarray

    def rows(self, which: np.ndarray) -> _Outcome:
        return replace(
            self, labels=self.labels[which], probabilities=self.probabilities[which], chosen=self.chosen[which]
        )

    @property
    def right(self) -> np.ndarray:
        """(n,): 1 where the model chosen answered right."""
        return self.labels[np.arange(len(self.chosen)), self.chosen].astype(np.float64)

    @property
    def probability(self) -> np.ndarray:
        """(n,): the forecast probability of that."""
        return self.probabilities[np.arange(len(self.chosen)), self.chosen].astype(np.float64)

    @property
    def losses(self) -> np.ndarray:
        """(n,): log-loss of a question's answers, summed."""
        return metrics.losses(self.labels, self.probabilities).sum(axis=1, where=~np.isnan(self.labels))


@dataclass(frozen=True)
class _Trial:
    """Test questions, their answers, the examples that may precede them, and the predictors that forecast the
    answers."""

    test: CorrectnessMatrix
    asked: Questions
    examples: Sequence[Sequence[str]]
    predictors: Mapping[str, Predictor]
    rates: np.ndarray
    encode: Encode
    seed: int

    @cached_property
    def _as_asked(self) -> dict[str, _Outcome]:
        return self._outcomes(self.test, self.asked)

    def in_form(self, form: str) -> dict[str, Row]:
        """Return by method the row on the questions in this form."""
        pairs = zip(self.test.texts, self.examples, strict=True)
        texts = np.array([rewrite(form, text, examples) for text, examples in pairs], object)
        which = np.flatnonzero((texts != self.test.texts) | (form == AS_ASKED))
        common = {"changed": len(which) / len(texts), "n": len(which)}
        if not len(which):
            return {method: common | {"reason": _NOTHING_TO_CHANGE} for method in self.predictors}
        if form == AS_ASKED:
            outcomes = self._as_asked
        else:
            vectors = self.encode(texts[which].tolist())
            outcomes = self._outcomes(
                self.test.rows(which), Questions(texts[which], vectors, self.test.benchmarks[which])
            )
        return {
            method: common | _compare(outcome, self._as_asked[method].rows(which), self.seed)
            for method, outcome in outcomes.items()
        }

    def in_nonsense(self, kind: str) -> dict[str, Row]:
        """Return by method the row on nonsense of this kind."""
        texts = write_nonsense(kind, _NONSENSE_TEXTS)
        questions = Questions(np.array(texts, object), self.encode(texts), np.full(len(texts), ""))
        rows = {}
        for method, predictor in self.predictors.items():
            forecast = _forecast(predictor, questions)
            chosen = forecast.routing_scores.argmax(axis=1)
            rows[method] = {
                "n": len(texts),
                "routing_forecast": float(forecast.probabilities[np.arange(len(texts)), chosen].mean()),
                "routing_rate": float(self.rates[chosen].mean()),
                "mean_forecast": float(forecast.probabilities.mean()),
                "mean_rate": float(self.rates.mean()),
            }
        return rows

    def _outcomes(self, test: CorrectnessMatrix, questions: Questions) -> dict[str, _Outcome]:
        found = {}
        for method, predictor in self.predictors.items():
            forecast = _forecast(predictor, questions)
            chosen = choose_models(test, forecast.routing_scores, self.rates)
            found[method] = _Outcome(test.labels, forecast.probabilities, chosen, self.rates)
        return found


def _forecast(predictor: Predictor, questions: Questions) -> Forecast:
    """Forecast without the benchmarks, which people who type a question do not name; one method knows nothing else."""
    needs_benchmark = isinstance(predictor, ModelBenchmarkMean)
    return predictor.forecast(questions if needs_benchmark else replace(questions, benchmarks=None))


def _compare(found: _Outcome, asked: _Outcome, seed: int) -> Row:
    """Return a row on questions in another form, compared with the same ones as they were asked."""
    each, answers = np.ones(len(found.chosen)), (~np.isnan(found.labels)).sum(axis=1)
    low, high = metrics.bootstrap_interval(found.right, each, seed=seed) or (None, None)
    fall = asked.right - found.right
    fall_low, fall_high = metrics.bootstrap_interval(fall, each, seed=seed) or (None, None)
    rise = found.losses - asked.losses
    rise_low, rise_high = metrics.bootstrap_interval(rise, answers, seed=seed) or (None, None)
    cells = np.nonzero(~np.isnan(found.labels))
    return {
        **_scores(found),
        "ci_low": low,
        "ci_high": high,
        "overconfidence": found.probability.mean() - found.right.mean(),
        "routing_rate": found.rates[found.chosen].mean(),
        "mean_forecast": found.probabilities[cells].mean(dtype=np.float64),
        "mean_rate": found.rates[cells[1]].mean(),
        **{f"asked_{name}": value for name, value in _scores(asked).items()},
        "routing_loss": fall.mean(),
        "routing_loss_low": fall_low,
        "routing_loss_high": fall_high,
        "log_loss_rise": rise.sum() / answers.sum(),
        "log_loss_rise_low": rise_low,
        "log_loss_rise_high": rise_high,
    }


def _scores(outcome: _Outcome) -> Row:
    return {
        "routing_accuracy": outcome.right.mean(),
        "routing_forecast": outcome.probability.mean(),
        "accuracy": metrics.accuracy(outcome.labels, outcome.probabilities),
        "log_loss": metrics.log_loss(outcome.labels, outcome.probabilities),
        "ece": metrics.ece(outcome.labels, outcome.probabilities),
    }
