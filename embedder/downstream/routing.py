"""Experiment: how often is the answer right if each question goes to the model that ranks first for it?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from embedder import metrics
from embedder.baselines.rates import benchmark_rates, model_rates
from embedder.matrix import CorrectnessMatrix
from embedder.predictor import Forecast

from .columns import counts, figures, texts
from .forecast import check_rows, group_questions

__all__ = ["ROUTES", "ROUTING", "choose_models", "rates_by_question", "route"]

ROUTING = pa.schema(
    [
        *texts("embedder", "method", "benchmark"),
        *counts("n"),
        *figures("accuracy", "ci_low", "ci_high", "gain_over_best", "gap_to_oracle", "candidates", "mean_cost"),
        *texts("cost_unit", "reason"),
    ]
)
ROUTES = pa.schema(
    [
        *texts("embedder", "method", "question_id", "benchmark", "model"),
        *figures("probability"),
        pa.field("correct", pa.bool_()),
    ]
)
NO_ANSWERS = "no test question was answered"


@dataclass(frozen=True)
class _Policy:
    """How a method distributes each test question over the models that answered it: (n, M), rows sum to 1.

    A method that picks one model has a single 1 in each row, in the column `chosen` (n,).
    """

    shares: np.ndarray
    chosen: np.ndarray | None = None


def route(
    matrix: CorrectnessMatrix,
    forecast: Forecast,
    version: str,
    *,
    costs: Mapping[str, float] | None = None,
    cost_unit: str | None = None,
    spent: np.ndarray | None = None,
    seed: int = 0,
) -> tuple[pa.Table, pa.Table]:
    """Tables `routing` (a row is a method on a benchmark or "all") and `routes` (a row is a method's choice
    for a test question, with the forecast probability that it is right), from the `forecast` by an
    embedder of this `version` of the test questions of `matrix`.

    A question only goes to a model that answered it; ties go to the model better on the train split, then by
    name. `router` takes the model of the highest routing score, `best_single` and `best_per_benchmark` are
    chosen on the train split, `oracle` knows the answers, `random` is the expectation over the models that
    answered, `weighted_random` that of picking models as often as `router` does. `gain_over_best` is accuracy
    / accuracy of best_single - 1, `gap_to_oracle` is 1 - accuracy / accuracy of oracle; null where the divisor
    is 0. `candidates` is the mean number of models that a question could go to. `costs` are those of a question
    by model, in `cost_unit`, or `spent` (Q, M) those of each of the matrix's questions; `mean_cost` is null where one
    that is needed is missing. Where no test question was answered, the only row says so. Raises ValueError where
    `forecast` is not of the test questions, or lacks a model that answered one.
    """
    test = matrix.of_split("test")
    check_rows(test, forecast)
    answered = np.asarray(test.observed.any(axis=1))
    test = test.rows(answered)
    scores, probabilities = forecast.routing_scores[answered], forecast.probabilities[answered]
    if np.isnan(scores[test.observed]).any() or np.isnan(probabilities[test.observed]).any():
        raise ValueError("a model that answered a test question has no probability or routing score for it")
    if not answered.any():
        row = {"embedder": version, "method": "router", "benchmark": "all", "n": 0, "reason": NO_ANSWERS}
        return pa.Table.from_pylist([row], schema=ROUTING), ROUTES.empty_table()
    policies = _policies(matrix.of_split("train"), test, scores)
    cost = np.array([[(costs or {}).get(model, np.nan) for model in matrix.models]]).repeat(len(test.labels), axis=0)
    if spent is not None:
        cost = spent[matrix.splits == "test"][answered]
    rows = [
        row | {"embedder": version, "cost_unit": None if row["mean_cost"] is None else cost_unit}
        for row in _compare_policies(test, policies, cost, seed)
    ]
    routes = []
    for method, policy in policies.items():
        if (chosen := policy.chosen) is not None:
            at = np.arange(len(chosen)), chosen
            columns = {
                "embedder": [version] * len(chosen),
                "method": [method] * len(chosen),
                "question_id": test.question_ids,
                "benchmark": test.benchmarks,
                "model": np.array(test.models, object)[chosen],
                "probability": probabilities[at].astype(np.float64),
                "correct": test.labels[at] == 1,
            }
            routes.append(pa.table(columns, schema=ROUTES))
    return pa.Table.from_pylist(rows, schema=ROUTING), pa.concat_tables(routes)


def _policies(train: CorrectnessMatrix, test: CorrectnessMatrix, scores: np.ndarray) -> dict[str, _Policy]:
    """Return every method's policy for the test questions, whose routing scores are (n, M)."""
    rates = model_rates(train)

    def pick(score: np.ndarray) -> _Policy:
        chosen, shares = choose_models(test, score, rates), np.zeros(test.labels.shape)
        shares[np.arange(len(chosen)), chosen] = 1
        return _Policy(shares, chosen)

    router = pick(scores)
    return {
        "router": router,
        "best_single": pick(rates),
        "best_per_benchmark": pick(rates_by_question(train, test.benchmarks)),
        "weighted_random": _Policy(_spread(test, router.shares.mean(axis=0))),
        "random": _Policy(_spread(test, np.ones(len(rates)))),
        "oracle": pick(np.nan_to_num(test.labels)),
    }


def rates_by_question(train: CorrectnessMatrix, benchmarks: np.ndarray) -> np.ndarray:
    """(n, M): each model's share of right training answers on the question's benchmark (n,), or on all where the
    train split has none of that benchmark."""
    names, rates = benchmark_rates(train)
    row = {name: i for i, name in enumerate(names)}
    return np.vstack([rates, model_rates(train)])[[row.get(name, len(row)) for name in benchmarks]]


def choose_models(test: CorrectnessMatrix, score: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """Return for each question (n,) the column of the model with the highest `score`, (n, M) or (M,), among those that
    answered; ties go to the higher of `rates` (M,), then by name."""
    order = np.lexsort((np.arange(len(rates)), -rates))  # models are sorted by name: ties fall as they should
    candidates = np.where(test.observed, score, -np.inf)[:, order]
    return order[candidates.argmax(axis=1)]


def _spread(test: CorrectnessMatrix, weights: np.ndarray) -> np.ndarray:
    """Distribute `weights` (M,) over the models that answered, evenly where none of those has weight."""
    shares = test.observed * weights
    total = shares.sum(axis=1, keepdims=True)
    even = test.observed / test.observed.sum(axis=1, keepdims=True)
    return np.where(total > 0, shares / np.where(total > 0, total, 1), even)


def _compare_policies(
    test: CorrectnessMatrix, policies: Mapping[str, _Policy], cost: np.ndarray, seed: int
) -> list[dict[str, str | int | float | None]]:
    right = np.nan_to_num(test.labels).astype(np.float64)
    score = {name: (policy.shares * right).sum(axis=1) for name, policy in policies.items()}  # per question
    rows = []
    for benchmark, which in group_questions(test.benchmarks, np.ones(len(right), bool)):
        best, oracle = score["best_single"][which].mean(), score["oracle"][which].mean()
        for name, policy in policies.items():
            accuracy = score[name][which].mean()
            interval = metrics.bootstrap_interval(score[name][which], np.ones(len(which)), seed=seed)
            low, high = interval or (None, None)
            shares = policy.shares[which]
            mean_cost = float(np.where(shares > 0, shares * cost[which], 0).sum(axis=1).mean())
            rows.append(
                {
                    "method": name,
                    "benchmark": benchmark,
                    "n": len(which),
                    "accuracy": accuracy,
                    "ci_low": low,
                    "ci_high": high,
                    "gain_over_best": accuracy / best - 1 if best else None,
                    "gap_to_oracle": 1 - accuracy / oracle if oracle else None,
                    "candidates": float(test.observed[which].sum(axis=1).mean()),
                    "mean_cost": None if np.isnan(mean_cost) else mean_cost,
                }
            )
    return rows
