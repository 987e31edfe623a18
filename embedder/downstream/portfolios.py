"""Experiment: how few of the models are enough?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from embedder import metrics
from embedder.baselines.rates import model_rates
from embedder.matrix import CorrectnessMatrix
from embedder.predictor import Forecast

from .columns import counts, figures, texts
from .forecast import check_rows

__all__ = ["ENOUGH", "METHODS", "PORTFOLIOS", "RANDOM_PORTFOLIOS", "find_common_block", "grow_portfolios"]

PORTFOLIOS = pa.schema(
    [
        *texts("embedder", "method"),
        *counts("k"),
        *texts("model"),
        *counts("n"),
        *figures("accuracy", "ci_low", "ci_high", "share", "share_low", "share_high"),
        pa.field("enough", pa.bool_()),
        *texts("reason"),
    ]
)
ENOUGH = 0.99
"""Share of all models' routing accuracy that a portfolio has to keep."""
METHODS = ("greedy", "best_mean", "random")
RANDOM_PORTFOLIOS = 50

_Row = dict[str, str | int | float | bool | None]


@dataclass(frozen=True)
class _Ranked:
    """Questions (n) that all of M models answered, by how the router ranks the models for each."""

    place: np.ndarray  # (n, M) each model's place in the ranking, from 0
    right: np.ndarray  # (n, M) whether the model at each place is right, 1 or 0
    probability: np.ndarray  # (n, M) the forecast probability that it is

    def of_best(self, values: np.ndarray, place: np.ndarray) -> np.ndarray:
        """`values`, `right` or `probability`, of the models at `place` (n, portfolios)."""
        return np.take_along_axis(values, place, axis=1)


def grow_portfolios(
    matrix: CorrectnessMatrix, forecasts: Mapping[str, Forecast], version: str, *, seed: int = 0
) -> pa.Table:
    """Table `portfolios`: a row is a method and a number of models k, from the `forecasts` by an embedder of this
    `version` of the questions of the "val" and of the "test" split of `matrix`.

    The router chooses for each question from the models of a portfolio. `greedy` adds the model that gains most right
    answers on the val split (ties: the higher mean probability of the models then chosen, the better on train, by
    name), `best_mean` the next best on the train split, `random` is the mean over random portfolios. Accuracies are on
    the test split, `share` is of that with all models, on the same resampled questions; `enough` marks a method's
    least k with 99% of it on the val split.

    Where answers are missing, a portfolio would be measured by the questions it happened to be asked. So only the
    models and questions of the common block take part: `n` and the greatest k say how many they are. Raises
    ValueError where forecasts are not of the questions of these splits.
    """
    val, test = matrix.of_split("val"), matrix.of_split("test")
    check_rows(val, forecasts["val"], "val")
    check_rows(test, forecasts["test"])
    models, val_rows, test_rows = find_common_block(val.observed, test.observed)
    count, reason = len(matrix.models), None
    if count < 2:
        reason = f"needs at least 2 models, found {count}"
    elif not val.observed.any():
        reason = "no val question was answered"
    elif not test.observed.any():
        reason = "no test question was answered"
    elif not len(models):
        reason = "no 2 models answered the same questions, of both the val and the test split"
    if reason:
        rows: list[_Row] = [{"method": m, "k": count, "reason": reason} for m in METHODS]
    else:
        rates = model_rates(matrix.of_split("train"))
        models = models[np.lexsort((models, -rates[models]))]  # ties are to fall to the better on train, then by name
        names = [matrix.models[model] for model in models]
        chosen_on = _rank(val.labels, forecasts["val"], val_rows, models)
        reported_on = _rank(test.labels, forecasts["test"], test_rows, models)
        rows = list(_rows(names, chosen_on, reported_on, seed))
    return pa.Table.from_pylist([row | {"embedder": version} for row in rows], schema=PORTFOLIOS)


def find_common_block(val: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return models, and the questions of the val and of the test split that all of these models answered, as column
    and row numbers of `val` (n, M) and `test` (m, M), which say who answered what.

    The block is the one of most cells (models × the fewer of val and test questions) that is reached by leaving out one
    model after the other, each time the one that alone keeps most questions out (ties: the one with fewest answers,
    then the last). There are no models where not even two answered a question of both splits.
    """
    both = np.concatenate([val, test])
    kept, answers = np.ones(both.shape[1], bool), both.sum(axis=0)
    best, most = np.zeros_like(kept), 0
    while kept.sum() >= 2:
        lacking = kept.sum() - both[:, kept].sum(axis=1)
        cells = kept.sum() * min((lacking[: len(val)] == 0).sum(), (lacking[len(val) :] == 0).sum())
        if cells > most:
            best, most = kept.copy(), cells
        alone = (~both[lacking == 1]).sum(axis=0)
        candidates = np.flatnonzero(kept)
        kept[candidates[np.lexsort((-candidates, answers[candidates], -alone[candidates]))[0]]] = False
    of_val, of_test = (np.flatnonzero(split[:, best].all(axis=1) & best.any()) for split in (val, test))
    return np.flatnonzero(best), of_val, of_test


def _rank(labels: np.ndarray, forecast: Forecast, rows: np.ndarray, models: np.ndarray) -> _Ranked:
    """Rank the models of a block of `labels` (Q, M); ties in routing scores are broken by the order of `models`."""
    block = np.ix_(rows, models)
    ranking = np.argsort(-forecast.routing_scores[block], axis=1, kind="stable")
    return _Ranked(
        place=np.argsort(ranking, axis=1),
        right=np.take_along_axis(labels[block], ranking, axis=1).astype(np.float64),
        probability=np.take_along_axis(forecast.probabilities[block], ranking, axis=1).astype(np.float64),
    )


def _order_greedily(ranked: _Ranked) -> np.ndarray:
    """(M,): the models in the order in which they are added."""
    count, models = ranked.place.shape
    best, added = np.full((count, 1), models), []
    for _ in range(models):
        place = np.minimum(best, ranked.place)  # (n, M): which one is asked if the portfolio had each model more
        gains, sure = (ranked.of_best(values, place).sum(axis=0) for values in (ranked.right, ranked.probability))
        gains[added] = -1
        added.append(int(np.lexsort((np.arange(models), -sure, -gains))[0]))
        best = place[:, added[-1:]]
    return np.array(added)


def _grow(ranked: _Ranked, orders: np.ndarray) -> np.ndarray:
    """(n, M): share of `orders` (orders, M) from whose first 1, 2, … models each question is answered right."""
    right = np.zeros(ranked.right.shape)
    for order in orders:
        right += ranked.of_best(ranked.right, np.minimum.accumulate(ranked.place[:, order], axis=1))
    return right / len(orders)


def _rows(names: list[str], val: _Ranked, test: _Ranked, seed: int) -> Iterator[_Row]:
    models, rng = len(names), np.random.default_rng(seed)
    by_method = {  # the orders (orders, M) in which a method's portfolios grow
        "greedy": _order_greedily(val)[None],
        "best_mean": np.arange(models)[None],
        "random": np.array([rng.permutation(models) for _ in range(RANDOM_PORTFOLIOS)]),
    }
    for method, orders in by_method.items():
        on_val, right = _grow(val, orders).mean(axis=0), _grow(test, orders)
        enough = int(np.argmax(on_val >= ENOUGH * on_val[-1] - 1e-12))
        figures = _figures(right, seed)
        for k in range(models):
            yield {
                "method": method,
                "k": k + 1,
                "model": names[orders[0, k]] if len(orders) == 1 else None,
                "n": len(right),
                "enough": k == enough,
                **{name: float(values[k]) if np.isfinite(values[k]) else None for name, values in figures.items()},
            }


def _figures(right: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Columns of the table, each (M,), from `right` (n, M) whose last column is of all models; not finite where they
    are not defined. The questions drawn are the same for all portfolios."""
    count, ends = len(right), [0.025, 0.975]
    drawn = metrics.resample_counts(count, seed=seed) @ right / count
    with np.errstate(invalid="ignore", divide="ignore"):
        share, drawn_share = right.mean(axis=0) / right.mean(axis=0)[-1], drawn / drawn[:, -1:]
        low, high = np.quantile(drawn, ends, axis=0)
        share_low, share_high = np.quantile(drawn_share, ends, axis=0)
    figures = {"accuracy": right.mean(axis=0), "share": share}
    if count >= 2:
        figures |= {"ci_low": low, "ci_high": high, "share_low": share_low, "share_high": share_high}
    return figures
