"""Which benchmarks' questions help to predict the accuracies on another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from assets.embedding.serving import Serving
from assets.figures.heatmaps import contribution_heatmap
from assets.figures.sections import Picture, Section, refused, rows
from embedder.downstream.contributions import contribute
from embedder.downstream.left_out import LeftOut

from .experiment import Result, experiment

TITLE = "Which benchmarks help to predict others?"
MOST_PAIRS = 200  # in the report


def measure_contributions(serving: Serving, left_out: Mapping[frozenset[str], LeftOut], seed: int) -> Result:
    """A row is by how much training on one benchmark lowers the error of predicting models' accuracies on another."""
    table = contribute(serving.matrix, left_out, serving.version, seed=seed)
    return Result({"contributions": table}, describe(table))


contributions = experiment(
    measure_contributions,
    name="contributions",
    kinds={"numpy"},
    code_version="3",
    deps=("correctness_matrix", "embedder", "left_out_embeddings"),
    expensive=True,
)


GIVES, GETS = "gives (squared points)", "gets (squared points)"


def describe(table: pa.Table) -> Section:
    """Return the report's section on the table `contributions`."""
    pairs = rows(
        {"contributions": table},
        "SELECT * EXCLUDE (embedder) FROM contributions ORDER BY contribution DESC NULLS LAST, contributor, target",
    )
    if reason := refused(TITLE, pairs):
        return reason
    found = [pair for pair in pairs if pair["reason"] is None]
    # What each benchmark gives to all others and gets from them, in squared percentage points.
    sums = rows(
        {"contributions": table},
        f"""SELECT benchmark, 1e4 * coalesce(sum(contribution) FILTER (benchmark = contributor), 0) AS "{GIVES}",
            1e4 * coalesce(sum(contribution) FILTER (benchmark = target), 0) AS "{GETS}"
        FROM (SELECT contribution, contributor, target, unnest([contributor, target]) AS benchmark
            FROM contributions WHERE reason IS NULL)
        GROUP BY benchmark ORDER BY 2 DESC, benchmark""",
    )
    return Section(
        TITLE,
        _tell_who_helps(found, sums),
        [Picture.of(contribution_heatmap(*_square(pairs)), "heat map of contributions by pair of benchmarks")],
        [
            sums,
            [{name: value for name, value in pair.items() if name != "reason"} for pair in found[:MOST_PAIRS]],
            rows(
                {"contributions": table},
                "SELECT reason, count(*) AS pairs FROM contributions WHERE reason IS NOT NULL GROUP BY reason "
                "ORDER BY reason",
            ),
        ],
        "SELECT contributor, target, contribution, ci_low, ci_high FROM contributions\n"
        "WHERE ci_low > 0 ORDER BY contribution DESC;",
    )


def _tell_who_helps(found: list[dict[str, Any]], sums: list[dict[str, Any]]) -> str:
    """Return what the section says: which benchmark helps most, which is helped most, and how many pairs are clear."""
    giver, taker = (max(sums, key=lambda row: row[column]) for column in (GIVES, GETS))
    most = "No benchmark makes the others easier to predict in sum"
    if giver[GIVES] > 0:
        most = (
            f"{giver['benchmark']} contributes most: with it in training, the mean squared errors on the others are "
            f"lower by {giver[GIVES]:.1f} squared percentage points in sum"
        )
    helped = "none is helped in sum"
    if taker[GETS] > 0:
        helped = f"{taker['benchmark']} is helped most by the others ({taker[GETS]:.1f})"
    helping = sum(pair["ci_low"] > 0 for pair in found)
    harming = sum(pair["ci_high"] < 0 for pair in found)
    return (
        f"{most}; {helped}. Of {len(found)} pairs, {helping} help and {harming} harm with an interval (over the splits "
        "of the models) that excludes 0."
    )


def _square(pairs: list[dict[str, Any]]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return the benchmarks (B), the contributions (B, B), contributors in rows, NaN where there is none, and whether
    each differs from 0."""
    names = sorted({pair["contributor"] for pair in pairs} | {pair["target"] for pair in pairs})
    at = {name: number for number, name in enumerate(names)}
    cells, significant = np.full((len(names),) * 2, np.nan), np.zeros((len(names),) * 2, bool)
    for pair in pairs:
        if pair["reason"] is None:
            where = at[pair["contributor"]], at[pair["target"]]
            cells[where] = pair["contribution"]
            significant[where] = pair["ci_low"] > 0 or pair["ci_high"] < 0
    return names, cells, significant
