"""How few of the models are enough to route among."""

from __future__ import annotations

import pyarrow as pa

from assets.embedding.serving import Serving
from assets.figures.portfolios import portfolio_curves
from assets.figures.sections import Picture, Section, refused, rows

from .experiment import Result, experiment

TITLE = "How few models are enough?"
FIRST = 10  # portfolios in the report's table, or as many as are enough
SMALLEST = """\
SELECT k, greedy.model AS added, greedy.accuracy, greedy.share, greedy.share_low, greedy.share_high,
    best_mean.accuracy AS best_mean_accuracy, by_chance.accuracy AS random_accuracy
FROM (FROM portfolios WHERE method = 'greedy') AS greedy
JOIN (FROM portfolios WHERE method = 'best_mean') AS best_mean USING (k)
JOIN (FROM portfolios WHERE method = 'random') AS by_chance USING (k) ORDER BY k"""


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


portfolios = experiment(tabulate_portfolios, name="portfolios", kinds={"numpy"}, code_version="3")


def describe(table: pa.Table, *, models: int, questions: int) -> Section:
    """Return the report's section on the table `portfolios`; so many `models` answered something, and so many of the
    test `questions` were answered."""
    from embedder.downstream.portfolios import ENOUGH

    found = rows({"portfolios": table}, "SELECT * EXCLUDE (embedder) FROM portfolios ORDER BY k, method")
    if reason := refused(TITLE, found):
        return reason
    enough, of_all = {row["method"]: row for row in found if row["enough"]}, found[-1]
    greedy = enough["greedy"]
    kept = "1 model keeps" if greedy["k"] == 1 else f"{greedy['k']} models keep"
    says = f"On validation questions {kept} at least {ENOUGH:.0%} of the accuracy of routing over all {of_all['k']}"
    if greedy["share_low"] is not None:
        says += (
            f", and {greedy['share']:.1%} (95% interval {greedy['share_low']:.1%} to {greedy['share_high']:.1%}) on "
            f"{greedy['n']:,} test questions"
        )
    says += f"; the best by mean accuracy take {enough['best_mean']['k']}, random ones {enough['random']['k']}."
    if (models, questions) != (of_all["k"], of_all["n"]):
        says += (
            f" Answers are missing: of {models} models and {questions:,} test questions, {of_all['k']} models take "
            f"part and {of_all['n']:,} questions that all of these models answered."
        )
    return Section(
        TITLE,
        says,
        [
            Picture.of(
                portfolio_curves(found, enough=ENOUGH), "accuracy of routing by number of models in the portfolio"
            )
        ],
        [rows({"portfolios": table}, f"{SMALLEST} LIMIT {max(FIRST, greedy['k'])}")],
        "SELECT method, k, model, accuracy, share, share_low, share_high, enough FROM portfolios\nORDER BY method, k;",
    )
