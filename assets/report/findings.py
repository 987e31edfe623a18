"""The report's first words: what was found, in sentences whose figures are looked up in the published tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from assets.evaluation import difficulty, forecasts, portfolios, routing
from assets.figures.sections import tell_interval
from assets.figures.style import words
from warehouse.database.read import query

MOST = 5
BEST = "What was answered"
SURE = 0.7  # the probability whose truth is told
SQL = {
    BEST: """
        WITH leaders AS (
            SELECT arg_max(model, accuracy) AS leader FROM leaderboard WHERE benchmark <> 'all' GROUP BY benchmark
        )
        SELECT model, n, accuracy, ci_low, ci_high, estimated, (SELECT count(*) FROM leaders) AS benchmarks,
            (SELECT count(DISTINCT leader) FROM leaders) AS leaders
        FROM leaderboard WHERE benchmark = 'all' ORDER BY accuracy DESC, model LIMIT 1""",
    routing.TITLE: """
        SELECT method, n, accuracy, ci_low, ci_high FROM routing
        WHERE benchmark = 'all' AND reason IS NULL""",
    forecasts.TITLE: """
        SELECT method, n, accuracy, ece FROM forecasts
        WHERE benchmark = 'all' AND reason IS NULL ORDER BY accuracy DESC, method""",
    difficulty.TITLE: """
        SELECT any_value(pearson) FILTER (benchmark = 'all') AS pooled,
            min(pearson) FILTER (benchmark <> 'all') AS least, max(pearson) FILTER (benchmark <> 'all') AS most,
            median(pearson) FILTER (benchmark <> 'all') AS middle
        FROM difficulty WHERE method = 'embedder' AND reason IS NULL""",
    portfolios.TITLE: """
        SELECT k, share, share_low, share_high, n, (SELECT max(k) FROM portfolios) AS of
        FROM portfolios WHERE method = 'greedy' AND enough AND share IS NOT NULL""",
}
TRUE_AT = f"""
    SELECT probability, accuracy, ci_low, ci_high, n FROM reliability
    WHERE method = 'embedder' AND n >= 30 ORDER BY abs(probability - {SURE}), bin LIMIT 1"""


class Finding(NamedTuple):
    """A sentence or two, and the title of the section that shows more."""

    says: str
    section: str


def find(database: Path) -> list[Finding]:
    """Return the first findings that the published tables have."""
    found = {title: query(database, sql).to_pylist() for title, sql in SQL.items()}
    true_at = query(database, TRUE_AT).to_pylist()
    return list(_tell(found, true_at))[:MOST]


def _tell(found: dict[str, list[dict[str, Any]]], true_at: list[dict[str, Any]]) -> Iterator[Finding]:
    for row in found[BEST]:
        yield Finding(_tell_best(row), BEST)
    if found[routing.TITLE]:
        yield Finding(tell_routing({row["method"]: row for row in found[routing.TITLE]}), routing.TITLE)
    if found[forecasts.TITLE]:
        yield Finding(_tell_forecasts(found[forecasts.TITLE], true_at), forecasts.TITLE)
    for row in found[difficulty.TITLE]:
        if row["pooled"] is not None and row["middle"] is not None:
            yield Finding(
                "How hard a new question is can be told roughly: predicted and observed shares of right answers "
                f"correlate by {row['pooled']:.2f} over all benchmarks, but within a benchmark by {row['middle']:.2f} "
                f"(median; {row['least']:.2f} to {row['most']:.2f}).",
                difficulty.TITLE,
            )
    for row in found[portfolios.TITLE]:
        yield Finding(
            f"{row['k']} of {row['of']} models are enough for {row['share']:.0%} of the right answers that routing "
            f"over all of them gives{tell_interval(row['share_low'], row['share_high'], '.0%')}, on {row['n']:,} test "
            "questions.",
            portfolios.TITLE,
        )


def _tell_best(row: dict[str, Any]) -> str:
    right = "is expected to answer" if row["estimated"] else "answers"
    says = (
        f"The best model overall, {row['model']}, {right} {row['accuracy']:.1%} right"
        f"{tell_interval(row['ci_low'], row['ci_high'])}"
    )
    if row["leaders"] > 1:
        return f"{says}, but {row['leaders']} different models lead the {row['benchmarks']} benchmarks."
    return f"{says}, and leads every benchmark."


def tell_routing(by_method: dict[str, dict[str, Any]]) -> str:
    """Return a sentence on the router, which is compared with the lookup table as well as with the best model."""
    router, table, single = (by_method[name] for name in ("router", "best_per_benchmark", "best_single"))
    difference = 100 * (router["accuracy"] - table["accuracy"])
    compared = "as much as" if abs(difference) < 0.05 else f"{abs(difference):.1f} points "
    if abs(difference) >= 0.05:
        compared += "more than" if difference > 0 else "less than"
    certain = router["ci_low"] is not None and not router["ci_low"] <= table["accuracy"] <= router["ci_high"]
    return (
        f"Choosing a model for each question gives {router['accuracy']:.1%} right answers"
        f"{tell_interval(router['ci_low'], router['ci_high'])}, {compared} looking up the best model of the question's "
        f"benchmark ({table['accuracy']:.1%}; {'a clear' if certain else 'no clear'} difference on {router['n']:,} "
        f"questions), and {100 * (router['accuracy'] - single['accuracy']):+.1f} points next to the single best model "
        f"({single['accuracy']:.1%})."
    )


def _tell_forecasts(rows: list[dict[str, Any]], true_at: list[dict[str, Any]]) -> str:
    ours = next(row for row in rows if row["method"] == "embedder")
    best = next(row for row in rows if row["method"] != "embedder")
    says = (
        f"Whether a model answers a new question right is forecast correctly {ours['accuracy']:.1%} of the time (the "
        f"best baseline, {words(best['method'])}: {best['accuracy']:.1%})."
    )
    for row in true_at:
        says += (
            f" Where the forecast is about {row['probability']:.0%}, {row['accuracy']:.0%} came true"
            f"{tell_interval(row['ci_low'], row['ci_high'], '.0%')}."
        )
    return says
