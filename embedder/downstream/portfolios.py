"""Experiment: how few of the models are enough?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from embedder.baselines.rates import model_rates
from embedder.matrix import CorrectnessMatrix
from embedder.predictor import Forecast

__all__ = ["ENOUGH", "METHODS", "PORTFOLIOS", "RANDOM_PORTFOLIOS", "common_block", "portfolios"]

PORTFOLIOS = pa.schema(
    {
        "embedder": pa.string(),
        "method": pa.string(),
        "k": pa.int64(),
        "model": pa.string(),
        "n": pa.int64(),
        "accuracy": pa.float64(),
        "ci_low": pa.float64(),
        "ci_high": pa.float64(),
        "share": pa.float64(),
        "share_low": pa.float64(),
        "share_high": pa.float64(),
        "enough": pa.bool_(),
        "reason": pa.string(),
    }
)
ENOUGH = 0.99
"""Share of all models' routing accuracy that a portfolio has to keep."""
METHODS = ("greedy", "best_mean", "random")
RANDOM_PORTFOLIOS = 50
_RESAMPLES = 2000

_Row = dict[str, str | int | float | bool | None]


@dataclass(frozen=True)
class _Pool:
    """Questions (n) that all of M models answered, by how the router ranks the models for each."""

    place: np.ndarray  # (n, M) each model's place in the ranking, from 0
    right: np.ndarray  # (n, M) whether the model at each place is right, 1 or 0
    probability: np.ndarray  # (n, M) the forecast probability that it is

    def of_best(self, values: np.ndarray, place: np.ndarray) -> np.ndarray:
        """`values`, `right` or `probability`, of the models at `place` (n, portfolios)."""
        return np.take_along_axis(values, place, axis=1)


def portfolios(
    matrix: CorrectnessMatrix, forecasts: Mapping[str, Forecast], embedder: str, *, seed: int = 0
) -> pa.Table:
    """Table `portfolios`: a row is a method and a number of models k, from the `forecasts` by `embedder` of the
    questions of the "val" and of the "test" split of `matrix`.

    The router chooses for each question from the models of a portfolio. `greedy` adds the model that gains most right
    answers on the val split (ties: the higher mean probability of the models then chosen, the better on train, by
    name), `best_mean` the next best on the train split, `random` is the mean over random portfolios. Accuracies are on
    the test split, `share` is of that with all models, on the same resampled questions; `enough` marks a method's
    least k with 99% of it on the val split.

    Where answers are missing, a portfolio would be measured by the questions it happened to be asked. So only the
    models and questions of the `common_block` take part: `n` and the greatest k say how many they are. Raises
    ValueError where forecasts are not of the questions of these splits.
    """
    val, test = (_split(matrix, forecasts, name) for name in ("val", "test"))
    models, val_rows, test_rows = common_block(val.observed, test.observed)
    if reason := _impossible(matrix, val, test, models):
        rows: list[_Row] = [{"method": m, "k": len(matrix.models), "reason": reason} for m in METHODS]
    else:
        rates = model_rates(matrix.of_split("train"))
        models = models[np.lexsort((models, -rates[models]))]  # ties are to fall to the better on train, then by name
        names = [matrix.models[model] for model in models]
        chosen_on = _pool(val.labels, forecasts["val"], val_rows, models)
        reported_on = _pool(test.labels, forecasts["test"], test_rows, models)
        rows = list(_rows(names, chosen_on, reported_on, seed))
    return pa.Table.from_pylist([row | {"embedder": embedder} for row in rows], schema=PORTFOLIOS)


def common_block(val: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Models, and questions of the val and of the test split, all of which these models answered: row and column
    numbers of `val` (n, M) and `test` (m, M), which say who answered what.

    Of two models or more, as many cells (models × the fewer of val and test questions) as can be had by leaving out
    one model after the other, each time the one that most questions lack alone (ties: the one with fewest answers, then
    the last). No models where not even two answered a question of both splits.
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


def _split(matrix: CorrectnessMatrix, forecasts: Mapping[str, Forecast], name: str) -> CorrectnessMatrix:
    split = matrix.of_split(name)
    if forecasts[name].probabilities.shape != split.labels.shape:
        raise ValueError(
            f"the forecast of the {name} split is of {forecasts[name].probabilities.shape} questions and models, but "
            f"the split is of {split.labels.shape}; forecast its questions, and no others"
        )
    return split


def _impossible(
    matrix: CorrectnessMatrix, val: CorrectnessMatrix, test: CorrectnessMatrix, models: np.ndarray
) -> str | None:
    if len(matrix.models) < 2:
        return f"needs at least 2 models, found {len(matrix.models)}"
    for name, split in (("val", val), ("test", test)):
        if not split.observed.any():
            return f"no {name} question was answered"
    return None if len(models) else "no 2 models answered the same questions, of both the val and the test split"


def _pool(labels: np.ndarray, forecast: Forecast, rows: np.ndarray, models: np.ndarray) -> _Pool:
    """The block of `labels` (Q, M), ties in routing scores broken by the order of `models`."""
    block = np.ix_(rows, models)
    ranking = np.argsort(-forecast.routing_scores[block], axis=1, kind="stable")
    return _Pool(
        place=np.argsort(ranking, axis=1),
        right=np.take_along_axis(labels[block], ranking, axis=1).astype(np.float64),
        probability=np.take_along_axis(forecast.probabilities[block], ranking, axis=1).astype(np.float64),
    )


def _greedy(pool: _Pool) -> np.ndarray:
    """(M,): the models in the order in which they are added."""
    count, models = pool.place.shape
    best, added = np.full((count, 1), models), []
    for _ in range(models):
        place = np.minimum(best, pool.place)  # (n, M): which one is asked if the portfolio had each model more
        gains, sure = (pool.of_best(values, place).sum(axis=0) for values in (pool.right, pool.probability))
        gains[added] = -1
        added.append(int(np.lexsort((np.arange(models), -sure, -gains))[0]))
        best = place[:, added[-1:]]
    return np.array(added)


def _growing(pool: _Pool, orders: np.ndarray) -> np.ndarray:
    """(n, M): share of `orders` (orders, M) from whose first 1, 2, … models each question is answered right."""
    right = np.zeros(pool.right.shape)
    for order in orders:
        right += pool.of_best(pool.right, np.minimum.accumulate(pool.place[:, order], axis=1))
    return right / len(orders)


def _orders(val: _Pool, seed: int) -> dict[str, np.ndarray]:
    """By method, the orders in which its portfolios grow: (orders, M)."""
    models, rng = val.place.shape[1], np.random.default_rng(seed)
    return {
        "greedy": _greedy(val)[None],
        "best_mean": np.arange(models)[None],
        "random": np.array([rng.permutation(models) for _ in range(RANDOM_PORTFOLIOS)]),
    }


def _rows(names: list[str], val: _Pool, test: _Pool, seed: int) -> Iterator[_Row]:
    for method, orders in _orders(val, seed).items():
        on_val, right = _growing(val, orders).mean(axis=0), _growing(test, orders)
        enough = int(np.argmax(on_val >= ENOUGH * on_val[-1] - 1e-12))
        figures = _figures(right, seed)
        for k in range(len(names)):
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
    are not defined. Questions are drawn with replacement, at once for all portfolios."""
    count, ends = len(right), [0.025, 0.975]
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), _RESAMPLES) @ right / count
    with np.errstate(invalid="ignore", divide="ignore"):
        share, drawn_share = right.mean(axis=0) / right.mean(axis=0)[-1], drawn / drawn[:, -1:]
        low, high = np.quantile(drawn, ends, axis=0)
        share_low, share_high = np.quantile(drawn_share, ends, axis=0)
    figures = {"accuracy": right.mean(axis=0), "share": share}
    if count >= 2:
        figures |= {"ci_low": low, "ci_high": high, "share_low": share_low, "share_high": share_high}
    return figures
