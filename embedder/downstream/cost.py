"""Experiment: what does quality cost, where a router weighs a better answer against a more expensive model?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from embedder import metrics
from embedder.baselines.rates import model_rates
from embedder.matrix import CorrectnessMatrix

from .aiq import aiq
from .columns import counts, figures, texts
from .routing import choose_models, rates_by_question

__all__ = ["COST_CURVE", "COST_SUMMARY", "QuestionCosts", "weigh_costs"]

COST_CURVE = pa.schema(
    [
        *texts("embedder", "method", "model"),
        *figures("cost_weight"),
        *counts("n"),
        *figures("accuracy", "ci_low", "ci_high", "mean_cost"),
        *texts("cost_unit"),
        pa.field("pareto", pa.bool_()),
    ]
)
COST_SUMMARY = pa.schema(
    [
        *texts("embedder", "method"),
        *counts("models", "n"),
        *texts("cost_unit"),
        *figures("aiq", "aiq_low", "aiq_high", "cost_weight", "accuracy", "ci_low", "ci_high", "mean_cost"),
        *figures("cost_share", "cost_share_low", "cost_share_high"),
        *texts("predicted_by"),
        *figures("measured"),
        *texts("reason"),
    ]
)
RESAMPLES = 1000
WEIGHTS_A_DECADE = 10
NO_VAL = "no cost weight can be chosen, as no val question was answered by a model whose cost is known"
NOT_KEPT = "on the val split no cost weight keeps it as accurate as the single best model"

_Row = dict[str, str | int | float | bool | None]


@dataclass(frozen=True)
class QuestionCosts:
    """What each of Q questions costs each of M models: `predicted` before it is asked, NaN of models whose cost is not
    known, and `measured` afterwards, NaN where it was not. `predicted_by` tells how."""

    predicted: np.ndarray
    measured: np.ndarray
    predicted_by: str

    @property
    def spent(self) -> np.ndarray:
        """(Q, M): the predicted cost where none was measured."""
        return np.where(np.isnan(self.measured), self.predicted, self.measured)


@dataclass(frozen=True)
class _Candidates:
    """The models (M) whose cost is known, with their answers to the questions (n) of a split and their rates on the
    train split."""

    asked: CorrectnessMatrix
    scores: Mapping[str, np.ndarray]  # by method (n, M) or (M,): what it ranks models by, between 0 and 1
    rates: np.ndarray  # (M,)
    cost: np.ndarray  # (n, M), which choices are made by
    spent: np.ndarray  # (n, M)
    measured: float | None  # share of the answers whose cost was

    def sweep(self, method: str, weights: np.ndarray) -> _Sweep:
        picks = [choose_models(self.asked, self.scores[method] - w * self.cost, self.rates) for w in weights]
        chosen = np.stack(picks, axis=1)
        return _Sweep(
            np.take_along_axis(self.asked.labels, chosen, axis=1).astype(np.float64),
            np.take_along_axis(self.spent, chosen, axis=1),
        )


@dataclass(frozen=True)
class _Sweep:
    """Whether the model that a question is sent to at a cost weight is right, and what that costs."""

    right: np.ndarray  # (n, W)
    cost: np.ndarray  # (n, W)

    @property
    def changes(self) -> np.ndarray:
        """Positions of the weights that change something against the weight before, the first included."""
        differs = (np.diff(self.right, axis=1) != 0) | (np.diff(self.cost, axis=1) != 0)
        return np.append(0, 1 + np.flatnonzero(differs.any(axis=0)))


@dataclass(frozen=True)
class _Means:
    """Accuracy and mean cost by cost weight (W), as observed, and in each resample of the questions (R, W)."""

    accuracy: np.ndarray
    cost: np.ndarray
    accuracies: np.ndarray
    costs: np.ndarray

    @classmethod
    def of(cls, sweep: _Sweep, draws: np.ndarray) -> _Means:
        """`draws` (R, n): how often each question is drawn."""
        n = len(sweep.right)
        return cls(sweep.right.mean(axis=0), sweep.cost.mean(axis=0), draws @ sweep.right / n, draws @ sweep.cost / n)


def weigh_costs(
    matrix: CorrectnessMatrix,
    val_scores: np.ndarray,
    test_scores: np.ndarray,
    version: str,
    *,
    costs: Mapping[str, float],
    cost_unit: str,
    question_costs: QuestionCosts | None = None,
    seed: int = 0,
) -> tuple[pa.Table, pa.Table]:
    """Tables `cost_curve` and `cost_summary`, from the routing scores (between 0 and 1) of an embedder of this
    `version` for the val and test questions of `matrix`, and the `costs` of a question by model; models without one
    take no part. With
    `question_costs` (of all questions and models of `matrix`) each question is sent by what it is predicted to cost,
    and what is spent is what was measured.

    At a cost weight w each question goes to the model of the greatest score - w * cost among those that answered it:
    the score is the routing score (`router`), or the model's rate on the train split, on all of it (`best_single`,
    where w is 0 the single best model) or on the question's benchmark (`best_per_benchmark`). Weights go from 0 to
    where the cheapest model is always asked. A row of `cost_curve` is a weight, except for those that change nothing,
    or a model that is always asked, on the test questions that it answered.

    A row of `cost_summary` is a method: the area under its curve (`aiq`) over the costs of all methods' curves, and
    what it takes to be as good as the single best model: the greatest weight whose accuracy on the val split is no
    lower, with accuracy and cost on the test split. Where there is nothing to weigh, its only row says why. All
    intervals are of a bootstrap over the test questions. Raises ValueError where scores are of other questions, or
    lack a model that answered one.
    """
    known = np.array([model in costs for model in matrix.models])
    by_model = np.array([[costs.get(model, np.nan) for model in matrix.models]], np.float64)
    cost = by_model.repeat(len(matrix.labels), axis=0)
    each = question_costs or QuestionCosts(cost, np.full_like(cost, np.nan), "")
    row: _Row = {"embedder": version, "models": int(known.sum())}
    test = _select(matrix, "test", test_scores, known, each)
    if question_costs is not None:
        row |= {"predicted_by": each.predicted_by, "measured": test.measured}
    n, reason = len(test.asked.labels), None
    if not len(test.rates):
        reason = "no model has a known cost, be it a price or a size"
    elif len(test.rates) == 1:
        reason = "needs at least 2 models whose cost is known, found 1"
    elif not n:
        reason = "no test question was answered by a model whose cost is known"
    elif not np.ptp(test.cost, axis=1).any():
        reason = "all models whose cost is known cost the same"
    if reason:
        row |= {"method": "router", "reason": reason}
        return COST_CURVE.empty_table(), pa.Table.from_pylist([row], schema=COST_SUMMARY)
    weights = choose_weights(test.cost)
    draws = metrics.resample_counts(n, seed=seed, resamples=RESAMPLES).astype(np.float64)
    sweeps = {method: test.sweep(method, weights) for method in test.scores}
    means = {method: _Means.of(sweep, draws) for method, sweep in sweeps.items()}
    common: _Row = {"embedder": version, "cost_unit": cost_unit}
    points = [point | common for point in (*_curve_rows(sweeps, means, weights), *_model_rows(test, draws))]
    kept = _find_kept(_select(matrix, "val", val_scores, known, each), weights)
    summary = [row | common | {"n": n} | found for found in _summary_rows(means, n, weights, kept)]
    return pa.Table.from_pylist(points, schema=COST_CURVE), pa.Table.from_pylist(summary, schema=COST_SUMMARY)


def choose_weights(cost: np.ndarray) -> np.ndarray:
    """Return 0, and as many weights a decade from where all differences in `cost` (n, M) together hardly count to where
    the cheapest model is always asked, for scores between 0 and 1; for 99 in a hundred questions, where costs differ by
    question."""
    extra = cost - cost.min(axis=1, keepdims=True)
    least = np.where(extra > 0, extra, np.inf).min(axis=1)
    gap = np.quantile(least[np.isfinite(least)], 0.01, method="lower")
    low, high = 1e-3 / extra.max(), 1.01 / gap
    return np.concatenate([[0], np.geomspace(low, high, 1 + int(np.ceil(WEIGHTS_A_DECADE * np.log10(high / low))))])


def _select(
    matrix: CorrectnessMatrix, split: str, scores: np.ndarray, known: np.ndarray, each: QuestionCosts
) -> _Candidates:
    """Select the `known` models (M,) and the questions of a split that one of them answered."""
    asked, train = matrix.of_split(split), matrix.of_split("train")
    if scores.shape != asked.labels.shape:
        raise ValueError(
            f"scores are {scores.shape}, but the {split} split has {asked.labels.shape} questions and models"
        )
    asked = replace(asked, labels=asked.labels[:, known], models=tuple(np.array(asked.models, object)[known]))
    answered = np.asarray(asked.observed.any(axis=1))
    asked, scores = asked.rows(answered), scores[answered][:, known]
    if np.isnan(scores[asked.observed]).any():
        raise ValueError(f"a model that answered a {split} question has no routing score for it")
    cost, spent, measured = (
        of_all[matrix.splits == split][answered][:, known] for of_all in (each.predicted, each.spent, each.measured)
    )
    share = float((~np.isnan(measured[asked.observed])).mean()) if asked.observed.any() else None
    rates = model_rates(train)[known]
    by_method = {
        "router": scores.astype(np.float64),
        "best_single": rates,
        "best_per_benchmark": rates_by_question(train, asked.benchmarks)[:, known],
    }
    return _Candidates(asked, by_method, rates, cost, spent, share)


def _curve_rows(sweeps: Mapping[str, _Sweep], means: Mapping[str, _Means], weights: np.ndarray) -> Iterator[_Row]:
    """Yield a row for each method and each weight at which questions go elsewhere than at the weight before."""
    for method, of_method in means.items():
        n = len(sweeps[method].right)
        for at in sweeps[method].changes:
            low, high = _interval(of_method.accuracies[:, at], n)
            yield {
                "method": method,
                "cost_weight": float(weights[at]),
                "n": n,
                "accuracy": float(of_method.accuracy[at]),
                "ci_low": low,
                "ci_high": high,
                "mean_cost": float(of_method.cost[at]),
            }


def _model_rows(test: _Candidates, draws: np.ndarray) -> Iterator[_Row]:
    """Yield a row for each model that answered a test question."""
    asked, right = test.asked.observed.astype(np.float64), np.nan_to_num(test.asked.labels).astype(np.float64)
    n = asked.sum(axis=0)
    used = np.flatnonzero(n)
    # Added to what the first question costs: models of equal costs stay equal, whatever each was asked.
    cost = (test.spent[0] + ((test.spent - test.spent[0]) * asked).sum(axis=0) / np.maximum(n, 1))[used]
    accuracy = right.sum(axis=0)[used] / n[used]
    for model, its_accuracy, its_cost in zip(used, accuracy, cost, strict=True):
        low, high = _interval(_ratio(draws @ right[:, model], draws @ asked[:, model]), int(n[model]))
        as_good = (accuracy >= its_accuracy) & (cost <= its_cost)
        yield {
            "method": "model",
            "model": test.asked.models[model],
            "n": int(n[model]),
            "accuracy": float(its_accuracy),
            "ci_low": low,
            "ci_high": high,
            "mean_cost": float(its_cost),
            "pareto": not (as_good & ((accuracy > its_accuracy) | (cost < its_cost))).any(),
        }


def _find_kept(val: _Candidates, weights: np.ndarray) -> dict[str, int] | None:
    """Return by method the position of the greatest weight that answers as many val questions right as the single best
    model does; methods that never do are left out. None without val questions."""
    if not len(val.asked.labels):
        return None
    right = {method: val.sweep(method, weights).right.sum(axis=0) for method in val.scores}
    enough = {method: np.flatnonzero(count >= right["best_single"][0]) for method, count in right.items()}
    return {method: int(positions[-1]) for method, positions in enough.items() if len(positions)}


def _summary_rows(
    means: Mapping[str, _Means], n: int, weights: np.ndarray, kept: Mapping[str, int] | None
) -> Iterator[_Row]:
    areas, single = _areas(means), means["best_single"]
    for method, of_method in means.items():
        area, *resampled = areas[method]
        low, high = _interval(np.array(resampled), n)
        row: _Row = {"method": method, "aiq": area if np.isfinite(area) else None, "aiq_low": low, "aiq_high": high}
        if kept is None:
            yield row | {"reason": NO_VAL}
        elif method not in kept:
            yield row | {"reason": NOT_KEPT}
        else:
            at = kept[method]
            low, high = _interval(of_method.accuracies[:, at], n)
            share_low, share_high = _interval(_ratio(of_method.costs[:, at], single.costs[:, 0]), n)
            yield row | {
                "cost_weight": float(weights[at]),
                "accuracy": float(of_method.accuracy[at]),
                "ci_low": low,
                "ci_high": high,
                "mean_cost": float(of_method.cost[at]),
                "cost_share": float(of_method.cost[at] / single.cost[0]) if single.cost[0] > 0 else None,
                "cost_share_low": share_low,
                "cost_share_high": share_high,
            }


def _areas(means: Mapping[str, _Means]) -> dict[str, list[float]]:
    """Return by method its AIQ, as observed and in each resample, over the costs of all methods' curves."""
    costs = {method: np.vstack([m.cost, m.costs]) for method, m in means.items()}
    low = np.min([cost.min(axis=1) for cost in costs.values()], axis=0)
    high = np.max([cost.max(axis=1) for cost in costs.values()], axis=0)
    return {
        method: [
            aiq(*curve) for curve in zip(costs[method], np.vstack([m.accuracy, m.accuracies]), low, high, strict=True)
        ]
        for method, m in means.items()
    }


def _interval(resampled: np.ndarray, n: int) -> tuple[float, float] | tuple[None, None]:
    """95% interval of a statistic from its resamples (R,), NaN where it is undefined; None below two questions."""
    defined = resampled[np.isfinite(resampled)]
    if n < 2 or not len(defined):
        return None, None
    low, high = np.percentile(defined, [2.5, 97.5])
    return float(low), float(high)


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """NaN where it is undefined."""
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)
