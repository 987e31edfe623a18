"""Which benchmarks' questions help to tell the accuracies on another one."""

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

TITLE = "Which benchmarks tell something about others?"
MOST_PAIRS = 10  # in the report


def measure_contributions(serving: Serving, left_out: Mapping[frozenset[str], LeftOut], seed: int) -> Result:
    """A row is by how much training on one benchmark lowers the error of predicting models' accuracies on another."""
    table = contribute(serving.matrix, left_out, serving.version, seed=seed)
    return Result({"contributions": table}, describe(table))


contributions = experiment(
    measure_contributions,
    name="contributions",
    kinds={"numpy"},
    code_version="2",
    deps=("correctness_matrix", "embedder", "left_out_embeddings"),
    expensive=True,
)


def describe(table: pa.Table) -> Section:
    """Return the report's section on the table `contributions`."""
    pairs = rows(
        {"contributions": table},
        "SELECT * EXCLUDE (embedder) FROM contributions ORDER BY contribution DESC NULLS LAST, contributor, target",
    )
    if reason := refused(TITLE, pairs):
        return reason
    found = [pair for pair in pairs if pair["reason"] is None]
    sums = _sums(found)
    names, cells, significant = _matrix(pairs)
    return Section(
        TITLE,
        _says(found, sums),
        [Picture(contribution_heatmap(names, cells, significant), "heat map of contributions by pair of benchmarks")],
        [
            sums,
            [{name: value for name, value in pair.items() if name != "reason"} for pair in found[:MOST_PAIRS]],
            rows(
                {"contributions": table},
                "SELECT reason, count(*) AS pairs FROM contributions WHERE reason IS NOT NULL GROUP BY reason "
                "ORDER BY reason",
            ),
        ],
        _SQL,
    )


_SQL = """\
SELECT contributor, target, contribution, ci_low, ci_high FROM latest('contributions')
WHERE ci_low > 0 ORDER BY contribution DESC;"""


def _sums(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What each benchmark gives to all others and gets from them, in squared percentage points."""
    names = sorted({pair["contributor"] for pair in found} | {pair["target"] for pair in found})
    sums = [
        {"benchmark": name}
        | {
            f"{verb} (squared points)": 1e4 * sum(pair["contribution"] for pair in found if pair[role] == name)
            for verb, role in (("gives", "contributor"), ("gets", "target"))
        }
        for name in names
    ]
    return sorted(sums, key=lambda row: -row["gives (squared points)"])


def _says(found: list[dict[str, Any]], sums: list[dict[str, Any]]) -> str:
    helping = sum(pair["ci_low"] > 0 for pair in found)
    harming = sum(pair["ci_high"] < 0 for pair in found)
    gives, gets = (max(sums, key=lambda row: row[f"{verb} (squared points)"]) for verb in ("gives", "gets"))
    given, got = gives["gives (squared points)"], gets["gets (squared points)"]
    most = (
        f"{gives['benchmark']} contributes most: with it in training, the mean squared errors on the others are lower "
        f"by {given:.1f} squared percentage points in sum"
        if given > 0
        else "No benchmark makes the others easier to predict in sum"
    )
    helped = f"{gets['benchmark']} is helped most by the others ({got:.1f})" if got > 0 else "none is helped in sum"
    return (
        f"{most}; {helped}. Of {len(found)} pairs, {helping} help and {harming} harm with an interval (over the splits "
        "of the models) that excludes 0."
    )


def _matrix(pairs: list[dict[str, Any]]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Benchmarks (B), contributions (B, B), contributors in rows, NaN where there is none, and whether each differs
    from 0."""
    names = sorted({pair["contributor"] for pair in pairs} | {pair["target"] for pair in pairs})
    at = {name: number for number, name in enumerate(names)}
    cells, significant = np.full((len(names),) * 2, np.nan), np.zeros((len(names),) * 2, bool)
    for pair in pairs:
        if pair["reason"] is None:
            where = at[pair["contributor"]], at[pair["target"]]
            cells[where] = pair["contribution"]
            significant[where] = pair["ci_low"] > 0 or pair["ci_high"] < 0
    return names, cells, significant
