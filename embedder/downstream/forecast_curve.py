"""Experiment: how do forecasts improve with the number of training questions?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from embedder.matrix import CorrectnessMatrix
from embedder.predictor import Predictor
from embedder.questions import Questions

from .columns import counts, figures, texts
from .forecast import NO_TEST_ANSWERS, measure_forecast

__all__ = ["FORECAST_CURVE", "SIZES", "measure_forecast_curve"]

SIZES = (100, 250, 500, 1000, 2500, 5000, 10_000, 15_000, 20_000, 25_000)
_DRAWS, _DRAWS_OF_MANY, _SMALL = 5, 2, 5000

FORECAST_CURVE = pa.schema(
    [
        *texts("embedder", "method"),
        *counts("questions"),
        pa.field("draw", pa.int32()),
        *counts("n"),
        *figures("accuracy", "ci_low", "ci_high", "log_loss"),
        *texts("reason"),
    ]
)


def measure_forecast_curve(
    matrix: CorrectnessMatrix,
    questions: Questions,
    predictor: Predictor,
    baselines: Sequence[Predictor],
    version: str,
    *,
    seed: int = 0,
    progress: Callable[[int, int, str], None] = lambda done, total, label: None,
) -> pa.Table:
    """Table `forecast_curve`: a row is a method, fitted on some of the training questions of `matrix` (Q, M), and
    compared with all answers to its test questions.

    As many of the answered training questions as each of `SIZES` are drawn at random, five times, or twice where
    they are more than 5,000: larger draws differ less, and cost more. A larger one contains the smaller ones of the
    same draw. All training questions come last, as one draw. The val split is whole in each. `predictor` is the
    embedder of the `version` that is evaluated, fitted on all of `matrix`; for smaller draws, one of the same settings
    is fitted.
    The `baselines` are fitted for each draw. The interval of the accuracy is a bootstrap over test questions, null
    below two of them. Where no test question has an answer, the only row has the reason. Raises ValueError where no
    training question has an answer.
    """
    tested = (matrix.splits == "test") & matrix.observed.any(axis=1)
    draws = list(_draws(matrix, seed))
    total = draws[-1][0]
    if not tested.any():
        return _table([{"method": "embedder", "questions": total, "draw": 0, "reason": NO_TEST_ANSWERS}], version)
    labels, asked = matrix.labels[tested], questions.rows(tested)
    by_text_alone = asked.by_text_alone()  # ours is not told of which benchmark a question is
    rows = []
    for done, (size, draw, kept) in enumerate(draws, 1):
        known, described = matrix.rows(kept), questions.rows(kept)
        ours = predictor if size == total else type(predictor)(**predictor.settings()).fit(known, described, seed=seed)
        fitted = {"embedder": ours} | {base.method: base.fit(known, described, seed=seed) for base in baselines}
        for method, of_method in fitted.items():
            described_by = by_text_alone if method == "embedder" else asked
            row = measure_forecast(labels, of_method.predict_proba(described_by), seed)
            rows.append({"method": method, "questions": size, "draw": draw} | row)
        progress(done, len(draws), "fits on some of the training questions")
    return _table(rows, version)


def _draws(matrix: CorrectnessMatrix, seed: int) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield the number of training questions, the number of the draw, and a mask (Q,) of the questions to fit on; the
    last draw has all."""
    train, val = matrix.splits == "train", matrix.splits == "val"
    answered = np.flatnonzero(train & matrix.observed.any(axis=1))
    for draw in range(_DRAWS):
        order = np.random.default_rng([seed, draw]).permutation(answered)
        for size in SIZES:
            if size < len(answered) and (size <= _SMALL or draw < _DRAWS_OF_MANY):
                kept = val.copy()
                kept[order[:size]] = True
                yield size, draw, kept
    yield len(answered), 0, train | val


def _table(rows: list[dict[str, Any]], version: str) -> pa.Table:
    return pa.Table.from_pylist([{"embedder": version} | row for row in rows], schema=FORECAST_CURVE)
