"""What is looked at in the answers of each model to each benchmark: may they be trusted?

None of it stops anything: what cannot be an answer never gets here (harness/checks.py).
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import dagster as dg

from harness.entries import Registry

from .partitions import MODELS, responses_key
from .workspace import Workspace

__all__ = ["check_specs", "described_quality", "evaluate_checks"]

MOST_TRUNCATED = 0.01  # shares of the questions asked
MOST_ALIKE = 0.9

CHECKS = {
    "every_question_is_answered": "No question asked has gone without an answer.",
    "prompts_are_whole": f"At most {MOST_TRUNCATED:.0%} of the prompts were cut to fit the model's context.",
    "answers_differ": f"At most {MOST_ALIKE:.0%} of the answers are the same choice; choices differ in their scores.",
    "accuracy_is_not_below_chance": "The 95% interval of the accuracy does not lie below that of a guess.",
}


def check_specs(registry: Registry) -> list[dg.AssetCheckSpec]:
    """The checks of every benchmark's answers, a result a model."""
    with warnings.catch_warnings(action="ignore", category=dg.PreviewWarning):  # partitions of checks are new
        return [
            dg.AssetCheckSpec(name, asset=responses_key(benchmark.name), description=description, partitions_def=MODELS)
            for benchmark in registry.benchmarks
            for name, description in CHECKS.items()
        ]


def described_quality(known: Mapping[str, str]) -> dict[str, Any]:
    """Metadata of a partition, from those of its answers: only what tells something."""
    counts = {name: int(known.get(name, 0)) for name in ("unanswered", "truncated")}
    shares = {name: round(float(known[name]), 4) for name in ("commonest_choice", "chance") if name in known}
    return {**{name: count for name, count in counts.items() if count}, **shares}


def evaluate_checks(
    benchmark: str, model: str, selected: Collection[dg.AssetCheckKey], workspace: Workspace
) -> Iterator[dg.AssetCheckResult]:
    """The selected checks of the answers of `model` to `benchmark`; none where it was not asked in full."""
    known, key = workspace.lake.response_metadata(benchmark, model), responses_key(benchmark)
    for name in CHECKS:
        if known and dg.AssetCheckKey(key, name) in selected:
            passed, metadata = _RULES[name](known)
            yield dg.AssetCheckResult(
                passed=passed,
                check_name=name,
                asset_key=key,
                severity=dg.AssetCheckSeverity.WARN,
                metadata=metadata,
            )


Outcome = tuple[bool, dict[str, Any]]


def _every_question_is_answered(known: Mapping[str, str]) -> Outcome:
    unanswered, asked = _count(known, "unanswered"), _count(known, "asked")
    return unanswered == 0, {"unanswered": unanswered, "share": unanswered / asked}


def _prompts_are_whole(known: Mapping[str, str]) -> Outcome:
    truncated, asked = _count(known, "truncated"), _count(known, "asked")
    return truncated <= MOST_TRUNCATED * asked, {"truncated": truncated, "share": truncated / asked}


def _answers_differ(known: Mapping[str, str]) -> Outcome:
    commonest, equal = float(known.get("commonest_choice", 0)), float(known.get("equal_scores", 0))
    is_few = _count(known, "asked") < 2  # a single answer is always the commonest
    return is_few or (commonest <= MOST_ALIKE and equal < 1), {"commonest_choice": commonest, "equal_scores": equal}


def _accuracy_is_not_below_chance(known: Mapping[str, str]) -> Outcome:
    from embedder.metrics import wilson  # loads scipy

    accuracy, n, chance = float(known["accuracy"]), int(known["rows"]), float(known.get("chance", 0))
    low, high = wilson(round(accuracy * n), n)
    return high >= chance, {"accuracy": accuracy, "ci_low": low, "ci_high": high, "chance": chance}


_RULES = {
    "every_question_is_answered": _every_question_is_answered,
    "prompts_are_whole": _prompts_are_whole,
    "answers_differ": _answers_differ,
    "accuracy_is_not_below_chance": _accuracy_is_not_below_chance,
}


def _count(known: Mapping[str, str], name: str) -> int:
    """Answers of a version that did not count have as many questions as rows."""
    return int(known.get(name, known["rows"] if name == "asked" else 0))
