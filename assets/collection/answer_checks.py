"""Can the answers of each model to each benchmark be trusted?

A check that fails stops nothing: what cannot be an answer never gets here (harness/checks.py).
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import dagster as dg

from assets.inputs.partitions import MODELS, responses_key
from assets.inputs.workspace import Workspace
from harness.registry import Registry

MOST_TRUNCATED = 0.01  # shares of the questions asked
MOST_ALIKE = 0.9

CHECK = "answers_can_be_trusted"
DESCRIPTION = (
    "Every question asked has an answer; few prompts were cut to fit the model's context "
    f"(at most {MOST_TRUNCATED:.0%}); answers differ (at most {MOST_ALIKE:.0%} are the same choice, and choices have "
    "different scores); the 95% interval of the accuracy does not lie below that of a guess."
)


def check_specs(registry: Registry) -> list[dg.AssetCheckSpec]:
    """Return the check of every benchmark's answers, with a result a model. It is a single one, as each costs Dagster
    several milliseconds."""
    with warnings.catch_warnings(action="ignore", category=dg.PreviewWarning):  # partitions of checks are new
        return [
            dg.AssetCheckSpec(
                CHECK, asset=responses_key(benchmark.name), description=DESCRIPTION, partitions_def=MODELS
            )
            for benchmark in registry.benchmarks
        ]


def quality_metadata(known: Mapping[str, str]) -> dict[str, Any]:
    """Return metadata of a partition from those of its answers: only what says something."""
    counts = {name: int(known.get(name, 0)) for name in ("unanswered", "truncated")}
    shares = {name: round(float(known[name]), 4) for name in ("commonest_choice", "chance") if name in known}
    return {**{name: count for name, count in counts.items() if count}, **shares}


def performance_metadata(known: Mapping[str, str]) -> dict[str, str | float]:
    """Return metadata of a partition from those of its answers: where and how fast they were given, as far as that is
    known."""
    places = {name: known[name] for name in ("node", "gpu") if name in known}
    return places | {name: float(known[name]) for name in ("seconds", "tokens_per_second") if name in known}


def evaluate_checks(
    benchmark: str, model: str, selected: Collection[dg.AssetCheckKey], workspace: Workspace
) -> Iterator[dg.AssetCheckResult]:
    """Yield the result of the check of the answers of `model` to `benchmark`, if it is selected; none where the model
    was not asked in full."""
    known, key = workspace.lake.response_metadata(benchmark, model), responses_key(benchmark)
    if known and dg.AssetCheckKey(key, CHECK) in selected:
        doubts, figures = find_doubts(known)
        yield dg.AssetCheckResult(
            passed=not doubts,
            check_name=CHECK,
            asset_key=key,
            severity=dg.AssetCheckSeverity.WARN,
            description="; ".join(doubts) or None,
            metadata=figures,
        )


def find_doubts(known: Mapping[str, str]) -> tuple[list[str], dict[str, float]]:
    """Return why the answers described by `known` (their metadata) may not be trusted, and the figures that show it."""
    from embedder.metrics import wilson  # loads scipy

    rows, accuracy, chance = int(known["rows"]), float(known["accuracy"]), float(known.get("chance", 0))
    asked = int(known.get("asked", rows))  # answers of a version that did not count have as many questions as rows
    unanswered, truncated = int(known.get("unanswered", 0)), int(known.get("truncated", 0))
    commonest, equal = float(known.get("commonest_choice", 0)), float(known.get("equal_scores", 0))
    low, high = wilson(round(accuracy * rows), rows)
    doubts = []
    if unanswered:
        doubts.append(f"{unanswered} of {asked} questions have no answer")
    if truncated > MOST_TRUNCATED * asked:
        doubts.append(f"{truncated} of {asked} prompts were cut to fit the model's context")
    if asked > 1 and (commonest > MOST_ALIKE or equal == 1):  # a single answer is always the commonest
        doubts.append(f"{commonest:.0%} of the answers are the same choice, {equal:.0%} have no preference")
    if high < chance:
        doubts.append(f"the accuracy, {accuracy:.1%} ({low:.1%} to {high:.1%}), is below that of a guess, {chance:.1%}")
    figures = {
        "share_unanswered": unanswered / asked,
        "share_truncated": truncated / asked,
        "commonest_choice": commonest,
        "equal_scores": equal,
        "accuracy": accuracy,
        "ci_low": low,
        "ci_high": high,
        "chance": chance,
    }
    return doubts, figures
