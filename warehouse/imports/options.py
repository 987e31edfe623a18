"""Which options an import was given, for `embedllm imports list`."""

from __future__ import annotations

from .readers.reader import Choices

__all__ = ["describe_options"]


def describe_options(choices: Choices, file_format: str | None, on_conflict: str, *, resplit: bool) -> str:
    """Return the options that decided what was read, as a user types them."""
    decided = {
        "format": file_format,
        **{
            kind: [f"{category}={name}" if category else name for category, name in getattr(choices, kind).items()]
            for kind in ("metric", "filter", "scorer")
        },
        "epochs": choices.epochs if choices.epochs != "majority" else None,
        "threshold": choices.threshold,
        "model": choices.model,
        "benchmark": choices.benchmark,
        "questions": f"({len(choices.questions):,} texts)" if choices.questions else None,
        "map": ",".join(f"{ours}={theirs}" for ours, theirs in choices.columns.items()) or None,
        "question": choices.question_column,
        "model-columns": ",".join(choices.model_columns) or None,
        "on-conflict": on_conflict if on_conflict != "refuse" else None,
    }
    each = {name: value if isinstance(value, list) else [value] for name, value in decided.items()}
    told = [f"--{name} {value}" for name, values in each.items() for value in values if value is not None]
    return " ".join([*told, *(["--resplit"] if resplit else [])])
