"""How few of the models are enough to route among."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from assets.embedding.serving import Serving
from assets.figures.portfolios import portfolio_curves
from assets.figures.sections import Picture, Section, refused, rows

from .experiment import Result, experiment

TITLE = "How few models are enough?"
FIRST = 10  # portfolios in the report's table, or as many as are enough


def tabulate_portfolios(serving: Serving, seed: int) -> Result:
    """A row is a portfolio of k models and what routing among them keeps of the accuracy of all."""
    from embedder.downstream.portfolios import grow_portfolios

    table = grow_portfolios(
        serving.matrix, {"val": serving.val_forecast, "test": serving.test_forecast}, serving.version, seed=seed
    )
    enough = {row["method"]: row["k"] for row in table.to_pylist() if row["enough"]}
    test = serving.matrix.of_split("test")
    section = describe(table, models=serving.answering_models, questions=int(test.observed.any(axis=1).sum()))
    return Result({"portfolios": table}, section, {f"enough_{method}": k for method, k in enough.items()})


portfolios = experiment(tabulate_portfolios, name="portfolios", kinds={"numpy"}, code_version="2")


def describe(table: pa.Table, *, models: int, questions: int) -> Section:
    """Return the report's section on the table `portfolios`; so many `models` answered something, and so many of the
    test `questions` were answered."""
    from embedder.downstream.portfolios import ENOUGH

    found = rows({"portfolios": table}, "SELECT * EXCLUDE (embedder) FROM portfolios ORDER BY k, method")
    if reason := refused(TITLE, found):
        return reason
    enough = {row["method"]: row for row in found if row["enough"]}
    return Section(
        TITLE,
        _says(enough, ENOUGH, found[-1]) + _left_out(models, questions, found[-1]),
        [Picture(portfolio_curves(found, enough=ENOUGH), "accuracy of routing by number of models in the portfolio")],
        [_first(found, max(FIRST, enough["greedy"]["k"]))],
        "SELECT method, k, model, accuracy, share, share_low, share_high, enough FROM portfolios\n"
        "WHERE embedder = (FROM serving) ORDER BY method, k;",
    )


def _says(enough: dict[str, dict[str, Any]], share: float, of_all: dict[str, Any]) -> str:
    greedy = enough["greedy"]
    models = "1 model keeps" if greedy["k"] == 1 else f"{greedy['k']} models keep"
    kept = f"On validation questions {models} at least {share:.0%} of the accuracy of routing over all {of_all['k']}"
    if greedy["share_low"] is not None:
        kept += (
            f", and {greedy['share']:.1%} (95% interval {greedy['share_low']:.1%} to {greedy['share_high']:.1%}) on "
            f"{greedy['n']:,} test questions"
        )
    return f"{kept}; the best by mean accuracy take {enough['best_mean']['k']}, random ones {enough['random']['k']}."


def _left_out(models: int, questions: int, of_all: dict[str, Any]) -> str:
    """That not all models and questions take part, where answers are missing."""
    if (models, questions) == (of_all["k"], of_all["n"]):
        return ""
    return (
        f" Answers are missing: of {models} models and {questions:,} test questions, "
        f"{of_all['k']} models take part and {of_all['n']:,} questions that all of these models answered."
    )


def _first(found: list[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """The smallest portfolios, those of one size in a row."""
    by_method = {(row["method"], row["k"]): row for row in found}
    return [
        {
            "k": k,
            "added": by_method["greedy", k]["model"],
            "accuracy": by_method["greedy", k]["accuracy"],
            **{name: by_method["greedy", k][name] for name in ("share", "share_low", "share_high")},
            "best_mean_accuracy": by_method["best_mean", k]["accuracy"],
            "random_accuracy": by_method["random", k]["accuracy"],
        }
        for k in range(1, min(most, found[-1]["k"]) + 1)
    ]
