"""What answers took: tokens and time."""

from collections.abc import Sequence
from typing import Any

__all__ = ["UNKNOWN", "Usage", "request_key", "total"]

Usage = tuple[int | None, int | None, float | None]
"""Tokens in, tokens out, and seconds until the answer came; None where that is not known.

A plain tuple: there is one for every request, and Python's garbage collector spends no time on those.
"""

UNKNOWN: Usage = (None, None, None)


def request_key(args: Sequence[Any]) -> Any:
    """Return what tells a request (its arguments in lm-eval) from others: prompt and choice, or the prompt alone.

    The options of a request to generate are left out: they are a dict, and backends pass on their own copy.
    """
    return args if len(args) > 1 and isinstance(args[1], str) else args[0]


def total(requests: Sequence[Usage]) -> Usage:
    """Return what a question took that was asked in `requests`, one or more.

    The time is known for a single request only: several may have run at the same time.
    """
    if len(requests) == 1:
        return requests[0]
    tokens_in, tokens_out, _ = zip(*requests, strict=True)
    return None if None in tokens_in else sum(tokens_in), None if None in tokens_out else sum(tokens_out), None
